"""Months of the book: closed in order, after their end, with totals that can be checked for ever.

Closing takes two commits. The first marks the month as closing while no journal is being written,
so the database refuses any that comes later; the second writes its totals. In between the month
already takes no journals, and closing again finishes the work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db import audit
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.db.upsert import insert_into
from payctl.errors import Conflict, InvalidInput
from payctl.ledger.accounts import full_code
from payctl.ledger.book import Book
from payctl.ledger.tables import account, entry, journal, period, period_balance


@dataclass(frozen=True, slots=True)
class AccountTotals:
    """One account's month: debits, credits (both positive) and its balance since ever, signed."""

    account_id: UUID
    account: str
    debit_minor: int
    credit_minor: int
    closing_minor: int


@dataclass(frozen=True, slots=True)
class Period:
    """A month that was ever closed or is being closed."""

    yyyymm: int
    state: str
    closed_by: str | None
    closed_at: datetime | None
    totals_hash: bytes | None


class Periods:
    """Closes months, and opens the last closed one again."""

    def __init__(self, db: Database, book: Book) -> None:
        self._db = db
        self._book = book

    def close(self, actor: Actor, yyyymm: int) -> Period:
        """Close a month. Closing a closed month changes nothing.

        Raises:
            Forbidden: ``operator.not_allowed``.
            InvalidInput: ``ledger.bad_period``.
            Conflict: ``ledger.period_not_over``, ``ledger.period_order`` when an earlier month with
                journals is still open.
        """
        require(actor, "period.close")
        _check(yyyymm)
        if yyyymm >= self._book.period_of(self._db.clock.now()):
            raise Conflict("ledger.period_not_over", period=yyyymm)
        self._db.run(lambda tx: self._begin(tx, yyyymm))
        return self._db.run(lambda tx: self._finish(tx, actor, yyyymm))

    def open(self, actor: Actor, yyyymm: int, *, reason: str) -> None:
        """Open the last closed month again; its stored totals go, the audit trail keeps their hash.

        Raises:
            Forbidden: ``operator.not_allowed``.
            InvalidInput: ``reason.missing``.
            Conflict: ``ledger.period_not_last`` when it is not closed or not the last closed one.
        """
        require(actor, "period.close")
        if not reason.strip():
            raise InvalidInput("reason.missing", field="reason")
        with self._db.transaction() as tx:
            _lock_journals(tx)
            last = tx.scalar(
                sa.select(sa.func.max(period.c.yyyymm)).where(period.c.state != "open")
            )
            if last != yyyymm:
                raise Conflict("ledger.period_not_last", period=yyyymm, last=last or "-")
            was = _get(tx, yyyymm)
            tx.execute(sa.delete(period_balance).where(period_balance.c.yyyymm == yyyymm))
            tx.execute(
                sa.update(period)
                .where(period.c.yyyymm == yyyymm)
                .values(state="open", closed_by=None, closed_at=None, totals_hash=None)
            )
            data = {"period": yyyymm, "totals_hash": was.totals_hash and was.totals_hash.hex()}
            audit.record(self._db, tx, actor, "ledger.period_open", "period", None, data, reason)

    @staticmethod
    def list(tx: sa.Connection) -> list[Period]:
        """All months that were ever closed, by date."""
        rows = tx.execute(sa.select(period).order_by(period.c.yyyymm))
        return [_period(row) for row in rows]

    def _begin(self, tx: sa.Connection, yyyymm: int) -> None:
        _lock_journals(tx)
        earlier = tx.scalar(
            sa.select(sa.func.min(journal.c.period)).where(
                journal.c.period < yyyymm,
                journal.c.period.not_in(
                    sa.select(period.c.yyyymm).where(period.c.state == "closed")
                ),
            )
        )
        if earlier is not None:
            raise Conflict("ledger.period_order", period=yyyymm, earlier=earlier)
        insert = insert_into(period, is_sqlite=self._db.is_sqlite)
        tx.execute(insert.values(yyyymm=yyyymm, state="closing").on_conflict_do_nothing())
        tx.execute(
            sa.update(period)
            .where(period.c.yyyymm == yyyymm, period.c.state == "open")
            .values(state="closing")
        )

    def _finish(self, tx: sa.Connection, actor: Actor, yyyymm: int) -> Period:
        tx.execute(sa.select(period).where(period.c.yyyymm == yyyymm).with_for_update())
        before = _get(tx, yyyymm)
        if before.state == "closed":
            return before
        totals = computed(tx, yyyymm)
        rows = [
            {
                "yyyymm": yyyymm,
                "account_id": each.account_id,
                "debit_minor": each.debit_minor,
                "credit_minor": each.credit_minor,
                "closing_minor": each.closing_minor,
            }
            for each in totals
        ]
        if rows:
            tx.execute(sa.insert(period_balance), rows)
        digest = totals_hash(yyyymm, totals)
        tx.execute(
            sa.update(period)
            .where(period.c.yyyymm == yyyymm)
            .values(
                state="closed", closed_by=actor.name, closed_at=self._db.clock.now(),
                totals_hash=digest,
            )
        )  # fmt: skip
        data = {"period": yyyymm, "totals_hash": digest.hex(), "accounts": len(rows)}
        audit.record(self._db, tx, actor, "ledger.period_close", "period", None, data)
        return _get(tx, yyyymm)


def computed(tx: sa.Connection, yyyymm: int) -> list[AccountTotals]:
    """A month's totals as the entries have them, by account code and currency.

    Every account with a balance or a movement is there. The closing balance continues the one of
    the last month closed before, so only this month's entries are read.
    """
    previous = tx.scalar(
        sa.select(sa.func.max(period.c.yyyymm)).where(
            period.c.yyyymm < yyyymm, period.c.state == "closed"
        )
    )
    opening: dict[UUID, int] = {}
    if previous is not None:
        rows = tx.execute(sa.select(period_balance).where(period_balance.c.yyyymm == previous))
        opening = {row.account_id: row.closing_minor for row in rows}
    month = {
        row.account_id: (int(row.debit), int(row.credit))
        for row in tx.execute(_MONTH, {"month": yyyymm})
    }
    names = {
        row.id: full_code(row.code, row.currency)
        for row in tx.execute(sa.select(account.c.id, account.c.code, account.c.currency))
    }
    totals = []
    for id_ in opening.keys() | month.keys():
        debit, credit = month.get(id_, (0, 0))
        closing = opening.get(id_, 0) + debit - credit
        if debit or credit or closing:
            totals.append(AccountTotals(id_, names[id_], debit, credit, closing))
    return sorted(totals, key=lambda each: each.account)


_AMOUNT = entry.c.amount_minor
_MONTH = (
    sa.select(
        entry.c.account_id,
        sa.func.sum(sa.case((_AMOUNT > 0, _AMOUNT), else_=0)).label("debit"),
        sa.func.sum(sa.case((_AMOUNT < 0, -_AMOUNT), else_=0)).label("credit"),
    )
    .join(journal, journal.c.id == entry.c.journal_id)
    .where(journal.c.period == sa.bindparam("month"))
    .group_by(entry.c.account_id)
)


def totals_hash(yyyymm: int, totals: Iterable[AccountTotals]) -> bytes:
    """SHA-256 of a month's totals: the month, then a line ``account debit credit closing`` each."""
    lines = [f"payctl.period/1 {yyyymm}"]
    lines += [
        f"{each.account} {each.debit_minor} {each.credit_minor} {each.closing_minor}"
        for each in totals
    ]
    return hashlib.sha256("\n".join(lines).encode()).digest()


def _lock_journals(tx: sa.Connection) -> None:
    """Wait for all journals being written, and hold off new ones until this commits."""
    if tx.dialect.name == "postgresql":
        tx.execute(sa.text("LOCK TABLE journal IN SHARE ROW EXCLUSIVE MODE"))


def _get(tx: sa.Connection, yyyymm: int) -> Period:
    return _period(tx.execute(sa.select(period).where(period.c.yyyymm == yyyymm)).one())


def _period(row: Any) -> Period:
    return Period(row.yyyymm, row.state, row.closed_by, row.closed_at, row.totals_hash)


def _check(yyyymm: int) -> None:
    if not (190001 <= yyyymm <= 999912 and 1 <= yyyymm % 100 <= 12):
        raise InvalidInput("ledger.bad_period", field="period", period=yyyymm)
