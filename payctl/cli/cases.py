"""``payctl cases``: work that needs a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli.framework import (
    AfterOption,
    Column,
    ExitCode,
    LimitOption,
    Section,
    StatusOption,
    command,
    confirm,
    emit,
    emit_list,
    noun,
    session,
    undo,
)

if TYPE_CHECKING:
    from payctl.cases.model import Case, CaseEvent

app = noun("cases")
COLUMNS = (
    Column("id", "id", rank=3),
    Column("kind", rank=0),
    Column("status", "state", rank=1),
    Column("amount_minor", "money", rank=0),
    Column("gateway", rank=2),
    Column("assigned_to", rank=2),
    Column("due_at", "time", rank=1),
    Column("opened_at", "time", rank=4),
    Column("next_command", "id", label="next", rank=0),
)
VIEW = (
    Column("id", "id"),
    Column("kind"),
    Column("status", "state"),
    Column("amount_minor", "money"),
    Column("gateway"),
    Column("subject_kind"),
    Column("subject_id"),
    Column("detail", "long"),
    Column("opened_at", "time"),
    Column("opened_by"),
    Column("due_at", "time"),
    Column("assigned_to"),
    Column("approval"),
    Column("resolutions"),
    Column("resolution"),
    Column("evidence", "long"),
    Column("resolved_by"),
    Column("resolved_at", "time"),
    Column("next_command", "long", label="next"),
    Section(
        "history",
        (Column("at", "time"), Column("actor"), Column("action"), Column("data", "long")),
    ),
)
CaseId = Annotated[str, typer.Argument(metavar="CASE", help="The case (case_...).")]


@command(
    app,
    "list",
    examples=[
        "payctl cases list",
        "payctl cases list --kind unknown_outcome --assigned awa --json",
    ],
)
def list_cases(
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="Only this kind.")
    ] = None,
    status: StatusOption = "unresolved",
    assigned: Annotated[
        str | None, typer.Option("--assigned", metavar="NAME", help="Only this operator's.")
    ] = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
) -> None:
    """List cases, the largest amount at risk first; without --status those not resolved.

    Amounts are compared within a currency only. --status all lists everything.
    """
    found = session().app.cases.list(
        kind=kind,
        state=None if status == "all" else status,
        assigned=assigned,
        after=ids.decode(after, "case") if after else None,
        limit=limit,
    )
    cut = ids.encode("case", found[-1].id) if len(found) == limit else None
    emit_list(map(_json, found), "payctl.cases/1", COLUMNS, next_cursor=cut)


@command(app, "show", examples=["payctl cases show case_...", "payctl cases show case_... --json"])
def show(case: CaseId) -> None:
    """Show a case: what is known, what was done, how it can be resolved."""
    service, case_id = session().app.cases, ids.decode(case, "case")
    found = service.get(case_id)
    whole = {
        **_json(found),
        "detail": dict(found.detail),
        "resolutions": list(service.resolutions(found.kind)),
        "history": [_event(each) for each in service.history(case_id)],
    }
    emit(whole, "payctl.case/1", VIEW)


@command(
    app,
    "assign",
    changes=True,
    examples=["payctl cases assign case_...", "payctl cases assign case_... --to awa"],
    exits={ExitCode.CONFLICT: "the case is resolved"},
)
def assign(
    case: CaseId,
    to: Annotated[
        str | None, typer.Option("--to", metavar="NAME", help="Operator; default: you.")
    ] = None,
    nobody: Annotated[bool, typer.Option("--nobody", help="Give it back to everyone.")] = False,
) -> None:
    """Give a case to an operator."""
    run = session()
    name = None if nobody else to or run.actor.name
    confirm([f"assign {case} to {name or 'nobody'}"])
    done = run.app.cases.assign(run.actor, ids.decode(case, "case"), name, dry_run=run.dry_run)
    emit(_json(done), "payctl.case/1", VIEW)
    undo(f"payctl cases assign {case} --nobody")


@command(
    app,
    "resolve",
    changes=True,
    examples=[
        "payctl cases resolve case_... --as succeeded"
        ' --evidence "Stripe dashboard shows pi_123 as succeeded"',
        'payctl cases resolve case_... --as handled --evidence "ticket 4711" --dry-run',
    ],
    exits={
        ExitCode.CONFLICT: "resolved already, or too early to decide",
        ExitCode.APPROVAL: "a second person must approve; the request has been made",
    },
)
def resolve(
    case: CaseId,
    resolution: Annotated[
        str, typer.Option("--as", metavar="RESOLUTION", help="As in payctl cases show CASE.")
    ],
    evidence: Annotated[
        str,
        typer.Option("--evidence", metavar="TEXT", help="What it rests on: a reference, a ticket."),
    ],
) -> None:
    """Decide a case on evidence, and do what the decision means."""
    run = session()
    service, case_id = run.app.cases, ids.decode(case, "case")
    found = service.get(case_id)
    confirm([f"resolve {case} ({found.kind}) as {resolution}"], found.amount_minor, found.currency)
    done = service.resolve(run.actor, case_id, resolution, evidence, dry_run=run.dry_run)
    emit(_json(done), "payctl.case/1", VIEW)


def next_command(case: Case) -> str:
    """What to type about a case: the command that can settle it, else the one that shows it."""
    name = ids.encode("case", case.id)
    if case.state == "resolved":
        return f"payctl cases show {name}"
    subject = _subject(case)
    if case.kind == "unknown_outcome" and case.subject_kind == "payment" and subject:
        return f"payctl payments sync {subject}"
    if case.subject_kind == "dispute" and subject:
        return f"payctl disputes show {subject}"
    if case.kind == "config_error" and case.gateway:
        return f"payctl gateways show {case.gateway}"
    if case.kind == "gateway_removed":
        return "payctl gateways list"
    return f"payctl cases show {name}"


def _subject(case: Case) -> str | None:
    if case.subject_id is None:
        return None
    known = case.subject_kind in ids.PREFIXES
    return ids.encode(case.subject_kind, case.subject_id) if known else str(case.subject_id)


def _json(case: Case) -> dict[str, Any]:
    return {
        "id": ids.encode("case", case.id),
        "kind": case.kind,
        "status": case.state,
        "amount_minor": case.amount_minor,
        "currency": case.currency,
        "gateway": case.gateway,
        "subject_kind": case.subject_kind,
        "subject_id": _subject(case),
        "opened_at": case.opened_at,
        "opened_by": case.opened_by,
        "due_at": case.due_at,
        "assigned_to": case.assigned_to,
        "approval": ids.encode("approval", case.approval_id) if case.approval_id else None,
        "resolution": case.resolution,
        "evidence": case.evidence,
        "resolved_by": case.resolved_by,
        "resolved_at": case.resolved_at,
        "next_command": next_command(case),
    }


def _event(event: CaseEvent) -> dict[str, Any]:
    return {
        "at": event.at,
        "actor": event.actor,
        "action": event.action,
        "data": dict(event.data),
    }
