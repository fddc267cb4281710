"""Requests to PayPal, for its tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from payctl.gateways.base import (
    Answer,
    CaptureRequest,
    Destination,
    PaymentRequest,
    PayoutRequest,
    Reference,
    RefundRequest,
)
from tests.gateways.paypal_harness import PAGE, PaypalHarness


def request(name: str = "a", **changes: Any) -> PaymentRequest:
    made = PaymentRequest(f"att_{name}", f"key_{name}", 2500, "EUR", "paypal", **PAGE)
    return replace(made, **changes)


def by(answer: Answer, **changes: Any) -> Reference:
    """What is stored after *answer*, without what it gave besides."""
    made = Reference(answer.our_reference, answer.provider_reference)
    return replace(made, **changes)


def approved(paypal: PaypalHarness, name: str = "a", **changes: Any) -> Reference:
    """A payment that its customer has approved."""
    answer = paypal.gateway.create_payment(request(name, **changes))
    assert answer.outcome == "requires_action", answer
    paypal.provider.approve(str(answer.provider_reference))
    return by(answer, created_at=paypal.clock.now())


def paid(paypal: PaypalHarness, name: str = "a", **changes: Any) -> Answer:
    """A payment approved and completed, whatever came of it."""
    about = approved(paypal, name, **changes)
    return paypal.gateway.complete_payment(about, f"key_{name}_done")


def captured(paypal: PaypalHarness, name: str, **changes: Any) -> str:
    """PayPal's id of the capture of a new payment."""
    return paid(paypal, name, **changes).provider_data["capture_id"]


def held(paypal: PaypalHarness, name: str = "m", **changes: Any) -> Answer:
    """A payment of which the money is reserved."""
    answer = paid(paypal, name, manual_capture=True, **changes)
    assert answer.outcome == "authorized", answer
    return answer


def capture(payment: Answer, amount: int = 1000, name: str = "1", **changes: Any) -> CaptureRequest:
    about = by(payment)
    made = CaptureRequest(about, f"cap_{name}", f"key_cap_{name}", amount, "EUR")
    return replace(made, **changes)


def refund(
    payment: Answer,
    amount: int = 1000,
    name: str = "r",
    *,
    provider_data: Any = None,
    **changes: Any,
) -> RefundRequest:
    about = by(payment, provider_data=provider_data or {})
    made = RefundRequest(about, f"rfd_{name}", f"key_rfd_{name}", amount, "EUR")
    return replace(made, **changes)


def payout(to: str | Destination, name: str = "o", **changes: Any) -> PayoutRequest:
    receiver = Destination("email", to) if isinstance(to, str) else to
    made = PayoutRequest(f"att_out_{name}", f"key_out_{name}", 5000, "EUR", receiver)
    return replace(made, **changes)
