"""Move what commits have counted into the totals: a book nobody scrapes would keep it in rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import Job, JobOptions, JobReport

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.actor import Actor


def _run(app: App, actor: Actor, options: JobOptions) -> JobReport:
    from payctl.db import tally

    while (moved := tally.fold(app.db)) > 0:
        options.count("rows", moved)
        options.check()
    return JobReport(options.counts)


JOB = Job(
    name="metrics_fold",
    summary="move what commits have counted into the totals of the metrics",
    role="job.expire",
    run=_run,
    every_s=900,
)
