"""One account's balance at a past moment, from its running balances.

Every entry carries the balance after it, so the balance that was *recorded* at a moment is, for
each stripe, that of the last entry before it: a look or two into an index, however old the book and
however busy the account. What *counted* then differs only by journals that count at another moment
than they were recorded, which have indexes of their own.

Running balances follow the order in which postings got the lock of the stripe, and ids are made a
little earlier. So the last entry is looked for :data:`blocks.IN_FLIGHT` before the moment, where
the two orders agree about what came before, and the entries since then are added one by one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db.types import Id, Int, Moment, Small
from payctl.ids import floor_of, time_of
from payctl.ledger.blocks import IN_FLIGHT
from payctl.ledger.sums import INCLUSIVE, By, begin_after, last_closed
from payctl.ledger.tables import EARLY, LATE, balance, entry, journal


def balance_at(tx: sa.Connection, account_id: UUID, as_of: datetime, by: By) -> int:
    """The signed balance of an account up to and including *as_of*, in minor units."""
    until = as_of + INCLUSIVE
    amount_minor = recorded_before(tx, account_id, until)
    if by == "effective":
        closed = last_closed(tx, as_of)
        values = {
            "account": account_id, "as_of": as_of, "until": floor_of(until),
            "begins": begin_after(closed) if closed else _EVER,
        }  # fmt: skip
        amount_minor += int(tx.scalar(_MISDATED, values) or 0)
    return amount_minor


def recorded_before(tx: sa.Connection, account_id: UUID, until: datetime) -> int:
    """The signed balance of what was recorded before *until*, in minor units."""
    settled = until - IN_FLIGHT
    anchors = _anchors(tx, account_id, floor_of(settled - _RECENT), settled)
    if any(row.journal_id is None for row in anchors):
        anchors = _anchors(tx, account_id, UUID(int=0), settled)
    if not anchors:
        return 0
    begins = [
        floor_of(settled if row.journal_id is None else time_of(row.journal_id) - IN_FLIGHT)
        for row in anchors
    ]
    values: dict[str, Any] = {
        "account": account_id, "earliest": min(begins), "until": floor_of(until),
    }  # fmt: skip
    for number, (row, begin) in enumerate(zip(anchors, begins, strict=True)):
        values[f"stripe_{number}"] = row.stripe
        values[f"begins_{number}"] = begin
        values[f"version_{number}"] = row.version or 0
    since = tx.scalar(_since(len(anchors)), values)
    return sum(row.balance_after_minor or 0 for row in anchors) + int(since or 0)


def _anchors(tx: sa.Connection, account_id: UUID, earliest: UUID, settled: datetime) -> list[Any]:
    """By stripe, the last entry of the last journal from *earliest* to before *settled*, or nulls;
    nothing for stripes that were never posted to.
    """
    values = {"account": account_id, "earliest": earliest, "settled": floor_of(settled)}
    return list({row.stripe: row for row in tx.execute(_ANCHORS, values)}.values())


_EVER = datetime(1, 1, 1, tzinfo=UTC)
#: Anchors are looked for in so much of the past first: a month or two of partitions, not all.
_RECENT = timedelta(days=31)

_ACCOUNT = sa.bindparam("account", type_=Id)
_EARLIEST = sa.bindparam("earliest", type_=Id)
_SETTLED = sa.bindparam("settled", type_=Id)
_UNTIL = sa.bindparam("until", type_=Id)
_earlier = entry.alias("earlier")
# Materialized, because otherwise PostgreSQL looks twice: to choose the month, and in the month.
_last = (
    sa.select(
        balance.c.stripe,
        sa.select(_earlier.c.journal_id)
        .where(
            _earlier.c.account_id == _ACCOUNT,
            _earlier.c.stripe == balance.c.stripe,
            _earlier.c.journal_id >= _EARLIEST,
            _earlier.c.journal_id < _SETTLED,
        )
        .order_by(_earlier.c.journal_id.desc())
        .limit(1)
        .scalar_subquery()
        .label("journal_id"),
    )
    .where(balance.c.account_id == _ACCOUNT, balance.c.version > 0)
    .cte("last")
    .prefix_with("MATERIALIZED")
)
_ANCHORS = (
    sa.select(_last.c.stripe, entry.c.journal_id, entry.c.version, entry.c.balance_after_minor)
    .outerjoin_from(
        _last,
        entry,
        sa.and_(
            entry.c.account_id == _ACCOUNT,
            entry.c.stripe == _last.c.stripe,
            entry.c.journal_id == _last.c.journal_id,
            entry.c.journal_id >= _EARLIEST,
            entry.c.journal_id < _SETTLED,
        ),
    )
    .order_by(entry.c.version)
)


@cache
def _since(stripes: int) -> sa.Select[Any]:
    """The sum of the entries after the anchors of so many stripes: ``stripe_N`` from ``begins_N``
    on and after ``version_N``. Not as a join, for which the account's whole past may be read.
    """
    rows = [
        sa.select(
            sa.bindparam(f"stripe_{number}", type_=Small).label("stripe"),
            sa.bindparam(f"begins_{number}", type_=Id).label("begins"),
            sa.bindparam(f"version_{number}", type_=Int).label("version"),
        )
        for number in range(stripes)
    ]
    anchor = sa.union_all(*rows).subquery("anchor")
    amount = _sum_of(
        entry.c.account_id == _ACCOUNT,
        entry.c.stripe == anchor.c.stripe,
        entry.c.journal_id >= anchor.c.begins,
        entry.c.journal_id >= _EARLIEST,
        entry.c.journal_id < _UNTIL,
        entry.c.version > anchor.c.version,
    )
    return sa.select(sa.func.sum(amount)).select_from(anchor)


def _sum_of(*entries: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    amount = sa.func.coalesce(sa.func.sum(entry.c.amount_minor), 0)
    return sa.select(amount).select_from(entry).where(*entries).scalar_subquery()


def _moved(*journals: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    """What the chosen *journals* moved on the account. Their entries are looked up one journal at a
    time: they are few, and a database that believes otherwise would read the whole account.
    """
    of_journal = _sum_of(entry.c.journal_id == journal.c.id, entry.c.account_id == _ACCOUNT)
    amount = sa.func.coalesce(sa.func.sum(of_journal), 0)
    return sa.select(amount).select_from(journal).where(*journals).scalar_subquery()


_AS_OF = sa.bindparam("as_of", type_=Moment)
#: What counts by ``as_of`` and was recorded later, less what was recorded by then and counts later.
_MISDATED = sa.select(
    _moved(
        LATE,
        journal.c.effective_at.between(sa.bindparam("begins", type_=Moment), _AS_OF),
        journal.c.id >= _UNTIL,
    )
    - _moved(EARLY, journal.c.effective_at > _AS_OF, journal.c.id < _UNTIL)
)
