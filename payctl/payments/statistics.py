"""Counts and sums of payments, grouped. Sums of different currencies are never added: every line is
of one currency.

They are read from the payments themselves, so they hold for any period, filter and grouping, and
are not for a monitor that asks every few seconds (that is what the metrics are for).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.db.types import from_micros, to_micros
from payctl.errors import InvalidInput
from payctl.money import PPM
from payctl.payments import tables as t
from payctl.payments.details import PaymentFilter
from payctl.payments.model import Operation, PaymentStatus
from payctl.payments.queries import payment_conditions

#: What ``--by`` takes. ``day`` and ``hour`` are those of the book's zone, ``code`` is why payments
#: failed.
KEYS = (
    "status", "gateway", "country", "currency", "organiser", "method", "code", "day", "hour",
    "sale_type",
)  # fmt: skip
#: Keys that cut time, so that a line has no course of its own.
_TIMES = {"day": "%Y-%m-%d", "hour": "%Y-%m-%d %H:00"}
#: The course of a line has so many steps.
STEPS = 24
_COLUMNS = {
    "status": t.payment.c.status,
    "gateway": t.payment.c.gateway_account,
    "country": t.payment.c.country,
    "currency": t.payment.c.currency,
    "code": t.payment.c.failure_code,
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

    Attributes:
        success_ppm: the share of succeeded payments among those that have ended, in parts per
            million; ``None`` while none has.
        gateway_p50_ms, gateway_p95_ms: how long gateways took to answer when they were asked to
            take these payments: half of them, 95 of 100, no longer than that. ``None`` where none
            was asked.
        trend: payments in each of :data:`STEPS` equal parts of the period, oldest first; empty
            where the lines themselves are parts of time.
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
    gateway_p50_ms: int | None = None
    gateway_p95_ms: int | None = None
    trend: tuple[int, ...] = ()


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
        group = self._quarter() if key in _TIMES else _COLUMNS[key]
        conditions = payment_conditions(wanted)
        named = self._time(_TIMES[key]) if key in _TIMES else _text
        with self._db.read() as tx:
            sums = _summed(tx, _sums(group, conditions), named)
            took = _grouped(tx, _latencies(group, conditions, by_gateway=key == "gateway"), named)
            course = {} if key in _TIMES else self._course(tx, group, wanted, conditions)
        # A gateway whose answer was no, so that another one has the payment, has a time as well.
        names = sorted({*sums, *took})
        return [_statistic(key, *each, sums[each], took[each], course) for each in names]

    def _course(
        self,
        tx: sa.Connection,
        group: sa.ColumnElement[Any],
        wanted: PaymentFilter,
        conditions: Sequence[sa.ColumnElement[bool]],
    ) -> _Counts:
        """How many payments of each line were made in each step of the period."""
        at = t.payment.c.created_at
        first, last = tx.execute(
            sa.select(sa.func.min(at), sa.func.max(at)).where(*conditions)
        ).one()
        if first is None:
            return {}
        start = wanted.since or first
        # One microsecond more, so that what was made last is within the last step.
        end = to_micros(wanted.until) if wanted.until else to_micros(last) + 1
        step = -((to_micros(start) - end) // STEPS)
        place = (self._micros(at) - to_micros(start)) // step
        query = (
            sa.select(group.label("value"), t.payment.c.currency, place, sa.func.count())
            .where(*conditions)
            .group_by(sa.literal_column("1"), t.payment.c.currency, sa.literal_column("3"))
        )
        return _grouped(tx, query, _text)

    def _micros(self, at: sa.ColumnElement[datetime]) -> sa.ColumnElement[int]:
        if self._db.is_sqlite:
            return sa.type_coerce(at, sa.BigInteger)
        return sa.cast(sa.func.extract("epoch", at) * 1_000_000, sa.BigInteger)

    def _quarter(self) -> sa.ColumnElement[int]:
        """Whole quarters of an hour since 1970 in which the payment was made."""
        return self._micros(t.payment.c.created_at) // (_QUARTER_S * 1_000_000)

    def _time(self, form: str) -> Callable[[int], str]:
        """Names of quarters of an hour, by a format of :func:`time.strftime`."""

        def named(quarter: int) -> str:
            at: datetime = from_micros(0) + timedelta(seconds=int(quarter) * _QUARTER_S)
            return at.astimezone(self._zone).strftime(form)

        return named


#: Per line (value, currency): how often each number (a latency, a step) came.
_Counts = dict[tuple[str, str], dict[int, int]]


def _sums(
    group: sa.ColumnElement[Any], conditions: Sequence[sa.ColumnElement[bool]]
) -> sa.Select[Any]:
    c = t.payment.c
    won = c.status == PaymentStatus.SUCCEEDED
    ended = c.status.in_([str(status) for status in PaymentStatus if status.terminal])
    query = sa.select(
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
    return query.where(*conditions).group_by(sa.literal_column("1"), c.currency)


def _latencies(
    group: sa.ColumnElement[Any],
    conditions: Sequence[sa.ColumnElement[bool]],
    *,
    by_gateway: bool,
) -> sa.Select[Any]:
    """How often each latency came. A payment that failed over asked several gateways, and each is
    told its own time.
    """
    asked, call = t.attempt.c, t.provider_call.c
    value = asked.gateway_account if by_gateway else group
    query = (
        sa.select(value.label("value"), t.payment.c.currency, call.latency_ms, sa.func.count())
        .select_from(t.payment)
        .join(t.attempt, asked.payment_id == t.payment.c.id)
        .join(t.provider_call, call.attempt_id == asked.id)
        .where(asked.operation == Operation.COLLECT, call.call == "create", *conditions)
    )
    return query.group_by(sa.literal_column("1"), t.payment.c.currency, call.latency_ms)


def _summed(
    tx: sa.Connection, query: sa.Select[Any], named: Callable[[Any], str]
) -> dict[tuple[str, str], list[int]]:
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 8)
    for value, currency, *counted in tx.execute(query):
        line = sums[named(value), currency]
        for place, number in enumerate(counted):
            line[place] += int(number)
    return sums


def _grouped(tx: sa.Connection, query: sa.Select[Any], named: Callable[[Any], str]) -> _Counts:
    counts: _Counts = defaultdict(lambda: defaultdict(int))
    for value, currency, number, count in tx.execute(query):
        counts[named(value), currency][int(number)] += int(count)
    return counts


def percentile(counts: Mapping[int, int], share_ppm: int) -> int | None:
    """The least value that *share_ppm* of a million of all are not above; ``None`` of nothing."""
    left = -(-sum(counts.values()) * share_ppm // PPM)
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return None


def _statistic(
    key: str, value: str, currency: str, sums: list[int], took: Mapping[int, int], course: _Counts
) -> Statistic:
    payments, won, lost, open_, amount, captured, refunded, commission = sums
    ended = won + lost
    steps = course.get((value, currency), {})
    trend = tuple(steps.get(step, 0) for step in range(STEPS)) if course else ()
    return Statistic(
        key, value, currency, payments, won, lost, open_, PPM * won // ended if ended else None,
        amount, captured, refunded, commission, percentile(took, 500_000),
        percentile(took, 950_000), trend,
    )  # fmt: skip


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _sum(value: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.func.sum(value)
