"""Money at a provider that belongs to no attempt of ours: another system's, or a lost book's."""

from __future__ import annotations

import sqlalchemy as sa

from payctl.cases.service import Cases
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.gateways.base import Answer, Outcome, Reference
from payctl.ledger import accounts
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, cr, dr


class Strangers:
    """Books such money to suspense, with a case."""

    def __init__(self, db: Database, book: Book, cases: Cases) -> None:
        self._db = db
        self._book = book
        self._cases = cases

    def receive(
        self, actor: Actor, account: str, answer: Answer, asked: Reference | None = None
    ) -> bool:
        """Book what *answer* says was received, once; whether it says so.

        Args:
            asked: what the provider was asked about, when its answer names nothing.
        """
        amount, currency = answer.amount_minor, answer.currency
        if answer.outcome is not Outcome.SUCCEEDED or not amount or currency is None:
            return False
        asked_for = asked.provider_reference or asked.our_reference if asked is not None else None
        name = answer.provider_reference or answer.our_reference or asked_for
        draft = Draft(
            "orphan_receipt",
            f"orphan:{account}:{name}",
            (
                dr(accounts.collect(account), amount, currency),
                cr(accounts.suspense(account), amount, currency),
            ),
            actor.name,
            meta={
                "provider_reference": answer.provider_reference,
                "our_reference": answer.our_reference,
            },
        )

        def post(tx: sa.Connection) -> None:
            self._book.post(tx, draft)
            self._cases.open(
                tx,
                kind="orphan",
                subject_kind="gateway",
                subject_id=None,
                gateway=account,
                amount_minor=amount,
                currency=currency,
                detail=dict(draft.meta),
                dedupe_key=draft.posting_key,
                actor=actor,
            )

        self._db.run(post)
        return True
