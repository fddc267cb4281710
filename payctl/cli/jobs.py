"""``payctl jobs``: run batch jobs and see when they ran."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids, log
from payctl.cli.framework import (
    AfterOption,
    Column,
    ExitCode,
    LimitOption,
    ReasonOption,
    command,
    confirm,
    emit,
    emit_list,
    finish,
    noun,
    session,
)
from payctl.errors import NotConfigured

if TYPE_CHECKING:
    from payctl.db.job_runs import JobRun

app = noun("jobs")
COLUMNS = (
    Column("name", rank=0),
    Column("summary", rank=1),
    Column("every_s", "number", rank=2),
    Column("last_status", "state"),
    Column("last_started_at", "time"),
)
RUNS = (
    Column("job", rank=0),
    Column("status", "state", rank=0),
    Column("started_at", "time"),
    Column("finished_at", "time", rank=2),
    Column("counts"),
    Column("error", rank=2),
    Column("host", rank=4),
    Column("id", "id", rank=3),
)
LOCKS = (
    Column("name", rank=0),
    Column("holder", rank=0),
    Column("acquired_at", "time"),
    Column("expires_at", "time"),
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The job.")]


@command(app, "list", examples=["payctl jobs list", "payctl jobs list --json"])
def list_jobs() -> None:
    """List the installed jobs and their last runs."""
    import jobs

    last = session().app.job_runs.last()
    items = [
        {
            "name": job.name,
            "summary": job.summary,
            "every_s": job.every_s,
            "last_status": last[job.name].state if job.name in last else None,
            "last_started_at": last[job.name].started_at if job.name in last else None,
        }
        for job in jobs.all_jobs().values()
    ]
    emit_list(items, "payctl.jobs/1", COLUMNS, id_key="name", hint="payctl jobs run NAME")


@command(
    app,
    "run",
    changes=True,
    examples=["payctl jobs run approvals_expire", "payctl jobs run payment_sync --limit 100"],
    exits={
        ExitCode.CHECK_FAILED: "some items failed; the counts say how many",
        ExitCode.LOCKED: "the same job is running elsewhere",
    },
)
def run_job(name: NameArgument, limit: LimitOption = 500) -> None:
    """Run a job once, under its own identity.

    The job may do only what its one role allows, so cron needs no operator token; an operator who
    starts one by hand needs the right to run jobs.
    """
    import jobs
    from payctl.db.permissions import require

    run = session()
    services = run.app
    try:
        require(run.actor, "job.run")
    except NotConfigured as error:
        if error.code != "operator.token_missing":
            raise
    job = jobs.find(name)
    confirm([f"run job {job.name}: {job.summary}"])
    if run.dry_run:
        emit(
            {"job": job.name, "role": job.role, "summary": job.summary},
            "payctl.job/1",
            (Column("job"), Column("role"), Column("summary")),
            id_key="job",
        )
        return
    who = f"pid {os.getpid()} run {log.correlation()}"
    report = jobs.run(services, name, limit=limit, host=socket.gethostname(), session=who)
    emit(
        {"job": name, "counts": dict(report.counts), "failed": report.failed},
        "payctl.job_report/1",
        (Column("job"), Column("counts"), Column("failed", "number")),
        id_key="job",
    )
    if report.failed:
        finish(ExitCode.CHECK_FAILED)


@command(
    app,
    "history",
    examples=["payctl jobs history", "payctl jobs history payment_sync --limit 5 --json"],
)
def history(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this job.")] = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
) -> None:
    """List runs, newest first."""
    cursor = ids.decode(after, "run") if after else None
    found = session().app.job_runs.list(job=name, after=cursor, limit=limit)
    cut = ids.encode("run", found[-1].id) if len(found) == limit else None
    emit_list(map(_json, found), "payctl.job_runs/1", RUNS, next_cursor=cut)


@command(app, "locks", examples=["payctl jobs locks", "payctl jobs locks --json"])
def locks() -> None:
    """List leases that are held now."""
    items = [
        {
            "name": each.name,
            "holder": each.holder,
            "acquired_at": each.acquired_at,
            "expires_at": each.expires_at,
        }
        for each in session().app.leases.list()
    ]
    hint = "payctl jobs unlock NAME --reason TEXT"
    emit_list(items, "payctl.leases/1", LOCKS, id_key="name", hint=hint)


@command(
    app,
    "unlock",
    changes=True,
    examples=[
        'payctl jobs unlock job:payment_sync --reason "host is gone"',
        "payctl jobs unlock job:payment_sync --reason test --dry-run",
    ],
    exits={ExitCode.NOT_FOUND: "nobody holds it"},
)
def unlock(
    name: Annotated[str, typer.Argument(metavar="LEASE", help="As in payctl jobs locks.")],
    reason: ReasonOption,
) -> None:
    """Take a lease from a holder that is known to be dead; it would end by itself in minutes."""
    run = session()
    confirm([f"unlock {name}"])
    freed = run.app.leases.unlock(run.actor, name, reason, dry_run=run.dry_run)
    emit({"name": freed.name, "holder": freed.holder}, "payctl.lease/1", id_key="name")


def _json(found: JobRun) -> dict[str, Any]:
    return {
        "id": ids.encode("run", found.id),
        "job": found.job,
        "status": found.state,
        "actor": found.actor,
        "host": found.host,
        "started_at": found.started_at,
        "finished_at": found.finished_at,
        "counts": dict(found.counts),
        "error": found.error,
    }
