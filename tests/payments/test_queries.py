"""Lists with filters and cursors, and statistics that agree with counting by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.errors import InvalidInput, NotFound
from payctl.payments.details import PaymentFilter, RefundFilter
from payctl.payments.queries import Queries
from payctl.payments.statistics import KEYS, Statistics, percentile
from tests.payments.kit import OPERATOR, Kit

pytestmark = pytest.mark.integration


def keys(kit: Kit, **wanted: object) -> list[str]:
    """Orders of the payments a filter takes, newest first."""
    found = Queries(kit.app.db).payments(PaymentFilter(**wanted)).items  # type: ignore[arg-type]
    return [str(each.payment.order_ref) for each in found]


def mixed(kit: Kit) -> None:
    kit.pay("a")
    kit.clock.advance(timedelta(days=1))
    kit.pay("b", token="tok_decline_card_declined", organiser="org-2", event="ev-1")
    kit.pay("c", token="tok_lost_answer")
    kit.clock.advance(timedelta(days=1))
    kit.pay("d", amount_minor=15_000, currency="XOF", method="mobile_money",
            preferred=("momo",), phone="+2250700000034")  # fmt: skip
    kit.pay("e", token="tok_wrong_amount:5", event="ev-1")


def test_filters_take_what_they_say(kit: Kit) -> None:
    mixed(kit)
    start = datetime(2026, 11, 2, 9, tzinfo=UTC)
    assert keys(kit) == ["o-e", "o-d", "o-c", "o-b", "o-a"]
    assert keys(kit, status="succeeded") == ["o-d", "o-a"]
    assert keys(kit, status="open") == ["o-c"]
    assert keys(kit, gateway="momo") == ["o-d"]
    assert keys(kit, currency="XOF") == ["o-d"]
    assert keys(kit, organiser="org-2") == ["o-b"]
    assert keys(kit, order="o-a") == ["o-a"]
    assert keys(kit, event="ev-1") == ["o-e", "o-b"]
    assert keys(kit, review=True) == ["o-e"]
    assert keys(kit, since=start + timedelta(hours=1)) == ["o-e", "o-d", "o-c", "o-b"]
    assert keys(kit, until=start + timedelta(days=1)) == ["o-a"], "until is exclusive"
    assert keys(kit, since=start + timedelta(days=1), until=start + timedelta(days=2)) == [
        "o-c", "o-b",
    ]  # fmt: skip
    with pytest.raises(InvalidInput) as error:
        keys(kit, status="paid")
    assert error.value.field == "status" and "succeeded" in str(error.value.params["allowed"])


def test_pages_give_every_payment_once_while_new_ones_arrive(kit: Kit) -> None:
    for number in range(5):
        kit.pay(f"k{number}", token="tok_decline_card_declined")
    queries, after, seen = Queries(kit.app.db), None, []
    while True:
        page = queries.payments(PaymentFilter(), after=after, limit=2)
        seen += [str(each.payment.order_ref) for each in page.items]
        kit.pay(f"new-{len(seen)}", token="tok_decline_card_declined")
        after = page.next
        if after is None:
            break
    assert seen == [f"o-k{number}" for number in (4, 3, 2, 1, 0)]


def test_an_exact_page_has_no_next(kit: Kit) -> None:
    for number in range(2):
        kit.pay(f"k{number}", token="tok_decline_card_declined")
    assert Queries(kit.app.db).payments(PaymentFilter(), limit=2).next is None


def test_streaming_goes_past_a_page(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("payctl.payments.queries.PAGE", 2)
    paid = [kit.pay(f"k{number}") for number in range(5)]
    found = list(Queries(kit.app.db).all_payments(PaymentFilter()))
    assert [each.payment.id for each in found] == [each.payment.id for each in reversed(paid)]
    assert all(len(each.attempts) == 1 for each in found), "each carries its own attempts"
    for each in paid:
        kit.app.refunds.create(OPERATOR, each.payment.id, key=str(each.payment.id), reason="x",
                               amount_minor=10)  # fmt: skip
    refunds = list(Queries(kit.app.db).all_refunds(RefundFilter()))
    assert len({each.refund.id for each in refunds}) == 5


def test_refunds_are_listed_by_state_and_payment(kit: Kit) -> None:
    first, second = kit.pay("a"), kit.pay("b", token="tok_refund_pending:900")
    for paid in (first, second):
        kit.app.refunds.create(OPERATOR, paid.payment.id, key=str(paid.payment.id), reason="x",
                               amount_minor=100)  # fmt: skip
    queries = Queries(kit.app.db)

    def found(**wanted: object) -> list[object]:
        page = queries.refunds(RefundFilter(**wanted))  # type: ignore[arg-type]
        return [each.refund.payment_id for each in page.items]

    assert found() == [second.payment.id, first.payment.id]
    assert found(status="open") == [second.payment.id]
    assert found(status="succeeded") == [first.payment.id]
    assert found(payment_id=first.payment.id) == [first.payment.id]
    assert found(gateway="momo") == []
    one = queries.refunds(RefundFilter(status="open")).items[0]
    assert [attempt.refund_id for attempt in one.attempts] == [one.refund.id]
    with pytest.raises(InvalidInput):
        found(status="paid")
    with pytest.raises(NotFound):
        queries.refund(kit.app.db.ids.new())


def test_what_is_due_and_what_is_old(kit: Kit) -> None:
    queries = Queries(kit.app.db)
    lost = kit.pay("a", token="tok_lost_answer")
    kit.pay("b")
    assert queries.due(10) == []
    assert queries.unfinished(kit.clock.now(), 10) == []
    kit.clock.advance(timedelta(minutes=1))
    assert queries.due(10) == queries.unfinished(kit.clock.now(), 10) == [lost.payment.id]


def test_a_provider_reference_leads_to_its_payment(kit: Kit) -> None:
    paid = kit.pay()
    reference = str(paid.attempts[0].provider_reference)
    assert Queries(kit.app.db).payment_of("cards", reference) == paid.payment.id
    with pytest.raises(NotFound):
        Queries(kit.app.db).payment_of("momo", reference)


@pytest.mark.parametrize("by", KEYS)
def test_statistics_agree_with_counting_by_hand(kit: Kit, by: str) -> None:
    mixed(kit)
    paid = Queries(kit.app.db).payments(PaymentFilter(order="o-a")).items[0].payment
    kit.app.refunds.create(OPERATOR, paid.id, key="r", reason="x", amount_minor=2500)
    zone = ZoneInfo("Africa/Abidjan")
    lines = Statistics(kit.app.db, zone).by(by, PaymentFilter())
    every = [each.payment for each in Queries(kit.app.db).payments(PaymentFilter()).items]
    assert sum(line.payments for line in lines) == len(every)
    for currency in ("EUR", "XOF"):
        mine = [line for line in lines if line.currency == currency]
        theirs = [each for each in every if each.currency == currency]
        assert sum(line.amount_minor for line in mine) == sum(p.amount_minor for p in theirs)
        assert sum(line.captured_minor for line in mine) == sum(p.captured_minor for p in theirs)
        assert sum(line.refunded_minor for line in mine) == sum(p.refunded_minor for p in theirs)
    for line in lines:
        assert line.payments == line.succeeded + line.failed + line.open
    values = Counter((line.value, line.currency) for line in lines)
    assert set(values.values()) == {1}


def test_success_is_counted_among_what_has_ended(kit: Kit) -> None:
    mixed(kit)
    by_method = Statistics(kit.app.db, ZoneInfo("UTC")).by("currency", PaymentFilter())
    eur, xof = by_method
    assert (eur.succeeded, eur.failed, eur.open, eur.success_ppm) == (1, 2, 1, 333_333)
    assert (xof.value, xof.success_ppm, xof.commission_minor) == ("XOF", 1_000_000, 750)
    only = Statistics(kit.app.db, ZoneInfo("UTC")).by("status", PaymentFilter(status="open"))
    assert [(line.value, line.success_ppm) for line in only] == [("unknown", None)]


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("Africa/Abidjan", ["2026-11-02", "2026-11-03"]),
        ("Asia/Kathmandu", ["2026-11-03"]),  # UTC+5:45: a quarter matters
        ("America/New_York", ["2026-11-02"]),
    ],
)
def test_a_day_is_one_of_the_books_zone(kit: Kit, zone: str, days: list[str]) -> None:
    kit.clock.advance(timedelta(hours=9, minutes=15))  # 18:15 UTC: midnight in Kathmandu
    kit.pay("a", token="tok_decline_card_declined")
    kit.clock.advance(timedelta(hours=8))
    kit.pay("b", token="tok_decline_card_declined")
    found = Statistics(kit.app.db, ZoneInfo(zone)).by("day", PaymentFilter())
    assert [line.value for line in found] == days


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(1, 1_000_000))
def test_a_percentile_is_the_least_value_that_enough_are_not_above(
    values: list[int], share_ppm: int
) -> None:
    found = percentile(Counter(values), share_ppm)
    assert found in values
    at_most = [sum(other <= each for other in values) * 1_000_000 for each in values]
    enough = {each for each, count in zip(values, at_most, strict=True)
              if count >= share_ppm * len(values)}  # fmt: skip
    assert found == min(enough)


def test_the_course_of_a_line_counts_every_payment_once(kit: Kit) -> None:
    mixed(kit)
    made = [each.payment for each in Queries(kit.app.db).payments(PaymentFilter()).items]
    start = min(each.created_at for each in made)
    zone, week = ZoneInfo("UTC"), PaymentFilter(since=start, until=start + timedelta(days=12))
    [xof] = [e for e in Statistics(kit.app.db, zone).by("currency", week) if e.currency == "XOF"]
    # Twelve days in 24 steps of half a day; the only one in XOF was made two days after the first.
    assert xof.trend == tuple(int(step == 4) for step in range(24))
    for line in Statistics(kit.app.db, zone).by("gateway", PaymentFilter()):
        assert sum(line.trend) == line.payments
    assert {line.trend for line in Statistics(kit.app.db, zone).by("day", week)} == {()}


def test_each_gateway_is_told_its_own_time(kit: Kit) -> None:
    """A payment that failed over asked two of them."""
    for name, ms in (("cards", 40), ("momo", 900)):
        gateway = kit.gateways[name]
        gateway.terms = replace(gateway.terms, latency_ms=ms)
    for number in range(3):
        kit.pay(f"k{number}")
    kit.pay("over", token="tok_decline_gateway_specific", preferred=("cards", "momo"))
    lines = Statistics(kit.app.db, ZoneInfo("UTC")).by("gateway", PaymentFilter())
    took = {line.value: (line.gateway_p50_ms, line.gateway_p95_ms) for line in lines}
    assert took == {"cards": (40, 40), "momo": (900, 900)}
    [whole] = Statistics(kit.app.db, ZoneInfo("UTC")).by("currency", PaymentFilter())
    assert (whole.gateway_p50_ms, whole.gateway_p95_ms) == (40, 900)


def test_hours_and_reasons(kit: Kit) -> None:
    mixed(kit)
    zone = ZoneInfo("Asia/Kathmandu")  # a quarter of an hour off, as few are
    hours = [line.value for line in Statistics(kit.app.db, zone).by("hour", PaymentFilter())]
    assert hours[0] == "2026-11-02 14:00"  # 09:00 UTC is 14:45 there
    why = {
        line.value: line.failed for line in Statistics(kit.app.db, zone).by("code", PaymentFilter())
    }
    assert why["card_declined"] == 1 and why["-"] == 0


def test_an_unknown_key_of_statistics_is_refused(kit: Kit) -> None:
    with pytest.raises(InvalidInput) as error:
        Statistics(kit.app.db, ZoneInfo("UTC")).by("shoe", PaymentFilter())
    assert error.value.field == "by"
