"""``payctl webhooks replay`` and ``fetch``: events once more, and events that never came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli.framework import (
    Column,
    ExitCode,
    GatewayOption,
    LimitOption,
    ReasonOption,
    SinceOption,
    UntilOption,
    command,
    confirm,
    emit,
    emit_list,
    finish,
    progress,
    session,
)
from payctl.cli.webhook_app import app
from payctl.errors import InvalidInput

if TYPE_CHECKING:
    from payctl.payments.previews import Preview
    from payctl.webhooks.model import Stored

REPLAYS = (
    Column("id", "id", rank=0),
    Column("gateway", rank=2),
    Column("type", rank=1),
    Column("outcome", "state", rank=0),
    Column("payment", "id", rank=1),
    Column("answered", rank=3),
    Column("status_before", "state", rank=1),
    Column("status_after", "state", rank=1),
    Column("captured_before_minor", "money", rank=3),
    Column("captured_after_minor", "money", rank=3),
    Column("refunded_before_minor", "money", rank=4),
    Column("refunded_after_minor", "money", rank=4),
    Column("currency", rank=4),
    Column("journals", "number", rank=3),
)
FETCHED = (Column("gateway"), Column("listed", "number"), Column("new", "number"))


@command(
    app,
    "replay",
    changes=True,
    examples=[
        "payctl webhooks replay evt_... --dry-run",
        'payctl webhooks replay evt_... --reason "fixed in 0.2"',
        "payctl webhooks replay --gateway stripe --since 24h --reason outage",
    ],
    exits={
        ExitCode.NOT_FOUND: "no such event",
        ExitCode.CHECK_FAILED: "some events are dead letters now",
    },
)
def replay(
    event: Annotated[
        str | None, typer.Argument(metavar="[EVENT]", help="Only this one (evt_...).")
    ] = None,
    type_: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Only events of this type.")
    ] = None,
    gateway: GatewayOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 500,
    reason: ReasonOption = "replayed",
) -> None:
    """Apply events once more, whatever they ended in, oldest first.

    A dry run asks the providers for real and shows what each answer would change; it writes
    nothing. Replaying changes nothing that was applied before.
    """
    from payctl.webhooks.replay import Wanted

    run = session()
    service = run.app.replays
    wanted = Wanted(type_, gateway, since, until)
    if event is None and wanted.everything:
        raise InvalidInput("webhook.replay_what", field="event")
    if event is not None:
        chosen = [run.app.inbox.get(ids.decode(event, "event"))]
    else:
        chosen = service.select(wanted, limit)
    confirm([f"replay {len(chosen)} events"], severe=len(chosen) > 1, word="replay")
    actor, rows = run.actor, []
    with progress("events", len(chosen)) as bar:
        for each in chosen:
            if run.dry_run:
                rows.append(_would(each, service.preview(actor, each)))
            else:
                rows.append(_row(each) | {"outcome": service.replay(actor, each.id, reason)})
            bar.advance()
    emit_list(rows, "payctl.webhook_replays/1", REPLAYS)
    if not run.dry_run and any(row["outcome"] == "dead" for row in rows):
        finish(ExitCode.CHECK_FAILED)


@command(
    app,
    "fetch",
    changes=True,
    examples=[
        "payctl webhooks fetch stripe --since 24h",
        "payctl webhooks fetch paypal --since 2026-11-01 --dry-run",
    ],
    exits={
        ExitCode.USAGE: "the provider lists no events",
        ExitCode.NOT_SENT: "the provider could not be reached; ask again",
    },
)
def fetch(
    gateway: Annotated[str, typer.Argument(metavar="GATEWAY", help="The account's name.")],
    since: SinceOption = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Also apply what is due afterwards.")
    ] = False,
) -> None:
    """Fetch events that never arrived, from a provider that lists them (Stripe, PayPal).

    Each goes through the inbox like a webhook. Default: the last 24 hours.
    """
    from datetime import timedelta

    run = session()
    start = since or run.app.db.clock.now() - timedelta(days=1)
    confirm([f"fetch the events of {gateway} since {start:%Y-%m-%d %H:%M} UTC"])
    found = run.app.missed_events.fetch(run.actor, gateway, start, dry_run=run.dry_run)
    emit(
        {"gateway": gateway, "listed": found.listed, "new": found.new},
        "payctl.webhook_fetch/1", FETCHED, id_key="gateway",
    )  # fmt: skip
    if apply and found.new and not run.dry_run:
        counts = run.app.inbox.apply(run.actor)
        if counts.get("dead"):
            finish(ExitCode.CHECK_FAILED)


def _row(stored: Stored) -> dict[str, Any]:
    return {
        "id": ids.encode("event", stored.id), "gateway": stored.account, "type": stored.type,
        "outcome": "", "payment": None, "answered": None, "status_before": None,
        "status_after": None, "captured_before_minor": None, "captured_after_minor": None,
        "refunded_before_minor": None, "refunded_after_minor": None, "currency": None,
        "journals": None,
    }  # fmt: skip


def _would(stored: Stored, seen: Preview) -> dict[str, Any]:
    row = _row(stored) | {"outcome": seen.outcome, "answered": seen.answered}
    if seen.before is None or seen.after is None:
        return row
    return row | {
        "payment": ids.encode("payment", seen.before.id),
        "status_before": str(seen.before.status),
        "status_after": str(seen.after.status),
        "captured_before_minor": seen.before.captured_minor,
        "captured_after_minor": seen.after.captured_minor,
        "refunded_before_minor": seen.before.refunded_minor,
        "refunded_after_minor": seen.after.refunded_minor,
        "currency": seen.before.currency,
        "journals": len(seen.journals),
    }
