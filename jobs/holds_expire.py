"""Give back what expired holds still keep of a wallet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import Job, JobOptions, JobReport

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.actor import Actor


def _run(app: App, actor: Actor, options: JobOptions) -> JobReport:
    options.count("expired", app.holds.expire(actor, limit=options.limit))
    return JobReport(options.counts)


JOB = Job(
    name="holds_expire",
    summary="give back what expired holds still keep",
    role="job.expire",
    run=_run,
    every_s=900,
)
