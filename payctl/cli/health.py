"""``payctl health``: can payments be taken, and with ``--detailed`` how everything is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl.cli.framework import Column, ExitCode, Section, command, emit, finish, session, single
from payctl.cli.messages import sentence

if TYPE_CHECKING:
    from payctl.insight.findings import Report

app = single("health")
_CHECKS = (
    Column("check", rank=0),
    Column("status", "state", rank=0),
    Column("text", rank=0),
    Column("fix", rank=0),
)
VIEW = (
    Column("status", "state"),
    Column("at", "time"),
    Column("version"),
    Section("checks", _CHECKS),
)


@command(
    app,
    "health",
    examples=[
        "payctl health",
        "payctl health --detailed --json",
        "payctl health --detailed --ping",
    ],
    exits={ExitCode.CHECK_FAILED: "at least one check failed"},
)
def health(
    detailed: Annotated[
        bool, typer.Option("--detailed", help="Every check, not only whether the book is ready.")
    ] = False,
    ping: Annotated[bool, typer.Option("--ping", help="Also ask the providers.")] = False,
) -> None:
    """Say whether payments can be taken: the book answers, can be written and is at head.

    The same checks as payctl doctor and the receiver's /health pages; warnings do not fail.
    """
    run = session()
    service = run.unchecked_app.health
    report = service.detailed(network=ping) if detailed or ping else service.readiness()
    emit(_json(report, run.lang), "payctl.health/1", VIEW, id_key="status")
    if not report.ok:
        finish(ExitCode.CHECK_FAILED)


def _json(report: Report, lang: str) -> dict[str, Any]:
    document = report.as_json()
    del document["schema"]
    for shown, found in zip(document["checks"], report.findings, strict=True):
        shown["text"] = sentence(found.code, found.params, lang)
    return {**document, "at": report.at}
