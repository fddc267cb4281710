"""Job runs: each one recorded, never two of the same job at once."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl import pan
from payctl.db import tally
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.leases import Lease, Leases
from payctl.db.tables import job_run
from payctl.errors import LockHeld, PayctlError, Unavailable

#: A dead job's lease ends after this; a living one renews it three times as often.
LEASE_TTL = timedelta(seconds=120)
#: Family of the counters of runs that ended: their number and milliseconds, by job and state.
COUNTED = "job"


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run as stored. ``state`` is running, done, failed or lost (killed without a word)."""

    id: UUID
    job: str
    state: str
    actor: str
    host: str
    started_at: datetime
    finished_at: datetime | None
    counts: Mapping[str, int]
    error: str | None


@dataclass(slots=True)
class Running:
    """A run in progress: what it counts, and whether it still holds its lease."""

    id: UUID
    lease: Lease
    counts: dict[str, int] = field(default_factory=dict)
    lost: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """To be called between items.

        Raises:
            LockHeld: ``lease.lost`` when another run took over.
        """
        if self.lost.is_set():
            raise LockHeld("lease.lost", name=self.lease.name)


class JobRuns:
    """The record of what ran."""

    def __init__(self, db: Database, leases: Leases) -> None:
        self._db = db
        self._leases = leases

    @contextmanager
    def run(self, job: str, actor: Actor) -> Iterator[Running]:
        """Hold the job's lease and keep its record while the block runs.

        Raises:
            LockHeld: ``lease.held`` when the job is running elsewhere.
        """
        holder = f"{actor.host or socket.gethostname()} pid {os.getpid()}"
        held = self._leases.acquire(f"job:{job}", holder, LEASE_TTL)
        running = Running(self._db.ids.new(), held)
        try:
            self._begin(running, job, actor, holder)
            with self._renewing(running):
                yield running
        except BaseException as error:
            self._finish(running, "failed", _words(error))
            raise
        else:
            self._finish(running, "done", None)

    def list(
        self, *, job: str | None = None, after: UUID | None = None, limit: int = 50
    ) -> Sequence[JobRun]:
        """Runs, newest first."""
        query = sa.select(job_run).order_by(job_run.c.id.desc()).limit(limit)
        if job is not None:
            query = query.where(job_run.c.job == job)
        if after is not None:
            query = query.where(job_run.c.id < after)
        with self._db.read() as tx:
            return [_run(row) for row in tx.execute(query)]

    def last(self) -> Mapping[str, JobRun]:
        """The newest run of each job."""
        newest = sa.select(sa.func.max(job_run.c.started_at)).where(
            job_run.c.job == (mine := job_run.alias()).c.job
        )
        query = (
            sa.select(mine)
            .where(mine.c.started_at == newest.correlate(mine).scalar_subquery())
            .order_by(mine.c.id)
        )
        with self._db.read() as tx:
            return {row.job: _run(row) for row in tx.execute(query)}

    # -- rows -----------------------------------------------------------------------------------

    def _begin(self, running: Running, job: str, actor: Actor, holder: str) -> None:
        now = self._db.clock.now()
        with self._db.transaction() as tx:
            # Whoever was running before us lost the lease, so nobody will finish their record.
            lost = tx.execute(
                sa.update(job_run)
                .where(job_run.c.job == job, job_run.c.state == "running")
                .values(state="lost", finished_at=now)
                .returning(job_run.c.started_at)
            )
            for started_at in lost.scalars().all():
                _count(tx, job, "lost", now - started_at)
            tx.execute(
                sa.insert(job_run).values(
                    id=running.id, job=job, state="running", actor=actor.name, host=holder,
                    started_at=now, counts={},
                )
            )  # fmt: skip

    def _finish(self, running: Running, state: str, error: str | None) -> None:
        """A database that is gone now leaves the run "running", which the next one calls lost."""
        try:
            with self._db.transaction() as tx:
                now = self._db.clock.now()
                ended = tx.execute(
                    sa.update(job_run)
                    .where(job_run.c.id == running.id, job_run.c.state == "running")
                    .values(
                        state=state,
                        finished_at=now,
                        counts=dict(running.counts),
                        error=error,
                    )
                    .returning(job_run.c.job, job_run.c.started_at)
                ).one_or_none()
                if ended is not None:
                    _count(tx, ended.job, state, now - ended.started_at)
            self._leases.release(running.lease)
        except Unavailable:
            if state == "done":
                raise

    @contextmanager
    def _renewing(self, running: Running) -> Iterator[None]:
        """Renew the lease beside the work, which may spend long in a single call."""
        over = threading.Event()
        thread = threading.Thread(target=self._renew, args=(running, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _renew(self, running: Running, over: threading.Event) -> None:
        while not over.wait(LEASE_TTL.total_seconds() / 3):
            try:
                kept = self._leases.renew(running.lease, LEASE_TTL)
            except Unavailable:
                continue  # a lease we could not renew ends by itself
            if not kept:
                running.lost.set()
                return


def _count(tx: sa.Connection, job: str, state: str, took: timedelta) -> None:
    tally.count(tx, tally.Cell(COUNTED, "", job, state), took // timedelta(milliseconds=1))


def _words(error: BaseException) -> str:
    """The error without card numbers: a code for our own, the type and first line for others."""
    if isinstance(error, PayctlError):
        return pan.scrub(str(error))[:500]
    first = (str(error).splitlines() or [""])[0]
    return pan.scrub(f"{type(error).__name__}: {first}")[:500]


def _run(row: sa.Row[Any]) -> JobRun:
    return JobRun(**{name: getattr(row, name) for name in JobRun.__dataclass_fields__})
