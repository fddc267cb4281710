"""What an operator's decision about a case does to payments and books.

Each acts in the transaction that resolves the case, through the same door as a provider's answer. A
decision about money needs a second person, and "it failed" also needs the end of the quarantine: an
operator in a hurry must not be able to do what no timer may do.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import sqlalchemy as sa

from payctl.cases.model import Case, Resolver
from payctl.commissions.service import Commissions
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.errors import Conflict, InvalidInput
from payctl.gateways.base import Answer, Outcome
from payctl.ids import decode, encode
from payctl.ledger.book import Book
from payctl.payments import postings, store
from payctl.payments.model import RefundState
from payctl.payments.outcomes import Outcomes
from payctl.payments.receipts import terms_of
from payctl.payments.refund_outcomes import RefundOutcomes


class CaseResolvers:
    """The resolvers of payments, by kind of case."""

    def __init__(
        self,
        db: Database,
        book: Book,
        commissions: Commissions,
        outcomes: Outcomes,
        refunds: RefundOutcomes,
    ) -> None:
        self._db = db
        self._book = book
        self._commissions = commissions
        self._outcomes = outcomes
        self._refunds = refunds

    def all(self) -> dict[str, Resolver]:
        """Kind of case to what resolving it does."""
        refunded = Resolver(("refunded",), self._refunded)
        return {
            "unknown_outcome": Resolver(
                ("succeeded", "failed"), self._decide, frozenset({"succeeded", "failed"})
            ),
            "wrong_amount": refunded,
            "duplicate_receipt": refunded,
            "refund_failed_later": Resolver(
                ("refunded", "released"), self._come_back, frozenset({"released"})
            ),
            "suspense": Resolver(("apply", "handled"), self._suspense, frozenset({"handled"})),
        }

    def _decide(
        self, tx: sa.Connection, actor: Actor, case: Case, resolution: str, evidence: str
    ) -> None:
        """What became of an attempt nobody answers for, as seen at the provider."""
        attempt = store.attempt(tx, decode(str(case.detail["attempt"]), "attempt"))
        if not attempt.state.live:
            return
        if resolution == "failed" and self._db.clock.now() < attempt.quarantine_until:
            raise Conflict(
                "case.quarantine_runs",
                id=encode("case", case.id),
                until=attempt.quarantine_until.isoformat(timespec="seconds"),
            )
        won = resolution == "succeeded"
        answer = Answer(
            Outcome.SUCCEEDED if won else Outcome.DECLINED,
            amount_minor=attempt.amount_minor if won else None,
            currency=attempt.currency if won else None,
            code=None if won else "operator_decided",
            message=evidence[:200],
        )
        self._outcomes.apply(
            tx, attempt.id, answer, source="operator", call="evidence", actor=actor
        )

    def _refunded(
        self, tx: sa.Connection, actor: Actor, case: Case, resolution: str, evidence: str
    ) -> None:
        """A receipt that belongs to no order is done with when its refund has succeeded."""
        refund = store.refund(tx, decode(str(case.detail["proposed_refund"]), "refund"))
        if refund.state is not RefundState.SUCCEEDED:
            raise Conflict(
                "case.refund_open",
                id=encode("case", case.id),
                refund=encode("refund", refund.id),
                state=str(refund.state),
            )

    def _come_back(
        self, tx: sa.Connection, actor: Actor, case: Case, resolution: str, evidence: str
    ) -> None:
        """A refund that came back is sent again (and succeeded), or given up for good."""
        refund_id = _subject(case)
        refund = store.refund(tx, refund_id)
        if resolution == "refunded":
            if refund.state is not RefundState.SUCCEEDED:
                raise Conflict(
                    "case.refund_open",
                    id=encode("case", case.id),
                    refund=encode("refund", refund.id),
                    state=str(refund.state),
                )
            return
        self._refunds.give_up(tx, refund_id, actor, evidence)

    def _suspense(
        self, tx: sa.Connection, actor: Actor, case: Case, resolution: str, evidence: str
    ) -> None:
        """Share out a sale that waited in suspense, now that its rate is known. ``handled`` is for
        what was placed by a journal of its own.
        """
        if resolution == "handled":
            return
        if case.subject_kind != "payment":
            raise InvalidInput("case.not_a_sale", field="as", id=encode("case", case.id))
        payment = store.payment(tx, _subject(case), lock=True)
        if payment.rate is not None or payment.attempt_id is None or payment.refunded_minor:
            raise InvalidInput("case.not_a_sale", field="as", id=encode("case", case.id))
        attempt = store.attempt(tx, payment.attempt_id)
        sale = terms_of(tx, self._commissions, payment, self._db.clock.now())
        part = sale.captured(replace(payment, captured_minor=0), payment.captured_minor)
        draft = postings.suspense_applied(
            payment, attempt, sale, part, actor=actor.name, reason=evidence
        )
        self._book.post(tx, draft)
        store.update_payment(
            tx,
            payment,
            self._db.clock.now(),
            rate=sale.as_json(),
            commission_minor=part.income_minor,
            vat_minor=part.vat_minor,
            pending_minor=part.owner_minor,
            needs_review=False,
        )


def _subject(case: Case) -> UUID:
    if case.subject_id is None:
        raise InvalidInput("case.not_a_sale", field="as", id=encode("case", case.id))
    return case.subject_id
