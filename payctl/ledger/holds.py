"""Holds: money of a guarded account set aside for a while, captured in parts, given back.

A hold posts nothing: it lowers what may be taken, in the same row whose CHECK guards the account.
Only a capture posts. ``hold_event`` says what happened to it and when.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db import idempotency
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.errors import Conflict, InvalidInput, NotFound
from payctl.ids import encode
from payctl.ledger import expiry, store
from payctl.ledger.accounts import full_code
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, Posted, cr, dr
from payctl.ledger.tables import account, balance, hold
from payctl.money import check_amount_minor, format_money

#: Scope of hold keys among the idempotency keys.
SCOPE = "hold"


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold as it stands; amounts in minor units."""

    id: UUID
    account: str
    currency: str
    amount_minor: int
    captured_minor: int
    voided_minor: int
    state: str
    expires_at: datetime | None
    payment_id: UUID | None
    reason: str

    @property
    def open_minor(self) -> int:
        """What may still be captured."""
        return self.amount_minor - self.captured_minor - self.voided_minor


class Holds:
    """Places, captures and gives back holds."""

    def __init__(self, db: Database, book: Book) -> None:
        self._db = db
        self._book = book

    def place(
        self,
        tx: sa.Connection,
        *,
        account_code: str,
        currency: str,
        amount_minor: int,
        key: str,
        reason: str,
        actor: Actor,
        expires_at: datetime | None = None,
        payment_id: UUID | None = None,
    ) -> UUID:
        """Set *amount_minor* aside on a guarded account; the same *key* places it once.

        Raises:
            InvalidInput: ``ledger.hold_needs_guarded``, ``ledger.hold_already_over``,
                ``amount.not_positive``.
            Conflict: ``ledger.insufficient_funds``, ``ledger.account_closed``, ``key.reused``.
        """
        check_amount_minor(amount_minor, currency)
        now = self._db.clock.now()
        if expires_at is not None and expires_at <= now:
            raise InvalidInput("ledger.hold_already_over", field="expires_at")
        owner = store.find_or_open(self._db, tx, [(account_code, currency)])[account_code, currency]
        if not owner.guarded:
            raise InvalidInput(
                "ledger.hold_needs_guarded", field="account", account=owner.full_code
            )
        request = {"account": owner.full_code, "amount_minor": amount_minor, "reason": reason}
        claim = idempotency.claim(self._db, tx, SCOPE, key, idempotency.fingerprint(request))
        if claim.subject_id is not None:
            return claim.subject_id
        self._take(tx, owner, amount_minor, actor)
        hold_id = self._db.ids.new()
        tx.execute(
            sa.insert(hold).values(
                id=hold_id, account_id=owner.id, amount_minor=amount_minor, state="open",
                expires_at=expires_at, payment_id=payment_id, reason=reason, actor=actor.name,
                created_at=now,
            )
        )  # fmt: skip
        expiry.append_event(
            self._db, tx, hold_id, "placed", amount_minor, actor=actor.name, reason=reason
        )
        idempotency.settle(tx, SCOPE, key, "placed", hold_id)
        return hold_id

    def capture(
        self,
        tx: sa.Connection,
        hold_id: UUID,
        *,
        amount_minor: int,
        to: str,
        posting_key: str,
        actor: Actor,
        final: bool = False,
        reason: str | None = None,
    ) -> Posted:
        """Move part of a hold to the account *to* (a code); *final* gives the rest back.

        Raises:
            NotFound: ``ledger.hold_not_found``.
            Conflict: ``ledger.hold_not_open``, ``ledger.hold_over``, ``ledger.hold_exceeds`` and
                those of :meth:`Book.post`; nothing is changed then.
        """
        known = self._book.find(tx, posting_key)
        row = self._locked(tx, hold_id)
        legs = (dr(row.code, amount_minor, row.currency), cr(to, amount_minor, row.currency))
        draft = Draft(
            "hold_capture", posting_key, legs, actor.name, row.payment_id, reason,
            meta={"hold": str(hold_id)},
        )  # fmt: skip
        if known is not None:
            return self._book.post(tx, draft)
        self._check_open(row)
        rest = row.amount_minor - row.captured_minor - row.voided_minor
        check_amount_minor(amount_minor, row.currency)
        if amount_minor > rest:
            raise Conflict(
                "ledger.hold_exceeds",
                asked=format_money(amount_minor, row.currency),
                left=format_money(rest, row.currency),
            )
        with tx.begin_nested():
            self._count_capture(tx, row, amount_minor, done=amount_minor == rest)
            posted = self._book.post(tx, draft)
        expiry.append_event(
            self._db, tx, hold_id, "captured", amount_minor, actor=actor.name,
            journal_id=posted.journal_id, reason=reason,
        )  # fmt: skip
        if final and amount_minor < rest:
            row = self._locked(tx, hold_id)
            expiry.close(self._db, tx, row, "captured", actor=actor.name, reason=reason)
        return posted

    def void(self, tx: sa.Connection, hold_id: UUID, *, actor: Actor, reason: str) -> int:
        """Give back what is left of an open hold; return it (minor units).

        Raises:
            NotFound: ``ledger.hold_not_found``.
            Conflict: ``ledger.hold_not_open``.
        """
        row = self._locked(tx, hold_id)
        if row.state != "open":
            raise Conflict("ledger.hold_not_open", id=encode("hold", hold_id), state=row.state)
        return expiry.close(self._db, tx, row, "voided", actor=actor.name, reason=reason)

    def expire(self, actor: Actor, *, limit: int = expiry.BATCH) -> int:
        """Give back expired holds, at most *limit*, in a transaction of its own; return how many.

        A sweep that comes late costs nothing: no expired hold can be captured, and an account that
        is short gives its own back first.

        Raises:
            Forbidden: ``operator.not_allowed``.
        """
        require(actor, "hold.expire")
        return self._db.run(
            lambda tx: expiry.release_expired(self._db, tx, actor=actor.name, limit=limit)
        )

    def get(self, tx: sa.Connection, hold_id: UUID) -> Hold:
        """A hold as it stands.

        Raises:
            NotFound: ``ledger.hold_not_found``.
        """
        row = tx.execute(_HOLDS.where(hold.c.id == hold_id)).one_or_none()
        if row is None:
            raise NotFound("ledger.hold_not_found", id=encode("hold", hold_id))
        return _hold(row)

    def list(
        self, tx: sa.Connection, *, owner: str | None = None, state: str | None = "open"
    ) -> list[Hold]:
        """Holds by id, of one owner or all, in one state or any."""
        query = _HOLDS.order_by(hold.c.id)
        if owner is not None:
            query = query.where(account.c.owner == owner)
        if state is not None:
            query = query.where(hold.c.state == state)
        return [_hold(row) for row in tx.execute(query)]

    # -- how ------------------------------------------------------------------------------------

    def _take(
        self, tx: sa.Connection, owner: store.Account, amount_minor: int, actor: Actor
    ) -> None:
        if owner.closed:
            raise Conflict("ledger.account_closed", account=owner.full_code)
        free = store.lock_guarded(tx, [owner.id])[owner.id].free_minor
        if amount_minor > free and expiry.release_expired(
            self._db, tx, actor=actor.name, account_ids=[owner.id]
        ):
            free = store.lock_guarded(tx, [owner.id])[owner.id].free_minor
        if amount_minor > free:
            raise Conflict(
                "ledger.insufficient_funds",
                account=owner.full_code,
                available=format_money(free, owner.currency),
                needed=format_money(amount_minor, owner.currency),
            )
        tx.execute(
            sa.update(balance)
            .where(balance.c.account_id == owner.id, balance.c.stripe == 0)
            .values(held_minor=balance.c.held_minor + amount_minor)
        )

    def _locked(self, tx: sa.Connection, hold_id: UUID) -> Any:
        row = tx.execute(_HOLDS.where(hold.c.id == hold_id).with_for_update(of=hold)).one_or_none()
        if row is None:
            raise NotFound("ledger.hold_not_found", id=encode("hold", hold_id))
        return row

    def _check_open(self, row: Any) -> None:
        public = encode("hold", row.id)
        if row.state != "open":
            raise Conflict("ledger.hold_not_open", id=public, state=row.state)
        if row.expires_at is not None and row.expires_at <= self._db.clock.now():
            raise Conflict("ledger.hold_over", id=public, at=row.expires_at.isoformat())

    @staticmethod
    def _count_capture(tx: sa.Connection, row: Any, amount_minor: int, *, done: bool) -> None:
        tx.execute(
            sa.update(hold)
            .where(hold.c.id == row.id)
            .values(
                captured_minor=hold.c.captured_minor + amount_minor,
                state="captured" if done else "open",
            )
        )
        expiry.give_back(tx, row.account_id, amount_minor)


_HOLDS = sa.select(hold, account.c.code, account.c.currency).join(
    account, account.c.id == hold.c.account_id
)


def _hold(row: Any) -> Hold:
    return Hold(
        row.id, full_code(row.code, row.currency), row.currency, row.amount_minor,
        row.captured_minor, row.voided_minor, row.state, row.expires_at, row.payment_id, row.reason,
    )  # fmt: skip
