"""Send the notifications that are due, to the core service and to Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import Job, JobOptions, JobReport

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.actor import Actor

#: For each of the items that a job's run is limited to, so many are sent: they are small, and a run
#: a minute must keep up with what happens in a minute.
PER_ITEM = 200


def _run(app: App, actor: Actor, options: JobOptions) -> JobReport:
    from payctl.notifications.together import run_all

    relays = app.relays()
    limit = options.limit * PER_ITEM
    try:
        done = run_all(relays, actor, limit=limit, check=options.check)
    finally:
        for each in relays:
            each.close()
    for name, counts in done.items():
        for what, number in counts.items():
            options.count(f"{name}_{what}", number)
    # What failed is tried again by itself; a dead letter is not.
    return JobReport(options.counts, failed=sum(each.get("dead", 0) for each in done.values()))


JOB = Job(
    name="outbox_relay",
    summary="tell the core service what has changed",
    role="job.outbox",
    run=_run,
    every_s=60,
)
