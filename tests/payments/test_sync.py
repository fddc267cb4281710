"""The janitor and webhooks: everything open is looked at, strangers' money is not lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.app import App
from payctl.db.engine import Database
from payctl.gateways.base import PaymentRequest
from payctl.gateways.sandbox import SandboxGateway
from payctl.payments import store
from payctl.payments import tables as t
from payctl.payments.model import PaymentStatus
from tests.payments.kit import CARDS, JANITOR, OPERATOR, Kit, make_kit, states

pytestmark = pytest.mark.webhooks


def deliver(kit: Kit, *faults: str) -> dict[str, int]:
    for account, gateway in kit.gateways.items():
        for body, headers in gateway.deliveries(faults=faults):
            kit.app.inbox.receive(account, body, headers)
    return kit.app.inbox.apply(JANITOR)


def stranger(gateway: SandboxGateway, amount: int = 777) -> None:
    """Somebody pays at our provider without us: another system, or a restored book."""
    answer = gateway.create_payment(
        PaymentRequest(f"foreign-{amount}", f"key-{amount}", amount, "EUR", "card")
    )
    assert answer.outcome == "succeeded"


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_what_is_due_is_found_without_a_look_at_every_attempt(kit: Kit) -> None:
    asked: list[tuple[str, Any]] = []

    def hear(_c: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        asked.append((sql, parameters))

    with kit.app.db.read() as tx:
        sa.event.listen(kit.app.db.engine, "before_cursor_execute", hear)
        store.due_attempts(tx, kit.app.db.clock.now(), 10)
        sa.event.remove(kit.app.db.engine, "before_cursor_execute", hear)
        [(sql, parameters)] = [each for each in asked if each[0].startswith("SELECT")]
        plan = str(tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters).all())
    assert "USING INDEX attempt_due" in plan


def test_a_webhook_resolves_an_unknown_before_the_janitor(kit: Kit) -> None:
    open_ = kit.pay(token="tok_lost_answer")
    assert deliver(kit)["applied"] == 1
    assert kit.show(open_).payment.status is PaymentStatus.SUCCEEDED
    assert kit.our_totals() == kit.provider_totals()


def test_doubled_and_reordered_webhooks_change_nothing_twice(kit: Kit) -> None:
    paid = [kit.pay(f"k{number}") for number in range(3)]
    counts = deliver(kit, "double", "reorder")
    assert "applied" not in counts and sum(counts.values()) >= 3
    assert all(states(kit.show(each)) == ["succeeded"] for each in paid)
    kit.check()


def test_a_stale_webhook_never_takes_a_success_back(kit: Kit) -> None:
    waiting = kit.pay(token="tok_pending:60")
    early = list(kit.gateways["cards"].deliveries())
    kit.wait(minutes=3)
    assert kit.show(waiting).payment.status is PaymentStatus.SUCCEEDED
    for body, headers in early:
        kit.app.inbox.receive("cards", body, headers)
    kit.app.inbox.apply(JANITOR)
    assert kit.show(waiting).payment.status is PaymentStatus.SUCCEEDED
    kit.check()


def test_an_unreachable_provider_is_no_try(kit: Kit) -> None:
    kit.pay(token="tok_lost_answer tok_query_down:600")
    first = deliver(kit)
    assert first.get("applied", 0) == 0
    kit.clock.advance(timedelta(minutes=30))
    for _ in range(5):
        kit.app.inbox.apply(JANITOR)
        kit.wait(minutes=20)
    assert kit.our_totals() == kit.provider_totals() != {}


def test_money_that_is_nobodys_is_booked_to_suspense_once(kit: Kit) -> None:
    stranger(kit.gateways["cards"])
    deliver(kit, "double")
    start = kit.clock.now() - timedelta(hours=1)
    kit.app.sync.since(JANITOR, start)
    kit.app.sync.since(OPERATOR, start)
    assert kit.balance("suspense:cards") == -777
    [case] = kit.app.cases.list(kind="orphan")
    assert (case.amount_minor, case.currency, case.gateway) == (777, "EUR", "cards")


def test_listing_finds_what_a_restored_book_does_not_know(kit: Kit) -> None:
    kit.pay()
    stranger(kit.gateways["momo"], 999)
    report = kit.app.sync.since(JANITOR, kit.clock.now() - timedelta(hours=1))
    assert report.counts["orphan"] == 1 and report.counts["nothing_new"] == 1
    assert kit.balance("suspense:momo") == -999


def test_reads_wait_while_their_breaker_is_open_and_nothing_is_counted(kit: Kit) -> None:
    open_ = kit.pay(token="tok_lost_answer")
    kit.app.breaker_desk.open(
        OPERATOR, "cards", "read", lasting=timedelta(minutes=50), reason="maintenance"
    )
    kit.clock.advance(timedelta(seconds=2))
    kit.wait(seconds=10)
    seen = kit.show(open_).attempts[0]
    assert (seen.state, seen.checks) == ("unknown", 0)
    assert seen.next_check_at is not None and seen.next_check_at > kit.clock.now()


def test_two_janitors_look_once(kit: Kit) -> None:
    for number in range(6):
        kit.pay(f"k{number}", "tok_lost_answer")
    kit.clock.advance(timedelta(seconds=8))
    first = kit.app.sync.run(JANITOR)
    second = kit.app.sync.run(JANITOR)
    assert first.counts["applied"] == 6 and not second.counts
    assert kit.our_totals() == kit.provider_totals()


def test_a_payment_that_was_begun_and_never_sent_ends_by_itself(kit: Kit) -> None:
    paid = kit.pay(token="tok_decline_insufficient_funds")
    with kit.app.db.transaction() as tx:
        tx.execute(
            sa.update(t.payment)
            .where(t.payment.c.id == paid.payment.id)
            .values(status="processing", failure_code=None, next_check_at=kit.clock.now())
        )
    kit.wait(seconds=1)
    after = kit.show(paid).payment
    assert (after.status, after.failure_code) == ("failed", "interrupted")


def test_a_fee_that_becomes_known_later_is_posted_once(db: Database, tmp_path: Path) -> None:
    kit = make_kit(db, tmp_path, {"cards": {**CARDS, "fee_after_s": 60}})
    paid = kit.pay()
    assert kit.balance("expense:gateway_fee:cards") == 0
    kit.clock.advance(timedelta(minutes=2))
    for _ in range(3):
        kit.app.sync.payment(JANITOR, paid.payment.id)
    assert kit.balance("expense:gateway_fee:cards") == 165
    assert kit.our_totals() == kit.provider_totals()


def removed(kit: Kit, account: str) -> Kit:
    """The service of the next process, from a configuration that has lost *account*."""
    app = App(kit.app.config, db=kit.app.db)
    left = {name: gateway for name, gateway in kit.gateways.items() if name != account}
    app.__dict__["gateways"] = left
    return replace(kit, app=app)


def test_a_refund_of_a_removed_account_waits_and_keeps_no_other_from_going(kit: Kit) -> None:
    there, here = kit.pay("k1"), kit.pay("k2", preferred=("momo",))
    for account in ("cards", "momo"):
        kit.app.gateway_settings.set_state(OPERATOR, account, "disabled", reason="incident")
    for number, paid in enumerate((there, here)):
        made = kit.app.refunds.create(
            OPERATOR, paid.payment.id, key=f"r{number}", reason="event moved"
        )
        assert made.refund.state == "approved"
    for account in ("cards", "momo"):
        kit.app.gateway_settings.set_state(OPERATOR, account, "enabled", reason="over")
    after = removed(kit, "cards")
    kit.clock.advance(timedelta(minutes=2))
    report = after.app.sync.run(JANITOR)
    assert report.counts == {"not_configured": 1, "refund_sent": 1}
    with kit.app.db.read() as tx:
        [waits] = store.refunds(tx, there.payment.id)
        [sent] = store.refunds(tx, here.payment.id)
    assert (waits.state, sent.state) == ("approved", "succeeded")
    assert waits.next_check_at is not None and waits.next_check_at > kit.clock.now()
    [case] = after.app.cases.list(kind="gateway_removed")
    assert case.gateway == "cards"
    kit.check()

    kit.wait(minutes=2)
    assert kit.app.cases.list(kind="gateway_removed") == []
    assert kit.app.refunds.get(waits.id).refund.state == "succeeded"


def test_an_open_attempt_of_a_removed_account_gets_a_case_and_the_others_are_asked(
    kit: Kit,
) -> None:
    there = kit.pay("k1", "tok_lost_answer")
    here = kit.pay("k2", "tok_lost_answer", preferred=("momo",))
    after = removed(kit, "cards")
    kit.clock.advance(timedelta(seconds=8))
    report = after.app.sync.run(JANITOR)
    assert report.counts == {"not_configured": 1, "applied": 1}
    [waits] = kit.show(there).attempts
    assert waits.state == "unknown"
    assert waits.next_check_at is not None and waits.next_check_at > kit.clock.now()
    assert kit.show(here).payment.status is PaymentStatus.SUCCEEDED
    [case] = after.app.cases.list(kind="unknown_outcome")
    assert (case.subject_id, case.amount_minor) == (there.payment.id, 10000)
    assert len(after.app.cases.list(kind="gateway_removed")) == 1

    kit.wait(minutes=2)
    assert kit.show(there).payment.status is PaymentStatus.SUCCEEDED
    assert kit.app.cases.list() == []


def test_a_gateway_that_falls_silent_after_some_checks_gets_its_case_at_once(kit: Kit) -> None:
    paid = kit.pay(token="tok_lost_answer tok_query_down:600")
    for _ in range(3):
        kit.wait(minutes=1)
    [attempt] = kit.show(paid).attempts
    assert attempt.checks > 1 and kit.app.cases.list() == []
    after = removed(kit, "cards")
    after.app.sync.payment(JANITOR, paid.payment.id)
    [case] = after.app.cases.list(kind="unknown_outcome")
    assert case.subject_id == paid.payment.id


def test_listing_goes_on_past_a_removed_account_and_names_it(kit: Kit) -> None:
    paid = kit.pay("k1")
    kit.app.refunds.create(OPERATOR, paid.payment.id, key="r1", reason="event moved")
    stranger(kit.gateways["momo"], 999)
    after = removed(kit, "cards")
    report = after.app.sync.since(JANITOR, kit.clock.now() - timedelta(hours=1))
    assert report.counts == {"not_configured": 1, "orphan": 1}
    [case] = after.app.cases.list(kind="gateway_removed")
    assert case.gateway == "cards"
