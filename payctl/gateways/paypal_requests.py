"""The bodies we send to PayPal. Pure: the same request makes the same body again.

Sources: Orders v2 ``order_request``, Payments v2 ``capture_request`` and ``refund_request``,
Payouts v1 ``create_payout_request``.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from payctl.gateways.base import CaptureRequest, PaymentRequest, PayoutRequest, RefundRequest
from payctl.gateways.paypal_money import money, payout_money

_EMAIL = r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+"
_DESCRIPTION, _NOTE = 127, 1000
#: kind of a :class:`Destination` -> PayPal's ``recipient_type``
RECIPIENTS = {"email": "EMAIL", "paypal_id": "PAYPAL_ID"}


class Page(NamedTuple):
    """How PayPal's page looks and where it sends the customer back to.

    Attributes:
        immediate_only: refuse means whose money comes days later (eCheck).
        soft_descriptor: on the customer's card statement, at most 22 letters with PayPal's own.
    """

    return_url: str | None = None
    cancel_url: str | None = None
    brand_name: str | None = None
    locale: str | None = None
    soft_descriptor: str | None = None
    immediate_only: bool = True


def intent_of(request: PaymentRequest) -> str:
    """``AUTHORIZE`` where a capture by hand follows."""
    return "AUTHORIZE" if request.manual_capture else "CAPTURE"


def order(request: PaymentRequest, page: Page) -> dict[str, Any]:
    """One order of one purchase unit, to be approved on PayPal's page.

    Our reference goes as ``custom_id`` (in reports and events, not shown) and as ``invoice_id``,
    which PayPal lets nobody pay twice: a second guard against a double charge.
    """
    unit: dict[str, Any] = {
        "custom_id": request.our_reference,
        "invoice_id": request.our_reference,
        "amount": money(request.amount_minor, request.currency),
    }
    if request.description:
        unit["description"] = request.description[:_DESCRIPTION]
    if page.soft_descriptor:
        unit["soft_descriptor"] = page.soft_descriptor
    wallet: dict[str, Any] = {"experience_context": _experience(request, page)}
    if request.email and re.fullmatch(_EMAIL, request.email):
        wallet["email_address"] = request.email
    return {
        "intent": intent_of(request),
        "purchase_units": [unit],
        "payment_source": {"paypal": wallet},
    }


def _experience(request: PaymentRequest, page: Page) -> dict[str, str]:
    context = {"user_action": "PAY_NOW", "shipping_preference": "NO_SHIPPING"}
    back = request.return_url or page.return_url
    away = request.cancel_url or page.cancel_url or back
    if back and away:
        context |= {"return_url": back, "cancel_url": away}
    if page.brand_name:
        context["brand_name"] = page.brand_name[:127]
    if page.locale:
        context["locale"] = page.locale
    if page.immediate_only and not request.manual_capture:
        context["payment_method_preference"] = "IMMEDIATE_PAYMENT_REQUIRED"
    return context


def capture(request: CaptureRequest) -> dict[str, Any]:
    """One capture of an authorisation. Its own reference is the ``invoice_id``, by which a capture
    whose answer was lost is found again; the ``custom_id`` stays that of the authorisation.
    """
    return {
        "amount": money(request.amount_minor, request.currency),
        "invoice_id": request.our_reference,
        "final_capture": request.final,
    }


def refund(request: RefundRequest) -> dict[str, Any]:
    """One refund. The operator's reason stays with us: PayPal would show it to the payer."""
    return {
        "amount": money(request.amount_minor, request.currency),
        "custom_id": request.our_reference,
    }


def payout(request: PayoutRequest) -> dict[str, Any]:
    """A batch of one item. ``sender_batch_id`` is what PayPal never pays twice within 30 days;
    ``sender_item_id`` is what its reports show.
    """
    item: dict[str, Any] = {
        "recipient_type": RECIPIENTS[request.destination.kind],
        "receiver": request.destination.value,
        "amount": payout_money(request.amount_minor, request.currency),
        "sender_item_id": request.our_reference,
    }
    if request.description:
        item["note"] = request.description[:_NOTE]
    return {"sender_batch_header": {"sender_batch_id": request.our_reference}, "items": [item]}
