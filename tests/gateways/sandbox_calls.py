"""Short calls of the sandbox, for its tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from payctl.gateways.base import (
    Answer,
    PaymentRequest,
    Reference,
    RefundRequest,
)
from payctl.gateways.sandbox import SandboxGateway


def pay(gateway: SandboxGateway, name: str, token: str = "tok_ok", **changes: Any) -> Answer:
    request = PaymentRequest(
        our_reference=f"att_{name}",
        idempotency_key=f"key_{name}",
        amount_minor=2500,
        currency="EUR",
        method="card",
        payment_token=token,
    )
    return gateway.create_payment(replace(request, **changes))


def ask(gateway: SandboxGateway, name: str) -> Answer:
    return gateway.query_payment(Reference(our_reference=f"att_{name}"))


def give_back(gateway: SandboxGateway, name: str, amount: int = 2500, nr: str = "1") -> Answer:
    return gateway.refund_payment(
        RefundRequest(
            Reference(our_reference=f"att_{name}"),
            f"rfd_{name}_{nr}",
            f"key_rfd_{name}_{nr}",
            amount,
            "EUR",
        )
    )


def ask_refund(gateway: SandboxGateway, name: str) -> Answer:
    return gateway.query_refund(Reference(our_reference=f"rfd_{name}_1"))


def taken(gateway: SandboxGateway) -> int:
    totals = gateway.totals()
    return totals["EUR"].captured_minor if "EUR" in totals else 0
