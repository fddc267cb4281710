"""Sums of entries by account: now from the balances, in the past from entries and closed months."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa

from payctl.ids import floor_of
from payctl.ledger import blocks
from payctl.ledger.tables import (
    EARLY,
    LATE,
    account,
    balance,
    entry,
    journal,
    period,
    period_balance,
)

#: Which of the two times "as of" means: when it counts, or when the book learnt of it.
By = Literal["effective", "recorded"]

#: Ids know milliseconds; "as of" includes the one it names.
INCLUSIVE = timedelta(milliseconds=1)
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


def balance_of(tx: sa.Connection, code: str, currency: str) -> int:
    """An account's balance in its normal direction; one that was never used holds nothing."""
    query = (
        sa.select(sa.func.sum(balance.c.posted_minor * account.c.normal_side))
        .join(account, account.c.id == balance.c.account_id)
        .where(account.c.code == code, account.c.currency == currency)
    )
    return int(tx.execute(query).scalar_one() or 0)


def sums_until(
    tx: sa.Connection, as_of: datetime | None, by: By, zone: tzinfo
) -> dict[UUID, tuple[int, int]]:
    """Debits and credits of all accounts, up to and including *as_of*.

    The months that were closed by then are taken from their totals, so only the entries after them
    are read.
    """
    amount = entry.c.amount_minor
    query = sa.select(
        entry.c.account_id,
        sa.func.sum(sa.case((amount > 0, amount), else_=0)).label("debit"),
        sa.func.sum(sa.case((amount < 0, -amount), else_=0)).label("credit"),
    ).group_by(entry.c.account_id)
    sums: dict[UUID, tuple[int, int]] = {}
    if as_of is not None:
        closed = last_closed(tx, as_of) if by == "recorded" else _last_over(tx, as_of, zone)
        sums = _closed_sums(tx, closed)
        chosen = _journals_until(as_of, by, closed).subquery("chosen")
        query = query.join(chosen, chosen.c.id == entry.c.journal_id)
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
    return last is None or as_of + INCLUSIVE > last.complete_until


def _journals_until(as_of: datetime, by: By, closed: int) -> sa.CompoundSelect[Any]:
    """Ids of the journals up to *as_of* of the months after *closed* (0: of all), each once.

    By their ids, and those that count at another moment by the indexes these have.
    """
    until = floor_of(as_of + INCLUSIVE)
    at, id_ = journal.c.effective_at, journal.c.id
    wanted = [at <= as_of] if by == "effective" else []
    if not closed:
        parts = [sa.select(id_).where(id_ < until, *wanted)]
    else:
        begins = begin_after(closed)
        wanted += [at >= begins, journal.c.period > closed]
        parts = [
            sa.select(id_).where(id_ >= floor_of(begins), id_ < until, *wanted),
            sa.select(id_).where(EARLY, id_ < floor_of(begins), *wanted),
        ]
    if by == "effective":
        parts.append(sa.select(id_).where(LATE, id_ >= until, *wanted))
    return sa.union_all(*parts)


def begin_after(closed: int) -> datetime:
    """A moment that no journal of a month after *closed* counts before: two days early, because
    the book's month may begin before that of UTC.
    """
    year, month = divmod(closed // 100 * 12 + closed % 100, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC) - timedelta(days=2)


def last_closed(tx: sa.Connection, until: datetime) -> int:
    """The last month that was closed until a moment, and so has no journal that was recorded later;
    0 when there is none.
    """
    query = sa.select(sa.func.max(period.c.yyyymm)).where(_CLOSED, period.c.closed_at <= until)
    return tx.scalar(query) or 0


def _last_over(tx: sa.Connection, as_of: datetime, zone: tzinfo) -> int:
    """The last closed month that ended before a moment; 0 when there is none."""
    query = sa.select(sa.func.max(period.c.yyyymm))
    return tx.scalar(query.where(_CLOSED, period.c.yyyymm < _month(as_of, zone))) or 0


def _month(at: datetime, zone: tzinfo) -> int:
    local = at.astimezone(zone)
    return local.year * 100 + local.month


def _closed_sums(tx: sa.Connection, until: int) -> dict[UUID, tuple[int, int]]:
    query = (
        sa.select(
            period_balance.c.account_id,
            sa.func.sum(period_balance.c.debit_minor).label("debit"),
            sa.func.sum(period_balance.c.credit_minor).label("credit"),
        )
        .where(period_balance.c.yyyymm <= until)
        .group_by(period_balance.c.account_id)
    )
    return {row.account_id: (int(row.debit), int(row.credit)) for row in tx.execute(query)}
