"""What a gateway refuses before any byte leaves: declared capabilities, held against a request.

Asking a provider to find out that it does not know the currency costs an exchange and, after a
timeout, an unknown outcome. Each adapter calls these first.
"""

from __future__ import annotations

from payctl.gateways.base import (
    Answer,
    Capabilities,
    CaptureRequest,
    Outcome,
    PaymentRequest,
    Reference,
    RefundRequest,
    RejectKind,
)


def rejected(code: str, message: str = "", kind: RejectKind = RejectKind.VALIDATION) -> Answer:
    """A refusal of our own, before any exchange."""
    return Answer(Outcome.REJECTED, code=code, reject=kind, message=message or None)


def refuse_payment(can: Capabilities, request: PaymentRequest) -> Answer | None:
    """Why *request* cannot go to this gateway, or ``None``. Amounts in minor units."""
    if request.method not in can.methods:
        return rejected("method_not_supported", request.method)
    if can.currencies is not None and request.currency not in can.currencies:
        return rejected("currency_not_supported", request.currency)
    if can.countries is not None and request.country and request.country not in can.countries:
        return rejected("country_not_supported", request.country)
    if request.manual_capture and not can.manual_capture:
        return rejected("not_supported", "manual capture")
    smallest, largest = can.limits.get(request.currency, (1, request.amount_minor))
    if request.amount_minor < smallest:
        return rejected("amount_too_small", f"smallest {smallest}")
    if request.amount_minor > largest:
        return rejected("amount_too_large", f"largest {largest}")
    return None


def refuse_capture(can: Capabilities, request: CaptureRequest) -> Answer | None:
    """Why this capture cannot go to this gateway, or ``None``."""
    if not can.manual_capture:
        return rejected("not_supported", "manual capture")
    return None if request.amount_minor > 0 else rejected("amount_too_small", "smallest 1")


def refuse_refund(can: Capabilities, request: RefundRequest) -> Answer | None:
    """Why this refund cannot go to this gateway, or ``None``."""
    if can.refunds == "none":
        return rejected("not_supported", "refunds")
    whole = request.payment.amount_minor
    if can.refunds == "full" and whole is not None and request.amount_minor != whole:
        return rejected("partial_refund_not_supported")
    return None if request.amount_minor > 0 else rejected("amount_too_small", "smallest 1")


def refuse_query(can: Capabilities, reference: Reference) -> Answer | None:
    """Why the provider cannot be asked by what we know, or ``None``."""
    known = set()
    if reference.our_reference:
        known.add("our_reference")
    if reference.provider_reference:
        known.add("provider_reference")
    return None if known & can.query_by else rejected("not_supported", "query by this reference")
