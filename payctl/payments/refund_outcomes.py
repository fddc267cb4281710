"""What an answer about a refund does to the refund, its payment and the books."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.cases.service import Cases
from payctl.db import audit
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.errors import Conflict
from payctl.gateways.base import Answer, Outcome
from payctl.ids import encode
from payctl.ledger.book import Book
from payctl.ledger.model import Draft
from payctl.notifications.outbox import Outbox
from payctl.payments import postings, store
from payctl.payments.model import (
    FLOAT_CODES,
    INSUFFICIENT_FLOAT,
    RECEIVED,
    AttemptState,
    Operation,
    RefundState,
)
from payctl.payments.records import Attempt, Refund
from payctl.payments.reservations import Reservations
from payctl.payments.work import Work

_OPEN_STATES = {
    AttemptState.SENDING: RefundState.SENDING,
    AttemptState.PENDING: RefundState.PENDING,
    AttemptState.REQUIRES_ACTION: RefundState.PENDING,
    AttemptState.AUTHORIZED: RefundState.PENDING,
    AttemptState.UNKNOWN: RefundState.UNKNOWN,
    AttemptState.QUARANTINED: RefundState.UNKNOWN,
}

#: How soon the float is tried again.
FLOAT_CHECK = timedelta(minutes=15)
_NEVER_PAID = (RefundState.FAILED, RefundState.REJECTED)


class RefundOutcomes:
    """Moves refunds; called by ``Outcomes.apply`` inside its transaction."""

    def __init__(self, db: Database, book: Book, cases: Cases, outbox: Outbox) -> None:
        self._db = db
        self._book = book
        self._cases = cases
        self._outbox = outbox
        self._reservations = Reservations(db, book)

    def apply(self, work: Work) -> None:
        """The attempt has moved: move the refund with it."""
        refund, attempt, answer = self._of(work), work.attempt, work.answer
        if attempt.state.live:
            self._move(work, refund, _OPEN_STATES[attempt.state])
        elif attempt.state in RECEIVED:
            if refund.state is RefundState.FAILED:
                if not self._reserved_again(work, refund):
                    self._paid_twice(work, refund)
                    return
                self._paid_late(work, refund)
                refund = self._of(work)
            self._fact(work, postings.refund_paid(refund, attempt, actor=work.actor.name))
            self.fee(work)
            self._move(work, refund, RefundState.SUCCEEDED)
            self._close_cases(work, refund)
            self._count(work, refund, reserved=-1, refunded=1)
        elif attempt.operation is Operation.PAYOUT and answer.code in FLOAT_CODES:
            self._wait_for_float(work, refund)
        else:
            self._release(work, refund, answer.code or str(attempt.state))

    def fee(self, work: Work) -> None:
        """The provider's fee of giving back, posted once whenever it becomes known."""
        known = work.answer.fee
        if known is not None and known.amount_minor > 0:
            self._fact(work, postings.fee(work.attempt, known, actor=work.actor.name))

    def _wait_for_float(self, work: Work, refund: Refund) -> None:
        """The provider refused for want of float, so nothing left: what was set aside stays, and a
        new attempt is made later.
        """
        now = self._db.clock.now()
        moved = store.update_refund(
            work.tx, refund, now, state=RefundState.APPROVED, failure_code=INSUFFICIENT_FLOAT,
            next_check_at=now + FLOAT_CHECK,
        )  # fmt: skip
        announce(self._db, self._outbox, work.tx, moved, work.actor)

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
        self._release(Work(tx, payment, attempt, answer, actor), refund, "given_up")

    def mirror_due(self, work: Work) -> None:
        """The refund is due when its attempt is."""
        due = work.attempt.next_check_at
        store.update_refund(work.tx, self._of(work), self._db.clock.now(), next_check_at=due)

    def came_back(self, attempt: Attempt, answer: Answer) -> bool:
        """Whether a refund that had succeeded has failed at the provider since."""
        return (
            attempt.operation.gives_back
            and attempt.state is AttemptState.SUCCEEDED
            and answer.outcome in (Outcome.DECLINED, Outcome.CANCELED, Outcome.EXPIRED)
        )

    def returned(self, work: Work) -> None:
        """Succeeded, then reversed: the money is back with us and the customer is not paid."""
        refund, answer = self._of(work), work.answer
        self._fact(work, postings.refund_returned(refund, work.attempt, actor=work.actor.name))
        work.attempt = store.update_attempt(
            work.tx, work.attempt, self._db.clock.now(), state=AttemptState.VOIDED,
            code=answer.code, provider_code=answer.provider_code,
        )  # fmt: skip
        self._move(work, refund, RefundState.REVERSED)
        self._count(work, refund, reserved=1, refunded=-1)
        self._cases.open(
            work.tx,
            kind="refund_failed_later",
            subject_kind="refund",
            subject_id=refund.id,
            gateway=refund.gateway_account,
            amount_minor=refund.amount_minor,
            currency=refund.currency,
            detail={"payment": encode("payment", work.payment.id), "code": answer.code},
            dedupe_key=f"refund_failed_later:{work.attempt.id}",
            actor=work.actor,
        )

    def _reserved_again(self, work: Work, refund: Refund) -> bool:
        """The provider has paid a refund that had been given up (it was later than it promised):
        set the amount aside once more, unless it has been given back by another refund meanwhile.
        """
        if refund.source == "sale" and refund.amount_minor > work.payment.refundable_minor:
            return False
        try:
            values = self._reservations.make(
                work.tx, work.actor, work.payment, refund, work.journals
            )
        except Conflict:
            return False
        work.payment = store.payment(work.tx, work.payment.id)
        store.update_refund(work.tx, refund, self._db.clock.now(), **values)
        self._count(work, refund, reserved=1, refunded=0)
        return True

    def _paid_twice(self, work: Work, refund: Refund) -> None:
        """More has gone back to the customer than was owed: the provider's fact is recorded, at the
        expense of nobody yet, and a person gets it back or decides who bears it.
        """
        work.journals.append(
            self._book.post(
                work.tx, postings.refunded_twice(refund, work.attempt, actor=work.actor.name)
            )
        )
        self._move(work, refund, RefundState.SUCCEEDED, "refunded_twice")
        self._tell(work, refund, "refunded_twice")

    def _paid_late(self, work: Work, refund: Refund) -> None:
        """What was owed covers it, but whoever was told that it had failed may have asked for
        another in its place: where one was made since, a person looks.
        """
        made = store.refunds(work.tx, refund.payment_id)
        others = [each for each in made if each.created_at > refund.created_at]
        instead = [each for each in others if each.state not in _NEVER_PAID]
        if instead:
            self._tell(
                work,
                refund,
                "refund_paid_late",
                made_since=[encode("refund", x.id) for x in instead],
            )

    def _tell(self, work: Work, refund: Refund, kind: str, **detail: Any) -> None:
        self._cases.open(
            work.tx,
            kind=kind,
            subject_kind="refund",
            subject_id=refund.id,
            gateway=refund.gateway_account,
            amount_minor=refund.amount_minor,
            currency=refund.currency,
            detail={
                "payment": encode("payment", work.payment.id),
                "attempt": encode("attempt", work.attempt.id),
                "provider_reference": work.attempt.provider_reference,
                **detail,
            },
            dedupe_key=f"{kind}:{work.attempt.id}",
            actor=work.actor,
        )

    def _close_cases(self, work: Work, refund: Refund) -> None:
        """Cases about this very money have answered themselves."""
        earlier = [
            a for a in store.attempts(work.tx, refund.payment_id) if a.refund_id == refund.id
        ]
        keys = [f"refund_failed_later:{each.id}" for each in earlier]
        if refund.source == "unapplied":
            receipt = refund.receipt_attempt_id
            keys += [f"wrong_amount:{receipt}", f"duplicate_receipt:{receipt}"]
        evidence = work.attempt.provider_reference or work.attempt.our_reference
        for key in keys:
            self._cases.close(
                work.tx, key, resolution="refunded", evidence=evidence, actor=work.actor
            )

    def _release(self, work: Work, refund: Refund, code: str) -> None:
        """A definite no: what was set aside goes back exactly where it came from."""
        if refund.reserve_journal_id is not None:
            work.journals.append(
                self._book.reverse(
                    work.tx,
                    refund.reserve_journal_id,
                    posting_key=f"refund_released:{refund.id}",
                    actor=work.actor,
                    reason=code,
                )
            )
        self._move(work, refund, RefundState.FAILED, code)
        self._count(work, refund, reserved=-1, refunded=0)
        if refund.source == "sale":
            payment = work.payment
            self._update(
                work,
                pending_minor=payment.pending_minor + refund.pending_minor,
                commission_returned_minor=payment.commission_returned_minor
                - refund.commission_minor,
                vat_returned_minor=payment.vat_returned_minor - refund.vat_minor,
            )

    def _count(self, work: Work, refund: Refund, *, reserved: int, refunded: int) -> None:
        """Move the amount between the payment's counters; refunds of strangers' money have none."""
        if refund.source == "sale":
            payment, amount = work.payment, refund.amount_minor
            self._update(
                work,
                refund_reserved_minor=payment.refund_reserved_minor + reserved * amount,
                refunded_minor=payment.refunded_minor + refunded * amount,
            )

    def _move(
        self, work: Work, refund: Refund, state: RefundState, failure_code: str | None = None
    ) -> None:
        moved = store.update_refund(
            work.tx,
            refund,
            self._db.clock.now(),
            state=state,
            next_check_at=None if state.resting else work.attempt.next_check_at,
            failure_code=failure_code,
        )
        if state is not refund.state:
            announce(self._db, self._outbox, work.tx, moved, work.actor)

    def _update(self, work: Work, **values: Any) -> None:
        now = self._db.clock.now()
        work.payment = store.update_payment(work.tx, work.payment, now, **values)

    def _of(self, work: Work) -> Refund:
        return store.refund(work.tx, work.attempt.subject_id)

    def _fact(self, work: Work, draft: Draft) -> None:
        attempt = work.attempt
        account = attempt.gateway_account
        posted = self._book.post_fact(
            work.tx, draft, provider_account=postings.holder(attempt), gateway=account
        )
        work.journals.append(posted)
        if posted.suspense_reason:
            self._cases.open(
                work.tx,
                kind="suspense",
                subject_kind="refund",
                subject_id=attempt.subject_id,
                gateway=account,
                amount_minor=attempt.amount_minor,
                currency=attempt.currency,
                detail={"reason": posted.suspense_reason, "journal": draft.kind},
                dedupe_key=f"suspense:{draft.posting_key}",
                actor=work.actor,
            )


def announce(db: Database, outbox: Outbox, tx: sa.Connection, refund: Refund, actor: Actor) -> None:
    """Tell the core service and the audit about a refund's new state, in the same commit."""
    data = {
        "id": encode("refund", refund.id),
        "payment": encode("payment", refund.payment_id),
        "status": str(refund.state),
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
        "gateway": refund.gateway_account,
        "way": str(refund.way),
        "failure_code": refund.failure_code,
    }
    outbox.append(tx, f"refund.{refund.state}", "refund", refund.id, data)
    audit.record(db, tx, actor, f"refund.{refund.state}", "refund", refund.id, data, refund.reason)
