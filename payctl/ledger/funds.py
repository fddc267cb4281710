"""Whether the guarded accounts of a batch can bear what its drafts take from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.ledger import store
from payctl.ledger.expiry import release_expired
from payctl.ledger.model import Draft, Refusal
from payctl.ledger.store import Account, AccountKey
from payctl.money import format_money


class Funds:
    """What is free on the guarded accounts of a batch, less what its drafts have taken so far.

    When any draft takes from a guarded account, all guarded balances of the batch are locked, by
    account id; a batch that only adds to them needs no lock before it is written.
    """

    def __init__(
        self,
        db: Database,
        tx: sa.Connection,
        batch: Sequence[Draft],
        found: Mapping[AccountKey, Account],
    ) -> None:
        self._db = db
        self._tx = tx
        self._found = found
        self._guarded = {each.id: each for each in found.values() if each.guarded}
        self._moved: dict[UUID, int] = dict.fromkeys(self._guarded, 0)
        locks = any(takes(each, found) for each in batch)
        self._free = self._lock() if locks else None

    def take(self, draft: Draft) -> Refusal | None:
        """Count *draft* in, or say why it cannot be borne and leave it out.

        An account that is short first gives back what its expired holds still keep.
        """
        changes = self._changes(draft)
        if self._free is not None:
            short = self._short(changes)
            if short and release_expired(self._db, self._tx, actor=draft.actor, account_ids=short):
                self._free = self._lock()
                short = self._short(changes)
            if short:
                return self._refusal(changes, short)
        for id_, change in changes.items():
            self._moved[id_] += change
        return None

    def _changes(self, draft: Draft) -> dict[UUID, int]:
        return _changes(draft, self._found)

    def _lock(self) -> dict[UUID, int]:
        locked = store.lock_guarded(self._tx, self._guarded)
        return {id_: balance.free_minor for id_, balance in locked.items()}

    def _available(self, id_: UUID) -> int:
        return (self._free or {})[id_] + self._moved[id_]

    def _short(self, changes: Mapping[UUID, int]) -> list[UUID]:
        return [
            id_ for id_, change in changes.items()
            if change < 0 and -change > max(self._available(id_), 0)
        ]  # fmt: skip

    def _refusal(self, changes: Mapping[UUID, int], short: Sequence[UUID]) -> Refusal:
        first = min((self._guarded[id_] for id_ in short), key=lambda each: each.full_code)
        free, needed = self._available(first.id), -changes[first.id]
        return Refusal(
            "ledger.insufficient_funds",
            {
                "account": first.full_code,
                "available": format_money(free, first.currency),
                "needed": format_money(needed, first.currency),
                "available_minor": free,
                "needed_minor": needed,
                "currency": first.currency,
            },
        )


def takes(draft: Draft, found: Mapping[AccountKey, Account]) -> bool:
    """Whether *draft* takes from any guarded account, and so may have to be refused."""
    return min(_changes(draft, found).values(), default=0) < 0


def _changes(draft: Draft, found: Mapping[AccountKey, Account]) -> dict[UUID, int]:
    """What a draft adds to each guarded account, in the account's own direction."""
    changes: dict[UUID, int] = {}
    for code, amount_minor, currency in draft.legs:
        account = found[code, currency]
        if account.guarded:
            added = account.side * amount_minor
            changes[account.id] = changes.get(account.id, 0) + added
    return changes
