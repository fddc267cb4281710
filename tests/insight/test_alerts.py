"""The alert command hears of each trouble once, and of its end once."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import jobs
from payctl.app import App
from payctl.clock import ManualClock
from payctl.config import load
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.errors import Forbidden
from payctl.insight.alerts import Alerts
from payctl.insight.findings import Finding, Report
from payctl.insight.tables import alert
from tests.cli.schemas import check

pytestmark = pytest.mark.integration
#: What a comparison decides does not depend on the database that keeps its rows.
embedded = pytest.mark.parametrize("engine_name", ["sqlite"])
ACTOR = Actor("job:alerts", frozenset({"job.alert"}), kind="job")

#: Appends what it is given to a file; fails while another one is there.
_SCRIPT = """
import pathlib, sys
text = sys.stdin.read()
if pathlib.Path(sys.argv[2]).exists():
    sys.exit("no network")
with open(sys.argv[1], "a") as out:
    out.write(text + "\\n")
"""


class Desk:
    """A command that writes down what it hears, and what is wrong as it is said."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.db, self.heard_file, self.down = db, folder / "heard", folder / "down"
        self.script = folder / "tell.py"
        self.script.write_text(_SCRIPT)
        self.wrong: list[Finding] = []

    def detailed(self, *, network: bool) -> Report:
        return Report(self.wrong, self.db.clock.now())

    def run(self, level: str = "warn", **other: Any) -> Any:
        command = [sys.executable, "-S", str(self.script), str(self.heard_file), str(self.down)]
        given = {"command": command, "timeout_s": 20, "level": level, **other}
        return Alerts(self.db, self, **given).run(ACTOR)  # type: ignore[arg-type]

    def heard(self) -> list[tuple[list[str], list[str]]]:
        """What the command was told since it was last asked: what fails, what has recovered."""
        if not self.heard_file.exists():
            return []
        lines = [check(json.loads(line)) for line in self.heard_file.read_text().splitlines()]
        self.heard_file.unlink()
        self.last = lines[-1]
        return [
            ([x["check"] for x in line["failing"]], [x["check"] for x in line["recovered"]])
            for line in lines
        ]


@pytest.fixture
def desk(db: Database, tmp_path: Path) -> Desk:
    return Desk(db, tmp_path)


def bad(check: str, status: str = "fail", about: str = "") -> Finding:
    return Finding(check, status, "doctor.inbox_late", {"count": 1}, "payctl doctor", about)


def test_each_trouble_and_each_recovery_is_told_once(desk: Desk, clock: ManualClock) -> None:
    assert desk.run().failing == 0 and desk.heard() == []
    desk.wrong = [bad("inbox", about="a"), Finding("disk", "ok", "doctor.disk", {})]
    assert desk.run().told_failing == 1
    assert desk.heard() == [(["inbox"], [])]
    told = desk.last["failing"][0]
    assert (told["about"], told["fix"]) == ("a", "payctl doctor")
    assert "doctor.inbox_late" in told["text"]
    clock.advance(timedelta(hours=1))
    desk.wrong = [bad("inbox", about="a"), bad("inbox", about="b")]
    desk.run()
    assert desk.heard() == [(["inbox"], [])] and desk.last["failing"][0]["about"] == "b"
    desk.wrong = [bad("inbox", about="b")]
    assert desk.run().told_recovered == 1
    assert desk.heard() == [([], ["inbox"])] and desk.last["recovered"][0]["status"] == "ok"
    desk.run()
    assert desk.heard() == []
    desk.wrong = [bad("inbox", about="a"), bad("inbox", about="b")]
    desk.run()
    assert desk.heard() == [(["inbox"], [])], "it fails anew"


def test_news_that_was_not_taken_is_told_again_under_its_id(desk: Desk) -> None:
    desk.down.touch()
    desk.wrong = [bad("inbox")]
    assert desk.run().error == "exit status 1 no network"
    with desk.db.read() as tx:
        [row] = tx.execute(sa.select(alert)).all()
    desk.run()
    desk.down.unlink()
    desk.run()
    assert desk.heard() == [(["inbox"], [])]
    assert desk.last["failing"][0]["id"] == str(row.id)
    desk.down.touch()
    desk.wrong = []
    assert desk.run().error and desk.run().error
    desk.wrong = [bad("inbox")]
    assert desk.run().error is None, "they know that it fails: nothing is new"
    desk.down.unlink()
    desk.wrong = []
    desk.run()
    assert desk.heard() == [([], ["inbox"])]


@embedded
def test_what_ends_before_it_was_told_is_never_told(desk: Desk) -> None:
    desk.down.touch()
    desk.wrong = [bad("inbox")]
    desk.run()
    desk.down.unlink()
    desk.wrong = []
    desk.run()
    assert desk.heard() == []
    with desk.db.read() as tx:
        assert tx.execute(sa.select(alert)).all() == []


@embedded
def test_warnings_are_told_if_wanted_and_again_when_they_get_worse(desk: Desk) -> None:
    desk.wrong = [bad("outbox", "warn")]
    desk.run("fail")
    assert desk.heard() == []
    desk.run()
    desk.run()
    desk.wrong = [bad("outbox")]
    desk.run()
    desk.wrong = [bad("outbox", "warn")]
    desk.run()
    assert desk.heard() == [(["outbox"], [])] * 2
    assert desk.last["failing"][0]["status"] == "fail"


@embedded
def test_a_check_that_could_not_be_done_recovers_nothing(desk: Desk) -> None:
    desk.wrong = [bad("inbox", about="a")]
    desk.run()
    desk.wrong = [bad("inbox", about="error")]
    desk.run()
    desk.wrong = [bad("inbox", about="a")]
    desk.run()
    assert desk.heard() == [(["inbox"], []), (["inbox"], []), ([], ["inbox"])]


@embedded
def test_a_command_that_hangs_is_ended_with_all_it_started(desk: Desk, tmp_path: Path) -> None:
    note = tmp_path / "child"
    desk.wrong = [bad("inbox")]
    line = f"sleep 300 & echo $! > {shlex.quote(str(note))}; wait"
    report = desk.run(command=["/bin/sh", "-c", line], timeout_s=0.3)
    assert report.error == "ended after 0.3 s"
    child = Path(f"/proc/{note.read_text().strip()}/stat")
    try:
        state = child.read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        state = "gone"
    assert state in ("gone", "Z", "X")
    assert desk.run(command=["/no/such/program"]).error == "No such file or directory"
    desk.run()
    assert desk.heard() == [(["inbox"], [])]


@embedded
def test_who_has_no_command_is_told_nothing_and_later_everything(desk: Desk) -> None:
    desk.wrong = [bad("inbox")]
    assert desk.run(command=[]).failing == 1
    desk.run()
    assert desk.heard() == [(["inbox"], [])]
    with pytest.raises(Forbidden):
        Alerts(desk.db, desk, [], 1, "warn").run(Actor("ama", frozenset({"admin"})))  # type: ignore[arg-type]


def test_the_job_runs_the_configured_program_without_a_shell(
    db: Database, desk: Desk, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    words = [sys.executable, "-S", str(desk.script), str(desk.heard_file), f"$(touch {trap})"]
    environ = {"HOME": str(tmp_path),
               "PAYCTL_ALERTS_COMMAND": f"{shlex.join(words)} ; touch {trap}"}  # fmt: skip
    app = App(load(environ=environ), db)
    report = jobs.run(app, "alerts")
    assert (report.failed, report.counts["told_failing"] > 0) == (0, True)
    [(failing, recovered)] = desk.heard()
    assert "migrations" in failing and recovered == [] and not trap.exists()
    assert jobs.run(app, "alerts").counts["told_failing"] == 0
