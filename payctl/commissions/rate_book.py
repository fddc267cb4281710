"""Rates as this process last read them, for sales that must not wait for a query.

The two tables only grow, so their sizes tell whether anything was added. They are looked at once a
second; a rate that an operator sets counts everywhere after that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from payctl.commissions.model import Rate, Scope, Terms
from payctl.commissions.tables import commission_rate, commission_role
from payctl.db.engine import Database

#: The tables are looked at at most this often by one process.
CACHE_S = 1.0

_SIZES = sa.select(
    sa.select(sa.func.count()).select_from(commission_rate).scalar_subquery(),
    sa.select(sa.func.count()).select_from(commission_role).scalar_subquery(),
)


class RateBook:
    """All rates of a book, in memory."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._sizes: tuple[int, ...] | None = None
        self._looked_at = 0.0
        self._terms = Terms({}, ())

    def terms(self) -> Terms:
        """Every rate and role of the book, at most a second old."""
        now = self._db.clock.monotonic()
        if self._sizes is None or now - self._looked_at >= CACHE_S:
            with self._db.read() as tx:
                sizes = tuple(tx.execute(_SIZES).one())
                if sizes != self._sizes:
                    self._terms = read_terms(tx)
            self._sizes, self._looked_at = sizes, now
        return self._terms

    def forget(self) -> None:
        """Read everything anew at the next question."""
        self._sizes = None


def read_terms(tx: sa.Connection, organisers: Iterable[str] | None = None) -> Terms:
    """Every rate these organisers' sales (default: all) can fall under, at any time, and the
    roles.
    """
    query = sa.select(commission_rate)
    if organisers is not None:
        query = query.where(commission_rate.c.organiser.in_(["", *organisers]))
    rates: dict[tuple[str, str], list[Rate]] = defaultdict(list)
    for row in tx.execute(query):
        rates[row.sale_type, row.organiser].append(rate_of(row))
    roles = commission_role.c
    rows = tx.execute(
        sa.select(roles.sale_type, roles.valid_from, roles.role).order_by(roles.valid_from.desc())
    )
    return Terms(rates, tuple((row.sale_type, row.valid_from, row.role) for row in rows))


def rate_of(row: sa.Row[Any]) -> Rate:
    """A rate from its row."""
    return Rate(
        row.id, Scope(row.sale_type, row.organiser, row.currency, row.country), row.valid_from,
        row.rate_ppm, row.vat_country, row.vat_ppm, row.minimum_minor, row.maximum_minor,
        row.withdrawn, row.set_by, row.reason,
    )  # fmt: skip
