"""What needs a person now, the most urgent first, each with the command to type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from payctl.cases.service import Cases
from payctl.db.actor import Actor
from payctl.db.approvals import Approvals
from payctl.db.engine import Database
from payctl.db.job_runs import JobRun
from payctl.db.permissions import PERMISSIONS
from payctl.ids import encode
from payctl.insight.findings import LATE_PERIODS, Schedule, fill
from payctl.payments.float_watch import CASE_KIND, levels
from payctl.payments.gateway_tables import breaker
from payctl.payments.tables import attempt

#: Lines of one kind at most; the lists show the rest.
MOST = 10
_UNSURE = ("unknown", "quarantined")


@dataclass(frozen=True, slots=True)
class Duty:
    """One thing that waits.

    Attributes:
        kind: ``case``, ``unknown``, ``approval``, ``float``, ``breaker`` or ``job``.
        what: the case's kind, the attempt's state, the approval's kind, the breaker's reason ...
        at: when it is due: the case, the next look, the end of an approval; or since when.
        command: what to type.
    """

    kind: str
    what: str
    command: str
    id: str | None = None
    gateway: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    at: datetime | None = None


class Today:
    """Gathers what waits.

    Args:
        schedules: the jobs and how often each should run.
        last_runs: the newest run of each job.
    """

    def __init__(
        self,
        db: Database,
        cases: Callable[[], Cases],
        approvals: Approvals,
        schedules: Callable[[], list[Schedule]],
        last_runs: Callable[[], Mapping[str, JobRun]],
    ) -> None:
        self._db = db
        self._cases = cases
        self._approvals = approvals
        self._schedules = schedules
        self._last_runs = last_runs

    def duties(self, actor: Actor) -> list[Duty]:
        """Everything that waits for *actor* or for anybody."""
        found = [*self._open_cases(), *self._unknown()]
        if actor.roles & PERMISSIONS["approval.decide"]:
            found += self._requests(actor)
        return [*found, *self._floats(), *self._breakers(), *self._late_jobs()]

    def _open_cases(self) -> Iterator[Duty]:
        for case in self._cases().list(limit=MOST):
            if case.kind == CASE_KIND:
                continue  # a low float has a line of its own, with the command that fills it
            name = encode("case", case.id)
            yield Duty("case", case.kind, f"payctl cases show {name}", name, case.gateway,
                       case.amount_minor, case.currency, case.due_at)  # fmt: skip

    def _unknown(self) -> Iterator[Duty]:
        """Outcomes nobody knows yet, and those whose process died while it was sending."""
        c = attempt.c
        lost = sa.and_(c.state == "sending", c.next_check_at <= self._db.clock.now())
        query = sa.select(attempt).where(sa.or_(c.state.in_(_UNSURE), lost))
        with self._db.read() as tx:
            rows = tx.execute(query.order_by(c.next_check_at, c.id).limit(MOST)).all()
        for row in rows:
            name = encode("payment", row.payment_id)
            yield Duty("unknown", f"{row.operation} {row.state}", f"payctl payments sync {name}",
                       name, row.gateway_account, row.amount_minor, row.currency,
                       row.next_check_at)  # fmt: skip

    def _requests(self, actor: Actor) -> Iterator[Duty]:
        for asked in self._approvals.list(state="pending", not_by=actor.name, limit=MOST):
            if asked.expires_at > self._db.clock.now():
                name = encode("approval", asked.id)
                yield Duty("approval", asked.kind, f"payctl approvals show {name}", name, None,
                           asked.amount_minor, asked.currency, asked.expires_at)  # fmt: skip

    def _floats(self) -> Iterator[Duty]:
        """Floats below their alarm, with what is missing."""
        with self._db.read() as tx:
            low = [each for each in levels(tx) if each.missing_minor]
        for each in low:
            yield Duty("float", "low", fill(each), None, each.account, each.missing_minor,
                       each.currency, each.read_at)  # fmt: skip

    def _breakers(self) -> Iterator[Duty]:
        query = sa.select(breaker).where(breaker.c.state != "closed")
        with self._db.read() as tx:
            rows = tx.execute(query.order_by(breaker.c.account, breaker.c.op_class)).all()
        for row in rows:
            yield Duty("breaker", f"{row.op_class} {row.state}, {row.reason or '-'}",
                       f"payctl gateways breaker show {row.account}", None, row.account,
                       at=row.next_probe_at or row.since)  # fmt: skip

    def _late_jobs(self) -> Iterator[Duty]:
        """Jobs that failed or are overdue. One that never ran is no news on a fresh book: it is
        late once another job has been running for longer than its own period.
        """
        last, now = self._last_runs(), self._db.clock.now()
        begun = min((run.started_at for run in last.values()), default=now)
        for job in self._schedules():
            run = last.get(job.name)
            patience = timedelta(seconds=LATE_PERIODS * job.every_s)
            since = run.started_at if run is not None else begun
            failed = run is not None and run.state in ("failed", "lost")
            if failed or now - since > patience:
                state = run.state if run is not None and failed else "late"
                yield Duty("job", f"{job.name} {state}", f"payctl jobs run {job.name}",
                           at=since)  # fmt: skip
