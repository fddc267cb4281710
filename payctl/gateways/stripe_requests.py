"""The requests we send to Stripe, as the library's typed parameters. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from payctl.gateways.base import CaptureRequest, PaymentRequest, RefundRequest
from payctl.gateways.stripe_answers import FLOW, REF
from payctl.gateways.stripe_money import to_stripe

if TYPE_CHECKING:
    from stripe.params._event_list_params import EventListParams
    from stripe.params._payment_intent_capture_params import PaymentIntentCaptureParams
    from stripe.params._payment_intent_create_params import PaymentIntentCreateParams
    from stripe.params._payment_intent_list_params import PaymentIntentListParams
    from stripe.params._refund_create_params import RefundCreateParams
    from stripe.params._refund_list_params import RefundListParams

#: The fee is on the balance transaction of the charge; asking for it here saves two exchanges.
EXPAND = ["latest_charge.balance_transaction"]
PAGE = 100
#: Stripe bounds metadata: 50 pairs, names of 40 letters, values of 500.
_PAIRS, _NAME, _VALUE = 48, 40, 500
#: Our clock and theirs may differ; a payment is looked for from this much earlier.
_SLACK = timedelta(minutes=10)


def intent(request: PaymentRequest, *, plain: bool) -> PaymentIntentCreateParams:
    """One intent; confirmed in the same request when we hold the means of payment.

    Args:
        plain: leave out what only newer servers know (localstripe refuses it).
    """
    metadata = metadata_of(request) | {
        REF: request.our_reference,
        FLOW: "server" if request.payment_token else "client",
    }
    params: PaymentIntentCreateParams = {
        "amount": _amount(request.amount_minor, request.currency),
        "currency": request.currency.lower(),
        "metadata": metadata,
        "expand": EXPAND,
    }
    if request.customer_reference:
        params["customer"] = request.customer_reference
    if request.manual_capture:
        params["capture_method"] = "manual"
    if request.payment_token:
        params["payment_method"] = request.payment_token
        params["confirm"] = True
    if plain:
        return params
    if request.description:
        params["description"] = request.description[:1000]
    if request.manual_capture:
        params["payment_method_options"] = {"card": {"request_multicapture": "if_available"}}
    if request.payment_token and request.return_url:
        params["return_url"] = request.return_url
        params["automatic_payment_methods"] = {"enabled": True}
    elif request.payment_token:
        # Without an address to come back to, a method that sends the customer away would fail.
        params["automatic_payment_methods"] = {"enabled": True, "allow_redirects": "never"}
    else:
        params["automatic_payment_methods"] = {"enabled": True}
    return params


def metadata_of(request: PaymentRequest) -> dict[str, str]:
    """The caller's metadata, cut to what Stripe takes."""
    return {name[:_NAME]: value[:_VALUE] for name, value in list(request.metadata.items())[:_PAIRS]}


def capture(request: CaptureRequest) -> PaymentIntentCaptureParams:
    """One capture; ``final_capture`` is sent only when more are to follow."""
    params: PaymentIntentCaptureParams = {
        "amount_to_capture": _amount(request.amount_minor, request.currency),
        "expand": EXPAND,
    }
    if not request.final:
        params["final_capture"] = False
    return params


def refund(request: RefundRequest, intent_id: str) -> RefundCreateParams:
    """One refund of an intent."""
    params: RefundCreateParams = {
        "payment_intent": intent_id,
        "amount": _amount(request.amount_minor, request.currency),
        "metadata": {REF: request.our_reference},
    }
    if request.reason in ("duplicate", "fraudulent", "requested_by_customer"):
        params["reason"] = request.reason
    return params


def intents_since(since: datetime, after: str, *, plain: bool) -> PaymentIntentListParams:
    """One page of intents created since, newest first, after the id *after* if given."""
    params: PaymentIntentListParams = {"limit": PAGE}
    if not plain:
        params["created"] = {"gte": _seconds(since)}
    if after:
        params["starting_after"] = after
    return params


def events_since(since: datetime, after: str, *, plain: bool) -> EventListParams:
    """One page of events made since, newest first."""
    params: EventListParams = {"limit": PAGE}
    if not plain:
        params["created"] = {"gte": _seconds(since)}
    if after:
        params["starting_after"] = after
    return params


def refunds_since(since: datetime, after: str, *, plain: bool) -> RefundListParams:
    """One page of refunds created since, newest first."""
    params: RefundListParams = {"limit": PAGE}
    if not plain:
        params["created"] = {"gte": _seconds(since)}
    if after:
        params["starting_after"] = after
    return params


def lookback(created_at: datetime | None, now: datetime) -> datetime:
    """From when to look for an object we only have our own reference of."""
    return (created_at or now - timedelta(days=2)) - _SLACK


def _amount(amount_minor: int, currency: str) -> int:
    amount = to_stripe(amount_minor, currency)
    if amount is None:
        # The adapter refuses such an amount before it builds a request.
        raise ValueError(f"{amount_minor} {currency} cannot be expressed at Stripe")
    return amount


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
