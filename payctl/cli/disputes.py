"""``payctl disputes``: payments their customers contest, and what we answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli.framework import (
    AfterOption,
    Column,
    ExitCode,
    GatewayOption,
    LimitOption,
    ReasonOption,
    SinceOption,
    StatusOption,
    command,
    confirm,
    emit,
    emit_list,
    finish,
    note,
    noun,
    session,
)
from payctl.cli.messages import say
from payctl.cli.options import span_of
from payctl.errors import InvalidInput
from payctl.gateways.disputes import DisputeStatus

if TYPE_CHECKING:
    from payctl.payments.dispute_records import DisputeRecord

app = noun("disputes")
DISPUTE, DISPUTES = "payctl.dispute/1", "payctl.disputes/1"
COLUMNS = (
    Column("id", "id", rank=0),
    Column("status", "state", rank=0),
    Column("amount_minor", "money", rank=0),
    Column("respond_by", "time", rank=0),
    Column("reason", rank=1),
    Column("gateway", rank=2),
    Column("payment", "id", rank=3),
    Column("created_at", "time", rank=4),
)
VIEW = (
    Column("id", "id"),
    Column("payment", "id"),
    Column("status", "state"),
    Column("amount_minor", "money"),
    Column("withdrawn_minor", "money"),
    Column("frozen_minor", "money"),
    Column("reason"),
    Column("respond_by", "time"),
    Column("gateway"),
    Column("provider_reference"),
    Column("response"),
    Column("responded_by"),
    Column("responded_at", "time"),
    Column("created_at", "time"),
    Column("next_check_at", "time"),
)
DisputeId = Annotated[str, typer.Argument(metavar="DISPUTE", help="The dispute (dsp_...).")]
_ANSWERED = {
    ExitCode.CONFLICT: "it has ended, or was answered otherwise",
    ExitCode.NOT_SENT: "the answer was not sent; repeat it",
    ExitCode.OPEN: "sent, and no answer came: payctl disputes show",
    ExitCode.DECLINED: "the provider refused the answer",
}


@command(
    app,
    "list",
    examples=[
        "payctl disputes list --status open",
        "payctl disputes list --gateway stripe --json",
    ],
)
def list_disputes(
    status: StatusOption = None,
    gateway: GatewayOption = None,
    payment: Annotated[
        str | None, typer.Option("--payment", metavar="ID", help="Only of this payment.")
    ] = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
) -> None:
    """List disputes, newest first; --status open takes all that have not ended."""
    from payctl.payments.dispute_records import DisputeFilter

    if status not in (None, "open", *map(str, DisputeStatus)):
        known = ", ".join(["open", *map(str, DisputeStatus)])
        raise InvalidInput("choice.unknown", field="status", value=str(status)[:40], allowed=known)
    wanted = DisputeFilter(status, gateway, ids.decode(payment, "payment") if payment else None)
    found = session().app.disputes.page(
        wanted, after=ids.decode(after, "dispute") if after else None, limit=limit
    )
    cut = ids.encode("dispute", found[-1].id) if len(found) == limit else None
    emit_list(
        map(dispute_json, found), DISPUTES, COLUMNS, next_cursor=cut,
        hint="payctl disputes show ID",
    )  # fmt: skip


@command(
    app,
    "due",
    examples=["payctl disputes due", "payctl disputes due --within 7d --json"],
)
def due(
    within: Annotated[
        str, typer.Option("--within", metavar="SPAN", help="To be answered within: 3d, 24h.")
    ] = "3d",
    limit: LimitOption = 50,
) -> None:
    """List the disputes that must be answered soon, the most urgent first.

    Those whose time has passed without an answer are in it too: silence loses a dispute.
    """
    from payctl.payments.dispute_records import DisputeFilter

    run = session()
    before = run.now() + span_of(within, field="within")
    found = run.app.disputes.page(DisputeFilter(respond_before=before), limit=limit)
    emit_list(map(dispute_json, found), DISPUTES, COLUMNS, hint="payctl disputes contest ID")


@command(
    app,
    "show",
    examples=["payctl disputes show dsp_...", "payctl disputes show dsp_... --json"],
    exits={ExitCode.NOT_FOUND: "there is no such dispute in this book"},
)
def show(dispute: DisputeId) -> None:
    """Show a dispute, what the provider took, what is frozen, and where the money is."""
    _end(session().app.disputes.get(ids.decode(dispute, "dispute")))


@command(
    app,
    "accept",
    changes=True,
    examples=[
        'payctl disputes accept dsp_... --reason "event was cancelled"',
        'payctl disputes accept dsp_... --reason "fraud confirmed" --dry-run',
    ],
    exits=_ANSWERED,
)
def accept(dispute: DisputeId, reason: ReasonOption) -> None:
    """Give a dispute up: the customer keeps the money. This cannot be taken back."""
    run = session()
    found = run.app.disputes.get(ids.decode(dispute, "dispute"))
    confirm([f"accept {dispute}: {reason}"], found.amount_minor, found.currency)
    if run.dry_run:
        _end(found)
        return
    _end(run.app.disputes.accept(run.actor, found.id, reason=reason).dispute)


@command(
    app,
    "contest",
    changes=True,
    examples=[
        'payctl disputes contest dsp_... --text "ticket scanned at the gate 20:14"'
        " --evidence scan.pdf",
        'payctl disputes contest dsp_... --text "refund paid on 3 May, rfd_..." --dry-run',
    ],
    exits=_ANSWERED,
)
def contest(
    dispute: DisputeId,
    text: Annotated[str, typer.Option("--text", metavar="TEXT", help="What the evidence shows.")],
    evidence: Annotated[
        Path | None,
        typer.Option("--evidence", metavar="FILE", help="One PDF or picture, at most 4 MiB."),
    ] = None,
) -> None:
    """Contest a dispute with evidence. It can be sent once: gather everything first."""
    run = session()
    found = run.app.disputes.get(ids.decode(dispute, "dispute"))
    content = _content(evidence)
    confirm([f"contest {dispute}: {text}"], found.amount_minor, found.currency)
    if run.dry_run:
        _end(found)
        return
    name = evidence.name if evidence is not None else ""
    done = run.app.disputes.contest(run.actor, found.id, text=text, file_name=name, file=content)
    _end(done.dispute)


@command(
    app,
    "sync",
    changes=True,
    examples=["payctl disputes sync", "payctl disputes sync --since 30d"],
)
def sync(since: SinceOption = None) -> None:
    """Ask the providers about open disputes, and for those no webhook told of."""
    run = session()
    confirm(["ask the providers about disputes"])
    if run.dry_run:
        return
    counts = run.app.disputes.sync(run.actor, since=since)
    emit({"counts": dict(counts)}, "payctl.dispute_sync/1", (Column("counts", "long"),))
    if counts["unreachable"] or counts["list_cut"]:
        finish(ExitCode.CHECK_FAILED)


def dispute_json(dispute: DisputeRecord) -> dict[str, Any]:
    return {
        "id": ids.encode("dispute", dispute.id),
        "payment": ids.encode("payment", dispute.payment_id),
        "status": str(dispute.status),
        "amount_minor": dispute.amount_minor,
        "currency": dispute.currency,
        "withdrawn_minor": dispute.withdrawn_minor,
        "frozen_minor": dispute.frozen_minor,
        "reason": dispute.reason,
        "respond_by": dispute.respond_by,
        "gateway": dispute.gateway_account,
        "provider_reference": dispute.provider_reference,
        "response": dispute.response,
        "responded_by": dispute.responded_by,
        "responded_at": dispute.responded_at,
        "created_at": dispute.created_at,
        "next_check_at": dispute.next_check_at,
    }


def _content(evidence: Path | None) -> bytes:
    if evidence is None:
        return b""
    try:
        return evidence.read_bytes()
    except OSError as error:
        raise InvalidInput(
            "dispute.file_unreadable", field="evidence", file=str(evidence), why=error.strerror
        ) from error


def _end(dispute: DisputeRecord) -> None:
    run = session()
    emit(dispute_json(dispute), DISPUTE, VIEW)
    if run.is_json or run.quiet:
        return
    from payctl.cli.money_lines import money_lines

    where = run.app.lookup.situation(dispute.payment_id).whereabouts
    for line in money_lines(where, run.lang):
        note(line)
    name = ids.encode("dispute", dispute.id)
    if dispute.status in (DisputeStatus.INQUIRY, DisputeStatus.NEEDS_RESPONSE):
        note(say("next", run.lang, command=f"payctl disputes contest {name} --text TEXT"))
