"""Tells a command of findings that newly fail or recover, for machines that no Prometheus watches.

What was told is kept in the book, so it does not matter which machine runs the job. News counts as
told when the command has ended with 0; the id of each is fixed before it is first told, so that a
command which was told twice (the process died between its end and our note of it) can see that.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.insight.findings import FAIL, OK, WARN, Finding, Report
from payctl.insight.health import Health
from payctl.insight.tables import alert

SCHEMA = "payctl.alerts/1"
FAILING, RECOVERED = "failing", "recovered"
#: What is told of a failing command's own words.
_WORDS = 300


@dataclass(frozen=True, slots=True)
class News:
    """One thing to tell: a finding that fails, or that has recovered."""

    finding: str
    id: UUID
    state: str
    since: datetime
    told: bool
    content: Mapping[str, Any]

    @property
    def fresh(self) -> bool:
        """Whether the command does not know it yet."""
        return self.told is (self.state == RECOVERED)


@dataclass(frozen=True, slots=True)
class AlertReport:
    """What a run found and did. ``error`` says why the command did not take the news."""

    failing: int
    told_failing: int = 0
    told_recovered: int = 0
    error: str | None = None


class Alerts:
    """Compares what fails with what was told, and tells the difference.

    Args:
        command: program and arguments; empty: nobody is told and nothing is remembered.
        timeout_s: how long the command may take before it is ended.
        level: ``fail``, or ``warn`` to tell of warnings too.
    """

    def __init__(
        self, db: Database, health: Health, command: Sequence[str], timeout_s: float, level: str
    ) -> None:
        self._db = db
        self._health = health
        self._command = list(command)
        self._timeout_s = timeout_s
        self._levels = {FAIL, WARN} if level == WARN else {FAIL}

    def run(self, actor: Actor) -> AlertReport:
        """Look once, and tell what is new.

        Raises:
            Forbidden: ``operator.not_allowed``. Unavailable: the database's errors.
        """
        require(actor, "alert.run")
        report = self._health.detailed(network=True)
        bad = {found.key: found for found in report.findings if found.status in self._levels}
        if not self._command:
            return AlertReport(len(bad))
        news = self._db.run(lambda tx: self._compare(tx, report, bad))
        if not news:
            return AlertReport(len(bad))
        error = self._tell(self._document(report, news))
        if error is not None:
            return AlertReport(len(bad), error=error)
        self._db.run(lambda tx: _note(tx, news))
        failing = sum(each.state == FAILING for each in news)
        return AlertReport(len(bad), failing, len(news) - failing)

    # -- what is new ------------------------------------------------------------------------------

    def _compare(self, tx: sa.Connection, report: Report, bad: Mapping[str, Finding]) -> list[News]:
        """Bring the rows up to what was found; returns what is to be told."""
        known = {row.finding: News(*row) for row in tx.execute(sa.select(alert))}
        # A check that could not be done says nothing about what it found before.
        blind = {found.check for found in report.findings if found.about == "error"}
        after: list[News] = []
        for key in sorted(known.keys() | bad.keys()):
            before, now = known.get(key), bad.get(key)
            if now is not None:
                after.append(self._failing(key, before, now))
            elif before is not None and before.content["check"] in blind:
                after.append(before)
            elif before is not None and before.told:
                after.append(self._recovered(before))
        _write(tx, known, {each.finding: each for each in after})
        return [each for each in after if each.fresh]

    def _failing(self, key: str, before: News | None, found: Finding) -> News:
        content = found.as_json()
        worse = before is not None and before.content["status"] != FAIL and found.status == FAIL
        if before is None or worse:
            now = self._db.clock.now()
            return News(key, self._db.ids.new(now), FAILING, now, False, content)
        # Failing again before anybody was told that it had recovered: they know.
        return replace(before, state=FAILING, content=content)

    def _recovered(self, before: News) -> News:
        if before.state == RECOVERED:
            return before
        now = self._db.clock.now()
        id_ = self._db.ids.new(now)
        return News(before.finding, id_, RECOVERED, now, True, before.content)

    # -- telling ----------------------------------------------------------------------------------

    def _document(self, report: Report, news: Sequence[News]) -> str:
        return json.dumps(
            {
                "schema": SCHEMA,
                "status": report.status,
                "at": _text(report.at),
                "book": self._db.describe(),
                **{
                    state: [_as_json(each) for each in news if each.state == state]
                    for state in (FAILING, RECOVERED)
                },
            },
            ensure_ascii=False,
        )

    def _tell(self, document: str) -> str | None:
        """Hand the document to the command; says what went wrong. No shell takes part."""
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own configuration names it
                self._command,
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True, encoding="utf-8", errors="replace", start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            return os.strerror(error.errno) if error.errno else type(error).__name__
        try:
            _out, said = process.communicate(document, timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            _end(process)
            return f"ended after {self._timeout_s} s"
        if process.returncode:
            words = (said.strip().splitlines() or [""])[-1][:_WORDS]
            return f"exit status {process.returncode} {words}".strip()
        return None


def _end(process: subprocess.Popen[str]) -> None:
    """End a command and whatever it started: its session is its own, and holds nothing else. It has
    not been waited for, so its number is still its own.
    """
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _write(tx: sa.Connection, before: Mapping[str, News], after: Mapping[str, News]) -> None:
    for key in before.keys() - after.keys():
        tx.execute(sa.delete(alert).where(alert.c.finding == key))
    for key, each in after.items():
        values = {name: getattr(each, name) for name in News.__dataclass_fields__}
        if key not in before:
            tx.execute(sa.insert(alert).values(values))
        elif before[key] != each:
            tx.execute(sa.update(alert).where(alert.c.finding == key).values(values))


def _note(tx: sa.Connection, news: Sequence[News]) -> None:
    """They have been told: what recovered is forgotten."""
    for each in news:
        same = (alert.c.finding == each.finding, alert.c.id == each.id)
        if each.state == RECOVERED:
            tx.execute(sa.delete(alert).where(*same))
        else:
            tx.execute(sa.update(alert).where(*same).values(told=True))


def _as_json(news: News) -> dict[str, Any]:
    params = ", ".join(f"{name}={value}" for name, value in news.content["params"].items())
    text = f"{news.content['check']}: {news.content['code']} ({params})"
    status = OK if news.state == RECOVERED else news.content["status"]
    told = {"id": str(news.id), "since": _text(news.since), "text": text}
    return {**told, **news.content, "status": status}


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
