"""The log: one line an event, and nothing in it that must not be kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from payctl import log, secret
from payctl.clock import ManualClock

pytestmark = pytest.mark.unit

CARD = "4242 4242 4242 4242"


@pytest.fixture
def file(tmp_path: Path, clock: ManualClock) -> Iterator[Path]:
    path = tmp_path / "state" / "payctl.log"
    log.configure(path, "info", clock)
    yield path
    log.configure(None)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_when_what_and_which_run(file: Path) -> None:
    log.info("payment.created", id="pay_1", amount_minor=2500)
    log.warning("slow", ms=900)
    first, second = lines(file)
    assert first["at"] == "2026-11-02T09:00:00.000+00:00"
    assert (first["event"], first["amount_minor"], first["level"]) == (
        "payment.created",
        2500,
        "info",
    )
    assert first["run"] == second["run"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_level_decides_what_is_written(file: Path) -> None:
    log.debug("quiet")
    log.error("loud")
    assert [line["event"] for line in lines(file)] == ["loud"]


@pytest.mark.parametrize(
    ("text", "forbidden"),
    [
        (f"card {CARD}", CARD),
        (f"card {CARD.replace(' ', '')}", "4242424242424242"),
        ("call +225 07 08 09 10 34", "08 09 10"),
        ("key sk_live_abcdefgh123", "abcdefgh"),
        ("hook whsec_abcdefgh123", "abcdefgh"),
        ("pi_1_secret_abcdefgh123", "abcdefgh"),
        ("Authorization: Bearer abcdefgh.ijk", "abcdefgh"),
        ("postgresql://user:passw0rd@host/db", "passw0rd"),
        ("mail client.name@example.com", "client.name"),
    ],
)
def test_nothing_forbidden_gets_in(file: Path, text: str, forbidden: str) -> None:
    log.info("event", plain=text, nested={"deep": [text]}, thing=RuntimeError(text))
    try:
        raise ValueError(text)
    except ValueError as error:
        log_id = log.exception(error)
    written = file.read_text()
    assert forbidden not in written
    assert log_id in written and "ValueError" in written


def test_a_card_number_is_none_the_less_one_as_an_integer(file: Path) -> None:
    log.info("event", number=4242424242424242)
    assert "4242424242424242" not in file.read_text()


def test_a_secret_that_was_resolved_is_taken_out(file: Path) -> None:
    secret.remember("resolved-secret-1")
    log.info("event", url="https://x/?k=resolved-secret-1")
    assert "resolved-secret-1" not in file.read_text()


def test_lines_of_many_writers_do_not_mix(file: Path) -> None:
    def write(name: int) -> None:
        for _ in range(50):
            log.info("event", writer=name, filler="x" * 500)

    writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(lines(file)) == 200


def test_a_log_that_cannot_be_written_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    log.configure(blocked / "payctl.log")
    log.info("event")
    log.configure(None)
    assert "could not be written" in capsys.readouterr().err


def test_a_grown_file_is_kept_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_BYTES", 100)
    for number in range(3):
        log.info("event", number=number, filler="x" * 100)
    assert [line["number"] for line in lines(file)] == [2]
    assert [line["number"] for line in lines(file.with_name("payctl.log.1"))] == [1]
