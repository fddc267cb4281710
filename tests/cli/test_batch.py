"""The batch doors as real processes: an answer for every line, whatever the line, the caller and
the signals do.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payctl import ids
from payctl.app import App
from payctl.cli.batch import _WORST_FIRST
from payctl.cli.batch_input import MAX_LINE
from payctl.db.metadata import load
from payctl.errors import ExitCode
from payctl.payments import tables as t
from tests.cli.door import PROCESS, REFUND, STATUS, Home, request
from tests.cli.runner import run

pytestmark = pytest.mark.integration
CARD = "4242 4242 4242 4242"
BARE = CARD.replace(" ", "")
ORDER = [{"description": "Entry", "quantity": 2, "unit_price_minor": 1250, "vat_ppm": 200_000}]

#: Lines, and the key, exit code and error code that each must be answered with.
LINES: list[tuple[Any, str | None, int, str | None]] = [
    (request("good"), "good", 0, None),
    (request("lines", lines=ORDER, expires_in_s=600), "lines", 0, None),
    (request("held", capture="manual"), "held", 0, None),
    (request("no", "tok_decline_insufficient_funds"), "no", 6, None),
    (request("unsent", preferred=[], method="wallet"), "unsent", 2, "route.no_method"),
    (request("lost", "tok_lost_answer"), "lost", 8, None),
    (request("other", "tok_decline_gateway_specific", preferred=["cards", "other"]), "other", 6,
     None),
    (request("twice"), "twice", 0, None),
    (request("twice"), "twice", 0, None),
    (request("twice", amount_minor=2501), "twice", 5, "key.reused"),
    (b"", None, 0, None),
    (b" \t \r", None, 0, None),
    (b"what?", None, 2, "batch.not_json"),
    (b'["key", "list"]', None, 2, "batch.not_json"),
    (b'{"key": "k", "amount_minor": 25', None, 2, "batch.not_json"),
    (b'{"key": "\xff"}', None, 2, "batch.not_json"),
    (b"[" * 100_000, None, 2, "batch.not_json"),
    (b'{"key": "long", "description": "' + b"x" * MAX_LINE + b'"}', None, 2,
     "batch.line_too_long"),
    (b'{"key": "huge", "amount_minor": 1' + b"0" * 5000 + b"}", None, 2, "batch.not_json"),
    (request("odd", colour="red"), "odd", 2, "batch.unknown_field"),
    (request("text", amount_minor="2500"), "text", 2, "batch.wrong_type"),
    (request("float", amount_minor=25.0), "float", 2, "batch.wrong_type"),
    (request("nan", amount_minor=float("nan")), "nan", 2, "batch.wrong_type"),
    (request("true", amount_minor=True), "true", 2, "batch.wrong_type"),
    (request("below", amount_minor=-1), "below", 2, "amount.not_positive"),
    (request("null", currency=None), "null", 2, "batch.missing_field"),
    ({"key": "bare"}, "bare", 2, "batch.missing_field"),
    ({**request("x"), "key": 7}, None, 2, "batch.wrong_type"),
    (request("many", lines=[*ORDER, {"description": "free", "quantity": 10**30,
                                     "unit_price_minor": 0}]), "many", 2, "lines.malformed"),
    (request("nul", description="a\0b"), "nul", 2, "text.unstorable"),
    (request("nul2", metadata={"a": "\0"}), "nul2", 2, "text.unstorable"),
    (request("half", description="\ud83d"), "half", 2, "text.unstorable"),
    (request("half\ud83d"), "half\ud83d", 2, "key.malformed"),
    (request("pan", description=f"card {CARD}"), "pan", 2, "pan.refused"),
    (request("pan2", metadata={"card": BARE}), "pan2", 2, "pan.refused"),
    (request("pan3", metadata={BARE: "x"}), "pan3", 2, "pan.refused"),
    (request("pan4", country=BARE), "pan4", 2, "country.unknown"),
    (request("pan5", **{BARE: 1}), "pan5", 2, "batch.unknown_field"),
    (request("pan6", currency=BARE), "pan6", 2, "currency.unknown"),
    (request("pan7", amount_minor=int(BARE)), "pan7", 2, "amount.too_large"),
    (request(BARE), None, 2, "pan.refused"),
    (request("last"), "last", 0, None),
]  # fmt: skip


@pytest.fixture
def home(db_url: str, tmp_path: Path) -> Home:
    return Home(db_url, tmp_path)


@pytest.fixture
def app(home: Home) -> Iterator[App]:
    services = home.services()
    yield services
    services.close()


def everything_stored(app: App) -> str:
    """Every value of every table."""
    with app.db.read() as tx:
        return "".join(
            repr([tuple(row) for row in tx.execute(sa.select(table))])
            for table in load().sorted_tables
        )


def payments(app: App) -> dict[str, str]:
    """Status by id of all payments in the book."""
    with app.db.read() as tx:
        rows = tx.execute(sa.select(t.payment.c.id, t.payment.c.status)).all()
    return {ids.encode("payment", row.id): str(row.status) for row in rows}


def sound(app: App) -> None:
    """The books hold, and the providers' say the same."""
    assert app.check_ledger().ok
    assert [line for line in app.provider_balances().complete() if line.difference_minor] == []


def test_every_line_has_its_answer(home: Home, app: App) -> None:
    door = home.door(*PROCESS)
    answers = door.everything([line for line, *_ in LINES])
    found = {each["line"]: each for each in answers}
    wanted = {
        number: (key, exit_code, code)
        for number, (line, key, exit_code, code) in enumerate(LINES, 1)
        if not isinstance(line, bytes) or line.strip()
    }
    assert len(answers) == len(wanted)
    assert wanted == {
        number: (each["key"], each["exit_code"], each.get("code")) for number, each in found.items()
    }
    assert door.code == ExitCode.OPEN, "the worst answer"
    first, again = (found[n]["payment"] for n in (8, 9))
    assert first["id"] == again["id"] and {first["replayed"], again["replayed"]} == {True, False}
    assert found[7]["payment"]["attempts"][-1]["gateway"] == "other"
    refused = [each for each in answers if not each["success"]]
    assert all(each["money"] and each["next"] and each["message"] for each in refused)
    assert door.errors.decode().splitlines()[-1].startswith(f"{len(wanted)} answered: ")
    written = "".join(door.raw) + door.errors.decode() + home.everywhere() + everything_stored(app)
    assert BARE not in written and CARD not in written
    assert len(payments(app)) == 8
    assert app.check_ledger().ok


def test_where_payments_stand(home: Home) -> None:
    made = home.door(*PROCESS).everything(
        [request("a"), request("b", "tok_decline_insufficient_funds"), request("c", "tok_3ds")]
    )
    found = {each["key"]: each["payment"] for each in made}
    asked = [{"key": key, "payment": found[key]["id"]} for key in "abc"]
    nobody = ids.encode("payment", ids.decode(found["a"]["id"]).__class__(int=7))
    door = home.door(*STATUS)
    answers = door.everything(
        [*asked, {"payment": nobody}, {"payment": "pay_x"}, {"payment": 5}, {}, b"{", b""]
    )
    by_line = sorted(answers, key=lambda each: int(each["line"]))
    assert [each["exit_code"] for each in by_line] == [0, 6, 8, 3, 2, 2, 2, 2]
    assert door.code == ExitCode.OPEN
    for each in by_line[:3]:
        was = found[each["key"]]
        assert (each["payment"]["id"], each["payment"]["status"]) == (was["id"], was["status"])


def test_refunds(home: Home, app: App) -> None:
    keys = [f"k{n}" for n in range(4)]
    paid = [request(key, amount_minor=5_000_000) for key in keys]
    made = home.door(*PROCESS).everything(paid)
    name = {each["key"]: each["payment"]["id"] for each in made}
    nobody = ids.encode("payment", ids.decode(name["k0"]).__class__(int=7))

    def wanted(key: str, payment: str, **other: Any) -> dict[str, Any]:
        return {"key": key, "payment": payment, "reason": "called off", **other}

    door = home.door(*REFUND)
    lines: list[tuple[Any, int, str | None]] = [
        (wanted("part", name["k0"], amount_minor=1_000), 0, None),
        (wanted("other", name["k1"], amount_minor=500), 0, None),
        (wanted("second", name["k2"], full=True), 10, None),
        (wanted("void", nobody, full=True), 3, "payment.not_found"),
        (wanted("both", name["k0"], full=True, amount_minor=1), 2, "refund.amount_or_full"),
        (wanted("none", name["k0"]), 2, "refund.amount_or_full"),
        (wanted("much", name["k1"], amount_minor=6_000_000), 5, "refund.too_much"),
        ({"key": "why", "payment": name["k0"], "full": True}, 2, "batch.missing_field"),
        ({**wanted("pan", name["k0"], full=True), "reason": CARD}, 2, "pan.refused"),
        ({**wanted("nul", name["k0"], full=True), "reason": "a\0"}, 2, "text.unstorable"),
        (wanted("float", name["k0"], amount_minor=1.0), 2, "batch.wrong_type"),
    ]
    answers = door.everything([line for line, *_ in lines])
    found = {each["line"]: (each["exit_code"], each.get("code")) for each in answers}
    assert found == {number: (exit_, code) for number, (_, exit_, code) in enumerate(lines, 1)}
    first = {each["key"]: each["refund"] for each in answers if each["success"]}
    again = home.door(*REFUND).everything([lines[0][0], {**lines[0][0], "amount_minor": 999}])
    by_line = {each["line"]: each for each in again}
    assert by_line[1]["refund"]["id"] == first["part"]["id"] and by_line[1]["refund"]["replayed"]
    assert (by_line[2]["exit_code"], by_line[2]["code"]) == (5, "key.reused")
    written = "".join(door.raw) + home.everywhere() + everything_stored(app)
    assert CARD not in written and BARE not in written
    sound(app)


@pytest.mark.parametrize(
    ("engine_name", "word"), [("sqlite", signal.SIGTERM), ("postgresql", signal.SIGINT)]
)
def test_a_signal_ends_the_reading_and_nothing_else(
    db_url: str, tmp_path: Path, word: signal.Signals
) -> None:
    home = Home(db_url, tmp_path, latency_ms=200)
    door, idle = home.door(*PROCESS, workers=2), home.door(*STATUS)
    door.send(*(request(f"k{n}") for n in range(200)))
    idle.send(b"{}")
    answered = [door.answer()]
    idle.answer()
    for each in (door, idle):
        each.process.send_signal(word)
    # The callers keep their end open: the doors end all the same.
    assert (door.end(close=False), idle.end(close=False)) == (ExitCode.DONE, ExitCode.USAGE)
    answered += door.rest()
    app = home.services()
    assert {each["payment"]["id"]: each["payment"]["status"] for each in answered} == payments(app)
    assert {each["payment"]["status"] for each in answered} == {"succeeded"}
    assert 1 < len(answered) < 30, "it went on reading"
    sound(app)
    app.close()


def test_nobody_reads_the_answers_any_more(db_url: str, tmp_path: Path) -> None:
    home = Home(db_url, tmp_path, latency_ms=200)
    door = home.door(*PROCESS, workers=2, heard=False)
    door.send(*(request(f"k{n}") for n in range(6)))
    out = door.process.stdout
    assert out is not None and out.readline()
    out.close()
    # It has read all there is and waits for more; it ends because nobody is there to be answered.
    assert door.end(close=False) == ExitCode.DONE
    assert b"Traceback" not in door.errors and b"Exception" not in door.errors
    app = home.services()
    assert list(payments(app).values()) == ["succeeded"] * 6
    sound(app)
    app.close()


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_reading_waits_while_too_much_is_on_its_way(db_url: str, tmp_path: Path) -> None:
    home = Home(db_url, tmp_path, latency_ms=30_000)
    door = home.door(*PROCESS, workers=1)
    assert door.process.stdin is not None
    pipe = door.process.stdin.fileno()
    os.set_blocking(pipe, False)
    lines = b"".join(json.dumps(request(f"k{n}")).encode() + b"\n" for n in range(10_000))
    written, quiet = 0, 0
    app = home.services()
    while quiet < 10:
        try:
            written += os.write(pipe, lines[written : written + 65_536])
            quiet = 0
        except BlockingIOError:
            time.sleep(0.1)
            quiet += bool(payments(app))
    assert written < 300_000 < len(lines)
    assert 0 < len(payments(app)) <= 5
    app.close()
    door.kill()


def test_an_answer_that_was_read_is_in_the_book(home: Home) -> None:
    door = home.door(*PROCESS)
    tokens = [None, "tok_decline_insufficient_funds", "tok_3ds"]
    door.send(*(request(f"k{n}", tokens[n % 3]) for n in range(60)))
    first = door.answer()
    door.kill()
    app = home.services()
    stored = payments(app)
    answers = [first, *door.rest()]
    assert {a["payment"]["id"]: a["payment"]["status"] for a in answers}.items() <= stored.items()
    assert len(answers) < 60, "it was killed too late to show anything"
    app.close()


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_file_of_requests(home: Home, app: App, tmp_path: Path) -> None:
    path = tmp_path / "wanted.jsonl"
    path.write_bytes(b"\n".join(json.dumps(request(f"k{n}")).encode() for n in range(3)))
    done = run("payments", "process", "--batch", str(path), "--yes", app=app, environ=home.environ)
    assert [json.loads(line)["exit_code"] for line in done.out.splitlines()] == [0, 0, 0]
    assert done.code == 0
    for wrong in (str(tmp_path / "none"), str(tmp_path)):
        gone = run("payments", "process", "--batch", wrong, "--json", app=app, environ=home.environ)
        assert (gone.code, gone.error["code"]) == (2, "batch.no_file")
    for many in ("0", "513"):
        words = ("payments", "process", "--batch", str(path), "--workers", many, "--json")
        bad = run(*words, app=app, environ=home.environ)
        assert (bad.code, bad.error["code"]) == (2, "batch.bad_workers")


def test_every_exit_code_has_a_rank() -> None:
    assert set(_WORST_FIRST) == set(ExitCode) - {ExitCode.DONE, ExitCode.INTERRUPTED}
