"""Payments and refunds as JSON objects: what ``--json`` prints and the core service reads.

Within a schema's version keys are only added. Money is flat (``amount_minor`` beside ``currency``),
ids are public ids, a phone number is masked, a payment token is never shown, and a client secret
stands only in the answer of the very act that received it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import UUID

from payctl.ids import encode
from payctl.pan import mask_phone
from payctl.payments.destinations import masked
from payctl.payments.details import PaymentDetail, RefundDetail
from payctl.payments.model import Operation, PaymentStatus, RefundState, legacy_status
from payctl.payments.records import Attempt, Capture, Payment, Refund

if TYPE_CHECKING:
    from payctl.gateways.base import NextAction
    from payctl.payments.statistics import Statistic

PAYMENT = "payctl.payment/1"
PAYMENTS = "payctl.payments/1"
REFUND = "payctl.refund/1"
REFUNDS = "payctl.refunds/1"


def payment_json(
    found: PaymentDetail,
    *,
    next_action: NextAction | None = None,
    replayed: bool = False,
    reveal: bool = False,
) -> dict[str, Any]:
    """A payment.

    Args:
        next_action: as the provider has just given it, with its secret; default: as stored.
        reveal: show the phone number in full; whoever asks for it has been audited.
    """
    payment, current = found.payment, _current(found)
    action = _fresh(next_action) if next_action is not None else _stored(payment, current)
    phone = payment.phone
    return {
        "id": encode("payment", payment.id),
        "status": str(payment.status),
        "legacy_status": legacy_status(
            payment.status, payment.captured_minor, payment.refunded_minor
        ),
        "amount_minor": payment.amount_minor,
        "currency": payment.currency,
        "authorized_minor": payment.authorized_minor,
        "captured_minor": payment.captured_minor,
        "refund_reserved_minor": payment.refund_reserved_minor,
        "refunded_minor": payment.refunded_minor,
        "order": payment.order_ref,
        "event": payment.event_ref,
        "organiser": payment.organiser,
        "user": payment.user_ref,
        "email": payment.email,
        "phone": phone if reveal or phone is None else mask_phone(phone),
        "country": payment.country,
        "method": payment.method,
        "sale_type": payment.sale_type,
        "capture": "manual" if payment.manual_capture else "automatic",
        "description": payment.description,
        "metadata": dict(payment.metadata),
        "preferred": list(payment.preferred),
        "gateway": payment.gateway_account,
        "provider_reference": current.provider_reference if current else None,
        "next_action": action,
        "failure_code": payment.failure_code,
        "needs_review": payment.needs_review,
        "late": payment.late,
        "replayed": replayed,
        "attempts": [attempt_json(each) for each in found.attempts],
        "captures": [_capture(each, payment.currency) for each in found.captures],
        "created_at": payment.created_at,
        "updated_at": payment.updated_at,
        "expires_at": payment.expires_at,
        "next_check_at": payment.next_check_at,
    }


def payment_full_json(found: PaymentDetail, *, reveal: bool = False) -> dict[str, Any]:
    """A payment with its lines, refunds and route decision: what ``payments show`` prints."""
    payment = found.payment
    return {
        **payment_json(found, reveal=reveal),
        "lines": [_line(each, payment.currency) for each in found.lines],
        "refunds": [_refund_line(each) for each in found.refunds],
        "return_url": payment.return_url,
        "cancel_url": payment.cancel_url,
        "route": payment.route,
        "created_by": payment.created_by,
    }


def refund_json(
    found: RefundDetail, *, replayed: bool = False, approval_reason: str | None = None
) -> dict[str, Any]:
    """A refund."""
    refund = found.refund
    last = found.attempts[-1] if found.attempts else None
    return {
        **_refund_line(refund),
        "source": refund.source,
        "keep_commission": refund.keep_commission,
        "approval_reason": approval_reason,
        "provider_reference": last.provider_reference if last else None,
        "requested_by": refund.requested_by,
        "replayed": replayed,
        "attempts": [attempt_json(each) for each in found.attempts],
        "updated_at": refund.updated_at,
        "next_check_at": refund.next_check_at,
    }


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """One request to one provider, without its key."""
    return {
        "id": encode("attempt", attempt.id),
        "operation": str(attempt.operation),
        "no": attempt.no,
        "gateway": attempt.gateway_account,
        "status": str(attempt.state),
        "amount_minor": attempt.amount_minor,
        "currency": attempt.currency,
        "our_reference": attempt.our_reference,
        "provider_reference": attempt.provider_reference,
        "code": attempt.code,
        "provider_code": attempt.provider_code,
        "message": attempt.message,
        "checks": attempt.checks,
        "next_check_at": attempt.next_check_at,
        "created_at": attempt.created_at,
        "updated_at": attempt.updated_at,
    }


def statistic_json(line: Statistic) -> dict[str, Any]:
    """One line of statistics."""
    return asdict(line)


def _current(found: PaymentDetail) -> Attempt | None:
    """The attempt that speaks for the payment."""
    for attempt in found.attempts:
        if attempt.id == found.payment.attempt_id:
            return attempt
    return None


def _fresh(action: NextAction) -> dict[str, Any]:
    fields = asdict(action)
    return {name: value for name, value in fields.items() if value is not None}


def _stored(payment: Payment, attempt: Attempt | None) -> dict[str, Any] | None:
    """What the customer still has to do; a secret was never stored, so none can be shown."""
    waits = payment.status is PaymentStatus.REQUIRES_ACTION
    if not waits or attempt is None or attempt.next_action is None:
        return None
    return dict(attempt.next_action)


def _capture(part: Capture, currency: str) -> dict[str, Any]:
    return {
        "id": encode("capture", part.id),
        "no": part.no,
        "status": part.state,
        "amount_minor": part.amount_minor,
        "currency": currency,
        "final": part.final,
        "created_at": part.created_at,
    }


def _line(line: Mapping[str, Any], currency: str) -> dict[str, Any]:
    return {
        "no": line["no"],
        "description": line["description"],
        "quantity": line["quantity"],
        "unit_price_minor": line["unit_price_minor"],
        "vat_ppm": line["vat_ppm"],
        "currency": currency,
    }


def _refund_line(refund: Refund) -> dict[str, Any]:
    return {
        "id": encode("refund", refund.id),
        "payment": encode("payment", refund.payment_id),
        "status": str(refund.state),
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
        "gateway": refund.gateway_account,
        "way": str(refund.way),
        "destination": _destination(refund),
        "reason": refund.reason,
        "failure_code": refund.failure_code,
        "approval": _approval(refund.approval_id),
        "created_at": refund.created_at,
    }


def _destination(refund: Refund) -> str | None:
    """Where a payout of it goes, masked; the provider's own refund knows by itself."""
    payee = refund.payee()
    return masked(payee) if payee is not None else None


def _approval(approval_id: UUID | None) -> str | None:
    return encode("approval", approval_id) if approval_id is not None else None


def waits_for_approval(refund: Refund) -> bool:
    """Whether a second person has to say yes first."""
    return refund.state is RefundState.AWAITING_APPROVAL


def collects(attempts: Sequence[Attempt]) -> list[Attempt]:
    """The attempts that asked for the customer's money."""
    return [attempt for attempt in attempts if attempt.operation is Operation.COLLECT]
