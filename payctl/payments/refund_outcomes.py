"""What an answer about a refund does to the refund, its payment and the books."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa

from payctl.cases.service import Cases
from payctl.db import audit
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.errors import Conflict
from payctl.gateways.base import Answer, Outcome
from payctl.ids import encode
from payctl.ledger import accounts
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, Posted
from payctl.notifications.outbox import Outbox
from payctl.payments import postings, store
from payctl.payments.model import RECEIVED, AttemptState, Operation, RefundState
from payctl.payments.records import Attempt, Payment, Refund

_OPEN_STATES = {
    AttemptState.SENDING: RefundState.SENDING,
    AttemptState.PENDING: RefundState.PENDING,
    AttemptState.REQUIRES_ACTION: RefundState.PENDING,
    AttemptState.AUTHORIZED: RefundState.PENDING,
    AttemptState.UNKNOWN: RefundState.UNKNOWN,
    AttemptState.QUARANTINED: RefundState.UNKNOWN,
}


class RefundOutcomes:
    """Moves refunds; called by ``Outcomes.apply`` inside its transaction."""

    def __init__(self, db: Database, book: Book, cases: Cases, outbox: Outbox) -> None:
        self._db = db
        self._book = book
        self._cases = cases
        self._outbox = outbox

    def apply(
        self,
        tx: sa.Connection,
        payment: Payment,
        attempt: Attempt,
        answer: Answer,
        actor: Actor,
        journals: list[Posted],
    ) -> Payment:
        """The attempt has moved: move the refund with it."""
        refund = self._of(tx, attempt)
        if attempt.state.live:
            self._move(tx, refund, _OPEN_STATES[attempt.state], actor, attempt)
            return payment
        if attempt.state in RECEIVED:
            draft = postings.refund_paid(refund, attempt, actor=actor.name)
            journals.append(self._fact(tx, draft, attempt, actor))
            if answer.fee is not None and answer.fee.amount_minor > 0:
                fee = postings.fee(attempt, answer.fee, actor=actor.name)
                journals.append(self._fact(tx, fee, attempt, actor))
            self._move(tx, refund, RefundState.SUCCEEDED, actor, attempt)
            self._close_cases(tx, refund, attempt, actor)
            return self._count(tx, payment, refund, reserved=-1, refunded=1)
        return self._release(tx, payment, refund, attempt, answer, actor, journals)

    def give_up(self, tx: sa.Connection, refund_id: UUID, actor: Actor, evidence: str) -> None:
        """A refund that came back is not sent again: its money goes back where it came from.

        Raises:
            Conflict: ``refund.not_reversed``.
        """
        payment = store.payment(tx, store.refund(tx, refund_id).payment_id, lock=True)
        refund = store.refund(tx, refund_id)
        if refund.state is not RefundState.REVERSED:
            raise Conflict(
                "refund.not_reversed", id=encode("refund", refund_id), state=str(refund.state)
            )
        attempt = [a for a in store.attempts(tx, payment.id) if a.refund_id == refund_id][-1]
        answer = Answer(Outcome.CANCELED, code="given_up", message=evidence[:200])
        self._release(tx, payment, refund, attempt, answer, actor, [])

    def mirror_due(self, tx: sa.Connection, attempt: Attempt) -> None:
        """The refund is due when its attempt is."""
        refund = self._of(tx, attempt)
        store.update_refund(tx, refund, self._db.clock.now(), next_check_at=attempt.next_check_at)

    def came_back(self, attempt: Attempt, answer: Answer) -> bool:
        """Whether a refund that had succeeded has failed at the provider since."""
        return (
            attempt.operation is Operation.REFUND
            and attempt.state is AttemptState.SUCCEEDED
            and answer.outcome in (Outcome.DECLINED, Outcome.CANCELED)
        )

    def returned(
        self,
        tx: sa.Connection,
        payment: Payment,
        attempt: Attempt,
        answer: Answer,
        actor: Actor,
        journals: list[Posted],
    ) -> Attempt:
        """Succeeded, then reversed: the money is back with us and the customer is not paid."""
        refund = self._of(tx, attempt)
        draft = postings.refund_returned(refund, attempt, actor=actor.name)
        journals.append(self._fact(tx, draft, attempt, actor))
        attempt = store.update_attempt(
            tx, attempt, self._db.clock.now(), state=AttemptState.VOIDED, code=answer.code,
            provider_code=answer.provider_code,
        )  # fmt: skip
        self._move(tx, refund, RefundState.REVERSED, actor, attempt)
        self._count(tx, payment, refund, reserved=1, refunded=-1)
        self._cases.open(
            tx,
            kind="refund_failed_later",
            subject_kind="refund",
            subject_id=refund.id,
            gateway=refund.gateway_account,
            amount_minor=refund.amount_minor,
            currency=refund.currency,
            detail={"payment": encode("payment", payment.id), "code": answer.code},
            dedupe_key=f"refund_failed_later:{attempt.id}",
            actor=actor,
        )
        return attempt

    def _close_cases(
        self, tx: sa.Connection, refund: Refund, attempt: Attempt, actor: Actor
    ) -> None:
        """Cases about this very money have answered themselves."""
        keys = [
            f"{kind}:{refund.receipt_attempt_id}" for kind in ("wrong_amount", "duplicate_receipt")
        ]
        earlier = [a for a in store.attempts(tx, refund.payment_id) if a.refund_id == refund.id]
        keys += [f"refund_failed_later:{each.id}" for each in earlier]
        for key in keys if refund.source == "unapplied" else keys[2:]:
            self._cases.close(
                tx, key, resolution="refunded",
                evidence=attempt.provider_reference or attempt.our_reference, actor=actor,
            )  # fmt: skip

    def _release(
        self,
        tx: sa.Connection,
        payment: Payment,
        refund: Refund,
        attempt: Attempt,
        answer: Answer,
        actor: Actor,
        journals: list[Posted],
    ) -> Payment:
        """A definite no: what was set aside goes back exactly where it came from."""
        if refund.reserve_journal_id is not None:
            journals.append(
                self._book.reverse(
                    tx,
                    refund.reserve_journal_id,
                    posting_key=f"refund_released:{refund.id}",
                    actor=actor,
                    reason=answer.code or str(attempt.state),
                )
            )
        self._move(
            tx, refund, RefundState.FAILED, actor, attempt, answer.code or str(attempt.state)
        )
        payment = self._count(tx, payment, refund, reserved=-1, refunded=0)
        if refund.source != "sale":
            return payment
        return store.update_payment(
            tx,
            payment,
            self._db.clock.now(),
            pending_minor=payment.pending_minor + refund.pending_minor,
            commission_returned_minor=payment.commission_returned_minor - refund.commission_minor,
            vat_returned_minor=payment.vat_returned_minor - refund.vat_minor,
        )

    def _count(
        self, tx: sa.Connection, payment: Payment, refund: Refund, *, reserved: int, refunded: int
    ) -> Payment:
        """Move the amount between the payment's counters; refunds of strangers' money have none."""
        if refund.source != "sale":
            return payment
        return store.update_payment(
            tx,
            payment,
            self._db.clock.now(),
            refund_reserved_minor=payment.refund_reserved_minor + reserved * refund.amount_minor,
            refunded_minor=payment.refunded_minor + refunded * refund.amount_minor,
        )

    def _move(
        self,
        tx: sa.Connection,
        refund: Refund,
        state: RefundState,
        actor: Actor,
        attempt: Attempt,
        failure_code: str | None = None,
    ) -> None:
        due = None if state.resting else attempt.next_check_at
        moved = store.update_refund(
            tx,
            refund,
            self._db.clock.now(),
            state=state,
            next_check_at=due,
            failure_code=failure_code,
        )
        if state is not refund.state:
            announce(self._db, self._outbox, tx, moved, actor)

    def _of(self, tx: sa.Connection, attempt: Attempt) -> Refund:
        return store.refund(tx, attempt.subject_id)

    def _fact(self, tx: sa.Connection, draft: Draft, attempt: Attempt, actor: Actor) -> Posted:
        account = attempt.gateway_account
        posted = self._book.post_fact(
            tx, draft, provider_account=accounts.collect(account), gateway=account
        )
        if posted.suspense_reason:
            self._cases.open(
                tx,
                kind="suspense",
                subject_kind="refund",
                subject_id=attempt.subject_id,
                gateway=account,
                amount_minor=attempt.amount_minor,
                currency=attempt.currency,
                detail={"reason": posted.suspense_reason, "journal": draft.kind},
                dedupe_key=f"suspense:{draft.posting_key}",
                actor=actor,
            )
        return posted


def announce(db: Database, outbox: Outbox, tx: sa.Connection, refund: Refund, actor: Actor) -> None:
    """Tell the core service and the audit about a refund's new state, in the same commit."""
    data = {
        "id": encode("refund", refund.id),
        "payment": encode("payment", refund.payment_id),
        "status": str(refund.state),
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
        "gateway": refund.gateway_account,
        "failure_code": refund.failure_code,
    }
    outbox.append(tx, f"refund.{refund.state}", "refund", refund.id, data)
    audit.record(db, tx, actor, f"refund.{refund.state}", "refund", refund.id, data, refund.reason)
