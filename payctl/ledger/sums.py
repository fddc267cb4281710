"""Sums of entries by account: now from the balances, in the past from entries and closed months."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Literal
from uuid import UUID

import sqlalchemy as sa

from payctl.ids import floor_of
from payctl.ledger.tables import account, balance, entry, journal, period, period_balance

#: Which of the two times "as of" means: when it counts, or when the book learnt of it.
By = Literal["effective", "recorded"]


def balances_now(tx: sa.Connection, account_id: UUID | None = None) -> dict[UUID, tuple[int, int]]:
    """Signed balance and held amount by account: the sum of its stripes."""
    query = (
        sa.select(
            balance.c.account_id,
            sa.func.sum(balance.c.posted_minor * account.c.normal_side).label("amount"),
            sa.func.sum(balance.c.held_minor).label("held"),
        )
        .join(account, account.c.id == balance.c.account_id)
        .group_by(balance.c.account_id)
    )
    if account_id is not None:
        query = query.where(balance.c.account_id == account_id)
    return {row.account_id: (int(row.amount), int(row.held)) for row in tx.execute(query)}


def sums_until(
    tx: sa.Connection, account_id: UUID | None, as_of: datetime | None, by: By, zone: tzinfo
) -> dict[UUID, tuple[int, int]]:
    """Debits and credits by account, up to and including *as_of*.

    By effective time the months that were closed before are taken from their totals, so only the
    entries after them are read.
    """
    amount = entry.c.amount_minor
    query = sa.select(
        entry.c.account_id,
        sa.func.sum(sa.case((amount > 0, amount), else_=0)).label("debit"),
        sa.func.sum(sa.case((amount < 0, -amount), else_=0)).label("credit"),
    ).group_by(entry.c.account_id)
    if account_id is not None:
        query = query.where(entry.c.account_id == account_id)
    sums: dict[UUID, tuple[int, int]] = {}
    if as_of is not None and by == "recorded":
        query = query.where(entry.c.journal_id < floor_of(as_of + timedelta(milliseconds=1)))
    elif as_of is not None:
        local = as_of.astimezone(zone)
        closed = _last_closed_before(tx, local.year * 100 + local.month)
        sums = _closed_sums(tx, account_id, closed)
        query = query.join(journal, journal.c.id == entry.c.journal_id).where(
            journal.c.effective_at <= as_of, journal.c.period > closed
        )
    for row in tx.execute(query):
        debit, credit = sums.get(row.account_id, (0, 0))
        sums[row.account_id] = debit + int(row.debit), credit + int(row.credit)
    return sums


def _last_closed_before(tx: sa.Connection, yyyymm: int) -> int:
    query = sa.select(sa.func.max(period.c.yyyymm)).where(
        period.c.yyyymm < yyyymm, period.c.state == "closed"
    )
    return tx.scalar(query) or 0


def _closed_sums(
    tx: sa.Connection, account_id: UUID | None, until: int
) -> dict[UUID, tuple[int, int]]:
    query = (
        sa.select(
            period_balance.c.account_id,
            sa.func.sum(period_balance.c.debit_minor).label("debit"),
            sa.func.sum(period_balance.c.credit_minor).label("credit"),
        )
        .where(period_balance.c.yyyymm <= until)
        .group_by(period_balance.c.account_id)
    )
    if account_id is not None:
        query = query.where(period_balance.c.account_id == account_id)
    return {row.account_id: (int(row.debit), int(row.credit)) for row in tx.execute(query)}
