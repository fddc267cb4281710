"""``payctl webhooks``: events received from the gateways."""

from __future__ import annotations

from typing import Annotated

import typer

from payctl import ids
from payctl.cli import webhook_proof, webhook_replay, webhook_server
from payctl.cli.framework import (
    AfterOption,
    Column,
    ExitCode,
    GatewayOption,
    LimitOption,
    ReasonOption,
    SinceOption,
    StatusOption,
    UntilOption,
    command,
    confirm,
    emit,
    emit_list,
    finish,
    session,
    undo,
)
from payctl.cli.webhook_app import EventId, app, dead, event_json
from payctl.errors import NotConfigured

__all__ = ["app", "webhook_proof", "webhook_replay", "webhook_server"]

COLUMNS = (
    Column("id", "id", rank=0),
    Column("gateway", rank=1),
    Column("type", rank=1),
    Column("status", "state", rank=0),
    Column("received_at", "time", rank=1),
    Column("tries", "number", rank=3),
    Column("next_try_at", "time", rank=3),
    Column("reason", rank=1),
    Column("provider_reference", rank=4),
)
VIEW = (
    Column("id", "id"),
    Column("gateway"),
    Column("event"),
    Column("type"),
    Column("object_kind"),
    Column("our_reference"),
    Column("provider_reference"),
    Column("status", "state"),
    Column("reason", "long"),
    Column("tries", "number"),
    Column("waits", "number"),
    Column("occurred_at", "time"),
    Column("received_at", "time"),
    Column("next_try_at", "time"),
    Column("settled_at", "time"),
    Column("size", "number"),
    Column("body", "long"),
)


@command(
    app,
    "list",
    examples=[
        "payctl webhooks list --since 24h",
        "payctl webhooks list --status waiting --gateway stripe --json",
    ],
)
def list_events(
    status: StatusOption = None,
    gateway: GatewayOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
) -> None:
    """List events, newest first."""
    found = session().app.inbox.list(
        state=status,
        account=gateway,
        since=since,
        until=until,
        after=ids.decode(after, "event") if after else None,
        limit=limit,
    )
    cut = ids.encode("event", found[-1].id) if len(found) == limit else None
    emit_list(
        map(event_json, found),
        "payctl.webhook_events/1",
        COLUMNS,
        next_cursor=cut,
        hint="payctl webhooks show EVENT",
    )


@command(
    app,
    "show",
    examples=["payctl webhooks show evt_...", "payctl webhooks show evt_... --body --json"],
)
def show(
    event: EventId,
    body: Annotated[
        bool, typer.Option("--body", help="With the body; looking at it is audited.")
    ] = False,
) -> None:
    """Show an event: what it names, how far it has come, and why not further."""
    run = session()
    service, event_id = run.app.inbox, ids.decode(event, "event")
    shown = event_json(service.get(event_id))
    if body:
        shown["body"] = service.body(run.actor, event_id)
    emit(shown, "payctl.webhook_event/1", VIEW)


@command(
    app,
    "apply",
    changes=True,
    examples=[
        "payctl webhooks apply",
        "payctl webhooks apply evt_...",
        "payctl webhooks apply --follow",
    ],
    exits={
        ExitCode.CONFLICT: "the event is settled, or another worker has it",
        ExitCode.CHECK_FAILED: "some events are dead letters now",
    },
)
def apply(
    event: Annotated[
        str | None, typer.Argument(metavar="[EVENT]", help="Only this one, due or not.")
    ] = None,
    limit: LimitOption = 500,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on as events arrive, until stopped.")
    ] = False,
) -> None:
    """Apply the events that are due: ask their providers and record the answers.

    A dry run shows which events are waiting and asks nobody.
    """
    run = session()
    if follow:
        confirm(["apply every event as it arrives"])
        if not run.dry_run:
            _follow()
            return
    service = run.app.inbox
    only = ids.decode(event, "event") if event else None
    confirm([f"apply {event or 'the events that are due'}"])
    if run.dry_run:
        counts = service.counts() if only is None else {service.get(only).state: 1}
    else:
        counts = service.apply(run.actor, limit=limit, only=only)
    emit({"counts": counts}, "payctl.webhook_report/1", id_key="counts")
    if counts.get("dead") and not run.dry_run:
        finish(ExitCode.CHECK_FAILED)


def _follow() -> None:
    from payctl.db.permissions import require
    from payctl.receiver.applier import follow

    run = session()
    services = run.app
    try:
        require(run.actor, "webhook.apply")
    except NotConfigured as error:
        # Like a job it acts in its own name, and a service has no operator's token.
        if error.code != "operator.token_missing":
            raise
    follow(services)


@command(
    dead,
    "list",
    examples=["payctl webhooks dead list", "payctl webhooks dead list --gateway stripe --json"],
)
def list_dead(
    gateway: GatewayOption = None, limit: LimitOption = 50, after: AfterOption = None
) -> None:
    """List dead letters, newest first, with the reason of each."""
    found = session().app.inbox.list(
        state="dead",
        account=gateway,
        after=ids.decode(after, "event") if after else None,
        limit=limit,
    )
    cut = ids.encode("event", found[-1].id) if len(found) == limit else None
    emit_list(
        map(event_json, found),
        "payctl.webhook_events/1",
        COLUMNS,
        next_cursor=cut,
        hint="payctl webhooks dead retry EVENT --reason TEXT",
    )


@command(
    dead,
    "retry",
    changes=True,
    examples=[
        'payctl webhooks dead retry evt_... --reason "fixed in 0.2"',
        "payctl webhooks dead retry evt_... --reason test --dry-run",
    ],
    exits={ExitCode.CONFLICT: "the event is no dead letter"},
)
def retry(event: EventId, reason: ReasonOption) -> None:
    """Make a dead letter or an orphan due again."""
    run = session()
    confirm([f"retry {event}"])
    done = run.app.inbox.retry(run.actor, ids.decode(event, "event"), reason, dry_run=run.dry_run)
    emit(event_json(done), "payctl.webhook_event/1", VIEW)
    undo(f"payctl webhooks dead drop {event} --reason TEXT")


@command(
    dead,
    "drop",
    changes=True,
    examples=[
        'payctl webhooks dead drop evt_... --reason "test event of the provider"',
        "payctl webhooks dead drop evt_... --reason test --dry-run",
    ],
    exits={ExitCode.CONFLICT: "the event is no dead letter"},
)
def drop(event: EventId, reason: ReasonOption) -> None:
    """Give up a dead letter or an orphan for good; it stays readable."""
    run = session()
    confirm([f"drop {event} for good"])
    done = run.app.inbox.drop(run.actor, ids.decode(event, "event"), reason, dry_run=run.dry_run)
    emit(event_json(done), "payctl.webhook_event/1", VIEW)
