"""Look again at every payment and refund whose outcome is open and whose time has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import Job, JobOptions, JobReport

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.actor import Actor


def _run(app: App, actor: Actor, options: JobOptions) -> JobReport:
    def tick() -> None:
        options.count("looked_at")
        options.check()

    report = app.sync.run(actor, limit=options.limit, tick=tick)
    for result, number in report.counts.items():
        options.count(result, number)
    return JobReport(options.counts)


JOB = Job(
    name="payment_sync",
    summary="ask the providers about payments and refunds that are open",
    role="job.sync",
    run=_run,
    every_s=60,
)
