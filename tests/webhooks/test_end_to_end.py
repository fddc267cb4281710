"""Webhooks through the whole house: sandbox provider, inbox, payments, ledger.

Whatever happens to the webhooks on their way, both sides end with the same totals.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest

from payctl.db.engine import Database
from tests.payments.kit import JANITOR, Kit, make_kit

pytestmark = [pytest.mark.integration, pytest.mark.webhooks]


@pytest.fixture
def kit(db: Database, tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(db, tmp_path)
    yield made
    for gateway in made.gateways.values():
        gateway.close()


def deliver(kit: Kit, *faults: str) -> int:
    """Put what every provider sends now into the inbox; how many bodies came."""
    count = 0
    for account, gateway in kit.gateways.items():
        for body, headers in gateway.deliveries(faults=faults):
            kit.app.inbox.receive(account, body, headers)
            count += 1
    return count


def customers_pay(kit: Kit, keys: list[str]) -> None:
    for key in keys:
        result = kit.pay(key, "tok_3ds:3600")
        assert result.payment.status == "requires_action"
        reference = result.attempts[-1].our_reference
        assert kit.gateways["cards"].customer_acts(reference)


def statuses(kit: Kit) -> set[str]:
    return {str(result.payment.status) for result in (kit.pay(key, "tok_3ds:3600") for key in KEYS)}


KEYS = [f"k{number}" for number in range(8)]


@pytest.mark.parametrize("faults", [(), ("double",), ("reorder",), ("double", "reorder")])
def test_a_webhook_finishes_the_payment(kit: Kit, faults: tuple[str, ...]) -> None:
    customers_pay(kit, KEYS)
    assert kit.our_totals() == {}
    assert deliver(kit, *faults) >= len(KEYS)
    counts = kit.app.inbox.apply(JANITOR)
    assert counts["applied"] >= len(KEYS)
    assert set(counts) <= {"applied", "nothing_new"}
    assert statuses(kit) == {"succeeded"}
    assert kit.our_totals() == kit.provider_totals() != {}
    kit.check()
    # All of it once more changes nothing.
    before = kit.our_totals()
    for event in kit.app.inbox.list(limit=500):
        kit.app.sync.apply_event(JANITOR, event.account, event.event())  # type: ignore[arg-type]
    assert kit.our_totals() == before
    kit.check()


def test_two_workers_and_the_janitor_at_once_post_once(kit: Kit) -> None:
    customers_pay(kit, KEYS)
    deliver(kit, "double")
    kit.clock.advance(timedelta(minutes=10))
    start = Barrier(3)

    def worker(number: int) -> dict[str, int]:
        start.wait()
        if number == 2:
            return dict(kit.app.sync.run(JANITOR).counts)
        return kit.app.inbox.apply(JANITOR)

    # Services are built on first use; threads share them as a long-lived process would.
    assert kit.app.inbox
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(worker, range(3)))
    assert kit.app.inbox.counts() == {}
    assert statuses(kit) == {"succeeded"}
    assert kit.our_totals() == kit.provider_totals() != {}
    kit.check()


def test_lost_and_late_webhooks_are_made_up_for(kit: Kit) -> None:
    customers_pay(kit, KEYS)
    deliver(kit, "lost")
    assert kit.app.inbox.apply(JANITOR) == {}
    for _ in range(4):
        kit.wait(hours=1)
    assert statuses(kit) == {"succeeded"}
    late = deliver(kit)
    if late:
        assert set(kit.app.inbox.apply(JANITOR)) == {"nothing_new"}
    assert kit.our_totals() == kit.provider_totals() != {}
    kit.check()


def test_a_provider_that_is_down_is_asked_again(kit: Kit) -> None:
    customers_pay(kit, KEYS[:1])
    deliver(kit)
    kit.gateways["cards"].add_outage(100)
    counts = kit.app.inbox.apply(JANITOR)
    assert set(counts) == {"waiting"}
    assert all(event.tries == 0 for event in kit.app.inbox.list(state="waiting"))
    kit.clock.advance(timedelta(minutes=20))
    kit.app.inbox.apply(JANITOR)
    assert kit.pay(KEYS[0], "tok_3ds:3600").payment.status == "succeeded"
    kit.check()
