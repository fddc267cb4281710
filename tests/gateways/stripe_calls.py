"""Requests to Stripe, for its tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from payctl.gateways.base import (
    Answer,
    PaymentRequest,
    Reference,
    RefundRequest,
)


def request(name: str = "a", **changes: Any) -> PaymentRequest:
    return replace(
        PaymentRequest(
            f"att_{name}", f"key_{name}", 2500, "EUR", "card", payment_token="pm_card_visa"
        ),
        **changes,
    )


def known(answer: Answer) -> Reference:
    return Reference(provider_reference=answer.provider_reference)


def by_ours(name: str = "a", **changes: Any) -> Reference:
    return replace(Reference(our_reference=f"att_{name}", created_at=datetime.now(UTC)), **changes)


def refund(
    payment: Reference, amount: int = 1000, name: str = "r", **changes: Any
) -> RefundRequest:
    return replace(RefundRequest(payment, f"rfd_{name}", f"key_{name}", amount, "EUR"), **changes)
