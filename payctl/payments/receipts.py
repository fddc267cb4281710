"""Money that has arrived: to which order it belongs, and what is posted for it.

A receipt goes to its payment's order once. A second receipt for a paid order, or one of another
amount, is posted in full to ``unapplied`` with a case and a proposed refund; a provider's fact is
never refused (postings design, rules 3 and 8).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.cases.service import Cases
from payctl.commissions.service import Commissions
from payctl.db import audit
from payctl.db.engine import Database
from payctl.errors import NotConfigured
from payctl.ids import encode
from payctl.ledger import accounts
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, Posted
from payctl.payments import postings, store
from payctl.payments.model import AttemptState, Operation, PaymentStatus, RefundState
from payctl.payments.records import Attempt, Capture, Payment
from payctl.payments.sales import Sale
from payctl.payments.work import Work


class Receipts:
    """Posts captures and unapplied receipts."""

    def __init__(self, db: Database, book: Book, commissions: Commissions, cases: Cases) -> None:
        self._db = db
        self._book = book
        self._commissions = commissions
        self._cases = cases

    def receive(self, work: Work) -> bool:
        """A collect attempt has brought money: the whole of it, or what an authorisation took.
        Says whether the payment's status changed.
        """
        answer, attempt, before = work.answer, work.attempt, work.payment.status
        amount = answer.amount_minor if answer.amount_minor is not None else attempt.amount_minor
        why = self._stranger(work.tx, work.payment, attempt)
        if why is not None:
            self._unapplied(work, amount, answer.currency or attempt.currency, why)
        else:
            self._applied(work, amount)
        self.fee(work)
        return work.payment.status is not before

    def capture_part(self, work: Work, part: Capture) -> bool:
        """One capture of an authorisation has succeeded. Says whether the payment's status changed,
        or what of it is captured.
        """
        before = work.payment.status, work.payment.captured_minor
        # Whoever asked about the payment itself first has counted this capture already.
        missing = part.captured_before_minor + part.amount_minor - work.payment.captured_minor
        if missing > 0:
            self._post_capture(work, missing, f"capture:{part.id}")
        if part.final or work.payment.captured_minor >= work.payment.authorized_minor:
            held = store.live_attempt(work.tx, work.payment.id, Operation.COLLECT)
            if held is not None:
                store.update_attempt(
                    work.tx, held, self._now(), state=AttemptState.SUCCEEDED, receipt="order",
                    next_check_at=None, lease_until=None,
                    received_minor=work.payment.captured_minor,
                    received_currency=work.payment.currency,
                )  # fmt: skip
            self._update(work, status=PaymentStatus.SUCCEEDED, next_check_at=None)
        self.fee(work)
        return (work.payment.status, work.payment.captured_minor) != before

    def fee(self, work: Work) -> None:
        """The provider's fee of a receipt, posted once whenever it becomes known (rule 5). An
        imported payment whose fee came with it, or was settled with it, has none to come.
        """
        known, told = work.answer.fee, work.payment.imported
        if told is not None and (told["settled"] or told["fee_minor"] is not None):
            return
        if known is not None and known.amount_minor > 0:
            self._fact(work, postings.fee(work.attempt, known, actor=work.actor.name))

    # -- whose money is it ----------------------------------------------------------------------

    def _stranger(self, tx: sa.Connection, payment: Payment, attempt: Attempt) -> str | None:
        """Why this receipt is not the order's, or ``None`` when it is."""
        if attempt.state is AttemptState.WRONG_AMOUNT:
            return "wrong_amount"
        if payment.status is PaymentStatus.SUCCEEDED and payment.attempt_id != attempt.id:
            return "duplicate_receipt"
        if self._order_paid_by_another(tx, payment):
            return "duplicate_receipt"
        return None

    def _order_paid_by_another(self, tx: sa.Connection, payment: Payment) -> bool:
        """Whether another payment has paid the order and one of the two had been given up: this
        one, which has ended, or the other one, whose money came after this one was made in its
        place. Two payments of an order that both go well are what the caller asked for.
        """
        if payment.order_ref is None:
            return False
        if payment.status.terminal:
            # Whatever is being written for a payment made in its place must see this one: it has
            # been written by now, or finds its row changed and looks at the order anew.
            store.change_open_payments(tx, payment)
            return any(each.status is PaymentStatus.SUCCEEDED for each in self._others(tx, payment))
        if payment.captured_minor:
            return False
        receipts = [
            store.attempt(tx, each.attempt_id)
            for each in self._others(tx, payment)
            if each.late and each.attempt_id is not None
        ]
        return any(receipt.updated_at >= payment.created_at for receipt in receipts)

    def _others(self, tx: sa.Connection, payment: Payment) -> list[Payment]:
        return [each for each in store.payments_of_order(tx, payment) if each.id != payment.id]

    # -- postings -------------------------------------------------------------------------------

    def _applied(self, work: Work, amount_minor: int) -> None:
        """The money is the order's, in time or late."""
        payment = work.payment
        missing = amount_minor - payment.captured_minor if payment.manual_capture else amount_minor
        late = payment.status.terminal and payment.status is not PaymentStatus.SUCCEEDED
        work.attempt = store.update_attempt(work.tx, work.attempt, self._now(), receipt="order")
        if missing > 0:
            key = f"capture:{work.attempt.id}:{payment.captured_minor}"
            self._post_capture(work, missing, key)
        self._update(
            work,
            status=PaymentStatus.SUCCEEDED,
            next_check_at=None,
            gateway_account=work.attempt.gateway_account,
            attempt_id=work.attempt.id,
            failure_code=None,
            late=payment.late or late,
        )

    def _post_capture(self, work: Work, amount_minor: int, key: str) -> None:
        payment, attempt, actor = work.payment, work.attempt, work.actor.name
        total, sale = payment.captured_minor + amount_minor, self._sale(work.tx, payment)
        if sale is None:
            draft = postings.suspended_capture(payment, attempt, amount_minor, key=key, actor=actor)
            work.journals.append(self._book.post(work.tx, draft))
            self._suspended(work, amount_minor, total, "no_rate")
            return
        part = sale.captured(payment, amount_minor)
        draft = postings.capture(payment, attempt, sale, part, key=key, actor=actor)
        posted = self._fact(work, draft)
        if posted.suspense_reason:
            self._suspended(work, amount_minor, total, posted.suspense_reason)
            return
        self._update(
            work,
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

    def _unapplied(self, work: Work, amount_minor: int, currency: str, why: str) -> None:
        """The money is no open order's: kept apart, with a case and a proposed refund."""
        payment, attempt = work.payment, work.attempt
        self._fact(work, postings.unapplied(attempt, amount_minor, currency, actor=work.actor.name))
        proposal = self._propose_refund(work, amount_minor, currency, why)
        self._cases.open(
            work.tx,
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
            actor=work.actor,
        )
        values: dict[str, object] = {"needs_review": True}
        if not payment.status.terminal:
            values |= {
                "status": PaymentStatus.FAILED, "failure_code": why, "next_check_at": None,
                "gateway_account": attempt.gateway_account, "attempt_id": attempt.id,
            }  # fmt: skip
        self._update(work, **values)
        work.attempt = store.update_attempt(work.tx, attempt, self._now(), receipt="unapplied")

    def _propose_refund(self, work: Work, amount_minor: int, currency: str, why: str) -> UUID:
        refund_id, now = self._db.ids.new(), self._now()
        store.insert_refund(
            work.tx,
            {
                "id": refund_id,
                "payment_id": work.payment.id,
                "receipt_attempt_id": work.attempt.id,
                "gateway_account": work.attempt.gateway_account,
                "source": "unapplied",
                "amount_minor": amount_minor,
                "currency": currency,
                "state": RefundState.PROPOSED,
                "reason": why,
                "keep_commission": False,
                "requested_by": work.actor.name,
                "created_at": now,
                "updated_at": now,
            },
        )
        data = {"amount_minor": amount_minor, "currency": currency, "why": why}
        audit.record(self._db, work.tx, work.actor, "refund.proposed", "refund", refund_id, data)
        return refund_id

    def _suspended(self, work: Work, amount_minor: int, total_minor: int, reason: str) -> None:
        """The money is booked, but not shared out: a person is told."""
        self._cases.open(
            work.tx,
            kind="suspense",
            subject_kind="payment",
            subject_id=work.payment.id,
            gateway=work.attempt.gateway_account,
            amount_minor=amount_minor,
            currency=work.payment.currency,
            detail={"reason": reason, "attempt": encode("attempt", work.attempt.id)},
            dedupe_key=f"suspense:{work.attempt.id}",
            actor=work.actor,
        )
        self._update(work, captured_minor=total_minor, needs_review=True)

    def _fact(self, work: Work, draft: Draft) -> Posted:
        account = work.attempt.gateway_account
        posted = self._book.post_fact(
            work.tx, draft, provider_account=accounts.collect(account), gateway=account
        )
        work.journals.append(posted)
        return posted

    def _update(self, work: Work, **values: Any) -> None:
        work.payment = store.update_payment(work.tx, work.payment, self._now(), **values)

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
