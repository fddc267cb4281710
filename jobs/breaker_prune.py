"""Delete call samples of the breakers that are too old to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import Job, JobOptions, JobReport

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.actor import Actor


def _run(app: App, actor: Actor, options: JobOptions) -> JobReport:
    options.count("deleted", app.breakers.prune())
    return JobReport(options.counts)


JOB = Job(
    name="breaker_prune",
    summary="delete call samples older than a week",
    role="job.expire",
    run=_run,
    every_s=86_400,
)
