"""Rows of accounts and balances: found, opened on first use, locked.

One order of locks for every path, so that no two postings can wait for each other: guarded balances
by account id, then striped ones by account id, which are hot and so held for the shortest time.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db import audit
from payctl.db.actor import Actor
from payctl.db.driver import driver_execute
from payctl.db.engine import Database
from payctl.db.upsert import insert_into
from payctl.errors import Conflict, NotFound
from payctl.ledger.accounts import full_code, line_of, owner_of
from payctl.ledger.tables import account, balance
from payctl.money import exponent, format_money

#: Balance rows of one striped account on PostgreSQL; SQLite has one writer and needs one.
STRIPES = 16

#: First parts of the codes of accounts that may be closed.
CLOSABLE = ("wallet", "owed", "bank")

#: Code and currency: what names an account.
AccountKey = tuple[str, str]

_stripe_numbers = itertools.count(os.getpid())
_STRIPE = "payctl_stripe"
_OPENED = "payctl_opened"


@dataclass(frozen=True, slots=True)
class Account:
    """An account as stored. ``side`` is 1 where debits raise its balance, -1 where credits do."""

    id: UUID
    code: str
    currency: str
    kind: str
    side: int
    guarded: bool
    stripes: int
    closed: bool

    @property
    def full_code(self) -> str:
        return full_code(self.code, self.currency)

    @property
    def closable(self) -> bool:
        """Whether it may be closed at all: accounts of providers stay open."""
        return self.code.partition(":")[0] in CLOSABLE


@dataclass(frozen=True, slots=True)
class Balance:
    """A guarded account's single balance row, in the account's own direction, minor units."""

    posted_minor: int
    held_minor: int
    floor_minor: int

    @property
    def free_minor(self) -> int:
        """What may still be taken: posted less held less floor."""
        return self.posted_minor - self.held_minor - self.floor_minor


_CLOSED_UNTIL = "SELECT coalesce(max(yyyymm), 0) FROM period WHERE state <> 'open'"
_FIND = (
    "SELECT id, code, currency, kind, normal_side, mode, stripes, status FROM account WHERE code"
)


def closed_until(tx: sa.Connection) -> int:
    """The last month (yyyymm) that takes no more journals; 0 when none is closed."""
    return int(driver_execute(tx, _CLOSED_UNTIL).fetchone()[0])


def find(tx: sa.Connection, keys: Iterable[AccountKey]) -> dict[AccountKey, Account]:
    """Those of the accounts *keys* that exist."""
    wanted = set(keys)
    codes = sorted({code for code, _ in wanted})
    if tx.dialect.name == "sqlite":
        places = ", ".join("?" * len(codes))
        rows = driver_execute(tx, f"{_FIND} IN ({places})", codes)
    else:
        rows = driver_execute(tx, f"{_FIND} = ANY ($1)", (codes,))
    found = {}
    for id_, code, currency, kind, side, mode, stripes, status in rows.fetchall():
        if (code, currency) in wanted:
            found[code, currency] = Account(
                id_ if isinstance(id_, UUID) else UUID(bytes=id_), code, currency, kind, side,
                mode == "guarded", stripes, status == "closed",
            )  # fmt: skip
    return found


def find_or_open(
    db: Database, tx: sa.Connection, keys: Iterable[AccountKey]
) -> dict[AccountKey, Account]:
    """All accounts *keys*, opened where they are missing.

    Raises:
        InvalidInput: ``ledger.unknown_account``, ``currency.unknown``.
    """
    return Memory(db).find_or_open(tx, keys)


class Memory:
    """Accounts and closed months as this process last read them.

    An account never changes but for its end, and months close rarely, so one reading serves many
    postings; whoever writes lets the database look whether it is still true. Accounts opened in a
    transaction that has not ended are not remembered: they may yet be rolled back.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._accounts: dict[AccountKey, Account] = {}
        self._closed_until: int | None = None

    def find_or_open(
        self, tx: sa.Connection, keys: Iterable[AccountKey]
    ) -> dict[AccountKey, Account]:
        """All accounts *keys*, opened where they are missing.

        Raises:
            InvalidInput: ``ledger.unknown_account``, ``currency.unknown``.
        """
        wanted = set(keys)
        found = self.find(tx, wanted)
        missing = sorted(wanted - found.keys())
        if missing:
            _open(self._db, tx, missing)
            found |= self.find(tx, missing)
        return found

    def find(self, tx: sa.Connection, keys: Iterable[AccountKey]) -> dict[AccountKey, Account]:
        """Those of the accounts *keys* that exist."""
        found, unknown = {}, []
        for key in keys:
            account = self._accounts.get(key)
            if account is None:
                unknown.append(key)
            else:
                found[key] = account
        if unknown:
            read = find(tx, unknown)
            opened = _opened(tx)
            self._accounts |= {key: each for key, each in read.items() if each.id not in opened}
            found |= read
        return found

    def closed_until(self, tx: sa.Connection) -> int:
        """The last month (yyyymm) that takes no more journals; 0 when none is closed."""
        if self._closed_until is None:
            self._closed_until = closed_until(tx)
        return self._closed_until


def _opened(tx: sa.Connection) -> set[UUID]:
    """Ids of the accounts that the present transaction has opened."""
    ids: set[UUID]
    transaction, ids = tx.info.get(_OPENED, (None, set()))
    if transaction is not tx.get_transaction():
        ids = set()
        tx.info[_OPENED] = (tx.get_transaction(), ids)
    return ids


def _open(db: Database, tx: sa.Connection, keys: list[AccountKey]) -> None:
    """Insert accounts with their balance rows. In the order of their codes, so that two openers
    wait for each other in one direction only; whoever comes second finds the first one's rows.
    """
    rows = [_account_row(db, code, currency) for code, currency in keys]
    insert = insert_into(account, is_sqlite=db.is_sqlite)
    made = tx.scalars(insert.values(rows).on_conflict_do_nothing().returning(account.c.id)).all()
    _opened(tx).update(made)
    stripes = [
        {
            "account_id": row["id"],
            "stripe": stripe,
            "floor_minor": 0 if row["mode"] == "guarded" else None,
        }
        for row in rows
        if row["id"] in made
        for stripe in range(row["stripes"])
    ]
    if stripes:
        tx.execute(sa.insert(balance), stripes)


def _account_row(db: Database, code: str, currency: str) -> dict[str, Any]:
    line = line_of(code)
    exponent(currency)
    return {
        "id": db.ids.new(),
        "code": code,
        "currency": currency,
        "kind": line.kind,
        "normal_side": line.normal_side,
        "owner": owner_of(code),
        "mode": "guarded" if line.guarded else "striped",
        "stripes": 1 if line.guarded or db.is_sqlite else STRIPES,
        "opened_at": db.clock.now(),
    }


def close(
    db: Database, tx: sa.Connection, actor: Actor, code: str, currency: str, *, reason: str
) -> Account:
    """Close an owner's or bank's account that is empty: it takes no more journals.

    Accounts of providers stay open, so that what a provider does can always be recorded.

    Raises:
        NotFound: ``ledger.account_not_found``.
        Conflict: ``ledger.account_not_closable``, ``ledger.account_not_empty``.
    """
    found = find(tx, [(code, currency)]).get((code, currency))
    if found is None:
        raise NotFound("ledger.account_not_found", account=full_code(code, currency))
    if not found.closable:
        raise Conflict("ledger.account_not_closable", account=found.full_code)
    rows = tx.execute(
        sa.select(balance.c.posted_minor, balance.c.held_minor)
        .where(balance.c.account_id == found.id)
        .order_by(balance.c.stripe)
        .with_for_update(key_share=True)
    ).all()
    rest = sum(row.posted_minor for row in rows)
    if rest or any(row.held_minor for row in rows):
        raise Conflict(
            "ledger.account_not_empty",
            account=found.full_code,
            balance=format_money(rest, currency),
        )
    tx.execute(
        sa.update(account)
        .where(account.c.id == found.id)
        .values(status="closed", closed_at=db.clock.now())
    )
    data = {"account": found.full_code}
    audit.record(db, tx, actor, "ledger.account_close", "account", found.id, data, reason)
    return replace(found, closed=True)


_LOCK = (
    sa.select(
        balance.c.account_id, balance.c.posted_minor, balance.c.held_minor, balance.c.floor_minor
    )
    .where(balance.c.account_id.in_(sa.bindparam("ids", expanding=True)), balance.c.stripe == 0)
    .order_by(balance.c.account_id)
    .with_for_update(key_share=True)
)


def lock_guarded(tx: sa.Connection, ids: Iterable[UUID]) -> dict[UUID, Balance]:
    """Lock the balance rows of guarded accounts, by account id, and read them."""
    wanted = sorted(ids)
    if not wanted:
        return {}
    rows = tx.execute(_LOCK, {"ids": wanted})
    return {
        row.account_id: Balance(row.posted_minor, row.held_minor, row.floor_minor) for row in rows
    }


def stripe_of(tx: sa.Connection, stripes: int) -> int:
    """The stripe of this connection: each keeps to one, so that two rarely want the same row."""
    if stripes == 1:
        return 0
    info = tx.info
    number: int | None = info.get(_STRIPE)
    if number is None:
        number = info[_STRIPE] = next(_stripe_numbers)
    return number % stripes
