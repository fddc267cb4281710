"""``payctl approvals``: acts that wait for a second person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli.framework import (
    AfterOption,
    AmountMinorOption,
    AmountOption,
    Column,
    CurrencyOption,
    ExitCode,
    LimitOption,
    ReasonOption,
    SinceOption,
    StatusOption,
    command,
    confirm,
    emit,
    emit_list,
    finish,
    group,
    note,
    noun,
    required_amount,
    session,
)
from payctl.cli.messages import say

if TYPE_CHECKING:
    from payctl.db.approvals import Approval
    from payctl.db.thresholds import Threshold

app = noun("approvals")
thresholds = group(app, "thresholds", "from which amount on a second person is needed")
COLUMNS = (
    Column("id", "id", rank=0),
    Column("kind", rank=0),
    Column("status", "state"),
    Column("amount_minor", "money", rank=0),
    Column("requested_by"),
    Column("requested_at", "time", rank=2),
    Column("expires_at", "time", rank=3),
    Column("reason", rank=2),
)
VIEW = (
    *COLUMNS,
    Column("subject_kind"),
    Column("subject_id"),
    Column("content"),
    Column("decided_by"),
    Column("decided_at", "time"),
    Column("decision_reason"),
)
THRESHOLD_COLUMNS = (
    Column("kind", rank=0),
    Column("always", "state"),
    Column("limit_minor", "money", rank=0),
    Column("daily_limit_minor", "money", rank=0),
    Column("set_by"),
    Column("set_at", "time", rank=2),
    Column("reason", rank=3),
)
ApprovalId = Annotated[str, typer.Argument(metavar="APPROVAL", help="The approval (apr_...).")]


@command(
    app,
    "list",
    examples=["payctl approvals list", "payctl approvals list --status approved --since 7d"],
)
def list_approvals(
    status: StatusOption = "pending",
    mine: Annotated[
        bool, typer.Option("--for-me", help="Leave out what I asked for myself.")
    ] = False,
    since: SinceOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
) -> None:
    """List requests, newest first; without --status those that wait."""
    run = session()
    found = run.app.approvals.list(
        state=None if status == "all" else status,
        not_by=run.actor.name if mine else None,
        since=since,
        after=ids.decode(after, "approval") if after else None,
        limit=limit,
    )
    cut = ids.encode("approval", found[-1].id) if len(found) == limit else None
    emit_list(
        map(_json, found),
        "payctl.approvals/1",
        COLUMNS,
        next_cursor=cut,
        hint="payctl approvals show ID",
    )


@command(
    app,
    "show",
    examples=["payctl approvals show apr_...", "payctl approvals show apr_... --json"],
)
def show(approval: ApprovalId) -> None:
    """Show one request with everything it would set going."""
    found = session().app.approvals.get(ids.decode(approval, "approval"))
    emit(_json(found), "payctl.approval/1", VIEW)


@command(
    app,
    "approve",
    changes=True,
    examples=[
        'payctl approvals approve apr_... --reason "checked with the organiser"',
        "payctl approvals approve apr_... --reason checked --dry-run",
    ],
    exits={
        ExitCode.CONFIG: "not an approver, or the request is your own",
        ExitCode.CONFLICT: "decided already, or expired",
        ExitCode.OPEN: "approved and sent, its outcome is not known yet",
    },
)
def approve(approval: ApprovalId, reason: ReasonOption) -> None:
    """Say yes; what waited for it is done at once."""
    run = session()
    services, approval_id = run.app, ids.decode(approval, "approval")
    asked = services.approvals.get(approval_id)
    confirm(_summary("approve", asked), asked.amount_minor, asked.currency)
    done = services.approvals.approve(run.actor, approval_id, reason, dry_run=run.dry_run)
    emit(_json(done), "payctl.approval/1", VIEW)
    follow = services.after_approval.get(done.kind)
    if run.dry_run:
        return
    if follow is None:
        note(say("approved_repeat", run.lang, by=done.requested_by))
        return
    code = follow(run.actor, done)
    if isinstance(code, ExitCode) and code is not ExitCode.DONE:
        finish(code)


@command(
    app,
    "reject",
    changes=True,
    examples=[
        'payctl approvals reject apr_... --reason "wrong amount"',
        "payctl approvals reject apr_... --reason test --dry-run",
    ],
    exits={ExitCode.CONFLICT: "decided already, or expired"},
)
def reject(approval: ApprovalId, reason: ReasonOption) -> None:
    """Say no, or withdraw your own request."""
    run = session()
    service, approval_id = run.app.approvals, ids.decode(approval, "approval")
    asked = service.get(approval_id)
    confirm(_summary("reject", asked), asked.amount_minor, asked.currency)
    done = service.reject(run.actor, approval_id, reason, dry_run=run.dry_run)
    emit(_json(done), "payctl.approval/1", VIEW)


@command(
    thresholds,
    "list",
    examples=[
        "payctl approvals thresholds list",
        "payctl approvals thresholds list --history --json",
    ],
)
def list_thresholds(
    history: Annotated[bool, typer.Option("--history", help="What was set before, too.")] = False,
) -> None:
    """List the amounts above which a second person is needed.

    A currency that is not listed needs one for any amount; some acts always do.
    """
    found = session().app.thresholds.list(history=history)
    emit_list(map(_threshold, found), "payctl.thresholds/1", THRESHOLD_COLUMNS, id_key="kind")


@command(
    thresholds,
    "set",
    changes=True,
    examples=[
        "payctl approvals thresholds set refund --currency XOF --amount 150000"
        ' --daily-minor 900000 --reason "festival week"',
        "payctl approvals thresholds set withdrawal --currency TND --amount-minor 1500000"
        " --daily-minor 3000000 --reason opening --dry-run",
    ],
    exits={ExitCode.APPROVAL: "always: a second person must approve the change"},
)
def set_threshold(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="refund, withdrawal ...")],
    currency: CurrencyOption,
    reason: ReasonOption,
    daily_minor: Annotated[
        int,
        typer.Option(
            "--daily-minor", min=0, metavar="N", help="Sum per operator in 24 hours, minor units."
        ),
    ],
    amount: AmountOption = None,
    amount_minor: AmountMinorOption = None,
) -> None:
    """Ask for another threshold; it holds once a second person approves."""
    run = session()
    limit = required_amount(amount, amount_minor, currency)
    confirm([f"threshold of {kind}"], limit, currency)
    new = run.app.thresholds.request(
        run.actor,
        kind=kind,
        currency=currency,
        limit_minor=limit,
        daily_limit_minor=daily_minor,
        reason=reason,
        dry_run=run.dry_run,
    )
    if run.dry_run:
        return
    emit(_json(run.app.approvals.get(new)), "payctl.approval/1", VIEW)
    finish(ExitCode.APPROVAL)


def _summary(verb: str, asked: Approval) -> list[str]:
    return [
        f"{verb} {asked.kind} {ids.encode('approval', asked.id)}",
        f"asked for by {asked.requested_by}: {asked.reason}",
    ]


def _json(found: Approval) -> dict[str, Any]:
    return {
        "id": ids.encode("approval", found.id),
        "kind": found.kind,
        "status": found.state,
        "subject_kind": found.subject_kind,
        "subject_id": _subject(found.subject_kind, found.subject_id),
        "amount_minor": found.amount_minor,
        "currency": found.currency,
        "content": dict(found.content),
        "reason": found.reason,
        "requested_by": found.requested_by,
        "requested_at": found.requested_at,
        "expires_at": found.expires_at,
        "decided_by": found.decided_by,
        "decided_at": found.decided_at,
        "decision_reason": found.decision_reason,
    }


def _subject(kind: str, value: Any) -> str | None:
    if value is None:
        return None
    return ids.encode(kind, value) if kind in ids.PREFIXES else str(value)


def _threshold(rule: Threshold) -> dict[str, Any]:
    from payctl.db.thresholds import ANY_CURRENCY

    always = rule.currency == ANY_CURRENCY and rule.limit_minor == 0
    return {
        "kind": rule.kind,
        "currency": None if rule.currency == ANY_CURRENCY else rule.currency,
        "always": always,
        "version": rule.version,
        "limit_minor": None if always else rule.limit_minor,
        "daily_limit_minor": None if always else rule.daily_limit_minor,
        "set_at": rule.set_at,
        "set_by": rule.set_by,
        "reason": rule.reason,
    }
