"""Corrections by hand: approved journals with a reason.

Two persons: what is posted is what was approved, held by the content's hash. Accounts that mirror
someone else's book (providers, banks) are never adjusted without the second person, whatever the
thresholds say. A key that was refused once stays refused, so an operator who repeats a command gets
the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db import audit
from payctl.db.actor import Actor
from payctl.db.approvals import Approvals, content_hash
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.db.tables import approval
from payctl.errors import Conflict, InvalidInput
from payctl.ids import encode
from payctl.ledger import drafts
from payctl.ledger.accounts import full_code, mirrors_another_book, split_full
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, Leg, Posted, Refusal

#: Kind of the journal, and of the approval it needs.
KIND = "adjustment"
APPROVAL_KIND = "ledger_adjustment"


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What asking for an adjustment came to: posted, or waiting for a second person."""

    posted: Posted | None
    approval_id: UUID | None


class Adjustments:
    """Asks for, and posts, corrections."""

    def __init__(self, db: Database, book: Book, approvals: Approvals) -> None:
        self._db = db
        self._book = book
        self._approvals = approvals

    def rehearse(
        self,
        actor: Actor,
        *,
        legs: Sequence[Leg],
        reason: str,
        key: str,
        effective_at: datetime | None = None,
    ) -> Posted:
        """What :meth:`request` would post once approved: posted, and rolled back.

        Raises:
            Forbidden, InvalidInput, Conflict: as :meth:`request`.
        """
        require(actor, "ledger.post")
        draft = _draft(actor.name, legs, reason, key, effective_at)
        with self._db.rehearsal() as tx:
            return self._book.post(tx, draft)

    def request(
        self,
        actor: Actor,
        *,
        legs: Sequence[Leg],
        reason: str,
        key: str,
        effective_at: datetime | None = None,
    ) -> Adjustment:
        """Post an adjustment, or ask for the second person it needs.

        The same *key* with the same content returns what became of it: the journal, or the approval
        that is still waited for. Once approved, repeating the request posts it.

        Raises:
            Forbidden: ``operator.not_allowed``.
            InvalidInput: ``reason.missing`` and those of :meth:`Book.post`.
            Conflict: those of :meth:`Book.post`; a refused key stays refused.
        """
        require(actor, "ledger.post")
        draft = drafts.checked(_draft(actor.name, legs, reason, key, effective_at))
        with self._db.transaction() as tx:
            if self._book.knows(tx, key):
                return Adjustment(_settled(self._book.post_or_refuse(tx, draft)), None)
            asked = self._asked(tx, draft)
            if asked is not None and asked.state == "pending":
                return Adjustment(None, asked.id)
            if asked is None:
                amount_minor, currency = _size(draft)
                why = self._approvals.needed(tx, APPROVAL_KIND, amount_minor, currency, actor)
                mirrors = any(mirrors_another_book(leg.account) for leg in draft.legs)
                if why is not None or mirrors:
                    return Adjustment(None, self._ask(tx, actor, draft, amount_minor, currency))
            posted = self._post(tx, actor, draft, asked and asked.id)
        return Adjustment(_settled(posted), None)

    def execute(self, actor: Actor, approval_id: UUID) -> Posted:
        """Post an adjustment that was approved, in the name of who asked for it.

        The approval is the permission: *actor* is who approved it, and may not be allowed to ask.

        Raises:
            NotFound: ``approval.not_found``.
            Conflict: ``approval.not_granted`` and those of :meth:`Book.post`.
        """
        request = self._approvals.get(approval_id)
        if request.kind != APPROVAL_KIND:
            raise Conflict("approval.not_granted", id=encode("approval", approval_id))
        draft = _from_content(request.content, request.requested_by)
        with self._db.transaction() as tx:
            if self._book.knows(tx, draft.posting_key):
                return _settled(self._book.post_or_refuse(tx, draft))
            posted = self._post(tx, actor, draft, approval_id)
        return _settled(posted)

    # -- how ------------------------------------------------------------------------------------

    def _post(
        self, tx: sa.Connection, actor: Actor, draft: Draft, approval_id: UUID | None
    ) -> Posted | Refusal:
        data: dict[str, Any] = {"key": draft.posting_key, "legs": _content(draft)["legs"]}
        if approval_id is not None:
            self._approvals.use(tx, actor, approval_id, _content(draft))
            data["approval"] = encode("approval", approval_id)
        posted = self._book.post_or_refuse(tx, draft)
        if isinstance(posted, Refusal):
            data["refused"] = posted.code
        subject = posted.journal_id if isinstance(posted, Posted) else None
        audit.record(self._db, tx, actor, "ledger.adjusted", "journal", subject, data, draft.reason)
        return posted

    def _ask(
        self, tx: sa.Connection, actor: Actor, draft: Draft, amount_minor: int, currency: str
    ) -> UUID:
        return self._approvals.request(
            tx,
            actor,
            kind=APPROVAL_KIND,
            subject_kind="journal",
            subject_id=None,
            amount_minor=amount_minor,
            currency=currency,
            content=_content(draft),
            reason=str(draft.reason),
        )

    def _asked(self, tx: sa.Connection, draft: Draft) -> Any:
        """Id and state of the request for exactly this adjustment, when one is still good."""
        return tx.execute(
            sa.select(approval.c.id, approval.c.state)
            .where(
                approval.c.kind == APPROVAL_KIND,
                approval.c.content_hash == content_hash(_content(draft)),
                approval.c.state.in_(("pending", "approved")),
                approval.c.expires_at > self._db.clock.now(),
            )
            .order_by(approval.c.id.desc())
            .limit(1)
        ).one_or_none()


def _draft(
    actor: str, legs: Sequence[Leg], reason: str, key: str, effective_at: datetime | None
) -> Draft:
    if not reason.strip():
        raise InvalidInput("reason.missing", field="reason")
    return Draft(KIND, key, tuple(legs), actor, reason=reason, effective_at=effective_at)


def _size(draft: Draft) -> tuple[int, str]:
    """The amount that is asked for, minor units: the debits of the draft's first currency."""
    currency = draft.legs[0].currency
    debits = (
        leg.amount_minor for leg in draft.legs if leg.currency == currency and leg.amount_minor > 0
    )
    return sum(debits), currency


def _content(draft: Draft) -> dict[str, Any]:
    return {
        "key": draft.posting_key,
        "reason": draft.reason,
        "effective_at": draft.effective_at.isoformat() if draft.effective_at else None,
        "legs": [
            {"account": full_code(leg.account, leg.currency), "amount_minor": leg.amount_minor}
            for leg in draft.legs
        ],
    }


def _from_content(content: Mapping[str, Any], requested_by: str) -> Draft:
    legs = []
    for leg in content["legs"]:
        code, currency = split_full(leg["account"])
        legs.append(Leg(code, leg["amount_minor"], currency))
    at = content["effective_at"]
    when = datetime.fromisoformat(at) if at else None
    return _draft(requested_by, legs, content["reason"], content["key"], when)


def _settled(posted: Posted | Refusal) -> Posted:
    """The journal, or the refusal as an error, once it is stored under its key."""
    if isinstance(posted, Refusal):
        raise posted.error()
    return posted
