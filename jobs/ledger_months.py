"""Make the ledger's partitions of the months to come (PostgreSQL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import Job, JobOptions, JobReport

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.actor import Actor


def _run(app: App, actor: Actor, options: JobOptions) -> JobReport:
    from payctl.ledger import partitions

    options.count("made", len(partitions.prepare(app.db, actor)))
    return JobReport(options.counts)


JOB = Job(
    name="ledger_months",
    summary="make the ledger's partitions of the months to come",
    role="job.months",
    run=_run,
    every_s=86_400,
)
