"""``payctl webhooks``: what its modules share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli.framework import group, noun

if TYPE_CHECKING:
    from payctl.webhooks.model import Stored

app = noun("webhooks")
dead = group(app, "dead", "events that could not be applied")
secret = group(app, "secret", "the secrets that webhooks are signed with")
allow = group(app, "allow", "where webhooks may come from")

EventId = Annotated[str, typer.Argument(metavar="EVENT", help="The event (evt_...).")]


def event_json(event: Stored) -> dict[str, Any]:
    """An event as ``--json`` prints it."""
    return {
        "id": ids.encode("event", event.id),
        "gateway": event.account,
        "event": event.event_id,
        "type": event.type,
        "object_kind": event.object_kind,
        "our_reference": event.our_reference,
        "provider_reference": event.provider_reference,
        "status": event.state,
        "reason": event.reason,
        "tries": event.tries,
        "waits": event.waits,
        "occurred_at": event.occurred_at,
        "received_at": event.received_at,
        "next_try_at": event.next_try_at,
        "settled_at": event.settled_at,
        "size": len(event.body),
    }
