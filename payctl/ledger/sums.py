"""Sums of entries by account: now from the balances, in the past from entries and closed months."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal
from uuid import UUID

import sqlalchemy as sa

from payctl.ids import floor_of
from payctl.ledger import blocks
from payctl.ledger.tables import account, balance, entry, journal, period, period_balance

#: Which of the two times "as of" means: when it counts, or when the book learnt of it.
By = Literal["effective", "recorded"]

#: Ids know milliseconds; "as of" includes the one it names.
_INCLUSIVE = timedelta(milliseconds=1)
_CLOSED = period.c.state == "closed"


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

    The months that were closed by then are taken from their totals, so only the entries after them
    are read.
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
    if as_of is not None:
        closed = _last_closed(tx, as_of, by, zone)
        sums = _closed_sums(tx, account_id, closed)
        query = query.where(*_until(as_of, by, closed))
    for row in tx.execute(query):
        debit, credit = sums.get(row.account_id, (0, 0))
        sums[row.account_id] = debit + int(row.debit), credit + int(row.credit)
    return sums


def is_provisional(tx: sa.Connection, as_of: datetime, by: By, zone: tzinfo) -> bool:
    """Whether sums as of *as_of* may still change.

    By effective time they are final once the month is closed; by recorded time once every journal
    recorded until then is sealed, for none can be put in behind the seal.
    """
    if by == "effective":
        closed = tx.scalar(sa.select(sa.func.max(period.c.yyyymm)).where(_CLOSED)) or 0
        return closed < _month(as_of, zone)
    last = blocks.head(tx)
    return last is None or as_of + _INCLUSIVE > last.complete_until


def _until(as_of: datetime, by: By, closed: int) -> list[sa.ColumnElement[bool]]:
    """Entries up to *as_of* of the months after *closed* (0: of all).

    The journals are a subquery, so that both databases look for their dates first and then for
    their entries, and never walk through an account's whole past.
    """
    bound = floor_of(as_of + _INCLUSIVE)
    of_journal = _after_month(closed)
    of_journal.append(
        journal.c.effective_at <= as_of if by == "effective" else journal.c.id < bound
    )
    chosen = entry.c.journal_id.in_(sa.select(journal.c.id).where(*of_journal))
    # Said of the entries too, so that PostgreSQL leaves out the months that were recorded later.
    return [chosen] if by == "effective" else [chosen, entry.c.journal_id < bound]


def _after_month(closed: int) -> list[sa.ColumnElement[bool]]:
    """Journals of later months. The period decides; the date is there for the index, two days early
    because the book's month may begin before that of UTC.
    """
    if not closed:
        return []
    year, month = divmod(closed // 100 * 12 + closed % 100, 12)
    begins = datetime(year, month + 1, 1, tzinfo=UTC) - timedelta(days=2)
    return [journal.c.period > closed, journal.c.effective_at >= begins]


def _last_closed(tx: sa.Connection, as_of: datetime, by: By, zone: tzinfo) -> int:
    """The last month whose totals are part of the sums as of *as_of*; 0 when there is none.

    By effective time it ends before; by recorded time it was closed before, and a closed month has
    no journal that was recorded later.
    """
    query = sa.select(sa.func.max(period.c.yyyymm)).where(_CLOSED)
    if by == "effective":
        query = query.where(period.c.yyyymm < _month(as_of, zone))
    else:
        query = query.where(period.c.closed_at <= as_of)
    return tx.scalar(query) or 0


def _month(at: datetime, zone: tzinfo) -> int:
    local = at.astimezone(zone)
    return local.year * 100 + local.month


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
