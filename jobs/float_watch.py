"""Ask the providers what is left for payouts; open a case for a low float, close it when filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import Job, JobOptions, JobReport

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.actor import Actor


def _run(app: App, actor: Actor, options: JobOptions) -> JobReport:
    seen = app.float_watch.watch(actor)
    options.count("floats", len(seen.levels))
    options.count("low", sum(level.missing_minor > 0 for level in seen.levels))
    options.count("opened", seen.opened)
    options.count("closed", seen.closed)
    options.count("unreachable", len(seen.unreachable))
    return JobReport(options.counts, failed=len(seen.unreachable))


JOB = Job(
    name="float_watch",
    summary="ask what is left for payouts; a case for each float that is low",
    role="job.float",
    run=_run,
    every_s=900,
)
