"""Money that has arrived: to which order it belongs, and what is posted for it.

A receipt goes to its payment's order once. A second receipt for a paid order, or one of another
amount, is posted in full to ``unapplied`` with a case and a proposed refund; a provider's fact is
never refused (postings design, rules 3 and 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from payctl.cases.service import Cases
from payctl.commissions.service import Commissions
from payctl.db import audit
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.errors import NotConfigured
from payctl.gateways.base import Answer
from payctl.ids import encode
from payctl.ledger import accounts
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, Posted
from payctl.payments import postings, store
from payctl.payments import tables as t
from payctl.payments.model import AttemptState, Operation, PaymentStatus, RefundState
from payctl.payments.records import Attempt, Capture, Payment
from payctl.payments.sales import Sale


@dataclass(frozen=True, slots=True)
class Receipt:
    """The payment and attempt after money was received."""

    payment: Payment
    attempt: Attempt
    status_changed: bool


class Receipts:
    """Posts captures and unapplied receipts."""

    def __init__(self, db: Database, book: Book, commissions: Commissions, cases: Cases) -> None:
        self._db = db
        self._book = book
        self._commissions = commissions
        self._cases = cases

    def receive(
        self,
        tx: sa.Connection,
        payment: Payment,
        attempt: Attempt,
        answer: Answer,
        actor: Actor,
        journals: list[Posted],
    ) -> Receipt:
        """A collect attempt has brought money: the whole of it, or what an authorisation took."""
        amount = answer.amount_minor if answer.amount_minor is not None else attempt.amount_minor
        currency = answer.currency or attempt.currency
        why = self._stranger(tx, payment, attempt)
        if why is not None:
            payment = self._unapplied(tx, payment, attempt, amount, currency, why, actor, journals)
            attempt = store.update_attempt(tx, attempt, self._now(), receipt="unapplied")
            self.fee(tx, attempt, answer, actor, journals)
            return Receipt(payment, attempt, why == "wrong_amount")
        missing = amount - payment.captured_minor if payment.manual_capture else amount
        late = payment.status.terminal and payment.status is not PaymentStatus.SUCCEEDED
        attempt = store.update_attempt(tx, attempt, self._now(), receipt="order")
        before = payment.status
        if missing > 0:
            payment = self._post_capture(
                tx, payment, attempt, missing, f"capture:{attempt.id}:{payment.captured_minor}",
                actor, journals,
            )  # fmt: skip
        payment = store.update_payment(
            tx, payment, self._now(), status=PaymentStatus.SUCCEEDED, next_check_at=None,
            gateway_account=attempt.gateway_account, attempt_id=attempt.id, failure_code=None,
            late=payment.late or late,
        )  # fmt: skip
        self.fee(tx, attempt, answer, actor, journals)
        return Receipt(payment, attempt, payment.status is not before)

    def capture_part(
        self,
        tx: sa.Connection,
        payment: Payment,
        attempt: Attempt,
        part: Capture,
        answer: Answer,
        actor: Actor,
        journals: list[Posted],
    ) -> Payment:
        """One capture of an authorisation has succeeded."""
        payment = self._post_capture(
            tx, payment, attempt, part.amount_minor, f"capture:{part.id}", actor, journals
        )
        complete = part.final or payment.captured_minor >= payment.authorized_minor
        if complete:
            held = store.live_attempt(tx, payment.id, Operation.COLLECT)
            if held is not None:
                store.update_attempt(
                    tx, held, self._now(), state=AttemptState.SUCCEEDED, receipt="order",
                    next_check_at=None, lease_until=None, received_minor=payment.captured_minor,
                    received_currency=payment.currency,
                )  # fmt: skip
            payment = store.update_payment(
                tx, payment, self._now(), status=PaymentStatus.SUCCEEDED, next_check_at=None
            )
        self.fee(tx, attempt, answer, actor, journals)
        return payment

    # -- whose money is it ----------------------------------------------------------------------

    def _stranger(self, tx: sa.Connection, payment: Payment, attempt: Attempt) -> str | None:
        """Why this receipt is not the order's, or ``None`` when it is."""
        if attempt.state is AttemptState.WRONG_AMOUNT:
            return "wrong_amount"
        if payment.status is PaymentStatus.SUCCEEDED and payment.attempt_id != attempt.id:
            return "duplicate_receipt"
        if payment.status.terminal and self._order_paid_by_another(tx, payment):
            return "duplicate_receipt"
        return None

    def _order_paid_by_another(self, tx: sa.Connection, payment: Payment) -> bool:
        if payment.order_ref is None:
            return False
        query = sa.select(t.payment.c.id).where(
            t.payment.c.order_ref == payment.order_ref,
            t.payment.c.organiser == payment.organiser,
            t.payment.c.status == PaymentStatus.SUCCEEDED,
            t.payment.c.id != payment.id,
        )
        return tx.execute(query.limit(1)).first() is not None

    # -- postings -------------------------------------------------------------------------------

    def _post_capture(
        self,
        tx: sa.Connection,
        payment: Payment,
        attempt: Attempt,
        amount_minor: int,
        key: str,
        actor: Actor,
        journals: list[Posted],
    ) -> Payment:
        total = payment.captured_minor + amount_minor
        sale = self._sale(tx, payment)
        if sale is None:
            draft = postings.suspended_capture(
                payment, attempt, amount_minor, key=key, actor=actor.name
            )
            journals.append(self._book.post(tx, draft))
            self._suspense_case(tx, payment, attempt, amount_minor, "no_rate", actor)
            return store.update_payment(
                tx, payment, self._now(), captured_minor=total, needs_review=True
            )
        part = sale.captured(payment, amount_minor)
        draft = postings.capture(payment, attempt, sale, part, key=key, actor=actor.name)
        posted = self._fact(tx, draft, attempt)
        journals.append(posted)
        if posted.suspense_reason:
            self._suspense_case(tx, payment, attempt, amount_minor, posted.suspense_reason, actor)
            return store.update_payment(
                tx, payment, self._now(), captured_minor=total, needs_review=True
            )
        return store.update_payment(
            tx,
            payment,
            self._now(),
            captured_minor=total,
            rate=sale.as_json(),
            commission_minor=payment.commission_minor + part.income_minor,
            vat_minor=payment.vat_minor + part.vat_minor,
            pending_minor=payment.pending_minor + part.owner_minor,
        )

    def _sale(self, tx: sa.Connection, payment: Payment) -> Sale | None:
        """The sale's terms: those of its first capture. ``None`` where no rate is known."""
        if payment.rate is not None:
            return Sale.from_json(payment.rate)
        if payment.captured_minor:
            return None  # the first capture went to suspense; the rest of the sale stays with it
        try:
            return terms_of(tx, self._commissions, payment, payment.created_at)
        except NotConfigured:
            return None

    def _unapplied(
        self,
        tx: sa.Connection,
        payment: Payment,
        attempt: Attempt,
        amount_minor: int,
        currency: str,
        why: str,
        actor: Actor,
        journals: list[Posted],
    ) -> Payment:
        draft = postings.unapplied(attempt, amount_minor, currency, actor=actor.name)
        posted = self._fact(tx, draft, attempt)
        journals.append(posted)
        proposal = self._propose_refund(tx, payment, attempt, amount_minor, currency, why, actor)
        self._cases.open(
            tx,
            kind=why,
            subject_kind="payment",
            subject_id=payment.id,
            gateway=attempt.gateway_account,
            amount_minor=amount_minor,
            currency=currency,
            detail={
                "attempt": encode("attempt", attempt.id),
                "provider_reference": attempt.provider_reference,
                "expected_minor": payment.amount_minor,
                "expected_currency": payment.currency,
                "received_minor": amount_minor,
                "received_currency": currency,
                "proposed_refund": encode("refund", proposal),
            },
            dedupe_key=f"{why}:{attempt.id}",
            actor=actor,
        )
        values: dict[str, object] = {"needs_review": True}
        if why == "wrong_amount" and not payment.status.terminal:
            values |= {
                "status": PaymentStatus.FAILED, "failure_code": why, "next_check_at": None,
                "gateway_account": attempt.gateway_account, "attempt_id": attempt.id,
            }  # fmt: skip
        return store.update_payment(tx, payment, self._now(), **values)

    def _propose_refund(
        self,
        tx: sa.Connection,
        payment: Payment,
        attempt: Attempt,
        amount_minor: int,
        currency: str,
        why: str,
        actor: Actor,
    ) -> UUID:
        refund_id, now = self._db.ids.new(), self._now()
        store.insert_refund(
            tx,
            {
                "id": refund_id,
                "payment_id": payment.id,
                "receipt_attempt_id": attempt.id,
                "gateway_account": attempt.gateway_account,
                "source": "unapplied",
                "amount_minor": amount_minor,
                "currency": currency,
                "state": RefundState.PROPOSED,
                "reason": why,
                "keep_commission": False,
                "requested_by": actor.name,
                "created_at": now,
                "updated_at": now,
            },
        )
        data = {"amount_minor": amount_minor, "currency": currency, "why": why}
        audit.record(self._db, tx, actor, "refund.proposed", "refund", refund_id, data)
        return refund_id

    def fee(
        self,
        tx: sa.Connection,
        attempt: Attempt,
        answer: Answer,
        actor: Actor,
        journals: list[Posted],
    ) -> None:
        """The provider's fee of a receipt, posted once whenever it becomes known (rule 5)."""
        if answer.fee is not None and answer.fee.amount_minor > 0:
            journals.append(
                self._fact(tx, postings.fee(attempt, answer.fee, actor=actor.name), attempt)
            )

    def _fact(self, tx: sa.Connection, draft: Draft, attempt: Attempt) -> Posted:
        account = attempt.gateway_account
        return self._book.post_fact(
            tx, draft, provider_account=accounts.collect(account), gateway=account
        )

    def _suspense_case(
        self,
        tx: sa.Connection,
        payment: Payment,
        attempt: Attempt,
        amount_minor: int,
        reason: str,
        actor: Actor,
    ) -> None:
        self._cases.open(
            tx,
            kind="suspense",
            subject_kind="payment",
            subject_id=payment.id,
            gateway=attempt.gateway_account,
            amount_minor=amount_minor,
            currency=payment.currency,
            detail={"reason": reason, "attempt": encode("attempt", attempt.id)},
            dedupe_key=f"suspense:{attempt.id}",
            actor=actor,
        )

    def _now(self) -> datetime:
        return self._db.clock.now()


def terms_of(tx: sa.Connection, commissions: Commissions, payment: Payment, at: datetime) -> Sale:
    """The terms that count for *payment* at *at*: rate, and in whose name it is sold.

    Raises:
        NotConfigured: ``commission.no_rate``.
    """
    rate = commissions.rate_for(
        tx,
        sale_type=payment.sale_type,
        organiser=payment.organiser,
        currency=payment.currency,
        country=payment.country,
        at=at,
    )
    return Sale(rate, commissions.role(tx, payment.sale_type, at) == "principal")
