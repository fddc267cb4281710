"""Checks that ask the book: what waits, what is late, what is broken. Nobody else is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.db.job_runs import JobRun
from payctl.db.types import Moment
from payctl.insight import signs
from payctl.insight.findings import FAIL, LATE_PERIODS, OK, WARN, Finding, Schedule, fill, moment
from payctl.insight.outbox_lag import outbox_lag
from payctl.money import format_money
from payctl.payments.float_watch import levels
from payctl.payments.gateway_tables import breaker

#: A clock further from the database's than this makes leases and due times wrong.
SKEW_WARN, SKEW_FAIL = timedelta(seconds=2), timedelta(seconds=30)
#: An unknown outcome older than this has outlived every usual answer.
UNKNOWN_WARN, UNKNOWN_FAIL = timedelta(hours=1), timedelta(hours=24)
#: What came in or should have gone out and still lies here.
LAG_WARN, LAG_FAIL = timedelta(minutes=5), timedelta(hours=1)
#: A provider is silent when it pauses for so many times its longest usual pause, and for so long
#: at least, while payments wait for it.
SILENT_PAUSES, SILENT_LEAST = 3, timedelta(minutes=10)


class BookChecks:
    """The checks by name, in the order they are told.

    Args:
        names: accounts of the profile.
        last_runs: the newest run of each job.
    """

    def __init__(
        self,
        db: Database,
        names: Iterable[str],
        schedules: Callable[[], list[Schedule]],
        last_runs: Callable[[], Mapping[str, JobRun]],
    ) -> None:
        self._db = db
        self._names = list(names)
        self._schedules = schedules
        self._last_runs = last_runs

    def all(self) -> dict[str, Callable[[], Iterator[Finding]]]:
        """Every check by its name."""
        return {
            "clock": self._clock,
            "jobs": self._jobs,
            "breakers": self._breakers,
            "unknown": self._unknown,
            "webhooks": self._webhooks,
            "inbox": self._inbox,
            "dead_letters": self._dead_letters,
            "outbox": self._outbox,
            "floats": self._floats,
            "ledger": self._ledger,
        }

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

    def _jobs(self) -> Iterator[Finding]:
        last, now = self._last_runs(), self._db.clock.now()
        for job in self._schedules():
            run, name = last.get(job.name), job.name
            fix = f"payctl jobs run {name}"
            if run is None:
                yield Finding("jobs", WARN, "doctor.job_never", {"job": name}, fix, name)
            elif run.state in ("failed", "lost"):
                why = {"job": name, "at": moment(run.started_at), "why": run.error or run.state}
                yield Finding("jobs", FAIL, "doctor.job_failed", why, fix, name)
            elif now - run.started_at > timedelta(seconds=LATE_PERIODS * job.every_s):
                told = {"job": name, "at": moment(run.started_at)}
                yield Finding("jobs", WARN, "doctor.job_late", told, fix, name)
            else:
                told = {"job": name, "at": moment(run.started_at)}
                yield Finding("jobs", OK, "doctor.job_ok", told, None, name)

    def _breakers(self) -> Iterator[Finding]:
        query = sa.select(breaker).where(breaker.c.state != "closed")
        with self._db.read() as tx:
            rows = tx.execute(query.order_by(breaker.c.account, breaker.c.op_class)).all()
        for row in rows:
            told = {"account": row.account, "op_class": row.op_class, "state": row.state,
                    "since": moment(row.since), "reason": row.reason or "-"}  # fmt: skip
            fix = f"payctl gateways breaker show {row.account}"
            about = f"{row.account}/{row.op_class}"
            yield Finding("breakers", WARN, "doctor.breaker_open", told, fix, about)
        if not rows:
            yield Finding("breakers", OK, "doctor.breakers_ok", {})

    def _unknown(self) -> Iterator[Finding]:
        now = self._db.clock.now()
        with self._db.read() as tx:
            found = signs.unknown_outcomes(tx, now)
        old = [each for each in found if now - each.oldest_at > UNKNOWN_WARN]
        for each in old:
            status = FAIL if now - each.oldest_at > UNKNOWN_FAIL else WARN
            told = {"account": each.provider, "count": each.number,
                    "oldest": moment(each.oldest_at)}  # fmt: skip
            fix = "payctl payments sync"
            yield Finding("unknown", status, "doctor.unknown_old", told, fix, each.provider)
        if not old:
            yield Finding("unknown", OK, "doctor.unknown_none", {})

    def _webhooks(self) -> Iterator[Finding]:
        """Providers that usually write and do not, while payments wait for their word."""
        now, silent = self._db.clock.now(), False
        with self._db.read() as tx:
            for waiting in signs.waiting_payments(tx):
                usual = signs.pulse(tx, waiting.provider)
                if usual is None:
                    continue
                patience = max(SILENT_LEAST, SILENT_PAUSES * usual.longest_pause)
                if min(now - usual.last_at, now - waiting.oldest_at) <= patience:
                    continue
                silent = True
                told = {
                    "account": waiting.provider, "count": waiting.number,
                    "last": moment(usual.last_at),
                    "usual_minutes": usual.longest_pause // timedelta(minutes=1),
                }  # fmt: skip
                fix = f"payctl webhooks list --gateway {waiting.provider}"
                yield Finding(
                    "webhooks", WARN, "doctor.webhooks_silent", told, fix, waiting.provider
                )
        if not silent:
            yield Finding("webhooks", OK, "doctor.webhooks_ok", {})

    def _inbox(self) -> Iterator[Finding]:
        now = self._db.clock.now()
        with self._db.read() as tx:
            found = signs.inbox(tx)
        late = False
        for each in found:
            status = _lag(now, each.oldest_at)
            if status != OK and each.oldest_at is not None:
                late = True
                told = {"account": each.provider, "count": each.waiting,
                        "oldest": moment(each.oldest_at)}  # fmt: skip
                fix = "payctl jobs run webhook_apply"
                yield Finding("inbox", status, "doctor.inbox_late", told, fix, each.provider)
        if not late:
            yield Finding("inbox", OK, "doctor.inbox_ok", {})

    def _dead_letters(self) -> Iterator[Finding]:
        """Of both directions."""
        with self._db.read() as tx:
            inward = sum(each.dead for each in signs.inbox(tx))
            outward = outbox_lag(tx, self._db.clock.now()).dead
        if inward:
            fix = "payctl webhooks dead list"
            told = {"count": inward}
            yield Finding("dead_letters", FAIL, "doctor.dead_letters", told, fix, "inbox")
        if outward:
            fix = "payctl outbox dead list"
            told = {"count": outward}
            yield Finding("dead_letters", FAIL, "doctor.dead_notifications", told, fix, "outbox")
        if not inward and not outward:
            yield Finding("dead_letters", OK, "doctor.dead_letters_none", {})

    def _outbox(self) -> Iterator[Finding]:
        with self._db.read() as tx:
            lag = outbox_lag(tx, self._db.clock.now())
        status = _lag(self._db.clock.now(), lag.oldest_at)
        if status != OK and lag.oldest_at is not None:
            told = {"count": lag.count, "oldest": moment(lag.oldest_at)}
            yield Finding("outbox", status, "doctor.outbox_late", told, "payctl outbox relay")
        else:
            yield Finding("outbox", OK, "doctor.outbox_ok", {"count": lag.count})
        if lag.disabled:
            told = {"reason": lag.reason or "-"}
            fix = "payctl outbox enable --reason TEXT"
            yield Finding("outbox", FAIL, "doctor.outbox_disabled", told, fix, "disabled")

    def _floats(self) -> Iterator[Finding]:
        """As the providers last told: the job that asks them has a finding of its own."""
        with self._db.read() as tx:
            found = levels(tx)
        for each in found:
            told = {
                "account": each.account, "currency": each.currency,
                "below": format_money(each.below_minor, each.currency),
            }  # fmt: skip
            about = f"{each.account}/{each.currency}"
            if each.available_minor is None or each.read_at is None:
                fix = "payctl jobs run float_watch"
                yield Finding("floats", WARN, "doctor.float_unread", told, fix, about)
                continue
            told |= {"at": moment(each.read_at)}
            told |= {"available": format_money(each.available_minor, each.currency)}
            if each.missing_minor:
                yield Finding("floats", WARN, "doctor.float_low", told, fill(each), about)
            else:
                yield Finding("floats", OK, "doctor.float_ok", told, None, about)

    def _ledger(self) -> Iterator[Finding]:
        """What the job found last; that it never ran is told by the jobs' own check."""
        with self._db.read() as tx:
            result = signs.ledger_result(tx)
        if result is not None and result.broken:
            told = {"count": result.broken, "at": moment(result.at)}
            yield Finding("ledger", FAIL, "doctor.ledger_broken", told, "payctl ledger check")
        elif result is not None:
            yield Finding("ledger", OK, "doctor.ledger_ok", {"at": moment(result.at)})


def _lag(now: datetime, oldest_at: datetime | None) -> str:
    if oldest_at is None or now - oldest_at <= LAG_WARN:
        return OK
    return FAIL if now - oldest_at > LAG_FAIL else WARN
