"""Apply the webhook events that are due: ask each event's provider and record what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import Job, JobOptions, JobReport

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.actor import Actor


def _run(app: App, actor: Actor, options: JobOptions) -> JobReport:
    counts = app.inbox.apply(actor, limit=options.limit, check=options.check, count=options.count)
    return JobReport(options.counts, failed=counts.get("dead", 0))


JOB = Job(
    name="webhook_apply",
    summary="apply webhook events that are due",
    role="job.webhooks",
    run=_run,
    every_s=60,
)
