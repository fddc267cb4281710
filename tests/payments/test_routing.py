"""The router against a real book and sandbox gateways: settings, probes, what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.errors import NotConfigured
from payctl.gateways.base import Answer, Outcome
from payctl.payments.breaker import Breakers
from payctl.payments.candidates import MIN_SAMPLES
from payctl.payments.gateway_tables import breaker_sample
from payctl.payments.routing import Decision, Router, RouteRequest, read_order
from tests.payments.kit import CARDS, MOMO, OPERATOR, Kit, make_kit

pytestmark = pytest.mark.integration


@pytest.fixture
def kit(db: Database, tmp_path: Path) -> Iterator[Kit]:
    """Three accounts: two alike, and one that takes XOF only."""
    made = make_kit(
        db, tmp_path, {"one": CARDS, "two": CARDS, "momo": {**MOMO, "currencies": ["XOF"]}}
    )
    yield made
    for gateway in made.gateways.values():
        gateway.close()


def request(kit: Kit, **values: Any) -> RouteRequest:
    base: dict[str, Any] = {"amount_minor": 2500, "currency": "EUR", "at": kit.clock.now()}
    return RouteRequest(**(base | {"method": "card", "preferred": ("one", "two")} | values))


def why(decision: Decision, account: str) -> list[str]:
    (found,) = [each for each in decision.candidates if each.account == account]
    return [each.code for each in found.dropped]


def record(kit: Kit, account: str, outcome: Outcome, times: int = 1, probe: str = "") -> None:
    for _ in range(times):
        with kit.app.db.transaction() as tx:
            kit.app.breakers.record(tx, account, "collect", Answer(outcome), probe)


def test_a_fresh_book_routes_without_any_set_up(kit: Kit) -> None:
    decision = kit.app.router.decide(None, request(kit))
    assert decision.chosen == "one" and not decision.probe
    assert why(decision, "momo") == ["currency"]
    assert decision.rules_version == 0


def test_what_an_operator_sets_counts_at_once_here_and_a_second_later_elsewhere(kit: Kit) -> None:
    app = kit.app
    other = Router(app.db, app.gateways, Breakers(app.db))
    assert other.decide(None, request(kit)).chosen == "one"
    app.router.decide(None, request(kit))
    app.gateway_settings.set_state(OPERATOR, "one", "draining", reason="contract ends")
    decision = app.router.decide(None, request(kit))
    assert decision.chosen == "two" and why(decision, "one") == ["draining"]
    kit.clock.advance(timedelta(seconds=1))
    assert other.decide(None, request(kit)).chosen == "two"


def test_a_state_with_an_end_ends(kit: Kit) -> None:
    until = kit.clock.now() + timedelta(minutes=30)
    kit.app.gateway_settings.set_state(OPERATOR, "one", "disabled", reason="incident", until=until)
    assert kit.app.router.decide(None, request(kit)).chosen == "two"
    kit.clock.advance(timedelta(minutes=30))
    assert kit.app.router.decide(None, request(kit)).chosen == "one"


def test_limits_and_fees_set_by_hand_count(kit: Kit) -> None:
    settings = kit.app.gateway_settings
    settings.set_limit(OPERATOR, "one", "EUR", min_minor=None, max_minor=2499, reason="contract")
    assert why(kit.app.router.decide(None, request(kit)), "one") == ["above_limit"]
    settings.set_limit(OPERATOR, "one", "EUR", min_minor=None, max_minor=None, reason="lifted")
    settings.set_fee(OPERATOR, "one", "EUR", ppm=30_000, fixed_minor=0, reason="contract")
    settings.set_fee(OPERATOR, "two", "EUR", ppm=90_000, fixed_minor=0, reason="contract")
    settings.set_fee(
        OPERATOR, "two", "EUR", method="card", ppm=10_000, fixed_minor=0, reason="contract"
    )
    decision = kit.app.router.decide(None, request(kit, preferred=()))
    assert [each.fee_minor for each in decision.candidates[:2]] == [25, 75]
    assert decision.chosen == "two"


def test_a_limit_counts_from_its_date(kit: Kit) -> None:
    start = kit.clock.now() + timedelta(days=1)
    kit.app.gateway_settings.set_limit(
        OPERATOR, "one", "EUR", min_minor=None, max_minor=1, reason="new year", valid_from=start
    )
    assert kit.app.router.decide(None, request(kit)).chosen == "one"
    kit.clock.advance(timedelta(days=1))
    assert kit.app.router.decide(None, request(kit)).chosen == "two"


def test_the_success_rate_is_of_the_last_half_hour_and_the_latest_count_most(kit: Kit) -> None:
    record(kit, "one", Outcome.DECLINED, MIN_SAMPLES)
    record(kit, "two", Outcome.SUCCEEDED, MIN_SAMPLES)
    assert kit.app.router.decide(None, request(kit, preferred=())).chosen == "two"
    kit.clock.advance(timedelta(minutes=20))
    record(kit, "one", Outcome.SUCCEEDED, MIN_SAMPLES)
    seen = kit.app.router.explain(None, request(kit))
    (one,) = [each for each in seen.candidates if each.account == "one"]
    assert one.success_ppm == 1_000_000 * 30 // 40 and one.samples == 2 * MIN_SAMPLES
    kit.clock.advance(timedelta(minutes=30))
    seen = kit.app.router.explain(None, request(kit))
    assert all(each.success_ppm is None for each in seen.candidates)


def test_a_payment_that_ends_later_counts_too(kit: Kit) -> None:
    for _ in range(MIN_SAMPLES):
        with kit.app.db.transaction() as tx:
            kit.app.breakers.record(tx, "one", "collect", Answer(Outcome.PENDING))
            kit.app.breakers.record_end(tx, "one", "collect", won=False)
    (one,) = [
        e for e in kit.app.router.explain(None, request(kit)).candidates if e.account == "one"
    ]
    assert (one.success_ppm, one.samples) == (0, MIN_SAMPLES)


def test_captures_and_cancellations_do_not_count_as_payments_won(kit: Kit) -> None:
    with kit.app.db.transaction() as tx:
        kit.app.breakers.record(tx, "one", "collect", Answer(Outcome.SUCCEEDED), sale=False)
    with kit.app.db.read() as tx:
        assert tx.execute(sa.select(breaker_sample.c.ok, breaker_sample.c.won)).one() == (1, 0)


def test_the_payment_that_probes_is_one_and_the_next_goes_elsewhere(kit: Kit) -> None:
    record(kit, "one", Outcome.NOT_SENT, 5)
    decision = kit.app.router.decide(None, request(kit))
    assert decision.chosen == "two" and why(decision, "one") == ["breaker_open"]
    kit.clock.advance(timedelta(minutes=2))
    first = kit.app.router.decide(None, request(kit))
    assert first.chosen == "one" and first.probe
    second = kit.app.router.decide(None, request(kit))
    assert second.chosen == "two" and why(second, "one") == ["breaker_probing"]
    assert "probe" not in first.as_json(), "the token is nobody's business"
    record(kit, "one", Outcome.SUCCEEDED, probe=first.probe)
    assert kit.app.router.decide(None, request(kit)).probe


def test_a_probe_lost_to_another_process_sends_the_payment_on(kit: Kit) -> None:
    record(kit, "one", Outcome.NOT_SENT, 5)
    kit.clock.advance(timedelta(minutes=2))
    app = kit.app
    other = Router(app.db, app.gateways, Breakers(app.db))
    other.explain(None, request(kit))
    assert app.router.decide(None, request(kit)).probe
    late = other.decide(None, request(kit))
    assert late.chosen == "two" and why(late, "one") == ["breaker_probing"]
    assert [each.rank for each in late.candidates] == [1, 0, 0]


def test_explaining_claims_nothing(kit: Kit) -> None:
    record(kit, "one", Outcome.NOT_SENT, 5)
    kit.clock.advance(timedelta(minutes=2))
    for _ in range(2):
        seen = kit.app.router.explain(None, request(kit))
        assert seen.chosen == "one" and seen.candidates[0].probe and not seen.probe


def test_nobody_left_is_a_clean_no(kit: Kit) -> None:
    for account in ("one", "two"):
        record(kit, account, Outcome.NOT_SENT, 5)
    decision = kit.app.router.decide(None, request(kit))
    assert decision.chosen is None and len(decision.candidates) == 3


def test_in_the_steady_state_a_decision_asks_the_database_nothing(
    kit: Kit, clock: ManualClock
) -> None:
    kit.app.router.decide(None, request(kit))
    asked: list[str] = []

    def listen(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        asked.append(statement)

    sa.event.listen(kit.app.db.engine, "before_cursor_execute", listen)
    for number in range(50):
        kit.app.router.decide(None, request(kit, key=str(number)))
    assert asked == []
    clock.advance(timedelta(seconds=1))
    kit.app.router.decide(None, request(kit))
    assert 0 < len(asked) <= 8, "six readings in two snapshots"


def test_the_configurations_order_and_switch(kit: Kit) -> None:
    app = kit.app
    priorities, off = read_order({"one": {"enabled": False}, "two": {"priority": 7}, "momo": {}})
    router = Router(app.db, app.gateways, app.breakers, priorities=priorities, switched_off=off)
    decision = router.decide(None, request(kit, currency="XOF", amount_minor=5000, preferred=()))
    assert decision.chosen == "two" and why(decision, "one") == ["switched_off"]
    assert [each.priority for each in decision.candidates[:2]] == [7, 100]


@pytest.mark.parametrize("section", [{"priority": "1"}, {"priority": True}, {"enabled": "no"}])
def test_a_misspelt_order_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(NotConfigured) as wrong:
        read_order({"one": section})
    assert wrong.value.code == "gateway.bad_setting"
