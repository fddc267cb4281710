"""Batch jobs: select work, call a service per item, count, report.

A job is found by its entry point (group ``payctl.jobs``), so that another package can add one. It
acts under an identity of its own that may do only what the job needs, and never overlaps itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from payctl.errors import NotFound

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.actor import Actor

GROUP = "payctl.jobs"


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How a run was asked for.

    ``limit`` bounds the items of one run; ``check`` is called between items and raises when this
    run has lost its lease; ``count`` keeps a figure of the run, and what it has counted is recorded
    even when the run fails.
    """

    limit: int = 500
    check: Callable[[], None] = lambda: None
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, by: int = 1) -> None:
        """Add to the figure *what*."""
        self.counts[what] = self.counts.get(what, 0) + by


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a run did: figures by name, and how many items failed."""

    counts: Mapping[str, int]
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """A job.

    Attributes:
        name: as in ``payctl jobs run NAME``.
        summary: one line of help.
        role: the one role it acts under (``job.sync``; see ``payctl.db.permissions``).
        run: does the work.
        every_s: how often it should run, in seconds: ``payctl doctor`` calls it late after twice
            that.
        needs: a setting without which nobody expects it to run.
    """

    name: str
    summary: str
    role: str
    run: Callable[[App, Actor, JobOptions], JobReport]
    every_s: int = 3600
    needs: str = ""


def all_jobs() -> dict[str, Job]:
    """Every installed job by name."""
    found = (point.load() for point in entry_points(group=GROUP))
    return {job.name: job for job in sorted(found, key=lambda job: str(job.name))}


def find(name: str) -> Job:
    """The job of this name.

    Raises:
        NotFound: ``job.not_found``.
    """
    jobs = all_jobs()
    if name not in jobs:
        raise NotFound("job.not_found", field="name", name=name[:60], known=", ".join(jobs))
    return jobs[name]


def run(app: App, name: str, *, limit: int = 500, host: str = "", session: str = "") -> JobReport:
    """Run a job under its own identity, lease and record.

    Raises:
        NotFound: ``job.not_found``.
        LockHeld: ``lease.held`` when it is running elsewhere.
    """
    from payctl.db.operators import job_actor

    job = find(name)
    actor = job_actor(job.name, job.role, host=host, session=session)
    with app.job_runs.run(job.name, actor) as running:
        options = JobOptions(limit=limit, check=running.check, counts=running.counts)
        report = job.run(app, actor, options)
        running.counts.update(report.counts)
    return report
