"""Ask the providers about disputes that are open, and for those no webhook told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import Job, JobOptions, JobReport

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.actor import Actor


def _run(app: App, actor: Actor, options: JobOptions) -> JobReport:
    for result, number in app.disputes.sync(actor).items():
        options.count(result, number)
    return JobReport(options.counts)


JOB = Job(
    name="dispute_sync",
    summary="ask the providers about disputes",
    role="job.sync",
    run=_run,
    every_s=3600,
)
