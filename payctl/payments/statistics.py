"""Counts and sums of payments, grouped. Sums of different currencies are never added: every line is
of one currency.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.db.types import from_micros
from payctl.errors import InvalidInput
from payctl.money import PPM
from payctl.payments import tables as t
from payctl.payments.details import PaymentFilter
from payctl.payments.model import PaymentStatus
from payctl.payments.queries import payment_conditions

#: What ``--by`` takes. ``day`` is a day of the book's zone.
KEYS = ("status", "gateway", "currency", "organiser", "method", "day", "sale_type")
_COLUMNS = {
    "status": t.payment.c.status,
    "gateway": t.payment.c.gateway_account,
    "currency": t.payment.c.currency,
    "organiser": t.payment.c.organiser,
    "method": t.payment.c.method,
    "sale_type": t.payment.c.sale_type,
}
#: Every zone of today is a whole number of quarters of an hour away from UTC, so quarters summed by
#: the database can be put together to days of any of them.
_QUARTER_S = 900


@dataclass(frozen=True, slots=True)
class Statistic:
    """One line. Amounts in minor units of ``currency``.

    ``success_ppm`` is the share of succeeded payments among those that have ended, in parts per
    million; ``None`` while none has.
    """

    by: str
    value: str
    currency: str
    payments: int
    succeeded: int
    failed: int
    open: int
    success_ppm: int | None
    amount_minor: int
    captured_minor: int
    refunded_minor: int
    commission_minor: int


class Statistics:
    """Statistics of payments.

    Args:
        zone: the book's zone, which cuts days.
    """

    def __init__(self, db: Database, zone: ZoneInfo) -> None:
        self._db = db
        self._zone = zone

    def by(self, key: str, wanted: PaymentFilter) -> list[Statistic]:
        """One line per value of *key* and currency, in order of value.

        Raises:
            InvalidInput: ``choice.unknown``.
        """
        if key not in KEYS:
            raise InvalidInput(
                "choice.unknown", field="by", value=key[:40], allowed=", ".join(KEYS)
            )
        group = self._quarter() if key == "day" else _COLUMNS[key]
        c = t.payment.c
        won = c.status == PaymentStatus.SUCCEEDED
        ended = c.status.in_([str(status) for status in PaymentStatus if status.terminal])
        query = (
            sa.select(
                group.label("value"),
                c.currency,
                sa.func.count(),
                _count(won),
                _count(sa.and_(ended, ~won)),
                _count(~ended),
                _sum(c.amount_minor),
                _sum(c.captured_minor),
                _sum(c.refunded_minor),
                _sum(c.commission_minor - c.commission_returned_minor),
            )
            .where(*payment_conditions(wanted))
            .group_by(sa.literal_column("1"), c.currency)
        )
        named: Callable[[Any], str] = self._day if key == "day" else _text
        sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 8)
        with self._db.read() as tx:
            for value, currency, *counted in tx.execute(query):
                line = sums[named(value), currency]
                for place, number in enumerate(counted):
                    line[place] += int(number)
        return [_statistic(key, *names, sums[names]) for names in sorted(sums)]

    def _quarter(self) -> sa.ColumnElement[int]:
        """Whole quarters of an hour since 1970 in which the payment was made."""
        at = t.payment.c.created_at
        if self._db.is_sqlite:
            return sa.type_coerce(at, sa.Integer).op("/")(_QUARTER_S * 1_000_000)
        return sa.cast(sa.func.floor(sa.func.extract("epoch", at) / _QUARTER_S), sa.BigInteger)

    def _day(self, quarter: int) -> str:
        at: datetime = from_micros(0) + timedelta(seconds=int(quarter) * _QUARTER_S)
        return at.astimezone(self._zone).date().isoformat()


def _statistic(key: str, value: str, currency: str, sums: list[int]) -> Statistic:
    payments, won, lost, open_, amount, captured, refunded, commission = sums
    ended = won + lost
    return Statistic(
        key, value, currency, payments, won, lost, open_, PPM * won // ended if ended else None,
        amount, captured, refunded, commission,
    )  # fmt: skip


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _sum(value: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.func.sum(value)
