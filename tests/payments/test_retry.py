"""Repeating calls that were not sent: waiting, and the budget all processes share."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.gateways.base import Answer, Outcome, PaymentRequest
from payctl.payments.breaker import Breakers
from payctl.payments.gateway_tables import breaker_sample
from payctl.payments.retry import ALWAYS_ALLOWED, Retries, backoff, within_budget
from tests.payments.kit import make_kit

pytestmark = pytest.mark.integration


@given(st.integers(1, 100), st.integers())
def test_the_wait_doubles_with_full_jitter_and_has_a_cap(number: int, seed: int) -> None:
    assert 0 <= backoff(number, Random(seed)) <= min(0.5 * 2 ** (number - 1), 5.0)


def test_the_whole_span_is_used() -> None:
    waits = [backoff(3, Random(seed)) for seed in range(2000)]
    assert min(waits) < 0.02 and max(waits) > 1.98 and 0.95 < sum(waits) / 2000 < 1.05


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_repeats_stay_below_a_fifth_of_the_calls(calls: int, retries: int) -> None:
    if within_budget(calls, retries) and retries >= ALWAYS_ALLOWED:
        assert (retries + 1) * 5 <= calls


def test_a_storm_of_repeats_is_cut(db: Database, clock: ManualClock) -> None:
    processes = [Retries(db, Random(n)) for n in range(3)]
    granted = sum(processes[n % 3].allowed("a", "collect") for n in range(100))
    assert granted == ALWAYS_ALLOWED
    assert processes[0].allowed("b", "collect"), "another gateway has a budget of its own"
    breakers = Breakers(db)
    with db.transaction() as tx:
        for _ in range(100):
            breakers.record(tx, "a", "collect", Answer(Outcome.SUCCEEDED))
    granted += sum(processes[n % 3].allowed("a", "collect") for n in range(100))
    assert granted == 20
    with db.read() as tx:
        total = tx.execute(
            sa.select(sa.func.sum(breaker_sample.c.retries)).where(breaker_sample.c.account == "a")
        ).scalar_one()
    assert total == 20
    clock.advance(timedelta(minutes=2))
    assert processes[0].allowed("a", "collect")


def test_without_a_database_nothing_is_repeated() -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/none")
    try:
        assert not Retries(away).allowed("a", "collect")
    finally:
        away.dispose()


def test_no_try_begins_with_too_little_time_to_end(
    db: Database, clock: ManualClock, tmp_path: Path
) -> None:
    kit = make_kit(db, tmp_path)
    spans: list[float] = []

    def never_connects(request: PaymentRequest) -> Answer:
        spans.append(request.deadline_s)
        clock.advance(timedelta(seconds=3))
        return Answer(Outcome.NOT_SENT)

    for gateway in kit.gateways.values():
        gateway.create_payment = never_connects  # type: ignore[method-assign]
    result = kit.pay(preferred=("cards",))
    assert result.payment.status == "failed" and len(spans) >= 3
    assert min(spans) >= 5.0
    for gateway in kit.gateways.values():
        gateway.close()
