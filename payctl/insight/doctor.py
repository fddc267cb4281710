"""Is this installation healthy? One finding per check, each with the line that fixes it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from payctl.config import Config
from payctl.db import migrate
from payctl.db.engine import Database
from payctl.db.job_runs import JobRun
from payctl.db.types import Moment
from payctl.errors import PayctlError
from payctl.gateways.base import Gateway
from payctl.insight.gateway_health import ping
from payctl.money import format_amount, format_money
from payctl.payments.float_watch import FloatLevel, levels
from payctl.payments.gateway_tables import breaker
from payctl.payments.provider_readings import ask_all
from payctl.payments.tables import attempt
from payctl.webhooks.tables import webhook_event

OK, WARN, FAIL = "ok", "warn", "fail"
#: A clock further from the database's than this makes leases and due times wrong.
SKEW_WARN, SKEW_FAIL = timedelta(seconds=2), timedelta(seconds=30)
DISK_WARN_BYTES, DISK_FAIL_BYTES = 2 * 1024**3, 256 * 1024**2
#: An unknown outcome older than this has outlived every usual answer.
UNKNOWN_WARN, UNKNOWN_FAIL = timedelta(hours=1), timedelta(hours=24)
#: A job is late after this many of its periods.
LATE_PERIODS = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. ``code`` and ``params`` name the sentence; ``fix`` is a command."""

    check: str
    status: str
    code: str
    params: Mapping[str, object]
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often a job should run, in seconds."""

    name: str
    every_s: int


class Doctor:
    """The checks, in the order in which a failure explains the next one.

    Args:
        gateways: builds the accounts; called late, because a wrong key is a finding, not an end.
        last_runs: the newest run of each job.
    """

    def __init__(
        self,
        config: Config,
        db: Database,
        gateways: Callable[[], Mapping[str, Gateway]],
        schedules: Callable[[], list[Schedule]],
        last_runs: Callable[[], Mapping[str, JobRun]],
    ) -> None:
        self._config = config
        self._db = db
        self._gateways = gateways
        self._schedules = schedules
        self._last_runs = last_runs

    def findings(self, *, network: bool = True) -> Iterator[Finding]:
        """Every finding; *network* also asks the providers."""
        yield from self._guarded("config", self._configuration)
        yield from self._guarded("disk", self._disk)
        database = list(self._guarded("database", self._database))
        yield from database
        if all(found.status != FAIL for found in database):
            for name, check in (
                ("clock", self._clock),
                ("jobs", self._jobs),
                ("breakers", self._breakers),
                ("unknown", self._unknown),
                ("floats", self._floats),
                ("dead_letters", self._dead_letters),
            ):
                yield from self._guarded(name, check)
        if network:
            yield from self._guarded("gateways", self._gateway_pings)

    def _guarded(self, name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
        """A check that cannot be done is a finding with the error's own sentence."""
        try:
            yield from check()
        except PayctlError as error:
            yield Finding(name, FAIL, error.code, {"field": error.field or "-", **error.params})

    # -- checks ---------------------------------------------------------------------------------

    def _configuration(self) -> Iterator[Finding]:
        for problem in self._config.problems:
            raise problem
        mode = "live" if self._config.live else "test"
        about = {"profile": self._config.profile, "mode": mode}
        yield Finding("config", OK, "doctor.config_ok", about)

    def _database(self) -> Iterator[Finding]:
        found = migrate.status(self._db)
        about = {"place": self._db.describe(), "revision": found.revision or "-",
                 "head": found.head}  # fmt: skip
        if found.ready:
            yield Finding("database", OK, "doctor.database_ok", about)
        else:
            fix = "payctl db upgrade"
            yield Finding("database", FAIL, "doctor.database_behind", about, fix)

    def _clock(self) -> Iterator[Finding]:
        if self._db.is_sqlite:
            return
        with self._db.read() as tx:
            theirs = tx.execute(sa.select(sa.func.clock_timestamp(type_=Moment()))).scalar_one()
        skew = abs(theirs - self._db.clock.now())
        status = FAIL if skew > SKEW_FAIL else WARN if skew > SKEW_WARN else OK
        milliseconds = int(skew / timedelta(milliseconds=1))
        fix = None if status == OK else "timedatectl set-ntp true"
        yield Finding("clock", status, "doctor.clock", {"milliseconds": milliseconds}, fix)

    def _disk(self) -> Iterator[Finding]:
        if not self._db.is_sqlite:
            return
        folder = Path(str(self._db.url.database)).resolve().parent
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        status = FAIL if free < DISK_FAIL_BYTES else WARN if free < DISK_WARN_BYTES else OK
        about = {"folder": str(folder), "free_mib": free // 1024**2}
        yield Finding("disk", status, "doctor.disk", about)

    def _jobs(self) -> Iterator[Finding]:
        last, now = self._last_runs(), self._db.clock.now()
        for job in self._schedules():
            run = last.get(job.name)
            fix = f"payctl jobs run {job.name}"
            if run is None:
                yield Finding("jobs", WARN, "doctor.job_never", {"job": job.name}, fix)
            elif run.state in ("failed", "lost"):
                about = {"job": job.name, "at": _at(run.started_at), "why": run.error or run.state}
                yield Finding("jobs", FAIL, "doctor.job_failed", about, fix)
            elif now - run.started_at > timedelta(seconds=LATE_PERIODS * job.every_s):
                about = {"job": job.name, "at": _at(run.started_at)}
                yield Finding("jobs", WARN, "doctor.job_late", about, fix)
            else:
                about = {"job": job.name, "at": _at(run.started_at)}
                yield Finding("jobs", OK, "doctor.job_ok", about)

    def _breakers(self) -> Iterator[Finding]:
        query = sa.select(breaker).where(breaker.c.state != "closed")
        with self._db.read() as tx:
            rows = tx.execute(query.order_by(breaker.c.account, breaker.c.op_class)).all()
        for row in rows:
            about = {"account": row.account, "op_class": row.op_class, "state": row.state,
                     "since": _at(row.since), "reason": row.reason or "-"}  # fmt: skip
            fix = f"payctl gateways breaker show {row.account}"
            yield Finding("breakers", WARN, "doctor.breaker_open", about, fix)
        if not rows:
            yield Finding("breakers", OK, "doctor.breakers_ok", {})

    def _unknown(self) -> Iterator[Finding]:
        query = sa.select(sa.func.count(), sa.func.min(attempt.c.created_at)).where(
            attempt.c.state.in_(("unknown", "quarantined", "sending")),
            attempt.c.created_at < self._db.clock.now() - UNKNOWN_WARN,
        )
        with self._db.read() as tx:
            count, oldest = tx.execute(query).one()
        if not count:
            yield Finding("unknown", OK, "doctor.unknown_none", {})
            return
        age = self._db.clock.now() - oldest
        status = FAIL if age > UNKNOWN_FAIL else WARN
        about = {"count": int(count), "oldest": _at(oldest)}
        yield Finding("unknown", status, "doctor.unknown_old", about, "payctl payments sync")

    def _floats(self) -> Iterator[Finding]:
        """As the providers last told: the job that asks them has a finding of its own."""
        with self._db.read() as tx:
            found = levels(tx)
        for each in found:
            about = {
                "account": each.account, "currency": each.currency,
                "below": format_money(each.below_minor, each.currency),
            }  # fmt: skip
            if each.available_minor is None or each.read_at is None:
                fix = "payctl jobs run float_watch"
                yield Finding("floats", WARN, "doctor.float_unread", about, fix)
                continue
            about |= {"at": _at(each.read_at)}
            about |= {"available": format_money(each.available_minor, each.currency)}
            if each.missing_minor:
                yield Finding("floats", WARN, "doctor.float_low", about, fill(each))
            else:
                yield Finding("floats", OK, "doctor.float_ok", about)

    def _dead_letters(self) -> Iterator[Finding]:
        dead = sa.select(sa.func.count()).where(webhook_event.c.state == "dead")
        with self._db.read() as tx:
            count = int(tx.execute(dead).scalar_one())
        if count:
            fix = "payctl webhooks dead list"
            yield Finding("dead_letters", FAIL, "doctor.dead_letters", {"count": count}, fix)
        else:
            yield Finding("dead_letters", OK, "doctor.dead_letters_none", {})

    def _gateway_pings(self) -> Iterator[Finding]:
        for name, health in ask_all(self._gateways(), ping):
            about = {"account": name, "milliseconds": health.latency_ms, "detail": health.detail}
            code = "doctor.gateway_ok" if health.ok else "doctor.gateway_down"
            fix = None if health.ok else f"payctl gateways show {name}"
            yield Finding("gateways", OK if health.ok else FAIL, code, about, fix)


def fill(level: FloatLevel) -> str:
    """The command that fills a low float up to its alarm."""
    amount = format_amount(level.missing_minor, level.currency)
    return (
        f"payctl float topup {level.account} --amount {amount} --currency {level.currency}"
        " --from BANK --reason TEXT"
    )


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
