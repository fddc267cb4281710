"""Check the ledger and what stands above it; doctor, health and alerts tell what is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import Job, JobOptions, JobReport

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.actor import Actor


def _run(app: App, actor: Actor, options: JobOptions) -> JobReport:
    from payctl.db.permissions import require

    require(actor, "ledger.check")
    results = app.check_ledger().results
    broken = sum(not result.ok for result in results)
    options.count("checks", len(results))
    options.count("broken", broken)
    return JobReport(options.counts, failed=broken)


JOB = Job(
    name="ledger_check",
    summary="check every invariant of the ledger and of payments",
    role="job.check",
    run=_run,
    every_s=86_400,
)
