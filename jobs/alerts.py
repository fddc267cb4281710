"""Run the health checks and tell the alert command what newly fails or has recovered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import Job, JobOptions, JobReport

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.actor import Actor


def _run(app: App, actor: Actor, options: JobOptions) -> JobReport:
    from payctl import log

    done = app.alerts.run(actor)
    options.count("failing", done.failing)
    options.count("told_failing", done.told_failing)
    options.count("told_recovered", done.told_recovered)
    if done.error is not None:
        log.warning("alerts.not_told", why=done.error)
        options.count("not_told")
    return JobReport(options.counts, failed=int(done.error is not None))


JOB = Job(
    name="alerts",
    summary="tell the alert command what newly fails or has recovered",
    role="job.alert",
    run=_run,
    every_s=300,
    needs="alerts.command",
)
