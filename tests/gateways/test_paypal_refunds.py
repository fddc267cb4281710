"""PayPal's refunds: found again after lost answers, several captures, late failures."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from payctl.clock import ManualClock
from payctl.gateways.base import Reference, RejectKind
from tests.gateways.harnesses import START
from tests.gateways.paypal_calls import by, capture, held, paid, refund, request
from tests.gateways.paypal_harness import PaypalHarness

pytestmark = pytest.mark.gateways


@pytest.mark.parametrize("fault", ["drop_after", "503_after", "html_after", "truncated_after"])
def test_a_refund_whose_answer_was_lost_is_found_in_its_order(
    paypal: PaypalHarness, fault: str
) -> None:
    payment = paid(paypal)
    paypal.provider.fault(fault, "capture.refund")
    lost = paypal.gateway.refund_payment(refund(payment))
    assert lost.outcome == "unknown"
    asked = Reference("rfd_r", None, created_at=START, provider_data=lost.provider_data)
    found = paypal.gateway.query_refund(asked)
    assert (found.outcome, found.amount_minor) == ("succeeded", 1000)
    again = paypal.gateway.refund_payment(refund(payment))
    assert (again.outcome, again.provider_reference) == ("succeeded", found.provider_reference)
    assert paypal.refunded("EUR") == 1000


def test_a_refund_nobody_wrote_down_is_found_in_the_reports(paypal: PaypalHarness) -> None:
    payment = paid(paypal)
    paypal.provider.reports.late = timedelta(hours=3)
    made = paypal.gateway.refund_payment(refund(payment))
    asked = Reference("rfd_r", created_at=START)
    assert paypal.gateway.query_refund(asked).outcome == "not_found"
    clock = paypal.clock
    assert isinstance(clock, ManualClock)
    clock.advance(timedelta(hours=3, minutes=1))
    found = paypal.gateway.query_refund(asked)
    assert (found.outcome, found.amount_minor, found.provider_reference) == (
        "succeeded", 1000, made.provider_reference,
    )  # fmt: skip
    other = paypal.gateway.query_refund(replace(asked, our_reference="rfd_none"))
    assert other.outcome == "not_found"
    # Reports that are later than ever say nothing about a refund they cannot have.
    paypal.provider.reports.late = timedelta(hours=9)
    late = paypal.gateway.query_refund(replace(asked, our_reference="rfd_none"))
    assert late.outcome == "unknown"


def test_a_payment_of_several_captures_is_refunded_capture_by_capture(
    paypal: PaypalHarness,
) -> None:
    payment = held(paypal)
    paypal.gateway.capture_payment(capture(payment, 1000, "1", final=False))
    paypal.gateway.capture_payment(capture(payment, 1500, "2"))
    small = paypal.gateway.refund_payment(refund(payment, 900, "small"))
    large = paypal.gateway.refund_payment(refund(payment, 1400, "large"))
    assert (small.outcome, large.outcome) == ("succeeded", "succeeded")
    over = paypal.gateway.refund_payment(refund(payment, 150, "over"))
    assert (over.outcome, over.reject, over.message) == (
        "rejected", RejectKind.STATE, "largest 100: PayPal refunds one capture at a time",
    )  # fmt: skip
    again = paypal.gateway.refund_payment(refund(payment, 1400, "large"))
    assert again.provider_reference == large.provider_reference
    assert paypal.refunded("EUR") == 2300
    assert paypal.gateway.query_payment(by(payment)).amount_minor == 2500


def test_a_refund_may_fail_after_a_while(paypal: PaypalHarness) -> None:
    payment = paid(paypal)
    paypal.provider.fault("pending", "capture.refund")
    answer = paypal.gateway.refund_payment(refund(payment))
    assert (answer.outcome, answer.provider_code) == ("pending", "ECHECK")
    about = Reference("rfd_r", answer.provider_reference)
    for status, outcome in (("COMPLETED", "succeeded"), ("FAILED", "declined"),
                            ("CANCELLED", "canceled"), ("OF_TOMORROW", "pending")):  # fmt: skip
        paypal.provider.payments.settle_refund(str(answer.provider_reference), status)
        assert paypal.gateway.query_refund(about).outcome == outcome


def test_an_old_payment_is_refunded_by_its_stored_capture(paypal: PaypalHarness) -> None:
    payment = paid(paypal)
    del paypal.provider.books.orders[str(payment.provider_reference)]
    gone = paypal.gateway.refund_payment(refund(payment))
    assert (gone.outcome, gone.code) == ("rejected", "payment_not_found")
    back = paypal.gateway.refund_payment(refund(payment, provider_data=payment.provider_data))
    assert (back.outcome, paypal.refunded("EUR")) == ("succeeded", 1000)
    asked = Reference("rfd_r", None, created_at=START, provider_data=back.provider_data)
    assert paypal.gateway.query_refund(asked).outcome == "succeeded"


def test_refunds_that_cannot_be(paypal: PaypalHarness) -> None:
    nothing = paypal.gateway.refund_payment(
        refund(replace(paid(paypal, "x"), provider_reference=None))
    )
    assert nothing.code == "payment_not_found"
    open_ = paypal.gateway.refund_payment(refund(paypal.gateway.create_payment(request("y"))))
    assert (open_.code, open_.reject) == ("nothing_captured", RejectKind.STATE)
    payment = paid(paypal, "z")
    paypal.provider.advance(181 * 86_400)
    late = paypal.gateway.refund_payment(refund(payment))
    assert (late.provider_code, late.reject) == ("REFUND_TIME_LIMIT_EXCEEDED", RejectKind.STATE)
    paypal.provider.fault("issue:REFUND_FAILED_INSUFFICIENT_FUNDS", "capture.refund")
    poor = paypal.gateway.refund_payment(refund(payment))
    assert (poor.outcome, poor.code) == ("declined", "insufficient_funds")
    paypal.provider.fault("in_progress", "capture.refund")
    assert paypal.gateway.refund_payment(refund(payment)).outcome == "unknown"
    paypal.provider.fault("503", "order.get")
    assert paypal.gateway.refund_payment(refund(payment)).outcome == "not_sent"
