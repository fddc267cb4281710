"""The log: one line an event, and nothing in it that must not be kept."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from payctl import log, log_file, secret
from payctl.clock import ManualClock

pytestmark = pytest.mark.unit

CARD = "4242 4242 4242 4242"


@pytest.fixture
def file(tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # What other tests have resolved in this process is no secret here.
    monkeypatch.setattr(secret, "_known", set())
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
    assert first["correlation_id"] == second["correlation_id"]
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


def test_what_a_caller_named_joins_what_is_done_for_it(file: Path) -> None:
    log.info("before")
    with log.correlated("req-7"):
        log.info("inside")
        assert log.correlation() == "req-7"
    log.info("after")
    before, inside, after = (line["correlation_id"] for line in lines(file))
    assert before == after == log.correlation() != inside == "req-7"


def yesterday(path: Path, days: int, now: datetime) -> None:
    """Let *path* look as if its last line were so many days old."""
    moment = (now - timedelta(days=days)).timestamp()
    os.utime(path, (moment, moment))


def test_the_first_line_of_a_day_puts_the_file_of_the_days_before_away(
    file: Path, clock: ManualClock
) -> None:
    log.info("event", number=1)
    yesterday(file, 1, clock.now())
    log.info("event", number=2)
    yesterday(file, 0, clock.now())
    log.info("event", number=3)
    assert [line["number"] for line in lines(file)] == [2, 3]
    assert [line["number"] for line in lines(file.with_name("payctl.log.2026-11-01"))] == [1]


def test_files_older_than_thirty_days_go_and_younger_ones_stay(
    file: Path, clock: ManualClock
) -> None:
    for days in (31, 29):
        log.info("event", days=days)
        yesterday(file, days, clock.now())
    log.info("event", days=0)
    kept = {path.name for path in file.parent.glob("payctl.log.2*")}
    assert kept == {"payctl.log.2026-10-04"}


def test_logrotate_may_do_it_instead(file: Path, clock: ManualClock) -> None:
    log.configure(file, "info", clock, keep_days=0)
    for number in range(2):
        log.info("event", number=number)
        yesterday(file, 1, clock.now())
    assert [line["number"] for line in lines(file)] == [0, 1]
    file.rename(file.with_name("taken-away"))
    log.info("event", number=2)
    assert [line["number"] for line in lines(file)] == [2]


def test_a_file_that_has_grown_too_much_is_put_away_within_its_day(
    file: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "MAX_BYTES", 100)
    for number in range(3):
        log.info("event", number=number, filler="x" * 100)
        yesterday(file, 0, clock.now())
    day = f"{file.name}.2026-11-02"
    numbers = [lines(file.with_name(name))[0]["number"] for name in (day, f"{day}.1", file.name)]
    assert numbers == [0, 1, 2]


def test_many_processes_put_a_file_away_once(file: Path, clock: ManualClock) -> None:
    """Nobody's line is lost, and no file is put away over another."""
    log.info("event", number=0)
    yesterday(file, 1, datetime.now(UTC))
    code = (
        "import sys; from pathlib import Path; from payctl import log; log.configure(Path("
        "sys.argv[1]))\nfor number in range(50): log.info('event', number=number)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(file)]) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    [old] = file.parent.glob("payctl.log.2*")
    assert (len(lines(old)), len(lines(file))) == (1, 200)


def test_lines_go_to_a_stream_instead(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for to in ("stdout", "stderr"):
        log.configure(file, to=to)
        log.info("event", to=to)
    out, err = capsys.readouterr()
    assert (json.loads(out)["to"], json.loads(err)["to"]) == ("stdout", "stderr")
    assert not file.exists()


@pytest.mark.parametrize("kind", [socket.AF_UNIX, socket.AF_INET])
def test_lines_go_to_syslog_as_well(file: Path, tmp_path: Path, kind: int) -> None:
    with socket.socket(kind, socket.SOCK_DGRAM) as server:
        server.settimeout(5)
        if kind == socket.AF_UNIX:
            server.bind(where := str(tmp_path / "log"))
        else:
            server.bind(("127.0.0.1", 0))
            where = f"127.0.0.1:{server.getsockname()[1]}"
        log.configure(file, syslog=where)
        log.warning("slow", card=CARD)
        got = server.recv(4000).decode()
    # facility user (1), severity warning (4): RFC 5424, 6.2.1
    assert got.startswith("<12>payctl: {")
    assert json.loads(got[got.index("{") :].rstrip("\0"))["event"] == "slow"
    assert CARD not in got
    assert [line["event"] for line in lines(file)] == ["slow"]


def test_a_syslog_that_is_gone_stops_nothing(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure(file, syslog=str(tmp_path / "nobody"))
    log.info("event")
    assert "could not be written to syslog" in capsys.readouterr().err
    assert len(lines(file)) == 1


def test_the_example_for_logrotate_is_one(tmp_path: Path) -> None:
    if (logrotate := shutil.which("logrotate", path="/usr/sbin:/usr/bin")) is None:
        pytest.skip("logrotate is not installed")
    example = (Path(__file__).parents[1] / "deploy/logrotate/payctl").read_text()
    config = tmp_path / "payctl"
    (tmp_path / "payctl.log").write_text("line\n")
    text = example.replace("/var/log/payctl", str(tmp_path)).replace("0600 payctl payctl", "0600")
    config.write_text(text)
    config.chmod(0o644)
    words = [logrotate, "--debug", "--force", "--state", str(tmp_path / "state"), str(config)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "log needs rotating" in done.stderr and "error" not in done.stderr.lower()
