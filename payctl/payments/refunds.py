"""Refunds: asked for, approved, reserved, sent, and known.

The amount is set aside on the payment under its lock before anything else, and in the books before
the provider is called; an error never releases it, only a definite no does. A refund has its own
attempt, key and unknown state.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db import audit, idempotency
from payctl.db.actor import Actor
from payctl.db.approvals import Approvals
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.db.types import canonical
from payctl.errors import Conflict, InvalidInput
from payctl.ids import encode
from payctl.ledger.book import Book
from payctl.ledger.model import Posted
from payctl.notifications.outbox import Outbox
from payctl.payments import store
from payctl.payments.breaker import Breakers
from payctl.payments.dispatch import Dispatch, once_sent
from payctl.payments.dispute_records import refuse_contested
from payctl.payments.gateway_settings import GatewaySettings
from payctl.payments.model import INSUFFICIENT_FLOAT, Operation, RefundState, Way
from payctl.payments.outcomes import Outcomes
from payctl.payments.provider_requests import Target
from payctl.payments.records import Attempt, Payment, Refund
from payctl.payments.refund_outcomes import FLOAT_CHECK, announce
from payctl.payments.refund_ways import RefundWays
from payctl.payments.requests import check_key, check_reason
from payctl.payments.reservations import Reservations
from payctl.payments.results import RefundResult, content_of
from payctl.payments.sales import Sale

#: A refund of an older payment always needs a second person.
LATE_AFTER = timedelta(days=90)
#: A refund that could not be sent yet is looked at again after this long.
QUEUE_CHECK = timedelta(seconds=60)
#: The kind of approval each way needs above its threshold.
_APPROVAL_KINDS = {Way.REFUND: "refund", Way.PAYOUT: "reverse_payout"}
SCOPE = "refund"


class Refunds:
    """Use cases of refunds; each owns its transactions."""

    def __init__(
        self,
        db: Database,
        book: Book,
        approvals: Approvals,
        outbox: Outbox,
        breakers: Breakers,
        settings: GatewaySettings,
        dispatch: Dispatch,
        outcomes: Outcomes,
    ) -> None:
        self._db = db
        self._settings = settings
        self._reservations = Reservations(db, book)
        self._ways = RefundWays(db, dispatch)
        self._approvals = approvals
        self._outbox = outbox
        self._breakers = breakers
        self._dispatch = dispatch
        self._outcomes = outcomes

    def create(
        self,
        actor: Actor,
        payment_id: UUID,
        *,
        key: str,
        reason: str,
        amount_minor: int | None = None,
        keep_commission: bool = False,
    ) -> RefundResult:
        """Refund a payment, in full when *amount_minor* is ``None``.

        Below the approval threshold it is sent at once; above, it waits for a second person.

        Raises:
            Conflict: ``refund.too_much``, ``refund.nothing_captured``, ``key.reused``.
            Refused: ``refund.not_supported``, ``refund.only_full``, and where it would be a payout
                ``refund.payer_unknown``, ``refund.payer_unpayable``, ``refund.payout_too_small``,
                ``refund.payout_too_large``, ``refund.payout_off_step``.
            InvalidInput, NotFound, Forbidden.
        """
        require(actor, "refund.create")
        reason = check_reason(reason)
        check_key(key)
        made = self._db.run(
            lambda tx: self._create(
                tx, actor, payment_id, key, reason, amount_minor, keep_commission
            )
        )
        if made.replayed or made.approval_id is not None:
            return made
        return self._send_now(actor, made.refund.id, made.replayed)

    def rehearse(
        self,
        actor: Actor,
        payment_id: UUID,
        *,
        key: str,
        reason: str,
        amount_minor: int | None = None,
        keep_commission: bool = False,
    ) -> RefundResult:
        """The real code of :meth:`create` in a transaction that is rolled back, with the provider's
        success taken for granted: shows what would be posted and whether approval is needed.
        """
        require(actor, "refund.create")
        reason = check_reason(reason)
        with self._db.rehearsal() as tx:
            made = self._create(tx, actor, payment_id, key, reason, amount_minor, keep_commission)
            if made.replayed:
                return made
            return self._rehearsed(tx, actor, made)

    def rehearse_send(self, actor: Actor, refund_id: UUID, *, again: bool = False) -> RefundResult:
        """The same for :meth:`send`, or for :meth:`retry` with *again*."""
        require(actor, "refund.send")
        with self._db.rehearsal() as tx:
            _payment, refund = self._locked(tx, refund_id)
            if again:
                self._check_reversed(refund)
            elif not self._ready(tx, refund):
                return self._view(tx, refund_id, replayed=False)
            refund = self._ways.settle(tx, refund)
            return self._rehearsed(tx, actor, RefundResult(refund, ()))

    def _rehearsed(self, tx: sa.Connection, actor: Actor, made: RefundResult) -> RefundResult:
        journals: list[Posted] = []
        payment = store.payment(tx, made.refund.payment_id, lock=True)
        attempt = self._begin(tx, actor, payment, made.refund, journals)
        applied = self._dispatch.rehearse(tx, attempt, actor)
        return RefundResult(
            store.refund(tx, made.refund.id), (applied.attempt,), False, made.approval_id,
            made.approval_reason, (*journals, *applied.journals),
        )  # fmt: skip

    def get(self, refund_id: UUID) -> RefundResult:
        """A refund with its attempts.

        Raises:
            NotFound: ``refund.not_found``.
        """
        with self._db.read() as tx:
            return self._view(tx, refund_id, replayed=False)

    def send(self, actor: Actor, refund_id: UUID) -> RefundResult:
        """Send a refund that was proposed, approved, or is waiting for its gateway. Sending one
        that is under way or done changes nothing and says where it stands.
        """
        require(actor, "refund.send")
        return self._send_now(actor, refund_id, replayed=False)

    def retry(self, actor: Actor, refund_id: UUID, *, reason: str) -> RefundResult:
        """Send again a refund that had succeeded and then came back; its money is still set aside.

        Raises:
            Conflict: ``refund.not_reversed``.
        """
        require(actor, "refund.send")
        reason = check_reason(reason)

        def ready(tx: sa.Connection) -> None:
            _payment, refund = self._locked(tx, refund_id)
            self._check_reversed(refund)
            moved = self._queue(tx, actor, refund)
            data = {"state": str(moved.state)}
            audit.record(self._db, tx, actor, "refund.retried", "refund", refund.id, data, reason)

        self._db.run(ready)
        return self._send_now(actor, refund_id, replayed=False)

    def _check_reversed(self, refund: Refund) -> None:
        if refund.state is not RefundState.REVERSED:
            raise Conflict(
                "refund.not_reversed", id=encode("refund", refund.id), state=str(refund.state)
            )

    def approved(self, actor: Actor, refund_id: UUID) -> RefundResult:
        """Continue after a second person's yes: send it."""
        return self._send_now(actor, refund_id, replayed=False)

    def rejected(self, actor: Actor, refund_id: UUID, why: str) -> RefundResult:
        """Continue after a no, or when the approval ran out: the amount is free again."""

        def release(tx: sa.Connection) -> RefundResult:
            payment, refund = self._locked(tx, refund_id)
            if refund.state is not RefundState.AWAITING_APPROVAL:
                return RefundResult(refund, ())
            moved = store.update_refund(
                tx, refund, self._db.clock.now(), state=RefundState.REJECTED, failure_code=why
            )
            if refund.source == "sale":
                store.update_payment(
                    tx, payment, self._db.clock.now(),
                    refund_reserved_minor=payment.refund_reserved_minor - refund.amount_minor,
                )  # fmt: skip
            announce(self._db, self._outbox, tx, moved, actor)
            return RefundResult(moved, ())

        return self._db.run(release)

    # -- asking ---------------------------------------------------------------------------------

    def _create(
        self,
        tx: sa.Connection,
        actor: Actor,
        payment_id: UUID,
        key: str,
        reason: str,
        amount_minor: int | None,
        keep_commission: bool,
    ) -> RefundResult:
        body = {"payment": str(payment_id), "amount_minor": amount_minor, "keep": keep_commission}
        digest = hashlib.sha256(canonical(body).encode()).digest()
        claim = idempotency.claim(self._db, tx, SCOPE, key, digest)
        if not claim.new and claim.subject_id is not None:
            return self._view(tx, claim.subject_id, replayed=True)
        payment = store.payment(tx, payment_id, lock=True)
        chosen = self._ways.choose(tx, payment, amount_minor)
        amount = chosen.amount_minor
        refuse_contested(tx, payment, amount)
        if keep_commission and payment.rate is not None and Sale.from_json(payment.rate).principal:
            raise InvalidInput("refund.no_commission", field="keep_commission")
        now, refund_id = self._db.clock.now(), self._db.ids.new()
        idempotency.settle(tx, SCOPE, key, "created", refund_id)
        refund = store.insert_refund(
            tx,
            {
                "id": refund_id,
                "payment_id": payment.id,
                "receipt_attempt_id": payment.attempt_id,
                "gateway_account": payment.gateway_account,
                "source": "sale",
                "amount_minor": amount,
                "currency": payment.currency,
                "state": RefundState.APPROVED,
                "reason": reason,
                "keep_commission": keep_commission,
                "way": chosen.way,
                "destination": chosen.destination,
                "requested_by": actor.name,
                "created_at": now,
                "updated_at": now,
                "next_check_at": now + QUEUE_CHECK,
            },
        )
        store.update_payment(
            tx, payment, now, refund_reserved_minor=payment.refund_reserved_minor + amount
        )
        return self._ask(tx, actor, payment, refund)

    def _ask(
        self, tx: sa.Connection, actor: Actor, payment: Payment, refund: Refund
    ) -> RefundResult:
        """Record the wish; put it before a second person where the thresholds say so."""
        late = payment.created_at + LATE_AFTER < self._db.clock.now()
        kind = "refund_late" if late else _APPROVAL_KINDS[refund.way]
        why = self._approvals.needed(tx, kind, refund.amount_minor, refund.currency, actor)
        if why is None:
            announce(self._db, self._outbox, tx, refund, actor)
            return RefundResult(refund, ())
        approval_id = self._approvals.request(
            tx,
            actor,
            kind=kind,
            subject_kind="refund",
            subject_id=refund.id,
            amount_minor=refund.amount_minor,
            currency=refund.currency,
            content=content_of(refund),
            reason=refund.reason,
        )
        refund = store.update_refund(
            tx, refund, self._db.clock.now(), state=RefundState.AWAITING_APPROVAL,
            approval_id=approval_id, next_check_at=None,
        )  # fmt: skip
        announce(self._db, self._outbox, tx, refund, actor)
        return RefundResult(refund, (), approval_id=approval_id, approval_reason=why)

    # -- sending --------------------------------------------------------------------------------

    def _send_now(self, actor: Actor, refund_id: UUID, replayed: bool) -> RefundResult:
        journals: list[Posted] = []

        def begin(tx: sa.Connection) -> tuple[Attempt, Target, str] | None:
            journals.clear()
            payment, refund = self._locked(tx, refund_id)
            if not self._ready(tx, refund):
                return None
            refund, account = self._ways.settle(tx, refund), refund.gateway_account
            if not self._ways.covered(tx, refund):
                self._queue(tx, actor, refund, INSUFFICIENT_FLOAT)
                return None
            op_class = str(refund.way)
            verdict = self._breakers.decide(tx, account, op_class)
            if not verdict.allow or not self._settings.accepts(tx, account, op_class):
                self._breakers.release(tx, account, op_class, verdict.probe)
                self._queue(tx, actor, refund)
                return None
            attempt = self._begin(tx, actor, payment, refund, journals)
            collected = store.attempt(tx, refund.receipt_attempt_id)
            return attempt, Target(payment, refund=refund, collected=collected), verdict.probe

        begun = self._db.run(begin)
        if begun is not None:
            attempt, target, probe = begun
            applied, _answer = self._dispatch.send(attempt, target, actor=actor, probe=probe)
            journals.extend(applied.journals)
            with once_sent(target.payment.id), self._db.read() as tx:
                seen = self._view(tx, refund_id, replayed=replayed)
        else:
            seen = self.get(refund_id)
        return RefundResult(
            seen.refund, seen.attempts, replayed, seen.approval_id, None, tuple(journals)
        )

    def _ready(self, tx: sa.Connection, refund: Refund) -> bool:
        if refund.state in (RefundState.PROPOSED, RefundState.APPROVED):
            return True
        if refund.state is not RefundState.AWAITING_APPROVAL or refund.approval_id is None:
            return False
        return self._approvals.granted(tx, refund.approval_id, content_of(refund))

    def _begin(
        self,
        tx: sa.Connection,
        actor: Actor,
        payment: Payment,
        refund: Refund,
        journals: list[Posted],
    ) -> Attempt:
        """T2 of a refund: set the money aside in the books and write the attempt, in one commit."""
        values: dict[str, Any] = {}
        if refund.reserve_journal_id is None:
            values = self._reservations.make(tx, actor, payment, refund, journals)
            refund = store.refund(tx, refund.id)
        attempt = self._dispatch.prepare(
            tx, Target(payment, refund=refund), Operation(refund.way), refund.gateway_account,
            refund.amount_minor,
        )  # fmt: skip
        moved = store.update_refund(
            tx, refund, self._db.clock.now(), state=RefundState.SENDING,
            failure_code=None, next_check_at=attempt.next_check_at, **values,
        )  # fmt: skip
        announce(self._db, self._outbox, tx, moved, actor)
        return attempt

    # -- rows -----------------------------------------------------------------------------------

    def _locked(self, tx: sa.Connection, refund_id: UUID) -> tuple[Payment, Refund]:
        payment = store.payment(tx, store.refund(tx, refund_id).payment_id, lock=True)
        return payment, store.refund(tx, refund_id)

    def _queue(
        self, tx: sa.Connection, actor: Actor, refund: Refund, why: str | None = None
    ) -> Refund:
        """Let it wait for its turn: the janitor sends it when its gateway takes refunds again, or
        when its float covers them.
        """
        now = self._db.clock.now()
        moved = store.update_refund(
            tx, refund, now, state=RefundState.APPROVED, failure_code=why,
            next_check_at=now + (FLOAT_CHECK if why else QUEUE_CHECK),
        )  # fmt: skip
        if moved.state is not refund.state:
            announce(self._db, self._outbox, tx, moved, actor)
        return moved

    def _view(self, tx: sa.Connection, refund_id: UUID, *, replayed: bool) -> RefundResult:
        refund = store.refund(tx, refund_id)
        attempts = [a for a in store.attempts(tx, refund.payment_id) if a.refund_id == refund_id]
        waiting = refund.state is RefundState.AWAITING_APPROVAL
        return RefundResult(
            refund, tuple(attempts), replayed, refund.approval_id if waiting else None
        )
