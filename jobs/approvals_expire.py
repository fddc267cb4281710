"""Close approval requests that nobody decided within their time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import Job, JobOptions, JobReport

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.actor import Actor


def _run(app: App, actor: Actor, options: JobOptions) -> JobReport:
    options.count("expired", app.approvals.expire(actor))
    return JobReport(options.counts)


JOB = Job(
    name="approvals_expire",
    summary="close approval requests that nobody decided in time",
    role="job.expire",
    run=_run,
)
