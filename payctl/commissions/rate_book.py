"""Rates as this process last read them, for sales that must not wait for a query.

The two tables only grow, so their sizes tell whether anything was added. They are looked at once a
second; a rate that an operator sets counts everywhere after that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from payctl.commissions import model
from payctl.commissions.model import Rate, Scope
from payctl.commissions.tables import commission_rate, commission_role
from payctl.db.engine import Database
from payctl.errors import NotConfigured

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
        self._rates: Mapping[tuple[str, str], Sequence[Rate]] = {}
        self._roles: Sequence[Any] = ()

    def rate_for(
        self, *, sale_type: str, organiser: str, currency: str, country: str | None, at: datetime
    ) -> Rate:
        """The rate of a sale, as :meth:`payctl.commissions.service.Commissions.rate_for` finds it.

        Raises:
            NotConfigured: ``commission.no_rate``.
        """
        self._refresh()
        found = model.choose(
            [
                rate
                for whose in ("", organiser)
                for rate in self._rates.get((sale_type, whose), ())
                if rate.scope.currency in ("", currency)
                and rate.scope.country in ("", country or "")
                and rate.valid_from <= at
            ]
        )
        if found is None:
            raise NotConfigured(
                "commission.no_rate", sale_type=sale_type, currency=currency, organiser=organiser
            )
        return found

    def role(self, sale_type: str, at: datetime) -> str:
        """Whether the platform sells *sale_type* as ``agent`` or as ``principal`` at *at*."""
        self._refresh()
        valid = [row for row in self._roles if row.sale_type == sale_type and row.valid_from <= at]
        role: str = max(valid, key=lambda row: row.valid_from).role
        return role

    def forget(self) -> None:
        """Read everything anew at the next question."""
        self._sizes = None

    def _refresh(self) -> None:
        now = self._db.clock.monotonic()
        if self._sizes is not None and now - self._looked_at < CACHE_S:
            return
        with self._db.read() as tx:
            sizes = tuple(tx.execute(_SIZES).one())
            if sizes != self._sizes:
                rates = defaultdict(list)
                for row in tx.execute(sa.select(commission_rate)):
                    rates[row.sale_type, row.organiser].append(rate_of(row))
                self._rates = rates
                self._roles = tx.execute(sa.select(commission_role)).all()
        self._sizes, self._looked_at = sizes, now


def rate_of(row: sa.Row[Any]) -> Rate:
    """A rate from its row."""
    return Rate(
        row.id, Scope(row.sale_type, row.organiser, row.currency, row.country), row.valid_from,
        row.rate_ppm, row.vat_country, row.vat_ppm, row.minimum_minor, row.maximum_minor,
        row.withdrawn, row.set_by, row.reason,
    )  # fmt: skip
