"""``payctl doctor``: is this installation healthy, and what to do when it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl.cli.framework import Column, ExitCode, command, emit_list, finish, session, single
from payctl.cli.messages import sentence

if TYPE_CHECKING:
    from payctl.insight.findings import Finding

app = single("doctor")
COLUMNS = (
    Column("check", rank=0),
    Column("status", "state", rank=0),
    Column("text", rank=0),
    Column("fix", rank=0),
)


@command(
    app,
    "doctor",
    examples=["payctl doctor", "payctl doctor --offline --json"],
    exits={ExitCode.CHECK_FAILED: "at least one check failed"},
)
def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the providers.")] = False,
) -> None:
    """Check configuration, database, clocks, disk, jobs, gateways, breakers and open outcomes."""
    run = session()
    found = [
        _json(each, run.lang) for each in run.unchecked_app.health.findings(network=not offline)
    ]
    worst = any(item["status"] == "fail" for item in found)
    emit_list(found, "payctl.doctor/1", COLUMNS, id_key="check", extra={"ok": not worst})
    if worst:
        finish(ExitCode.CHECK_FAILED)


def _json(found: Finding, lang: str) -> dict[str, Any]:
    return {
        "check": found.check,
        "status": found.status,
        "code": found.code,
        "text": sentence(found.code, found.params, lang),
        "fix": found.fix,
    }
