"""The values of every metric, read from the book in one snapshot."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa

from payctl import __version__
from payctl.db import tally
from payctl.db.job_runs import COUNTED as JOB
from payctl.db.tally import Totals
from payctl.insight import requests_seen, signs
from payctl.insight.metric_names import RATE_MINUTES
from payctl.insight.outbox_lag import outbox_lag
from payctl.payments import counted
from payctl.payments.breaker_model import minute_of
from payctl.payments.float_watch import levels
from payctl.payments.gateway_tables import BREAKER_STATES, breaker
from payctl.payments.model import QUESTIONS

#: Outcomes of exchanges that are errors.
ERRORS = ("not_sent", "rejected", "unknown")


@dataclass(slots=True)
class Sample:
    """One value with its labels, in the order the metric names them."""

    labels: tuple[str, ...]
    value: float


@dataclass(slots=True)
class Buckets:
    """A histogram's number of observations by upper end (not cumulated), and their sum."""

    numbers: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    total: int = 0

    def add(self, bound: int, number: int, measured: int) -> None:
        """Put *number* observations below *bound*."""
        self.numbers[bound] += number
        self.total += measured

    def cumulated(self, ends: Sequence[int], per: int) -> list[tuple[str, int]]:
        """Observations up to each of *ends* and in all, ends divided by *per*, as text. What was
        counted with other ends lies below the next of these.
        """
        lies = [0] * (len(ends) + 1)
        for bound, number in self.numbers.items():
            lies[bisect_left(ends, bound)] += number
        out, below = [], 0
        for end, number in zip(ends, lies, strict=False):
            below += number
            out.append((str(Decimal(end) / per), below))
        return [*out, ("+Inf", below + lies[-1])]


#: By metric: its samples, or its histograms by labels with the ends and the divisor to show them.
Samples = dict[str, list[Sample]]
Histograms = dict[str, tuple[dict[tuple[str, ...], Buckets], Sequence[int], int]]


def counters(found: Totals) -> tuple[Samples, Histograms]:
    """What the counters of the book say."""
    sums: dict[str, dict[tuple[str, ...], float]] = defaultdict(lambda: defaultdict(float))
    times: dict[tuple[str, ...], Buckets] = defaultdict(Buckets)
    amounts: dict[tuple[str, ...], Buckets] = defaultdict(Buckets)
    answers: dict[tuple[str, ...], Buckets] = defaultdict(Buckets)
    for cell, (number, measured) in found.items():
        labels = (cell.provider, cell.what, cell.detail)
        if cell.family == counted.PAYMENT:
            sums["payment_service_payments_total"][labels] += number
            if cell.what == "succeeded":
                amounts[cell.provider, cell.detail].add(cell.bound, number, measured)
        elif cell.family == counted.REFUND:
            sums["payment_service_refunds_total"][labels] += number
        elif cell.family == counted.CALL:
            times[labels[:2]].add(cell.bound, number, measured)
            if cell.what not in QUESTIONS:
                sums["payment_transactions_total"][labels] += number
            # A series that begins with its first error would hide it from a rate.
            for kind in ERRORS:
                hit = number if kind == cell.detail else 0
                sums["payment_errors_total"][*labels[:2], kind] += hit
        elif cell.family == JOB:
            sums["payctl_job_runs_total"][labels[1:]] += number
            sums["payctl_job_seconds_total"][labels[1:]] += measured / 1000
        elif cell.family == requests_seen.FAMILY:
            sums["payctl_http_requests_total"][labels[:2]] += number
            answers[cell.provider,].add(cell.bound, number, measured)
    shown = {
        name: [Sample(labels, value) for labels, value in sorted(values.items())]
        for name, values in sums.items()
    }
    return shown, {
        "payment_gateway_response_time": (times, counted.LATENCIES_MS, 1000),
        "payment_service_payment_amount": (amounts, counted.AMOUNTS, 1),
        "payctl_http_request_seconds": (answers, requests_seen.LATENCIES_MS, 1000),
    }


def gauges(
    tx: sa.Connection,
    now: datetime,
    names: Iterable[str],
    periods: Mapping[str, int],
    revision: str,
) -> Samples:
    """What the book says of this moment.

    Args:
        names: accounts of the profile.
        periods: seconds between two runs of each job.
    """
    names = list(names)
    out: Samples = defaultdict(list)
    for name, labels, value in _all(tx, now, names, periods):
        out[name].append(Sample(labels, value))
    out["payctl_build_info"] = [Sample((__version__, revision), 1)]
    return out


_Line = tuple[str, tuple[str, ...], float]


def _all(
    tx: sa.Connection, now: datetime, names: Sequence[str], periods: Mapping[str, int]
) -> Iterator[_Line]:
    yield from _success(tx, now, names)
    for row in tx.execute(sa.select(breaker).order_by(breaker.c.account, breaker.c.op_class)):
        for state in BREAKER_STATES:
            which = (row.account, row.op_class, state)
            yield "payctl_breaker_state", which, float(row.state == state)
    unknown = {each.provider: each for each in signs.unknown_outcomes(tx, now)}
    for name in sorted({*names, *unknown}):
        found = unknown.get(name)
        age = _age(now, found.oldest_at) if found else 0.0
        yield "payctl_unknown_outcomes", (name,), found.number if found else 0
        yield "payctl_unknown_outcome_age_seconds", (name,), age
    for name, currency, minor in signs.unapplied_receipts(tx, names):
        yield "payctl_unapplied_receipts_minor", (name, currency), minor
    for kind, number in signs.open_cases(tx).items():
        yield "payctl_open_cases", (kind,), number
    yield from _webhooks(tx, now, names)
    lag = outbox_lag(tx, now)
    yield "payctl_outbox_waiting", (), lag.count
    yield "payctl_outbox_lag_seconds", (), _age(now, lag.oldest_at)
    yield "payctl_outbox_dead", (), lag.dead
    yield "payctl_outbox_disabled", (), int(lag.disabled)
    yield from _jobs(tx, periods)
    for level in levels(tx):
        labels = (level.account, level.currency)
        yield "payctl_float_alarm_minor", labels, level.below_minor
        if level.available_minor is not None and level.read_at is not None:
            yield "payctl_float_available_minor", labels, level.available_minor
            yield "payctl_float_read_timestamp_seconds", labels, level.read_at.timestamp()


def _success(tx: sa.Connection, now: datetime, names: Sequence[str]) -> Iterator[_Line]:
    since = minute_of(now) - RATE_MINUTES + 1
    for name in names:
        won, lost = signs.ended(tx, name, since)
        if won + lost:
            yield "payment_success_rate", (name,), won / (won + lost)


def _webhooks(tx: sa.Connection, now: datetime, names: Sequence[str]) -> Iterator[_Line]:
    inbox = {each.provider: each for each in signs.inbox(tx)}
    for name in sorted({*names, *inbox}):
        found = inbox.get(name) or signs.InboxLag(name, 0, None, 0, 0)
        yield "payctl_inbox_waiting", (name,), found.waiting
        yield "payctl_inbox_lag_seconds", (name,), _age(now, found.oldest_at)
        yield "payctl_inbox_dead", (name,), found.dead
        yield "payctl_inbox_orphans", (name,), found.orphans
        last = signs.last_webhook(tx, name)
        if last is not None:
            yield "payctl_webhook_last_timestamp_seconds", (name,), last.timestamp()


def _jobs(tx: sa.Connection, periods: Mapping[str, int]) -> Iterator[_Line]:
    for job, every_s in sorted(periods.items()):
        last = signs.last_success(tx, job)
        yield "payctl_job_period_seconds", (job,), every_s
        at = last.timestamp() if last is not None else 0.0
        yield "payctl_job_last_success_timestamp_seconds", (job,), at
    result = signs.ledger_result(tx)
    if result is not None:
        yield "payctl_ledger_check_ok", (), float(result.broken == 0)
        yield "payctl_ledger_check_timestamp_seconds", (), result.at.timestamp()


def _age(now: datetime, since: datetime | None) -> float:
    return max((now - since).total_seconds(), 0.0) if since is not None else 0.0


def all_samples(
    tx: sa.Connection,
    now: datetime,
    names: Iterable[str],
    periods: Mapping[str, int],
    revision: str,
) -> tuple[Samples, Histograms]:
    """Every value but ``payctl_up``, which is about whether the others can be told."""
    shown, histograms = counters(tally.totals(tx))
    return {**shown, **gauges(tx, now, names, periods, revision)}, histograms
