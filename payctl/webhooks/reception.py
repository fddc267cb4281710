"""The first half of the inbox: a webhook is checked, and then stored with others in one commit.

The two are apart because they cost different things. :meth:`Reception.check` is processor time
alone: it asks no database, so a receiver may do it while others wait for theirs.
:meth:`Reception.store` is one statement for as many webhooks as wait at the same time, and a commit
is what a webhook costs. The receiver, the command line and the tests all come in here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.cases.service import Cases
from payctl.db.engine import Database
from payctl.db.operators import job_actor
from payctl.errors import InvalidInput, NotFound
from payctl.gateways.base import Event, Gateway
from payctl.ids import encode
from payctl.webhooks import store
from payctl.webhooks.model import (
    ALTERED,
    MAX_BODY_BYTES,
    clean_body,
    clean_headers,
    event_columns,
)

#: Who stands behind an event that came in by itself.
RECEIVER = job_actor("webhook_receive", "job.webhooks")

_MAX_TEXT = 500
#: Times outside of this are no provider's.
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A webhook that was checked and may be stored.

    Attributes:
        values: the row, as the table has it.
        cards: card numbers that were taken out of its body.
    """

    values: Mapping[str, Any]
    cards: int = 0

    @property
    def id(self) -> UUID:
        found: UUID = self.values["id"]
        return found

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same event as another: account and provider's id (or the body)."""
        return self.values["account"], self.values["dedupe"]

    @property
    def proof(self) -> str:
        return str(self.values["proof"])

    @property
    def token_hash(self) -> bytes | None:
        found: bytes | None = self.values["token_hash"]
        return found


class Reception:
    """Checks and stores webhooks."""

    def __init__(self, db: Database, gateways: Mapping[str, Gateway], cases: Cases) -> None:
        self._db = db
        self._gateways = gateways
        self._cases = cases

    def gateway(self, account: str) -> Gateway:
        """The gateway of *account*.

        Raises:
            NotFound: ``gateway.not_found``.
        """
        try:
            return self._gateways[account]
        except KeyError:
            known = ", ".join(sorted(self._gateways))
            raise NotFound(
                "gateway.not_found", field="gateway", gateway=account[:60], known=known
            ) from None

    # -- checking -------------------------------------------------------------------------------

    def check(
        self, account: str, body: bytes, headers: Mapping[str, str], *, trusted: bool = False
    ) -> Incoming:
        """Verify one webhook, while the time in its signature is fresh, and make a row of it.

        A body that the adapter cannot read is kept all the same, to be read after an upgrade or by
        a person, when something speaks for it: its signature, or *trusted*. Else anybody could fill
        the inbox.

        Args:
            trusted: the way it came in proves who sent it (a secret path, an allowed address).

        Raises:
            NotFound: ``gateway.not_found``.
            InvalidInput: ``webhook.too_large``, ``event.unreadable``.
            Forbidden: ``event.bad_signature``, ``event.stale``.
            NotConfigured: there is no secret to check with, or it cannot be read.
        """
        gateway = self.gateway(account)
        if len(body) > MAX_BODY_BYTES:
            raise InvalidInput(
                "webhook.too_large", field="body", size=len(body), limit=MAX_BODY_BYTES
            )
        now = self._db.clock.now()
        event, proof = _read(gateway, body, headers, now, trusted)
        clean, cards = clean_body(body, event.token if event is not None else None)
        kept = clean_headers(headers)
        if clean != body:
            kept[ALTERED] = "yes"
        return self._incoming(account, event, proof, body, clean, kept, now, cards)

    def fetched(self, account: str, event: Event, body: bytes) -> Incoming:
        """A row of an *event* that the provider listed when it was asked."""
        clean, cards = clean_body(body, event.token)
        now = self._db.clock.now()
        return self._incoming(account, sound(event), "listed", body, clean, {}, now, cards)

    def _incoming(
        self,
        account: str,
        event: Event | None,
        proof: str,
        body: bytes,
        clean: bytes,
        headers: Mapping[str, str],
        now: datetime,
        cards: int,
    ) -> Incoming:
        columns = event_columns(event) if event is not None else _NOTHING
        values = {
            **columns,
            "id": self._db.ids.new(),
            "account": account,
            "dedupe": columns["event_id"] or f"sha256:{hashlib.sha256(body).hexdigest()}",
            "body": clean,
            "headers": headers,
            "received_at": now,
            "proof": proof,
        }
        return Incoming(values, cards)

    # -- storing --------------------------------------------------------------------------------

    def store(self, batch: Sequence[Incoming], *, keep: bool = False) -> set[UUID]:
        """Store what was checked in one commit; returns the ids that are new.

        What is there already is not stored again. One that nothing signed, and that was looked at
        before, is looked at once more: somebody may have sent it too early to keep the true one
        from being heard.

        Args:
            keep: on the connection that this thread keeps, in one round trip; the thread ends with
                :meth:`Database.leave`.

        Raises:
            Unavailable: the database is gone, full or locked; whether anything was stored is open,
                and storing the same again is safe.
        """
        if not batch:
            return set()
        first: dict[tuple[str, str], Incoming] = {}
        for each in batch:
            first.setdefault(each.key, each)
        rows = [each.values for each in first.values()]
        carded = [each for each in first.values() if each.cards]
        if keep and not carded:
            return self._db.at_once(lambda tx: self._insert(tx, rows))

        def work(tx: sa.Connection) -> set[UUID]:
            new = self._insert(tx, rows)
            for each in carded:
                if each.id in new:
                    self._refused_card(tx, each)
            return new

        return self._db.run(work)

    def receive(self, incoming: Incoming) -> UUID:
        """Store one; returns its id, or that of the one that was there already."""
        if incoming.id in self.store([incoming]):
            return incoming.id
        with self._db.read() as tx:
            return store.id_of(tx, *incoming.key)

    def _insert(self, tx: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> set[UUID]:
        return store.insert_many(tx, rows, is_sqlite=self._db.is_sqlite)

    def _refused_card(self, tx: sa.Connection, incoming: Incoming) -> None:
        self._cases.open(
            tx,
            kind="pan_refused",
            subject_kind="event",
            subject_id=incoming.id,
            gateway=incoming.values["account"],
            detail={"event": encode("event", incoming.id), "card_numbers": incoming.cards},
            dedupe_key=f"pan_refused:{incoming.id}",
            actor=RECEIVER,
        )


def understood(
    gateway: Gateway, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
) -> Event:
    """:meth:`Gateway.parse_event`, and nothing in it that a database would refuse.

    Raises: as there.
    """
    try:
        event = gateway.parse_event(body, headers, received_at=received_at)
    except RecursionError:
        # JSON nested a thousand deep is no provider's, and a signature was checked before.
        raise InvalidInput("event.unreadable", field="body") from None
    return sound(event)


def sound(event: Event) -> Event:
    """*event* when its texts are texts that can be stored.

    Raises:
        InvalidInput: ``event.unreadable``.
    """
    texts = (event.event_id, event.type, event.object_kind, event.token)
    names = (event.reference.our_reference, event.reference.provider_reference)
    if not all(map(_is_text, (*texts, *names))) or not event.event_id:
        raise InvalidInput("event.unreadable", field="body", proof=event.proof)
    at = event.occurred_at
    if at is not None and (at.tzinfo is None or not _FIRST <= at <= _LAST):
        return replace(event, occurred_at=None)
    return event


def _is_text(value: object) -> bool:
    """Absent, or a text of ordinary length without what no database or file takes."""
    if value is None:
        return True
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        return False
    return value.isprintable() or not any(
        letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value
    )


def _read(
    gateway: Gateway, body: bytes, headers: Mapping[str, str], now: datetime, trusted: bool
) -> tuple[Event | None, str]:
    """The event and what speaks for it; no event for a body that is signed well and not read."""
    try:
        event = understood(gateway, body, headers, now)
    except InvalidInput as unreadable:
        proof = str(unreadable.params.get("proof", "none"))
        if proof != "signature" and not trusted:
            raise
        return None, proof
    return event, event.proof


_NOTHING: Mapping[str, Any] = dict.fromkeys(
    (
        "event_id", "type", "object_kind", "our_reference", "provider_reference", "occurred_at",
        "token_hash",
    )
)  # fmt: skip
