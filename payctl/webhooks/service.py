"""The inbox: provider webhooks are stored raw first and applied later.

A webhook is a hint, not a fact: applying it means asking the provider about the object it names and
putting the answer through the one door of every provider fact. So an event may come twice, late or
out of order, and applying it again changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import sqlalchemy as sa

from payctl import log, pan
from payctl.cases.service import Cases
from payctl.db.actor import Actor
from payctl.db.audit import record, revealed
from payctl.db.engine import Database
from payctl.db.operators import job_actor
from payctl.db.permissions import require
from payctl.errors import Conflict, InvalidInput, NotFound, PayctlError, Unavailable
from payctl.gateways.base import Event, Gateway
from payctl.ids import encode
from payctl.webhooks import store
from payctl.webhooks.model import (
    LEASE_S,
    MAX_BODY_BYTES,
    RETRIED,
    STATES,
    Next,
    Stored,
    after,
    clean_body,
    clean_headers,
    event_columns,
)

#: Who stands behind an event that came in by itself.
RECEIVER = job_actor("webhook_receive", "job.webhooks")


class Payments(Protocol):
    """What the inbox needs of the payments floor."""

    def apply_event(
        self, actor: Actor, account: str, event: Event, token_hash: bytes | None = None
    ) -> str:
        """Ask the provider about the event's object and apply the answer.

        Args:
            token_hash: of the token that proves the event, where one does.

        Returns:
            ``applied``, ``nothing_new``, ``orphan`` (we know no such object) or ``unreachable``.
        """
        ...


class Inbox:
    """Receives, applies and shows webhook events."""

    def __init__(
        self, db: Database, gateways: Mapping[str, Gateway], payments: Payments, cases: Cases
    ) -> None:
        self._db = db
        self._gateways = gateways
        self._payments = payments
        self._cases = cases

    # -- receiving ------------------------------------------------------------------------------

    def receive(self, account: str, body: bytes, headers: Mapping[str, str]) -> UUID:
        """Store one webhook and return its id; one that is there already is not stored again.

        The signature is checked here, while the time in it is fresh. A body the adapter cannot read
        is stored all the same, to be read after an upgrade or by a person.

        Raises:
            NotFound: ``gateway.not_found``.
            InvalidInput: ``webhook.too_large``.
            Forbidden: ``event.bad_signature``, ``event.stale``; nothing was stored.
        """
        gateway = self._gateway(account)
        if len(body) > MAX_BODY_BYTES:
            raise InvalidInput(
                "webhook.too_large", field="body", size=len(body), limit=MAX_BODY_BYTES
            )
        now = self._db.clock.now()
        event = _read(gateway, body, headers, now)
        clean, cards = clean_body(body, event.token if event is not None else None)
        columns = event_columns(event) if event is not None else {}
        key = event.event_id if event is not None else ""
        values = {
            "id": self._db.ids.new(),
            "account": account,
            "dedupe": key or f"sha256:{hashlib.sha256(body).hexdigest()}",
            **columns,
            "body": clean,
            "headers": clean_headers(headers),
            "received_at": now,
            "state": "received",
            "tries": 0,
            "waits": 0,
            "next_try_at": now,
        }
        with self._db.transaction() as tx:
            if not store.insert(tx, values, is_sqlite=self._db.is_sqlite):
                return store.id_of(tx, account, str(values["dedupe"]))
            if cards:
                self._refused_card(tx, values["id"], account, cards)
        return UUID(str(values["id"]))

    def _refused_card(self, tx: sa.Connection, event_id: UUID, account: str, cards: int) -> None:
        self._cases.open(
            tx,
            kind="pan_refused",
            subject_kind="event",
            subject_id=event_id,
            gateway=account,
            detail={"event": encode("event", event_id), "card_numbers": cards},
            dedupe_key=f"pan_refused:{event_id}",
            actor=RECEIVER,
        )

    # -- applying -------------------------------------------------------------------------------

    def apply(
        self,
        actor: Actor,
        *,
        limit: int = 500,
        only: UUID | None = None,
        check: Callable[[], None] = lambda: None,
        count: Callable[[str], None] = lambda what: None,
    ) -> dict[str, int]:
        """Apply due events, at most *limit*; returns how many ended in what.

        Several workers may do this at once: each event is taken by one of them. No transaction is
        open while the provider is asked.

        Args:
            only: this event alone, due or not.
            check: called before each event; what it raises ends the run.
            count: told what each event ended in, as soon as it has.

        Raises:
            Forbidden: ``operator.not_allowed``. NotFound: ``webhook.not_found`` for *only*.
            Conflict: ``webhook.settled``, ``webhook.being_applied`` for *only*.
            Unavailable: our own database is gone; the event in hand is tried again by itself.
        """
        require(actor, "webhook.apply")
        if only is not None:
            outcome = self._apply_only(actor, only)
            count(outcome)
            return {outcome: 1}
        counts: dict[str, int] = {}
        for _turn in range(limit):
            check()
            stored = self._claim(None)
            if stored is None:
                break
            outcome = self._try(actor, stored)
            counts[outcome] = counts.get(outcome, 0) + 1
            count(outcome)
        return counts

    def _apply_only(self, actor: Actor, event_id: UUID) -> str:
        with self._db.read() as tx:
            stored = store.get(tx, event_id)
        if stored.settled_at is not None:
            raise Conflict("webhook.settled", id=encode("event", event_id), state=stored.state)
        claimed = self._claim(event_id)
        if claimed is None:
            raise Conflict("webhook.being_applied", id=encode("event", event_id))
        return self._try(actor, claimed)

    def _claim(self, only: UUID | None) -> Stored | None:
        now = self._db.clock.now()
        until = now + timedelta(seconds=LEASE_S)
        worker = self._db.ids.new()
        return self._db.run(lambda tx: store.claim(tx, worker, now, until, only))

    def _try(self, actor: Actor, stored: Stored) -> str:
        outcome, reason, event = self._outcome(actor, stored)
        step = after(stored, outcome, reason, self._db.clock.now())
        settled = None if step.next_try_at is not None else self._db.clock.now()
        values: dict[str, Any] = {
            "state": step.state,
            "tries": step.tries,
            "waits": step.waits,
            "next_try_at": step.next_try_at,
            "reason": step.reason,
            "settled_at": settled,
        }
        if event is not None and stored.event_id is None:
            values |= event_columns(event)
        with self._db.transaction() as tx:
            if not store.settle(tx, stored, values):
                return "taken_over"
            self._tell(tx, stored, step)
        return "nothing_new" if outcome == "nothing_new" else step.state

    def _outcome(self, actor: Actor, stored: Stored) -> tuple[str, str | None, Event | None]:
        """One try: its outcome, why it failed, and the event as read.

        Any fault of ours ends in a reason on the event, never in the loss of the others behind it;
        only a database that is gone ends the run.
        """
        event = stored.event()
        try:
            if event is None:
                gateway = self._gateway(stored.account)
                event = gateway.parse_event(stored.body, stored.headers)
            else:
                event = self._with_payer(stored, event)
            hashed = stored.token_hash or event_columns(event)["token_hash"]
            return self._payments.apply_event(actor, stored.account, event, hashed), None, event
        except Unavailable:
            raise
        except PayctlError as error:
            return "error", error.code, event
        except Exception as error:
            log_id = log.exception(error, "webhook.apply", webhook=encode("event", stored.id))
            return "error", f"{type(error).__name__}, log {log_id}", event

    def _with_payer(self, stored: Stored, event: Event) -> Event:
        """The event with the payer its signed body names. Where money goes back only by a payout it
        may be the one thing that does; it is read again, so that it is not kept a second time.
        """
        gateway = self._gateways.get(stored.account)
        if gateway is None or (event.object_kind, event.proof) != ("payment", "signature"):
            return event
        can = gateway.capabilities
        if can.refunds != "none" or not can.payouts or can.reports_payer:
            return event
        try:
            again = gateway.parse_event(stored.body, stored.headers)
        except PayctlError:
            return event  # a body that was scrubbed is not what was signed
        return replace(event, payer=again.payer)

    def _tell(self, tx: sa.Connection, stored: Stored, step: Next) -> None:
        """Open the case of an orphan, and close it when a retry has found the object."""
        about = stored.provider_reference or stored.our_reference or str(stored.id)
        key = f"orphan:{stored.account}:{about}"
        if step.state == "applied" and stored.reason == RETRIED:
            evidence = stored.event_id or stored.dedupe
            self._cases.close(tx, key, resolution="found", evidence=evidence, actor=RECEIVER)
        if step.open_case:
            self._cases.open(
                tx,
                kind="orphan",
                subject_kind="event",
                subject_id=stored.id,
                gateway=stored.account,
                detail={
                    "event": encode("event", stored.id),
                    "type": stored.type,
                    "our_reference": stored.our_reference,
                    "provider_reference": stored.provider_reference,
                },
                dedupe_key=key,
                actor=RECEIVER,
            )

    # -- looking --------------------------------------------------------------------------------

    def get(self, event_id: UUID) -> Stored:
        """One event.

        Raises:
            NotFound: ``webhook.not_found``.
        """
        with self._db.read() as tx:
            return store.get(tx, event_id)

    def list(
        self,
        *,
        state: str | None = None,
        account: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Sequence[Stored]:
        """Events, newest first, at most *limit*, before the id *after*.

        Raises:
            InvalidInput: ``webhook.unknown_state``.
        """
        if state is not None and state not in STATES:
            raise InvalidInput(
                "webhook.unknown_state", field="status", state=state[:40], known=", ".join(STATES)
            )
        with self._db.read() as tx:
            return store.listing(
                tx,
                states=None if state is None else (state,),
                account=account,
                since=since,
                until=until,
                after=after,
                limit=limit,
            )

    def body(self, actor: Actor, event_id: UUID) -> str:
        """The stored body as text. It may name a customer, so looking at it is audited.

        Raises:
            Forbidden: ``operator.not_allowed``. NotFound: ``webhook.not_found``.
        """
        require(actor, "personal_data.reveal")
        stored = self.get(event_id)
        revealed(self._db, actor, "event", event_id, "body")
        return stored.body.decode("utf-8", "replace")

    def counts(self) -> dict[str, int]:
        """How many events are received, waiting, orphaned and dead."""
        with self._db.read() as tx:
            return store.counts(tx)

    # -- dead letters ---------------------------------------------------------------------------

    def retry(self, actor: Actor, event_id: UUID, reason: str, *, dry_run: bool = False) -> Stored:
        """Make a dead letter or an orphan due again, with all its tries.

        Raises:
            Forbidden: ``operator.not_allowed``. NotFound: ``webhook.not_found``.
            Conflict: ``webhook.not_dead``. InvalidInput: ``reason.missing``.
        """
        values = {
            "state": "received",
            "tries": 0,
            "waits": 0,
            "next_try_at": self._db.clock.now(),
            "reason": RETRIED,
            "settled_at": None,
        }
        return self._revive(actor, event_id, "webhook.retried", reason, dry_run, values)

    def drop(self, actor: Actor, event_id: UUID, reason: str, *, dry_run: bool = False) -> Stored:
        """Give up a dead letter or an orphan for good; it stays readable.

        Raises: as :meth:`retry`.
        """
        values = {"state": "dropped", "reason": f"dropped by {actor.name}: {reason}"[:400]}
        return self._revive(actor, event_id, "webhook.dropped", reason, dry_run, values)

    def _revive(
        self,
        actor: Actor,
        event_id: UUID,
        action: str,
        reason: str,
        dry_run: bool,
        values: Mapping[str, Any],
    ) -> Stored:
        require(actor, "webhook.replay")
        if not reason.strip():
            raise InvalidInput("reason.missing", field="reason")
        with self._db.rehearsal() if dry_run else self._db.transaction() as tx:
            before = store.get(tx, event_id)
            if not store.revive(tx, event_id, ("dead", "orphan"), **values):
                raise Conflict("webhook.not_dead", id=encode("event", event_id), state=before.state)
            data = {"account": before.account, "state": before.state, "was": before.reason}
            record(self._db, tx, actor, action, "event", event_id, data, pan.scrub(reason))
            return store.get(tx, event_id)

    def _gateway(self, account: str) -> Gateway:
        try:
            return self._gateways[account]
        except KeyError:
            known = ", ".join(sorted(self._gateways))
            raise NotFound(
                "gateway.not_found", field="gateway", gateway=account[:60], known=known
            ) from None


def _read(gateway: Gateway, body: bytes, headers: Mapping[str, str], now: datetime) -> Event | None:
    """The event, or ``None`` for a body that is signed well but not understood."""
    try:
        return gateway.parse_event(body, headers, received_at=now)
    except InvalidInput:
        return None
