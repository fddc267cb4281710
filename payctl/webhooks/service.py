"""The inbox: provider webhooks are stored raw first and applied later.

A webhook is a hint, not a fact: applying it means asking the provider about the object it names and
putting the answer through the one door of every provider fact. So an event may come twice, late or
out of order, and applying it again changes nothing.
"""

from __future__ import annotations

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
from payctl.db.permissions import require
from payctl.errors import Conflict, InvalidInput, PayctlError, Unavailable
from payctl.gateways.base import Event
from payctl.ids import encode
from payctl.webhooks import online, store
from payctl.webhooks.model import (
    LEASE_S,
    RETRIED,
    SETTLED,
    STATES,
    UNHEARD,
    Next,
    Stored,
    after,
    event_columns,
)
from payctl.webhooks.reception import RECEIVER, Reception, understood


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
        self, db: Database, reception: Reception, payments: Payments, cases: Cases
    ) -> None:
        self._db = db
        self.reception = reception
        self._payments = payments
        self._cases = cases

    # -- receiving ------------------------------------------------------------------------------

    def receive(self, account: str, body: bytes, headers: Mapping[str, str]) -> UUID:
        """Check and store one webhook; returns its id, or that of the same one stored before.

        Raises: as :meth:`Reception.check`; nothing was stored then.
        """
        return self.reception.receive(self.reception.check(account, body, headers))

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
        # What is done because of it is joined to the request that brought it.
        with log.correlated(stored.headers.get("x-request-id")):
            outcome, reason, event = self._outcome(actor, stored)
        proven = event is not None and event.proof != stored.proof
        if event is not None and proven:
            stored = replace(stored, proof=event.proof)
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
        elif proven:
            values["proof"] = stored.proof
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
                gateway = self.reception.gateway(stored.account)
                event = understood(gateway, stored.body, stored.headers)
            if event.proof == "none":
                event, verdict = online.asked(self.reception.gateway(stored.account), stored, event)
                if verdict is not None:
                    return verdict, None, event
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
        if (event.object_kind, event.proof) != ("payment", "signature"):
            return event
        try:
            gateway = self.reception.gateway(stored.account)
            can = gateway.capabilities
            if can.refunds != "none" or not can.payouts or can.reports_payer:
                return event
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

    def due(self, most: int) -> int:
        """How many events may be applied now, counted up to *most*."""
        now = self._db.clock.now()
        with self._db.read() as tx:
            return store.due(tx, now, most)

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
        return self._revive(
            actor, event_id, "webhook.retried", reason, dry_run, self._due_again(), UNHEARD
        )

    def again(self, actor: Actor, event_id: UUID, reason: str) -> Stored:
        """Make an event due again, whatever it ended in.

        Raises:
            Forbidden: ``operator.not_allowed``. NotFound: ``webhook.not_found``.
            Conflict: ``webhook.not_dead``: it is due already. InvalidInput: ``reason.missing``.
        """
        return self._revive(
            actor, event_id, "webhook.replayed", reason, False, self._due_again(), SETTLED
        )

    def _due_again(self) -> dict[str, Any]:
        now = self._db.clock.now()
        return {
            "state": "received", "tries": 0, "waits": 0, "next_try_at": now, "reason": RETRIED,
            "settled_at": None,
        }  # fmt: skip

    def drop(self, actor: Actor, event_id: UUID, reason: str, *, dry_run: bool = False) -> Stored:
        """Give up a dead letter or an orphan for good; it stays readable.

        Raises: as :meth:`retry`.
        """
        values = {"state": "dropped", "reason": f"dropped by {actor.name}: {reason}"[:400]}
        return self._revive(actor, event_id, "webhook.dropped", reason, dry_run, values, UNHEARD)

    def _revive(
        self,
        actor: Actor,
        event_id: UUID,
        action: str,
        reason: str,
        dry_run: bool,
        values: Mapping[str, Any],
        states: Sequence[str],
    ) -> Stored:
        require(actor, "webhook.replay")
        if not reason.strip():
            raise InvalidInput("reason.missing", field="reason")
        with self._db.rehearsal() if dry_run else self._db.transaction() as tx:
            before = store.get(tx, event_id)
            if not store.revive(tx, event_id, states, **values):
                raise Conflict("webhook.not_dead", id=encode("event", event_id), state=before.state)
            data = {"account": before.account, "state": before.state, "was": before.reason}
            record(self._db, tx, actor, action, "event", event_id, data, pan.scrub(reason))
            return store.get(tx, event_id)
