"""Refunds: reserved before the call, approved above the threshold, never paid twice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payctl.db.engine import Database
from payctl.errors import Conflict, InvalidInput, Refused
from payctl.payments.model import RefundState
from payctl.payments.refunds import RefundResult
from payctl.payments.results import PaymentResult
from tests.payments.kit import (
    APPROVER,
    CARDS,
    EXPIRY,
    JANITOR,
    OPERATOR,
    Kit,
    kinds,
    make_kit,
)

pytestmark = pytest.mark.integration


def refund(
    kit: Kit, paid: PaymentResult, amount: int | None = None, key: str = "r1", keep: bool = False
) -> RefundResult:
    return kit.app.refunds.create(
        OPERATOR, paid.payment.id, key=key, reason="event moved", amount_minor=amount,
        keep_commission=keep,
    )  # fmt: skip


def state_of(kit: Kit, result: RefundResult) -> RefundState:
    return kit.app.refunds.get(result.refund.id).refund.state


def test_a_full_refund_gives_commission_and_vat_back(kit: Kit) -> None:
    paid = kit.pay()
    done = refund(kit, paid)
    assert done.refund.state is RefundState.SUCCEEDED
    assert kinds(done.journals) == ["refund_reserved", "refund_paid"]
    for code in ("wallet:org-1:pending", "income:commission:ticket_sale", "vat:FR",
                 "refund:cards:outgoing"):  # fmt: skip
        assert kit.balance(code) == 0, code
    assert kit.show(paid).payment.refunded_minor == 10000
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


def test_a_refund_with_the_commission_kept_is_the_organisers_loss(kit: Kit) -> None:
    paid = kit.pay()
    refund(kit, paid, keep=True)
    assert kit.balance("wallet:org-1:pending") == 0
    assert kit.balance("owed:org-1") == 600
    assert kit.balance("income:commission:ticket_sale") == 500
    kit.check()


def test_the_two_parts_of_the_postings_page(kit: Kit) -> None:
    paid = kit.pay()
    refund(kit, paid, 3333)
    assert kit.balance("wallet:org-1:pending") == 9400 - 3133
    assert kit.balance("income:commission:ticket_sale") == 500 - 167
    refund(kit, paid, 6667, key="r2")
    assert kit.balance("income:commission:ticket_sale") == 0 == kit.balance("vat:FR")
    kit.check()


@given(parts=st.lists(st.integers(1, 4000), min_size=1, max_size=6), keep=st.booleans())
@settings(
    max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_any_partial_refunds_leave_the_books_right(kit: Kit, parts: list[int], keep: bool) -> None:
    key = f"k{kit.app.db.ids.token(6)}"
    paid = kit.pay(key)
    for number, part in enumerate(parts):
        if part > kit.show(paid).payment.refundable_minor:
            with pytest.raises(Conflict, match=r"refund\.too_much"):
                refund(kit, paid, part, key=f"{key}-{number}")
        else:
            refund(kit, paid, part, key=f"{key}-{number}", keep=keep and number % 2 == 1)
    rest = kit.show(paid).payment.refundable_minor
    if rest and not keep:
        refund(kit, paid, None, key=f"{key}-rest")
        after = kit.show(paid).payment
        assert after.commission_returned_minor == after.commission_minor
        assert after.vat_returned_minor == after.vat_minor
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


def test_more_than_was_captured_is_refused(kit: Kit) -> None:
    paid = kit.pay()
    with pytest.raises(Conflict, match=r"refund\.too_much"):
        refund(kit, paid, 10001)
    refund(kit, paid, 6000)
    with pytest.raises(Conflict, match=r"refund\.too_much"):
        refund(kit, paid, 4001, key="r2")
    assert kit.gateways["cards"].totals()["EUR"].refunded_minor == 6000


def test_the_same_key_refunds_once(kit: Kit) -> None:
    paid = kit.pay()
    first, second = refund(kit, paid, 1000), refund(kit, paid, 1000)
    assert second.replayed and second.refund == first.refund
    with pytest.raises(Conflict, match=r"key\.reused"):
        refund(kit, paid, 1001)
    assert kit.gateways["cards"].totals()["EUR"].refunded_minor == 1000


def test_a_lost_answer_keeps_the_reservation_until_it_is_known(kit: Kit) -> None:
    paid = kit.pay(token="tok_refund_lost_answer")
    open_ = refund(kit, paid)
    assert open_.refund.state is RefundState.UNKNOWN
    assert kit.balance("refund:cards:outgoing") == 10000
    with pytest.raises(Conflict, match=r"refund\.too_much"):
        refund(kit, paid, 1, key="r2")
    kit.check()
    kit.wait(seconds=7)
    assert state_of(kit, open_) is RefundState.SUCCEEDED
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


@pytest.mark.parametrize("word", ["decline_not_permitted", "rejected", "not_sent:9"])
def test_a_definite_no_puts_everything_back(kit: Kit, word: str) -> None:
    paid = kit.pay(token=f"tok_refund_{word}")
    before = {code: kit.balance(code) for code in ("wallet:org-1:pending", "vat:FR")}
    failed = refund(kit, paid)
    assert failed.refund.state is RefundState.FAILED
    assert {code: kit.balance(code) for code in before} == before
    assert kit.balance("refund:cards:outgoing") == 0
    assert kit.show(paid).payment.refundable_minor == 10000
    kit.check()


def test_a_refund_that_fails_after_it_succeeded_is_seen_and_sent_again(kit: Kit) -> None:
    paid = kit.pay(token="tok_refund_fails_later:600")
    done = refund(kit, paid)
    assert done.refund.state is RefundState.SUCCEEDED
    kit.clock.advance(timedelta(minutes=20))
    kit.app.sync.payment(JANITOR, paid.payment.id)
    assert state_of(kit, done) is RefundState.REVERSED
    assert kit.balance("refund:cards:outgoing") == 10000
    [case] = kit.app.cases.list(kind="refund_failed_later")
    assert kit.our_totals() == kit.provider_totals()
    kit.check()
    again = kit.app.refunds.retry(OPERATOR, done.refund.id, reason="new card known")
    assert again.refund.state is RefundState.SUCCEEDED
    assert kit.app.cases.get(case.id).state == "resolved"
    kit.clock.advance(timedelta(minutes=20))
    kit.app.sync.payment(JANITOR, paid.payment.id)
    [second] = kit.app.cases.list(kind="refund_failed_later")
    kit.resolve(second.id, "released", "customer paid by hand")
    assert state_of(kit, done) is RefundState.FAILED
    assert kit.balance("refund:cards:outgoing") == 0
    assert kit.balance("wallet:org-1:pending") == 9400
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


def test_above_the_threshold_a_second_person_is_needed(kit: Kit) -> None:
    paid = kit.pay(amount_minor=50_000)
    asked = refund(kit, paid)
    assert asked.refund.state is RefundState.AWAITING_APPROVAL and asked.approval_id is not None
    assert kit.gateways["cards"].totals()["EUR"].refunded_minor == 0
    assert (
        kit.app.refunds.send(OPERATOR, asked.refund.id).refund.state
        is RefundState.AWAITING_APPROVAL
    )
    approval = kit.app.approvals.approve(APPROVER, asked.approval_id, "checked the order")
    kit.app.after_approval[approval.kind](APPROVER, approval)
    assert state_of(kit, asked) is RefundState.SUCCEEDED
    kit.check()


def test_a_rejected_refund_frees_the_amount(kit: Kit) -> None:
    paid = kit.pay(amount_minor=50_000)
    asked = refund(kit, paid)
    assert kit.show(paid).payment.refundable_minor == 0
    assert asked.approval_id is not None
    kit.app.approvals.reject(APPROVER, asked.approval_id, "no such event")
    kit.wait(seconds=1)
    assert state_of(kit, asked) is RefundState.REJECTED
    assert kit.show(paid).payment.refundable_minor == 50_000
    kit.check()


def test_an_approval_that_ran_out_frees_the_amount(kit: Kit) -> None:
    paid = kit.pay(amount_minor=50_000)
    asked = refund(kit, paid)
    kit.clock.advance(timedelta(hours=73))
    kit.app.approvals.expire(EXPIRY)
    kit.wait(seconds=1)
    assert state_of(kit, asked) is RefundState.REJECTED
    assert kit.show(paid).payment.refundable_minor == 50_000


def test_an_old_payment_always_needs_a_second_person(kit: Kit) -> None:
    paid = kit.pay()
    kit.clock.advance(timedelta(days=91))
    assert refund(kit, paid, 100).refund.state is RefundState.AWAITING_APPROVAL


def test_what_a_gateway_cannot_do_is_refused_before_anything(db: Database, tmp_path: Path) -> None:
    kit = make_kit(db, tmp_path, {"cards": {**CARDS, "refunds": "full"}})
    paid = kit.pay()
    with pytest.raises(Refused, match=r"refund\.only_full"):
        refund(kit, paid, 100)
    assert kit.show(paid).payment.refund_reserved_minor == 0


def test_a_refund_waits_while_its_gateway_is_down_and_is_sent_later(kit: Kit) -> None:
    paid = kit.pay()
    kit.app.breaker_desk.open(
        OPERATOR, "cards", "refund", lasting=timedelta(hours=1), reason="incident 12"
    )
    queued = refund(kit, paid)
    assert queued.refund.state is RefundState.APPROVED and not queued.attempts
    kit.app.breaker_desk.reset(OPERATOR, "cards", "refund", reason="over")
    kit.wait(minutes=20)
    assert state_of(kit, queued) is RefundState.SUCCEEDED
    kit.check()


def test_a_refund_waits_while_its_gateway_is_switched_off(kit: Kit) -> None:
    paid = kit.pay()
    kit.app.gateway_settings.set_state(OPERATOR, "cards", "disabled", reason="contract ended")
    queued = refund(kit, paid)
    assert queued.refund.state is RefundState.APPROVED and not queued.attempts
    kit.app.gateway_settings.set_state(OPERATOR, "cards", "draining", reason="finish what is open")
    kit.wait(minutes=2)
    assert state_of(kit, queued) is RefundState.SUCCEEDED


def test_a_reason_is_mandatory_and_holds_no_card(kit: Kit) -> None:
    paid = kit.pay()
    for reason in ("", "  ", "card 4242424242424242"):
        with pytest.raises(InvalidInput):
            kit.app.refunds.create(OPERATOR, paid.payment.id, key="r", reason=reason)


def test_rehearsing_posts_nothing_and_shows_what_will_be_posted(kit: Kit) -> None:
    paid = kit.pay()
    shown = kit.app.refunds.rehearse(
        OPERATOR, paid.payment.id, key="r1", reason="event moved", amount_minor=2500
    )
    assert kit.show(paid).payment.refund_reserved_minor == 0
    real = refund(kit, paid, 2500)
    entries = [[(j.kind, e.account, e.amount_minor) for e in j.entries] for j in shown.journals]
    assert entries == [
        [(j.kind, e.account, e.amount_minor) for e in j.entries] for j in real.journals
    ]


@pytest.mark.parametrize(
    ("again", "expected"),
    [(None, []), (4000, ["refund_paid_late"])],
    ids=["none since", "one since"],
)
def test_a_refund_paid_after_it_was_given_up_is_seen_where_another_was_made_since(
    db: Database, tmp_path: Path, again: int | None, expected: list[str]
) -> None:
    terms = {**CARDS, "resend_window_s": 0, "late_horizon_s": 60}
    kit = make_kit(db, tmp_path, {"cards": terms})
    paid = kit.pay()
    kit.gateways["cards"].add_script("refund late:3000")
    late = refund(kit, paid, 4000)
    for _ in range(6):
        kit.wait(minutes=1)
    assert state_of(kit, late) is RefundState.FAILED
    if again is not None:
        assert refund(kit, paid, again, key="r2").refund.state is RefundState.SUCCEEDED
    kit.clock.advance(timedelta(hours=1))
    kit.app.sync.payment(JANITOR, paid.payment.id)
    assert state_of(kit, late) is RefundState.SUCCEEDED
    assert [case.kind for case in kit.app.cases.list()] == expected
    assert kit.our_totals() == kit.provider_totals()
    kit.check()
    kit.gateways["cards"].close()
