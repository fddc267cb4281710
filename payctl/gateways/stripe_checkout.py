"""Stripe's hosted page (docs.stripe.com/api/checkout/sessions): the redirect flow.

The session is what we make; its payment intent exists only once the customer pays, so until then a
payment is known by the session's id (``cs_…``) and afterwards by the intent's (``pi_…``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from payctl.clock import Clock
from payctl.gateways import stripe_requests as requests
from payctl.gateways.base import Answer, NextAction, Outcome, PaymentRequest, Reference
from payctl.gateways.checks import rejected
from payctl.gateways.http import Reply
from payctl.gateways.stripe_answers import FLOW, REF, failed, of_intent, read, unreadable
from payctl.gateways.stripe_money import to_stripe
from payctl.gateways.stripe_sdk import Sdk

if TYPE_CHECKING:
    from stripe.params.checkout._session_create_params import SessionCreateParams
    from stripe.params.checkout._session_list_params import SessionListParams

EXPAND = ["payment_intent.latest_charge.balance_transaction"]
_MAX_PAGES = 20


class Checkout:
    """Sessions of one account."""

    def __init__(self, sdk: Sdk, clock: Clock) -> None:
        self._sdk = sdk
        self._clock = clock

    def create(self, request: PaymentRequest) -> Answer:
        """A page for the customer; answers ``REQUIRES_ACTION`` with its address."""
        if not request.return_url:
            return rejected("return_url_missing", "the page must send its customer back somewhere")
        params = _session(request)
        return self._ask(
            request.deadline_s,
            lambda v1: v1.checkout.sessions.create(
                params, {"idempotency_key": request.idempotency_key}
            ),
        )

    def query(self, session_id: str, deadline_s: float) -> Answer:
        """The session, or its intent once there is one."""
        return self._ask(
            deadline_s, lambda v1: v1.checkout.sessions.retrieve(session_id, {"expand": EXPAND})
        )

    def find(self, reference: Reference) -> Answer:
        """The newest session that carries our reference."""
        since = requests.lookback(reference.created_at, self._clock.now())
        until = self._clock.monotonic() + reference.deadline_s
        params: SessionListParams = {
            "limit": requests.PAGE, "created": {"gte": int(since.timestamp())},
        }  # fmt: skip
        for _ in range(_MAX_PAGES):
            left = until - self._clock.monotonic()
            if left <= 0:
                break
            reply = self._sdk.ask(left, lambda v1: v1.checkout.sessions.list(params))
            bad = reply if isinstance(reply, Answer) else failed(reply)
            if bad is not None:
                return bad
            assert isinstance(reply, Reply)
            data = read(reply) or {}
            items = data.get("data")
            if not isinstance(items, list):
                return unreadable(reply)
            for item in items:
                if item.get("client_reference_id") == reference.our_reference:
                    return self.query(str(item["id"]), left)
            if not data.get("has_more") or not items:
                return Answer(Outcome.NOT_FOUND)
            params["starting_after"] = str(items[-1]["id"])
        return Answer(Outcome.UNKNOWN, message="the list is longer than we read")

    def expire(self, session_id: str, deadline_s: float, idempotency_key: str) -> Answer:
        """Close the page; the customer cannot pay on it any more."""
        answer = self._ask(
            deadline_s,
            lambda v1: v1.checkout.sessions.expire(
                session_id, None, {"idempotency_key": idempotency_key}
            ),
        )
        if answer.outcome is Outcome.EXPIRED:
            return replace(answer, outcome=Outcome.CANCELED)
        return answer

    def _ask(self, deadline_s: float, act: Any) -> Answer:
        reply = self._sdk.ask(deadline_s, act)
        bad = reply if isinstance(reply, Answer) else failed(reply)
        if bad is not None:
            return bad
        assert isinstance(reply, Reply)
        data = read(reply)
        if data is None or data.get("object") != "checkout.session":
            return unreadable(reply)
        try:
            return _of_session(data, reply)
        except (KeyError, TypeError, ValueError, AttributeError):
            return unreadable(reply, "a session without its fields")


def _session(request: PaymentRequest) -> SessionCreateParams:
    """Made of the request alone, so that one sent again under its key is the same. Stripe closes
    the page after 24 hours.
    """
    amount = to_stripe(request.amount_minor, request.currency)
    metadata = requests.metadata_of(request) | {REF: request.our_reference, FLOW: "client"}
    intent: dict[str, Any] = {"metadata": metadata}
    if request.manual_capture:
        intent["capture_method"] = "manual"
    if request.description:
        intent["description"] = request.description[:1000]
    params: SessionCreateParams = {
        "mode": "payment",
        "client_reference_id": request.our_reference,
        "metadata": metadata,
        "success_url": str(request.return_url),
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": request.currency.lower(),
                    "unit_amount": int(amount or 0),
                    "product_data": {"name": request.description[:250] or request.our_reference},
                },
            }
        ],
        "payment_intent_data": intent,  # type: ignore[typeddict-item]
        "expand": EXPAND,
    }
    if request.cancel_url:
        params["cancel_url"] = request.cancel_url
    if request.email:
        params["customer_email"] = request.email
    return params


def _of_session(session: Mapping[str, Any], reply: Reply) -> Answer:
    """What a session says: its intent's answer once it is paid or under way.

    A page on which a card was declined stays open for another one.
    """
    ours = session.get("client_reference_id")
    intent = session.get("payment_intent")
    status = str(session["status"])
    answer = Answer(
        Outcome.REQUIRES_ACTION,
        provider_reference=str(session["id"]),
        our_reference=str(ours) if ours else None,
        provider_code=status,
        http_status=reply.status,
        latency_ms=reply.latency_ms,
        exchange=reply.exchange,
    )
    if status == "expired":
        return replace(answer, outcome=Outcome.EXPIRED)
    if isinstance(intent, dict):
        told = of_intent(intent, reply)
        if status == "complete" or told.outcome in (Outcome.SUCCEEDED, Outcome.AUTHORIZED):
            return replace(told, our_reference=told.our_reference or answer.our_reference)
    if status == "complete":
        return replace(answer, outcome=Outcome.PENDING)
    expires = session.get("expires_at")
    action = NextAction(
        "redirect",
        url=str(session["url"]) if session.get("url") else None,
        expires_at=datetime.fromtimestamp(int(expires), UTC) if expires else None,
    )
    return replace(answer, next_action=action)
