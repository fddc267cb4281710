"""What a dispute's news does to the books: money taken and given back, the owner's part frozen,
freed or gone, the fee.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from payctl.cases.service import Cases
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.gateways.disputes import Dispute, DisputeStatus
from payctl.ids import encode
from payctl.ledger import accounts
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, Leg, Posted
from payctl.ledger.owners import give_to_owner, take_from_owner
from payctl.payments import dispute_postings as postings
from payctl.payments import store
from payctl.payments.dispute_records import ENDED, DisputeRecord
from payctl.payments.records import Attempt, Payment
from payctl.payments.reservations import given_back_before
from payctl.payments.sales import Part, Sale


class DisputeBooks:
    """Posts what a dispute moves; called inside the transaction that holds its payment's lock.

    Args:
        keep_commission: a loss leaves us our commission and its VAT; the owner bears all of it.
            Where the sale was made in our own name there is no commission to keep.
    """

    def __init__(
        self, db: Database, book: Book, cases: Cases, *, keep_commission: bool = False
    ) -> None:
        self._keep_commission = keep_commission
        self._db = db
        self._book = book
        self._cases = cases

    def follow(
        self,
        tx: sa.Connection,
        actor: Actor,
        payment: Payment,
        receipt: Attempt,
        dispute: DisputeRecord,
        facts: Dispute,
        journals: list[Posted],
    ) -> dict[str, Any]:
        """Post everything *facts* says that is not posted yet; returns the changed columns."""
        values: dict[str, Any] = {}
        taken = facts.withdrawn_minor - dispute.withdrawn_minor
        if taken:
            draft = postings.money(dispute, taken, actor=actor.name)
            journals.append(self._fact(tx, actor, dispute, draft))
            values["withdrawn_minor"] = facts.withdrawn_minor
        for fee in facts.fees:
            draft = postings.fee(dispute, fee, actor=actor.name)
            if fee.amount_minor and not self._book.knows(tx, draft.posting_key):
                journals.append(self._fact(tx, actor, dispute, draft))
        if dispute.status in ENDED:
            if taken > 0 or (taken < 0 and dispute.status is DisputeStatus.LOST):
                self._changed_after_end(tx, actor, dispute, facts)
            return values
        ours = receipt.receipt == "order" and payment.rate is not None
        lost = facts.status is DisputeStatus.LOST
        held = 0 if lost else min(facts.held_minor, payment.refundable_minor)
        wanted = max(facts.withdrawn_minor, held)
        if ours and wanted and facts.status is not DisputeStatus.WON:
            values |= self._hold(tx, actor, payment, replace(dispute, **values), wanted, journals)
        now_dispute = replace(dispute, **values)
        if lost and facts.withdrawn_minor:
            values |= self._lose(tx, actor, payment, receipt, now_dispute, journals)
        elif facts.status in ENDED and now_dispute.frozen_minor:
            values |= self._unfreeze(tx, actor, payment, now_dispute, journals)
        return values

    def _hold(
        self,
        tx: sa.Connection,
        actor: Actor,
        payment: Payment,
        dispute: DisputeRecord,
        amount_minor: int,
        journals: list[Posted],
    ) -> dict[str, Any]:
        """Freeze the owner's part of *amount_minor*; what is frozen for another amount goes back
        first, so that the parts are those of the amount the provider takes in the end.
        """
        sale = Sale.from_json(payment.rate or {})
        if not dispute.frozen_minor:
            return self._freeze(tx, actor, payment, dispute, amount_minor, journals)
        if sale.amount_of(_frozen_part(dispute)) == amount_minor:
            return {}
        freed = self._unfreeze(tx, actor, payment, dispute, journals)
        bare = replace(dispute, **freed)
        return freed | self._freeze(tx, actor, payment, bare, amount_minor, journals)

    def _freeze(
        self,
        tx: sa.Connection,
        actor: Actor,
        payment: Payment,
        dispute: DisputeRecord,
        amount_minor: int,
        journals: list[Posted],
    ) -> dict[str, Any]:
        sale = Sale.from_json(payment.rate or {})
        part = sale.refunded(payment, given_back_before(tx, payment.id), amount_minor)
        taken: tuple[Leg, ...] = ()
        if part.owner_minor:
            taken = take_from_owner(
                tx, owner=payment.organiser, currency=dispute.currency,
                amount_minor=part.owner_minor, pending_minor=payment.pending_minor,
            )  # fmt: skip
            draft = postings.frozen(dispute, payment.organiser, taken, actor=actor.name)
            journals.append(self._book.post(tx, draft))
            pending_code = accounts.wallet(payment.organiser, "pending")
            pending = sum(leg.amount_minor for leg in taken if leg.account == pending_code)
            if pending:
                store.update_payment(
                    tx, payment, self._db.clock.now(),
                    pending_minor=payment.pending_minor - pending,
                )  # fmt: skip
        return {
            "frozen_minor": part.owner_minor,
            "commission_minor": part.income_minor,
            "vat_minor": part.vat_minor,
        }

    def _unfreeze(
        self,
        tx: sa.Connection,
        actor: Actor,
        payment: Payment,
        dispute: DisputeRecord,
        journals: list[Posted],
    ) -> dict[str, Any]:
        given = give_to_owner(
            tx, owner=payment.organiser, currency=dispute.currency,
            amount_minor=dispute.frozen_minor,
        )  # fmt: skip
        draft = postings.unfrozen(dispute, payment.organiser, given, actor=actor.name)
        journals.append(self._book.post(tx, draft))
        return {"frozen_minor": 0, "commission_minor": 0, "vat_minor": 0}

    def _lose(
        self,
        tx: sa.Connection,
        actor: Actor,
        payment: Payment,
        receipt: Attempt,
        dispute: DisputeRecord,
        journals: list[Posted],
    ) -> dict[str, Any]:
        account, lost = dispute.gateway_account, {"lost_minor": dispute.withdrawn_minor}
        if receipt.receipt != "order" or payment.rate is None:
            unapplied = receipt.receipt == "unapplied"
            source = accounts.unapplied(account) if unapplied else accounts.suspense(account)
            draft = postings.lost_from(dispute, source, actor=actor.name)
            journals.append(self._book.post(tx, draft))
            return lost
        payment = store.payment(tx, payment.id)
        part = _frozen_part(dispute)
        sale = Sale.from_json(payment.rate or {})
        if self._keep_commission and not sale.principal:
            rest = take_from_owner(
                tx, owner=payment.organiser, currency=dispute.currency,
                amount_minor=part.income_minor + part.vat_minor, pending_minor=0,
            )  # fmt: skip
            draft = postings.lost_kept(dispute, payment.organiser, rest, actor=actor.name)
            journals.append(self._book.post(tx, draft))
            return {**lost, "frozen_minor": 0, "commission_minor": 0, "vat_minor": 0}
        draft = postings.lost(dispute, payment, sale, part, actor=actor.name)
        journals.append(self._book.post(tx, draft))
        store.update_payment(
            tx, payment, self._db.clock.now(),
            commission_returned_minor=payment.commission_returned_minor + part.income_minor,
            vat_returned_minor=payment.vat_returned_minor + part.vat_minor,
        )  # fmt: skip
        return {**lost, "frozen_minor": 0}

    def _fact(
        self, tx: sa.Connection, actor: Actor, dispute: DisputeRecord, draft: Draft
    ) -> Posted:
        account = dispute.gateway_account
        posted = self._book.post_fact(
            tx, draft, provider_account=accounts.collect(account), gateway=account
        )
        if posted.suspense_reason:
            self._case(
                tx, actor, dispute, "suspense", f"suspense:{draft.posting_key}",
                reason=posted.suspense_reason, journal=draft.kind,
            )  # fmt: skip
        return posted

    def _changed_after_end(
        self, tx: sa.Connection, actor: Actor, dispute: DisputeRecord, facts: Dispute
    ) -> None:
        """Money moved after the decision: it is in the books, and a person says whose it is."""
        self._case(
            tx, actor, dispute, "dispute_changed", f"dispute_changed:{dispute.id}",
            ended_as=str(dispute.status), says_now=str(facts.status),
            withdrawn_minor=facts.withdrawn_minor,
        )  # fmt: skip

    def _case(
        self,
        tx: sa.Connection,
        actor: Actor,
        dispute: DisputeRecord,
        kind: str,
        key: str,
        **detail: Any,
    ) -> None:
        self._cases.open(
            tx, kind=kind, subject_kind="dispute", subject_id=dispute.id,
            gateway=dispute.gateway_account, amount_minor=dispute.amount_minor,
            currency=dispute.currency, dedupe_key=key, actor=actor,
            detail={"payment": encode("payment", dispute.payment_id), **detail},
        )  # fmt: skip


def _frozen_part(dispute: DisputeRecord) -> Part:
    return Part(dispute.frozen_minor, dispute.commission_minor, dispute.vat_minor)
