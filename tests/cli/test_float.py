"""``payctl float`` and ``gateways health|balance``: what is printed and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from payctl.db import migrate
from payctl.db.engine import Database
from payctl.errors import NotConfigured, NotSent
from payctl.gateways.base import Answer, BalanceLine, Health, Outcome
from payctl.ids import decode
from payctl.payments.provider_readings import WORKERS, ask_all
from tests.cli.runner import Result, run
from tests.cli.schemas import check
from tests.payments.kit import APPROVER, Kit, make_kit

pytestmark = pytest.mark.integration
Run = Callable[..., Result]
WHY = ("--reason", "payday")
TOPUP = ("float", "topup", "momo", "--currency", "XOF", "--from", "boa", *WHY)


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


@pytest.fixture
def kit(db: Database, tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(db, tmp_path)
    momo = made.gateways["momo"]
    momo.capabilities = replace(momo.capabilities, payouts=frozenset({"msisdn"}))
    yield made
    for gateway in made.gateways.values():
        gateway.close()


@pytest.fixture
def go(kit: Kit) -> Run:
    return lambda *words, **options: run(*words, app=kit.app, **options)


def holds(kit: Kit, available_minor: int) -> None:
    lines = [BalanceLine("XOF", 700), BalanceLine("XOF", available_minor, part="float")]
    kit.gateways["momo"].balance = lambda: lines  # type: ignore[method-assign]


# -- float ----------------------------------------------------------------------------------------


def test_a_top_up_from_the_bank_to_its_arrival(go: Run, kit: Kit) -> None:
    sent = go(*TOPUP, "--amount", "500000", "--key", "f-1", "--json")
    made = check(sent.json)
    assert (sent.code, made["status"], made["amount_minor"]) == (0, "sent", 500_000)
    assert [(each["side"], each["account"]) for each in made["entries"]] == [
        ("Dr", "transit:momo"),
        ("Cr", "bank:boa"),
    ]
    assert f"payctl float arrived {made['id']}" in sent.err
    assert sent.err.strip().endswith(f"payctl float cancel {made['id']} --reason TEXT")
    again = go(*TOPUP, "--amount", "500000", "--key", "f-1", "--json")
    assert (again.code, again.json["id"], again.json["replayed"]) == (0, made["id"], True)
    came = go("float", "arrived", made["id"], "--amount", "499000", "--reference", "B-7", "--json")
    assert check(came.json)["arrived_minor"] == 499_000 and len(came.json["entries"]) == 3
    (line,) = check(go("float", "list", "--json").json)["items"]
    assert (line["status"], line["reference"]) == ("arrived", "B-7")
    assert go("float", "list", "--status", "open", "-q").out == ""
    late = go("float", "cancel", made["id"], "--reason", "x", "--json")
    assert (late.code, late.error["code"]) == (5, "float.not_in_state")


def test_a_large_one_exits_10_until_a_second_person_agrees(go: Run, kit: Kit) -> None:
    asked = go(*TOPUP, "--amount", "9000000", "--key", "f-2", "--json")
    assert asked.code == 10 and check(asked.json)["approval"] in asked.err
    kit.app.approvals.approve(APPROVER, decode(asked.json["approval"], "approval"), "seen")
    approval = kit.app.approvals.get(decode(asked.json["approval"], "approval"))
    kit.app.after_approval["float_topup"](APPROVER, approval)
    again = go(*TOPUP, "--amount", "9000000", "--key", "f-2", "--json")
    assert (again.code, again.json["status"]) == (0, "sent")


def test_one_that_was_refused_ends_like_a_decline(go: Run, kit: Kit) -> None:
    line = (*TOPUP, "--amount", "9000000", "--key", "f-3", "--json")
    approval = decode(go(*line).json["approval"], "approval")
    kit.app.approvals.reject(APPROVER, approval, "wrong bank")
    again = go(*line)
    assert (again.code, again.json["status"]) == (6, "rejected")


def test_a_dry_run_shows_debits_and_credits(go: Run, kit: Kit) -> None:
    shown = go(*TOPUP, "--amount", "9000000", "--dry-run", "-o", "table")
    assert shown.code == 10, "a second person would be needed"
    assert "transit:momo" in shown.out and "bank:boa" in shown.out
    assert go("float", "list", "-q").out == ""


def test_lists_are_cut_with_a_cursor(go: Run, kit: Kit) -> None:
    for number in range(3):
        go(*TOPUP, "--amount", "1000", "--key", f"c-{number}")
    first = go("float", "list", "--limit", "2", "--json").json
    rest = go("float", "list", "--limit", "2", "--after", first["next"], "--json").json
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)


def test_alarms_are_data_with_a_history(go: Run, kit: Kit) -> None:
    line = ("float", "alarms", "set", "momo", "--currency", "XOF", "--reason", "two days")
    check(go(*line, "--below", "100000", "--json").json)
    done = go(*line, "--below", "200000")
    assert "--below 100000 --reason TEXT" in done.err
    assert go(*line, "--below", "300000", "--dry-run", "--json").json["below_minor"] == 300_000
    (now,) = check(go("float", "alarms", "list", "--json").json)["items"]
    assert now["below_minor"] == 200_000
    assert go(*line, "--lift").code == 0
    assert go("float", "alarms", "list", "-q").out == ""
    past = go("float", "alarms", "list", "--history", "--json").json["items"]
    assert [each["below_minor"] for each in past] == [None, 200_000, 100_000]


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        ((*TOPUP, "--amount", "5.00"), 2, "amount.decimals"),
        (("float", "topup", "cards", "--currency", "XOF", "--from", "boa", *WHY, "--amount", "5"),
         2, "float.pays_nobody"),
        (("float", "arrived", "top_00000000000000000000000000"), 3, "float.topup_not_found"),
        (("float", "alarms", "set", "momo", "--currency", "XOF", *WHY), 2, "float.below_or_lift"),
        (("gateways", "balance", "nobody"), 3, "gateway.not_found"),
        (("gateways", "limits", "list", "nobody", "--history"), 3, "gateway.not_found"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_code(
    go: Run, words: tuple[str, ...], code: int, error: str
) -> None:
    done = go(*words, "--json")
    assert (done.code, done.error["code"]) == (code, error)


# -- balance --------------------------------------------------------------------------------------


def test_balances_beside_our_books_and_a_low_float_fails_the_check(go: Run, kit: Kit) -> None:
    go("float", "alarms", "set", "momo", "--currency", "XOF", "--below", "100000", *WHY)
    holds(kit, 40_000)
    seen = go("gateways", "balance", "momo", "--json")
    found = check(seen.json)
    assert seen.code == 0 and "60 000 XOF below the alarm of 100 000 XOF" in seen.err
    assert [(each["part"], each["theirs_minor"]) for each in found["items"]] == [
        ("collect", 700),
        ("float", 40_000),
    ]
    assert found["low"][0]["missing_minor"] == 60_000
    assert go("gateways", "balance", "momo", "--check").code == 9
    kit.clock.advance(timedelta(minutes=1))
    holds(kit, 100_000)
    assert go("gateways", "balance", "--check").code == 0


def test_a_low_float_is_a_duty_and_a_finding(
    go: Run, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The book of the tests is built from declarations: let it count as migrated.
    ready = migrate.Status(migrate.HEAD, migrate.HEAD)
    monkeypatch.setattr(migrate, "status", lambda _: ready)
    go("float", "alarms", "set", "momo", "--currency", "XOF", "--below", "100000", *WHY)
    assert ("floats", "warn") in findings(go), "nobody has asked yet"
    holds(kit, 40_000)
    assert run_watch(go).code == 0
    (duty,) = [each for each in check(go("today", "--json").json)["items"]]
    assert (duty["kind"], duty["amount_minor"]) == ("float", 60_000)
    assert duty["command"].startswith("payctl float topup momo --amount 60000 --currency XOF")
    assert ("floats", "warn") in findings(go)
    kit.clock.advance(timedelta(minutes=1))
    holds(kit, 140_000)
    run_watch(go)
    assert check(go("today", "--json").json)["items"] == []
    assert ("floats", "ok") in findings(go)


def run_watch(go: Run) -> Result:
    return go("jobs", "run", "float_watch")


def findings(go: Run) -> list[tuple[str, str]]:
    items = go("doctor", "--offline", "--json").json["items"]
    return [(each["check"], each["status"]) for each in items]


def test_a_provider_that_does_not_answer_is_said_and_the_others_are_shown(
    go: Run, kit: Kit
) -> None:
    def away() -> list[BalanceLine]:
        raise NotSent("gateway.unreachable", account="cards", why="down")

    kit.gateways["cards"].balance = away  # type: ignore[method-assign]
    holds(kit, 5)
    done = go("gateways", "balance", "--json")
    assert done.code == 9 and "cards" in done.err
    assert check(done.json)["failed"] == [{"gateway": "cards", "code": "gateway.unreachable"}]
    assert {each["gateway"] for each in done.json["items"]} == {"momo"}


# -- health ---------------------------------------------------------------------------------------


def test_health_tells_the_last_success_and_survives_a_missing_key(go: Run, kit: Kit) -> None:
    with kit.app.db.transaction() as tx:
        kit.app.breakers.record(tx, "cards", "collect", Answer(Outcome.SUCCEEDED))

    def no_key() -> Health:
        raise NotConfigured("config.secret_unset", field="gateways.momo.key")

    kit.gateways["momo"].ping = no_key  # type: ignore[method-assign]
    done = go("gateways", "health", "--json")
    cards, momo = check(done.json)["items"]
    assert done.code == 9
    assert (cards["ok"], cards["last_success_at"]) == (True, "2026-11-02T09:00:00.000Z")
    assert (momo["ok"], momo["detail"], momo["last_success_at"]) == (
        False, "config.secret_unset", None,
    )  # fmt: skip


def test_watching_asks_again_until_its_time_is_over(go: Run, kit: Kit) -> None:
    asked: list[Any] = []

    def ping() -> Health:
        asked.append(kit.clock.now())
        return Health(len(asked) > 1, 1, "")

    kit.gateways["cards"].ping = ping  # type: ignore[method-assign]
    done = go("gateways", "health", "cards", "--watch", "--for", "1m", "--json")
    assert done.code == 0, "the last look counts"
    assert len(asked) == 13 and (asked[1] - asked[0]).total_seconds() == 5


def test_all_are_asked_at_once_within_a_bound() -> None:
    busy, most = 0, 0
    lock = threading.Lock()

    def question(_gateway: Any) -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.03)
        with lock:
            busy -= 1
        return 1

    names: Any = {f"g{number:02}": None for number in range(3 * WORKERS)}
    started = time.monotonic()
    assert [name for name, _ in ask_all(names, question)] == list(names)
    assert most == WORKERS
    assert time.monotonic() - started < len(names) * 0.03 / 2


# -- terms ----------------------------------------------------------------------------------------


def test_limits_and_fees_have_a_history(go: Run, kit: Kit) -> None:
    limit = ("gateways", "limits", "set", "cards", "--currency", "EUR", *WHY)
    go(*limit, "--max", "20.00")
    go(*limit, "--lift")
    past = check(go("gateways", "limits", "list", "cards", "--history", "--json").json)["items"]
    assert [each["max_minor"] for each in past] == [None, 2000]
    fee = ("gateways", "fees", "set", "cards", "--currency", "EUR", *WHY)
    go(*fee, "--percent", "1.4")
    go(*fee, "--percent", "1.2")
    past = check(go("gateways", "fees", "list", "--history", "--json").json)["items"]
    assert [each["rate_ppm"] for each in past] == [12_000, 14_000]


def test_a_mistyped_bank_is_refused_with_the_names_there_are(go: Run) -> None:
    assert go(*TOPUP, "--amount", "500000", "--key", "f-1").code == 0
    wrong = tuple("bao" if word == "boa" else word for word in TOPUP)
    refused = go(*wrong, "--amount", "500000", "--key", "f-2")
    assert refused.code == 2
    assert "bao" in refused.err and "boa (XOF)" in refused.err and "--new-bank" in refused.err
    assert go(*wrong, "--amount", "500000", "--key", "f-2", "--new-bank").code == 0
