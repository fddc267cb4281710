"""``payctl outbox``: what the core service is told, and how far it has been told."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli.framework import (
    AfterOption,
    Column,
    ExitCode,
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
    group,
    note,
    noun,
    session,
    undo,
)
from payctl.cli.messages import say
from payctl.cli.options import needed

if TYPE_CHECKING:
    from payctl.notifications.desk import Delivery
    from payctl.notifications.lag import Lag
    from payctl.notifications.relay import Relay

app = noun("outbox")
dead = group(app, "dead", "notifications that were given up after all their tries")
#: A relay that follows looks for work this often, in seconds.
FOLLOW_S = 0.5
COLUMNS = (
    Column("id", "id", rank=0),
    Column("type", rank=0),
    Column("object", rank=1),
    Column("sequence", "number", rank=2),
    Column("status", "state", rank=0),
    Column("created_at", "time", rank=1),
    Column("tries", "number", rank=3),
    Column("next_try_at", "time", rank=3),
    Column("reason", rank=2),
)
VIEW = (
    Column("id", "id"),
    Column("type"),
    Column("object"),
    Column("sequence", "number"),
    Column("status", "state"),
    Column("reason", "long"),
    Column("tries", "number"),
    Column("waits", "number"),
    Column("created_at", "time"),
    Column("tried_at", "time"),
    Column("next_try_at", "time"),
    Column("settled_at", "time"),
    Column("payload", "long"),
)
LAG = (
    Column("status", "state"),
    Column("undelivered", "number"),
    Column("oldest_at", "time"),
    Column("age_s", "number"),
    Column("limit_s", "number"),
    Column("dead", "number"),
    Column("endpoint"),
    Column("next_probe_at", "time"),
    Column("succeeded_at", "time"),
    Column("reason", "long"),
)
NotificationId = Annotated[
    str, typer.Argument(metavar="NOTIFICATION", help="The notification (ntf_...).")
]
TypeOption = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="Only this type: payment.succeeded.")
]
ObjectOption = Annotated[
    str | None, typer.Option("--object", metavar="ID", help="Only about this payment, refund, ...")
]
_LIST, _ITEM = "payctl.notifications/1", "payctl.notification/1"


@command(
    app,
    "list",
    examples=[
        "payctl outbox list --since 24h",
        "payctl outbox list --status pending --type payment.succeeded --json",
        "payctl outbox list --object pay_...",
    ],
)
def list_notifications(
    status: StatusOption = None,
    type: TypeOption = None,
    object_: ObjectOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
) -> None:
    """List notifications, newest first."""
    found = session().app.deliveries.list(
        state=status,
        type=type,
        object_id=_object(object_),
        since=since,
        until=until,
        after=ids.decode(after, "notification") if after else None,
        limit=limit,
    )
    cut = ids.encode("notification", found[-1].notification.id) if len(found) == limit else None
    emit_list(
        map(_json, found), _LIST, COLUMNS, next_cursor=cut, hint="payctl outbox show NOTIFICATION"
    )


@command(
    app,
    "show",
    examples=["payctl outbox show ntf_...", "payctl outbox show ntf_... --json"],
)
def show(notification: NotificationId) -> None:
    """Show a notification: its payload, and how far the core service has been told."""
    found = session().app.deliveries.get(ids.decode(notification, "notification"))
    emit({**_json(found), "payload": found.notification.payload()}, _ITEM, VIEW)


@command(
    app,
    "relay",
    changes=True,
    examples=[
        "payctl outbox relay",
        "payctl outbox relay --dry-run",
        "payctl outbox relay --follow",
    ],
    exits={
        ExitCode.CONFIG: "no notifications.url is configured, or its secrets cannot be read",
        ExitCode.CHECK_FAILED: "some tries failed; they are repeated when they are due",
    },
)
def relay(
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until SIGTERM or Ctrl-C.")
    ] = False,
) -> None:
    """Send the notifications that are due now, to the core service and to Redis.

    A dry run lists what would be sent to the core service, at most 1000, and sends nothing.
    """
    run = session()
    if run.dry_run:
        found = run.app.deliveries.due(1000)
        emit_list(map(_json, found), _LIST, COLUMNS)
        return
    confirm(["send the notifications that are due"])
    relays = run.app.relays()
    try:
        counts = _relay(relays, follow)
    finally:
        for each in relays:
            each.close()
    emit({"counts": counts}, "payctl.outbox_report/1", id_key="counts")
    if not relays:
        note(say("outbox_not_configured", run.lang))
        finish(ExitCode.CONFIG)
    failed = {"refused", "failed", "throttled", "no_answer", "down", "gone"}
    if not follow and any(failed & set(each) for each in counts.values()):
        finish(ExitCode.CHECK_FAILED)


@command(
    app,
    "lag",
    examples=["payctl outbox lag", "payctl outbox lag --limit-s 300 --json"],
    exits={
        ExitCode.CHECK_FAILED: "the oldest is too old, there are dead letters, or nobody is told"
    },
)
def show_lag(
    limit_s: Annotated[
        int | None,
        typer.Option("--limit-s", min=1, metavar="S", help="Oldest that is fine, in seconds."),
    ] = None,
) -> None:
    """Show how far the core service is behind: how many, how old, and whether it can be reached."""
    from payctl.notifications.endpoints import is_configured

    run = session()
    limit = limit_s or int(run.app.config.get("notifications.lag_limit_s"))
    shown = _lag_json(run.app.deliveries.lag(), limit, configured=is_configured(run.app.config))
    emit(shown, "payctl.outbox_lag/1", LAG, id_key="status")
    if shown["status"] == "not_configured":
        note(say("outbox_not_configured", run.lang))
    # Nobody is late who was never asked to tell anybody.
    if shown["status"] not in ("ok", "not_configured"):
        finish(ExitCode.CHECK_FAILED)


@command(
    app,
    "replay",
    changes=True,
    examples=[
        'payctl outbox replay --since 2026-11-01 --until 2026-11-02 --reason "a lost day"',
        'payctl outbox replay --since 6h --type payment.succeeded --reason "a test" --dry-run',
    ],
)
def replay(
    reason: ReasonOption,
    since: SinceOption = None,
    until: UntilOption = None,
    type: TypeOption = None,
    object_: ObjectOption = None,
) -> None:
    """Have the notifications of a time sent again, under the same ids and in order per object."""
    run = session()
    needed(since="given" if since else "")
    assert since is not None, "needed() has said so"
    span = f"from {since:%Y-%m-%d %H:%M}Z" + (f" to {until:%Y-%m-%d %H:%M}Z" if until else "")
    confirm([f"send again what was notified {span}", *filter(None, (type, object_))])
    count = run.app.deliveries.replay(
        run.actor,
        reason,
        since=since,
        until=until,
        type=type,
        object_id=_object(object_),
        dry_run=run.dry_run,
    )
    emit({"notifications": count}, "payctl.outbox_replay/1", id_key="notifications")


@command(
    app,
    "enable",
    changes=True,
    examples=[
        'payctl outbox enable --reason "the core service is back"',
        "payctl outbox enable --reason test --dry-run",
    ],
    exits={ExitCode.CONFLICT: "it is neither disabled nor left alone"},
)
def enable(reason: ReasonOption) -> None:
    """Send again to a core service that answered 410, or is left alone because it was down."""
    from payctl.notifications.endpoints import is_configured

    run = session()
    confirm(["send notifications to the core service again"])
    found = run.app.deliveries.enable(run.actor, reason, dry_run=run.dry_run)
    limit = int(run.app.config.get("notifications.lag_limit_s"))
    shown = _lag_json(found, limit, configured=is_configured(run.app.config))
    emit(shown, "payctl.outbox_lag/1", LAG, id_key="status")


@command(
    dead,
    "list",
    examples=["payctl outbox dead list", "payctl outbox dead list --type refund.succeeded --json"],
)
def list_dead(type: TypeOption = None, limit: LimitOption = 50, after: AfterOption = None) -> None:
    """List dead letters, newest first, with the reason of each."""
    found = session().app.deliveries.list(
        state="dead",
        type=type,
        after=ids.decode(after, "notification") if after else None,
        limit=limit,
    )
    cut = ids.encode("notification", found[-1].notification.id) if len(found) == limit else None
    hint = "payctl outbox dead retry NOTIFICATION --reason TEXT"
    emit_list(map(_json, found), _LIST, COLUMNS, next_cursor=cut, hint=hint)


@command(
    dead,
    "retry",
    changes=True,
    examples=[
        'payctl outbox dead retry ntf_... --reason "fixed over there"',
        "payctl outbox dead retry ntf_... --reason test --dry-run",
    ],
    exits={ExitCode.CONFLICT: "the notification is no dead letter"},
)
def retry(notification: NotificationId, reason: ReasonOption) -> None:
    """Make a dead letter due again, with all its tries."""
    run = session()
    confirm([f"retry {notification}"])
    wanted = ids.decode(notification, "notification")
    done = run.app.deliveries.retry(run.actor, wanted, reason, dry_run=run.dry_run)
    emit(_json(done), _ITEM, VIEW)


@command(
    dead,
    "drop",
    changes=True,
    examples=[
        'payctl outbox dead drop ntf_... --reason "told them by hand"',
        "payctl outbox dead drop ntf_... --reason test --dry-run",
    ],
    exits={ExitCode.CONFLICT: "the notification is no dead letter"},
)
def drop(notification: NotificationId, reason: ReasonOption) -> None:
    """Give a dead letter up; it stays readable and can be replayed."""
    run = session()
    confirm([f"drop {notification}"])
    wanted = ids.decode(notification, "notification")
    done = run.app.deliveries.drop(run.actor, wanted, reason, dry_run=run.dry_run)
    emit(_json(done), _ITEM, VIEW)
    undo(f"payctl outbox replay --since DATE --object {_json(done)['object']} --reason TEXT")


def _relay(relays: list[Relay], follow: bool) -> dict[str, dict[str, int]]:
    from payctl.notifications.together import run_all

    run = session()
    if not follow:
        return run_all(relays, run.actor)
    with _stopped() as stop:
        return run_all(relays, run.actor, stop=stop, pause_s=FOLLOW_S)


@contextmanager
def _stopped() -> Iterator[threading.Event]:
    """Set by SIGTERM and SIGINT (in the main thread, the only one they reach)."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(each, lambda *_: stop.set()) for each in signals]
    try:
        yield stop
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


def _object(text: str | None) -> Any:
    return ids.split(text)[1] if text else None


def _json(found: Delivery) -> dict[str, Any]:
    from payctl.notifications.outbox import public_id

    made = found.notification
    return {
        "id": ids.encode("notification", made.id),
        "type": made.type,
        "object_kind": made.object_kind,
        "object": public_id(made.object_kind, made.object_id),
        "sequence": made.sequence,
        "status": found.state,
        "reason": found.reason,
        "tries": found.tries,
        "waits": found.waits,
        "created_at": made.created_at,
        "tried_at": found.tried_at,
        "next_try_at": found.next_try_at,
        "settled_at": found.settled_at,
    }


def _lag_json(found: Lag, limit_s: int, *, configured: bool) -> dict[str, Any]:
    age_s = int(found.age.total_seconds())
    endpoint = "disabled" if found.disabled else "down" if found.down else "up"
    if not configured:
        status = "not_configured"
    elif found.disabled or age_s > limit_s:
        status = "disabled" if found.disabled else "late"
    else:
        status = "dead_letters" if found.dead else "ok"
    return {
        "status": status,
        "configured": configured,
        "undelivered": found.count,
        "oldest_at": found.oldest_at,
        "age_s": age_s,
        "limit_s": limit_s,
        "dead": found.dead,
        "endpoint": endpoint,
        "next_probe_at": found.next_probe_at,
        "succeeded_at": found.succeeded_at,
        "reason": found.reason,
    }
