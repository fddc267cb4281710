"""Events applied once more: after a fault was repaired, or to see what one would do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.errors import InvalidInput
from payctl.payments.previews import Preview, Previews
from payctl.webhooks import store
from payctl.webhooks.model import Stored, event_columns
from payctl.webhooks.reception import understood
from payctl.webhooks.service import Inbox

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events."""

    type: str | None = None
    account: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def everything(self) -> bool:
        return self == Wanted()


class Replays:
    """Replays stored events."""

    def __init__(self, db: Database, inbox: Inbox, previews: Previews) -> None:
        self._db = db
        self._inbox = inbox
        self._previews = previews

    def select(self, wanted: Wanted, limit: int) -> list[Stored]:
        """The events of *wanted*, oldest first, at most *limit* of the newest."""
        found: list[Stored] = []
        for stored in self._all(wanted):
            if len(found) >= limit:
                break
            if wanted.type is None or stored.type == wanted.type:
                found.append(stored)
        return found[::-1]

    def preview(self, actor: Actor, stored: Stored) -> Preview:
        """What replaying *stored* would change; nothing is written.

        Raises:
            Forbidden: ``operator.not_allowed``. Unavailable: our own database is gone.
        """
        event = stored.event()
        try:
            if event is None:
                gateway = self._inbox.reception.gateway(stored.account)
                event = understood(gateway, stored.body, stored.headers)
        except InvalidInput:
            return Preview("unreadable")
        hashed = stored.token_hash or event_columns(event)["token_hash"]
        return self._previews.event(actor, stored.account, event, hashed)

    def replay(self, actor: Actor, event_id: UUID, reason: str) -> str:
        """Apply an event once more, whatever it ended in; returns what it ends in now.

        Raises:
            Forbidden: ``operator.not_allowed``. InvalidInput: ``reason.missing``.
            Conflict: ``webhook.being_applied``.
        """
        stored = self._inbox.get(event_id)
        if stored.settled_at is not None:
            self._inbox.again(actor, event_id, reason)
        (outcome,) = self._inbox.apply(actor, only=event_id)
        return outcome

    def _all(self, wanted: Wanted) -> Iterator[Stored]:
        after: UUID | None = None
        while True:
            with self._db.read() as tx:
                page = store.listing(
                    tx, states=None, account=wanted.account, since=wanted.since,
                    until=wanted.until, after=after, limit=_PAGE,
                )  # fmt: skip
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].id
