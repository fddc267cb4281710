"""Seal the journals posted since the last run into blocks, and anchor the blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import Job, JobOptions, JobReport

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.actor import Actor


def _run(app: App, actor: Actor, options: JobOptions) -> JobReport:
    sealed = app.sealing.seal(actor, limit=options.limit, check=options.check)
    options.count("blocks", sealed.blocks)
    options.count("journals", sealed.journals)
    options.count("anchors_failed", len(sealed.failed))
    return JobReport(options.counts, failed=len(sealed.failed))


JOB = Job(
    name="ledger_seal",
    summary="seal posted journals into blocks and anchor them outside the book",
    role="job.seal",
    run=_run,
    every_s=300,
)
