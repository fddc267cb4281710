"""What is sent to a provider, made from what is stored: the same rows give the same request, so a
request that is sent again is the one that was sent.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from uuid import UUID

from payctl.db.types import canonical
from payctl.errors import Conflict
from payctl.gateways.base import (
    CaptureRequest,
    PaymentRequest,
    PayoutRequest,
    Reference,
    RefundRequest,
)
from payctl.ids import encode
from payctl.payments.model import Operation
from payctl.payments.records import Attempt, Capture, Payment, Refund


@dataclass(frozen=True, slots=True)
class Target:
    """What an attempt is about: the payment, and the capture or refund where it is one."""

    payment: Payment
    capture: Capture | None = None
    refund: Refund | None = None
    #: the attempt that took the money which is captured, voided or given back
    collected: Attempt | None = None


def payment_request(attempt: Attempt, target: Target, deadline_s: float) -> PaymentRequest:
    payment = target.payment
    return PaymentRequest(
        our_reference=attempt.our_reference,
        idempotency_key=attempt.idempotency_key,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        method=payment.method,
        description=payment.description,
        email=payment.email,
        phone=payment.phone,
        country=payment.country,
        return_url=payment.return_url,
        cancel_url=payment.cancel_url,
        manual_capture=payment.manual_capture,
        payment_token=payment.payment_token,
        metadata={"payment": encode("payment", payment.id), **payment.metadata},
        deadline_s=deadline_s,
    )


def capture_request(attempt: Attempt, target: Target, deadline_s: float) -> CaptureRequest:
    part = target.capture
    return CaptureRequest(
        payment=collected_reference(target, deadline_s),
        our_reference=attempt.our_reference,
        idempotency_key=attempt.idempotency_key,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        final=part.final if part is not None else True,
        deadline_s=deadline_s,
    )


def refund_request(attempt: Attempt, target: Target, deadline_s: float) -> RefundRequest:
    return RefundRequest(
        payment=collected_reference(target, deadline_s),
        our_reference=attempt.our_reference,
        idempotency_key=attempt.idempotency_key,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        reason=target.refund.reason if target.refund is not None else "",
        deadline_s=deadline_s,
    )


def payout_request(attempt: Attempt, target: Target, deadline_s: float) -> PayoutRequest:
    """A refund that goes back as a payout; its destination was fixed when it was asked for."""
    refund = target.refund
    payee = refund.payee() if refund is not None else None
    if payee is None:
        raise Conflict("refund.payer_unknown", id=encode("payment", target.payment.id))
    return PayoutRequest(
        our_reference=attempt.our_reference,
        idempotency_key=attempt.idempotency_key,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        destination=payee,
        description=target.payment.description,
        deadline_s=deadline_s,
    )


def collected_reference(target: Target, deadline_s: float) -> Reference:
    if target.collected is None:
        raise Conflict("payment.nothing_collected", id=encode("payment", target.payment.id))
    return replace(target.collected.reference(), deadline_s=deadline_s)


def request_hash(
    operation: Operation,
    subject_id: UUID,
    account: str,
    our_reference: str,
    idempotency_key: str,
    amount_minor: int,
    currency: str,
) -> bytes:
    """SHA-256 of what will be asked: proves later that a repeated key carried the same request."""
    asked = {
        "operation": str(operation), "subject_id": str(subject_id), "gateway_account": account,
        "our_reference": our_reference, "idempotency_key": idempotency_key,
        "amount_minor": str(amount_minor), "currency": currency,
    }  # fmt: skip
    return hashlib.sha256(canonical(asked).encode()).digest()


def describe(request: PaymentRequest) -> dict[str, object]:
    """A provider request as a dry run shows it: without keys and personal data."""
    fields = asdict(request)
    for name in (
        "idempotency_key",
        "our_reference",
        "email",
        "phone",
        "payment_token",
        "deadline_s",
    ):
        fields.pop(name)
    return {name: value for name, value in fields.items() if value not in (None, "", {}, ())}
