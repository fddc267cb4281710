"""Leases and job runs: one at a time, by the database's clock, and every run leaves its record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

import jobs
from payctl.clock import ManualClock
from payctl.db import job_runs as module
from payctl.db.engine import Database
from payctl.db.job_runs import JobRuns
from payctl.db.leases import Lease, Leases
from payctl.db.operators import job_actor
from payctl.db.tables import lease
from payctl.errors import Forbidden, InvalidInput, LockHeld, NotFound, Unavailable
from tests.db.people import ADMIN, SUPPORT

pytestmark = pytest.mark.integration
ACTOR = job_actor("test", "job.sync", host="here")
TTL = timedelta(seconds=60)


@pytest.fixture
def leases(db: Database) -> Leases:
    return Leases(db)


@pytest.fixture
def runs(db: Database, leases: Leases) -> JobRuns:
    return JobRuns(db, leases)


def let_pass(db: Database, clock: ManualClock) -> None:
    """Let every lease run out: the clock of SQLite's book is ours, PostgreSQL's is its own."""
    clock.advance(TTL + timedelta(hours=1))
    if not db.is_sqlite:
        with db.transaction() as tx:
            tx.execute(sa.update(lease).values(expires_at=sa.func.clock_timestamp()))


def test_one_holder_at_a_time(db: Database, leases: Leases, clock: ManualClock) -> None:
    first = leases.acquire("job:x", "a", TTL)
    assert first.token == 1
    with pytest.raises(LockHeld, match=r"lease\.held") as refused:
        leases.acquire("job:x", "b", TTL)
    assert refused.value.params["holder"] == "a"
    leases.acquire("job:y", "b", TTL)
    assert [each.name for each in leases.list()] == ["job:x", "job:y"]
    leases.release(first)
    second = leases.acquire("job:x", "b", TTL)
    assert second.token > first.token
    assert not leases.renew(first, TTL)
    leases.release(first)  # the one who lost it cannot free another's
    with pytest.raises(LockHeld):
        leases.acquire("job:x", "c", TTL)


def test_a_dead_holders_lease_ends_by_itself(
    db: Database, leases: Leases, clock: ManualClock
) -> None:
    dead = leases.acquire("job:x", "dead", TTL)
    let_pass(db, clock)
    assert leases.list() == []
    heir = leases.acquire("job:x", "heir", TTL)
    assert (heir.token, heir.holder) == (dead.token + 1, "heir")
    assert not leases.renew(dead, TTL)


def test_renewing_keeps_it(db: Database, leases: Leases, clock: ManualClock) -> None:
    held = leases.acquire("job:x", "a", TTL)
    clock.advance(timedelta(seconds=1))
    assert leases.renew(held, TTL)
    assert leases.list()[0].expires_at > held.expires_at


def test_of_many_at_once_one_gets_it(leases: Leases) -> None:
    barrier = threading.Barrier(8)

    def take(number: int) -> bool:
        barrier.wait(10)
        try:
            leases.acquire("job:x", str(number), TTL)
        except LockHeld:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 1


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize("hours", [-48, 48])
def test_a_machine_with_a_wrong_clock_neither_steals_nor_hoards(
    db: Database, leases: Leases, clock: ManualClock, hours: int
) -> None:
    leases.acquire("job:x", "right", TTL)
    clock.advance(timedelta(hours=hours))
    with pytest.raises(LockHeld):
        leases.acquire("job:x", "wrong", TTL)
    leases.acquire("job:y", "wrong", timedelta(milliseconds=20))
    clock.advance(timedelta(hours=-hours))
    time.sleep(0.05)
    assert leases.acquire("job:y", "right", TTL).holder == "right"


def test_unlocking_is_for_admins_and_needs_a_reason(db: Database, leases: Leases) -> None:
    leases.acquire("job:x", "dead", TTL)
    with pytest.raises(Forbidden):
        leases.unlock(SUPPORT, "job:x", "why")
    with pytest.raises(InvalidInput, match=r"reason\.missing"):
        leases.unlock(ADMIN, "job:x", " ")
    with pytest.raises(NotFound, match=r"lease\.not_held"):
        leases.unlock(ADMIN, "job:y", "why")
    leases.unlock(ADMIN, "job:x", "why", dry_run=True)
    assert leases.list()
    assert leases.unlock(ADMIN, "job:x", "host is gone").holder == "dead"
    assert leases.list() == []


# -- runs ---------------------------------------------------------------------------------------


def test_a_run_is_recorded_with_what_it_counted(runs: JobRuns, leases: Leases) -> None:
    with runs.run("test", ACTOR) as running:
        running.counts["done"] = 3
        assert [each.state for each in runs.list()] == ["running"]
    (found,) = runs.list(job="test")
    assert (found.state, found.counts, found.error) == ("done", {"done": 3}, None)
    assert found.actor == "job:test" and found.host.startswith("here pid ")
    assert leases.list() == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("4242 4242 4242 4242"), "KeyError: '************4242'"),
        (Unavailable("database.full", detail="x"), "database.full (detail=x)"),
        (KeyboardInterrupt(), "KeyboardInterrupt: "),
    ],
)
def test_a_failed_run_says_why_keeps_its_counts_and_frees_the_lease(
    runs: JobRuns, leases: Leases, error: BaseException, words: str
) -> None:
    with pytest.raises(type(error)), runs.run("test", ACTOR) as running:
        running.counts["done"] = 2
        raise error
    (found,) = runs.list()
    assert (found.state, found.counts, found.error) == ("failed", {"done": 2}, words)
    assert leases.list() == []


def test_two_runs_of_one_job_never_overlap(runs: JobRuns) -> None:
    with runs.run("test", ACTOR):
        with pytest.raises(LockHeld), runs.run("test", ACTOR):
            raise AssertionError("the second run began")
        with runs.run("other", ACTOR):
            pass
    assert [each.job for each in runs.list()] == ["other", "test"]


def test_a_killed_run_is_called_lost_by_the_next(
    db: Database, runs: JobRuns, clock: ManualClock
) -> None:
    killed = runs.run("test", ACTOR)
    killed.__enter__()
    let_pass(db, clock)
    with runs.run("test", ACTOR):
        pass
    assert [each.state for each in runs.list()] == ["done", "lost"]
    assert runs.last()["test"].state == "done"


def test_a_run_that_lost_its_lease_stops_at_its_next_item(
    db: Database, runs: JobRuns, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE_TTL", timedelta(milliseconds=300))
    with pytest.raises(LockHeld, match=r"lease\.lost"), runs.run("test", ACTOR) as running:
        running.check()
        leases.unlock(ADMIN, "job:test", "taken away")
        assert running.lost.wait(5)
        running.check()
    assert runs.list()[0].error == "lease.lost (name=job:test)"


def test_a_long_run_keeps_its_lease(
    runs: JobRuns, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = threading.Event()
    real: Callable[..., bool] = leases.renew

    def renew(held: Lease, ttl: timedelta) -> bool:
        kept = real(held, ttl)
        renewed.set()
        return kept

    monkeypatch.setattr(module, "LEASE_TTL", timedelta(milliseconds=150))
    monkeypatch.setattr(leases, "renew", renew)
    with runs.run("test", ACTOR) as running:
        assert renewed.wait(5)
        assert not running.lost.is_set()


# -- the jobs themselves ------------------------------------------------------------------------


def app(db: Database, runs: JobRuns, **services: Any) -> Any:
    return SimpleNamespace(db=db, job_runs=runs, **services)


@pytest.mark.unit
def test_every_job_is_installed_under_its_own_name_with_one_role() -> None:
    found = jobs.all_jobs()
    assert {"approvals_expire", "holds_expire"} <= set(found)
    for name, job in found.items():
        assert name == job.name and job.role.startswith("job.") and job.summary
        assert "." not in job.summary and job.every_s > 0
    with pytest.raises(NotFound, match=r"job\.not_found"):
        jobs.find("no_such_job")


def test_running_a_job_by_name_records_what_it_returned(db: Database, runs: JobRuns) -> None:
    seen: list[Any] = []

    def expire(actor: Any) -> int:
        seen.append(actor)
        return 4

    report = jobs.run(
        app(db, runs, approvals=SimpleNamespace(expire=expire)), "approvals_expire", host="h"
    )
    assert report.counts == {"expired": 4} and report.failed == 0
    assert (seen[0].name, seen[0].kind) == ("job:approvals_expire", "job")
    assert runs.list()[0].counts == {"expired": 4}
