"""Counters that the book keeps of itself: they only rise, and nothing is counted twice or lost.

A change and what it adds to the counters are one commit. Each commit appends one small row with
what it adds (``metric_delta``): nobody waits for anybody, as would be if all commits raised the
same counters. :func:`fold` moves such rows into the totals (``metric_total``), in one transaction,
so that a row is either still there or in the totals. A reader adds both up in one snapshot, so it
does not matter when, how often or by how many processes they are folded, which process counted, or
what has been archived since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from payctl.db.driver import driver_execute
from payctl.db.engine import Database
from payctl.db.metadata import table
from payctl.db.types import Int, Json, Text, canonical
from payctl.db.upsert import insert_into

#: What one commit adds, as a list of cells with their number and sum.
metric_delta = table(
    "metric_delta",
    sa.Column("id", Int, sa.Identity(always=True), primary_key=True),
    sa.Column("cells", Json, nullable=False),
)

#: What has been folded. ``bound`` is the upper end of a histogram's bucket, 0 where there is none.
metric_total = table(
    "metric_total",
    sa.Column("family", Text, primary_key=True),
    sa.Column("provider", Text, primary_key=True),
    sa.Column("what", Text, primary_key=True),
    sa.Column("detail", Text, primary_key=True),
    sa.Column("bound", Int, primary_key=True, autoincrement=False),
    sa.Column("number", Int, nullable=False),
    sa.Column("total", Int, nullable=False),
    sa.CheckConstraint("number > 0", name="number"),
)

#: Bound of the bucket without an upper end.
ABOVE = 10**18
#: Before the breakers' shared rows and the audit's, because it waits for nobody.
AT_COMMIT_RANK = 40
#: Rows one fold takes at most.
FOLD_ROWS = 5_000


class Cell(NamedTuple):
    """One counter: the family it belongs to, up to three labels, and a bucket."""

    family: str
    provider: str
    what: str
    detail: str
    bound: int = 0


#: Number of things counted in each cell, and the sum of what they measure.
Totals = dict[Cell, tuple[int, int]]


def add(totals: Totals, cell: Cell, measured: int = 0, number: int = 1) -> None:
    """Count *number* more in *cell*, which measure *measured* together."""
    before = totals.get(cell, (0, 0))
    totals[cell] = (before[0] + number, before[1] + measured)


def cells_of(totals: Mapping[Cell, tuple[int, int]]) -> list[list[Any]]:
    """*totals* as they are kept in a row."""
    return [[*cell, *counted] for cell, counted in totals.items()]


# -- writing ---------------------------------------------------------------------------------------

#: Under this name a connection holds what its transaction has counted so far, and which transaction
#: that was: one that was rolled back leaves nothing to the next.
_WAITING = "payctl.tally"


def count(tx: sa.Connection, cell: Cell, measured: int = 0, number: int = 1) -> None:
    """Count with the transaction *tx*: with its commit, or not at all. A rehearsal counts nothing.

    Args:
        measured: what is summed up beside the number: minor units, milliseconds.
    """
    transaction = tx.get_transaction()
    owner, waiting = tx.info.get(_WAITING, (None, {}))
    if owner is not transaction:
        waiting = {}
        tx.info[_WAITING] = (transaction, waiting)
        Database.at_commit(tx, _append, rank=AT_COMMIT_RANK)
    add(waiting, cell, measured, number)


def _append(tx: sa.Connection) -> None:
    _, waiting = tx.info.pop(_WAITING, (None, None))
    if waiting:
        place = "?" if tx.dialect.name == "sqlite" else "$1"
        sql = f"INSERT INTO metric_delta (cells) VALUES ({place})"  # noqa: S608 - a placeholder
        driver_execute(tx, sql, [canonical(cells_of(waiting))])


def fold(db: Database, *, limit: int = FOLD_ROWS) -> int:
    """Move what commits have added into the totals; returns how many rows there were.

    Rows that another fold is just moving are left to it.
    """

    def move(tx: sa.Connection) -> int:
        c = metric_delta.c
        oldest = sa.select(c.id).order_by(c.id).limit(limit).with_for_update(skip_locked=True)
        gone = sa.delete(metric_delta).where(c.id.in_(oldest)).returning(c.cells)
        rows = tx.execute(gone).scalars().all()
        # One order of totals for all folds, so that two never wait for each other.
        moved = [
            {**cell._asdict(), "number": number, "total": total}
            for cell, (number, total) in sorted(_sum(rows).items())
        ]
        if moved:
            tx.execute(_raise(db), moved)
        return len(rows)

    return db.run(move)


def _raise(db: Database) -> sa.Executable:
    statement = insert_into(metric_total, is_sqlite=db.is_sqlite)
    c, new = metric_total.c, statement.excluded
    raised: sa.Executable = statement.on_conflict_do_update(
        index_elements=list(metric_total.primary_key.columns),
        set_={"number": c.number + new.number, "total": c.total + new.total},
    )
    return raised


# -- reading ---------------------------------------------------------------------------------------


def totals(tx: sa.Connection) -> Totals:
    """All counters as of *tx*, which must be one snapshot (``Database.read``)."""
    found = _sum(tx.execute(sa.select(metric_delta.c.cells)).scalars())
    for *cell, number, total in tx.execute(sa.select(metric_total)):
        add(found, Cell(*cell), int(total), int(number))
    return found


def _sum(rows: Iterable[Any]) -> Totals:
    summed: Totals = {}
    for cells in rows:
        for *cell, number, measured in cells:
            add(summed, Cell(*cell), measured, number)
    return summed
