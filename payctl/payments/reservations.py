"""Setting a refund's amount aside in the books before the provider is asked.

The owner's part is a forced debit (sale's pending part, available, debt); commission and VAT are
given back at the sale's own rate. Money that never belonged to an order comes from where it lies.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.ledger import accounts
from payctl.ledger.book import Book
from payctl.ledger.model import Posted
from payctl.ledger.owners import take_from_owner
from payctl.payments import dispute_records, postings, store
from payctl.payments.model import RefundState
from payctl.payments.records import Payment, Refund
from payctl.payments.sales import Part, Sale


class Reservations:
    """Posts reservations of refunds."""

    def __init__(self, db: Database, book: Book) -> None:
        self._db = db
        self._book = book

    def make(
        self,
        tx: sa.Connection,
        actor: Actor,
        payment: Payment,
        refund: Refund,
        journals: list[Posted],
    ) -> dict[str, Any]:
        """Post the reservation; returns the refund's columns that say what it took."""
        account = refund.gateway_account
        if refund.source == "unapplied" or payment.rate is None:
            source = accounts.unapplied if refund.source == "unapplied" else accounts.suspense
            draft = postings.refund_reserved_from(source(account), refund, actor=actor.name)
            posted = self._book.post(tx, draft)
            journals.append(posted)
            return {"reserve_journal_id": posted.journal_id}
        sale = Sale.from_json(payment.rate)
        returned = self._returned(tx, sale, payment, refund)
        legs = take_from_owner(
            tx,
            owner=payment.organiser,
            currency=refund.currency,
            amount_minor=returned.owner_minor,
            pending_minor=payment.pending_minor,
        )
        pending_code = accounts.wallet(payment.organiser, "pending")
        pending = sum(leg.amount_minor for leg in legs if leg.account == pending_code)
        draft = postings.refund_reserved(payment, refund, sale, returned, legs, actor=actor.name)
        posted = self._book.post(tx, draft)
        journals.append(posted)
        store.update_payment(
            tx,
            payment,
            self._db.clock.now(),
            pending_minor=payment.pending_minor - pending,
            commission_returned_minor=payment.commission_returned_minor + returned.income_minor,
            vat_returned_minor=payment.vat_returned_minor + returned.vat_minor,
        )
        return {
            "reserve_journal_id": posted.journal_id,
            "pending_minor": pending,
            "commission_minor": returned.income_minor,
            "vat_minor": returned.vat_minor,
        }

    def _returned(self, tx: sa.Connection, sale: Sale, payment: Payment, refund: Refund) -> Part:
        """What the refund takes back from whom."""
        if refund.keep_commission:
            return sale.kept(refund.amount_minor)
        before = given_back_before(tx, payment.id)
        return sale.refunded(payment, before, refund.amount_minor)


def given_back_before(tx: sa.Connection, payment_id: UUID) -> int:
    """What has been taken back of a sale so far with its commission, by refunds that are reserved
    or paid and by disputes that were lost, in minor units.
    """
    refunded = sum(
        other.amount_minor
        for other in store.refunds(tx, payment_id)
        if other.source == "sale"
        and not other.keep_commission
        and other.reserve_journal_id is not None
        and other.state is not RefundState.FAILED
    )
    disputes = dispute_records.of_payment(tx, payment_id)
    lost = sum(each.lost_minor for each in disputes if each.commission_given_back)
    return refunded + lost
