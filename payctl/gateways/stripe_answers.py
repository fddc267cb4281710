"""What Stripe's objects and errors mean in our words. Pure: JSON in, :class:`Answer` out.

Sources: docs.stripe.com/api/payment_intents/object, /api/refunds/object, /error-low-level,
/error-codes and /declines/codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from payctl.gateways.base import (
    Answer,
    BalanceLine,
    Event,
    Fee,
    NextAction,
    Outcome,
    Reference,
    RejectKind,
)
from payctl.gateways.exchange import text as scrubbed
from payctl.gateways.http import Reply, answer_without_success
from payctl.gateways.stripe_money import from_stripe

#: Where our reference stands at Stripe, and how the customer pays (``server``: we sent the means
#: of payment and confirmed; ``client``: the customer's page does, perhaps several times).
REF, FLOW = "payctl_ref", "payctl_flow"

#: ``decline_code``, or ``code`` where there is none, to our normalised code.
DECLINES: dict[str, str] = {
    "approve_with_id": "issuer_unavailable",
    "authentication_not_handled": "authentication_required",
    "authentication_required": "authentication_required",
    "call_issuer": "card_declined",
    "card_not_supported": "not_permitted",
    "card_velocity_exceeded": "limit_exceeded",
    "currency_not_supported": "currency_not_supported",
    "do_not_honor": "card_declined",
    "do_not_try_again": "card_declined",
    "duplicate_transaction": "duplicate",
    "expired_card": "expired_card",
    "fraudulent": "fraud_suspected",
    "generic_decline": "card_declined",
    "highest_risk_level": "fraud_suspected",
    "incorrect_address": "card_declined",
    "incorrect_cvc": "incorrect_cvc",
    "incorrect_number": "incorrect_number",
    "incorrect_pin": "wrong_pin",
    "incorrect_zip": "card_declined",
    "insufficient_funds": "insufficient_funds",
    "invalid_account": "not_permitted",
    "invalid_amount": "limit_exceeded",
    "invalid_cvc": "incorrect_cvc",
    "invalid_expiry_month": "expired_card",
    "invalid_expiry_year": "expired_card",
    "invalid_number": "incorrect_number",
    "invalid_pin": "wrong_pin",
    "issuer_not_available": "issuer_unavailable",
    "lost_card": "lost_or_stolen",
    "merchant_blacklist": "fraud_suspected",
    "mobile_device_authentication_required": "authentication_required",
    "new_account_information_available": "card_declined",
    "no_action_taken": "card_declined",
    "not_permitted": "not_permitted",
    "offline_pin_required": "wrong_pin",
    "online_or_offline_pin_required": "wrong_pin",
    "pickup_card": "lost_or_stolen",
    "pin_try_exceeded": "wrong_pin",
    "previously_declined_do_not_retry": "card_declined",
    "processing_error": "processing_error",
    "reenter_transaction": "processing_error",
    "requested_block_on_incorrect_cvc": "incorrect_cvc",
    "restricted_card": "lost_or_stolen",
    "revocation_of_all_authorizations": "card_declined",
    "revocation_of_authorization": "card_declined",
    "rule": "fraud_suspected",
    "security_violation": "fraud_suspected",
    "service_not_allowed": "not_permitted",
    "stolen_card": "lost_or_stolen",
    "stop_payment_order": "card_declined",
    "testmode_decline": "card_declined",
    "transaction_not_allowed": "not_permitted",
    "try_again_later": "issuer_unavailable",
    "withdrawal_count_limit_exceeded": "limit_exceeded",
    # codes without a decline_code
    "card_declined": "card_declined",
    "card_decline_rate_limit_exceeded": "limit_exceeded",
    "authentication_failure": "authentication_failed",
    "payment_intent_authentication_failure": "authentication_failed",
    "payment_intent_payment_attempt_expired": "customer_timeout",
    "payment_intent_payment_attempt_failed": "card_declined",
    "payment_method_customer_decline": "customer_canceled",
    "payment_method_provider_decline": "card_declined",
    "payment_method_provider_timeout": "processing_error",
    "payment_method_restricted": "not_permitted",
    "payment_method_not_available": "gateway_specific",
    "charge_exceeds_transaction_limit": "limit_exceeded",
    "three_d_secure_authentication_not_supported": "authentication_failed",
    "three_d_secure_authentication_upstream_error": "processing_error",
}

#: Errors that say the object is not in a state for it: look at the object, then decide.
STATE_ERRORS = frozenset(
    {
        "capture_charge_authorization_expired", "capture_unauthorized_payment",
        "charge_already_captured", "charge_already_refunded", "charge_disputed",
        "charge_expired_for_capture", "charge_not_refundable", "intent_invalid_state",
        "payment_intent_unexpected_state", "payment_method_unexpected_state",
        "refund_disputed_payment", "status_transition_invalid",
    }
)  # fmt: skip

_KINDS = {
    "payment_intent": "payment",
    "charge": "payment",
    "refund": "refund",
    "dispute": "dispute",
    "checkout.session": "payment",
    "payout": "payout",
    "transfer": "payout",
}
_FINAL = {"canceled": Outcome.CANCELED, "processing": Outcome.PENDING}
_REFUND = {
    "succeeded": Outcome.SUCCEEDED,
    "pending": Outcome.PENDING,
    "requires_action": Outcome.PENDING,
    "failed": Outcome.DECLINED,
    "canceled": Outcome.CANCELED,
}


def read(reply: Reply) -> dict[str, Any] | None:
    """The JSON object in a reply, or ``None`` when there is none."""
    import json

    try:
        data = json.loads(reply.body)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def unreadable(reply: Reply, message: str = "unreadable answer") -> Answer:
    """A 2xx that says nothing we understand: it may have happened."""
    return _dressed(Answer(Outcome.UNKNOWN, message=message), reply)


def failed(reply: Reply) -> Answer | None:
    """What a reply that is no success proves; ``None`` for a 2xx."""
    plain = answer_without_success(reply)
    if plain is None or reply.fault is not None:
        return plain
    error = (read(reply) or {}).get("error")
    status = reply.status or 0
    if not isinstance(error, dict):
        # Without the provider's own words a 4xx may come from anything in between.
        certain = status in (401, 403, 429)
        return plain if certain else _dressed(Answer(Outcome.UNKNOWN), reply)
    code = str(error.get("code") or error.get("type") or "")
    if status == 402:
        answer = _declined(error)
    elif status in (409, 424):
        # The same key is being worked on, or something behind Stripe broke: only time tells.
        answer = Answer(Outcome.UNKNOWN)
    elif status in (400, 404):
        answer = _refused(error, code)
    else:
        answer = plain
    return replace(
        _dressed(answer, reply),
        provider_code=str(error.get("decline_code") or code) or None,
        message=_message(error),
    )


def _refused(error: Mapping[str, Any], code: str) -> Answer:
    if error.get("type") == "idempotency_error":
        return Answer(Outcome.REJECTED, code="key_reused", reject=RejectKind.VALIDATION)
    if code == "resource_missing":
        return Answer(Outcome.NOT_FOUND, code="resource_missing")
    if code in STATE_ERRORS:
        return Answer(Outcome.REJECTED, code=code, reject=RejectKind.STATE)
    if code in DECLINES and error.get("type") == "card_error":
        return _declined(error)
    return Answer(Outcome.REJECTED, code=code or "invalid_request", reject=RejectKind.VALIDATION)


def _declined(error: Mapping[str, Any]) -> Answer:
    intent = error.get("payment_intent")
    about = intent if isinstance(intent, dict) else {}
    return Answer(
        Outcome.DECLINED,
        provider_reference=about.get("id"),
        code=decline_code(error),
        provider_code=str(error.get("decline_code") or error.get("code") or "") or None,
        our_reference=_metadata(about).get(REF),
    )


def decline_code(error: Mapping[str, Any]) -> str:
    """Our code for a card error; an unknown one is ``unknown_reason``, never a success."""
    for key in ("decline_code", "code"):
        if normalised := DECLINES.get(str(error.get(key) or "")):
            return normalised
    return "unknown_reason"


def of_intent(intent: Mapping[str, Any], reply: Reply) -> Answer:
    """A payment intent. A status this version does not know is pending, never failed."""
    status, metadata = str(intent.get("status")), _metadata(intent)
    currency = str(intent.get("currency") or "").upper()
    error = intent.get("last_payment_error")
    answer = Answer(
        Outcome.PENDING,
        provider_reference=str(intent["id"]),
        our_reference=metadata.get(REF),
        provider_code=status,
    )
    if status in ("succeeded", "requires_capture"):
        received = from_stripe(_received(intent), currency)
        asked = from_stripe(int(intent["amount"]), currency)
        done = status == "succeeded"
        answer = replace(
            answer,
            outcome=Outcome.SUCCEEDED if done else Outcome.AUTHORIZED,
            amount_minor=received if done else asked,
            currency=currency,
            captured_minor=received,
            fee=_fee(intent) if received else None,
        )
    elif status in _FINAL:
        answer = replace(answer, outcome=_FINAL[status])
    elif status == "requires_payment_method" and error and metadata.get(FLOW) != "client":
        answer = replace(
            answer,
            outcome=Outcome.DECLINED,
            code=decline_code(error),
            provider_code=str(error.get("decline_code") or error.get("code") or status),
            message=_message(error),
        )
    elif status.startswith("requires_"):
        # On the customer's own page a declined card may be followed by another: not the end.
        answer = replace(answer, outcome=Outcome.REQUIRES_ACTION, next_action=_next_action(intent))
    return _dressed(answer, reply)


def of_refund(refund: Mapping[str, Any], reply: Reply) -> Answer:
    """A refund. One that failed, even after it had succeeded, is declined."""
    status, currency = str(refund.get("status")), str(refund.get("currency") or "").upper()
    outcome = _REFUND.get(status, Outcome.PENDING)
    reason = refund.get("failure_reason") or refund.get("pending_reason")
    return _dressed(
        Answer(
            outcome,
            provider_reference=str(refund["id"]),
            amount_minor=from_stripe(int(refund["amount"]), currency),
            currency=currency,
            code=_refund_code(str(reason)) if outcome is Outcome.DECLINED else None,
            provider_code=str(reason) if reason else status,
            our_reference=_metadata(refund).get(REF),
        ),
        reply,
    )


def of_event(data: Mapping[str, Any]) -> Event:
    """A webhook, only as far as needed to ask for the object it is about."""
    about = data["data"]["object"]
    kind = _KINDS.get(str(about.get("object")), "other")
    theirs = about.get("payment_intent") if about.get("object") == "charge" else about.get("id")
    named = kind in ("payment", "refund", "payout")
    ours = (about.get("metadata") or {}).get(REF) if named else None
    return Event(
        event_id=str(data["id"]),
        type=str(data["type"]),
        object_kind=kind,
        reference=Reference(our_reference=ours, provider_reference=str(theirs) if theirs else None),
        occurred_at=datetime.fromtimestamp(int(data["created"]), UTC),
    )


def of_balance(data: Mapping[str, Any]) -> list[BalanceLine]:
    """The account's balance, a line per currency in ISO minor units."""
    sums: dict[str, list[int]] = {}
    for place, kind in enumerate(("available", "pending")):
        for line in data[kind]:
            currency = str(line["currency"]).upper()
            sums.setdefault(currency, [0, 0])[place] += from_stripe(int(line["amount"]), currency)
    return [BalanceLine(code, free, held) for code, (free, held) in sorted(sums.items())]


def _refund_code(reason: str) -> str:
    known = {
        "insufficient_funds": "insufficient_funds",
        "lost_or_stolen_card": "lost_or_stolen",
        "expired_or_canceled_card": "expired_card",
        "declined": "card_declined",
    }
    return known.get(reason, "unknown_reason")


def _received(intent: Mapping[str, Any]) -> int:
    """What was taken; test servers that do not say it show it on the captured charge."""
    received, charge = intent.get("amount_received"), intent.get("latest_charge")
    if received is None and isinstance(charge, dict) and charge.get("captured"):
        received = charge.get("amount")
    return int(received or 0)


def _fee(intent: Mapping[str, Any]) -> Fee | None:
    """The fee of the expanded charge, in the currency Stripe settles in; never computed."""
    charge = intent.get("latest_charge")
    booked = charge.get("balance_transaction") if isinstance(charge, dict) else None
    if not isinstance(booked, dict) or not booked.get("fee"):
        return None
    currency = str(booked["currency"]).upper()
    return Fee(from_stripe(int(booked["fee"]), currency), currency, str(booked["id"]))


def _next_action(intent: Mapping[str, Any]) -> NextAction:
    action = intent.get("next_action")
    redirect = action.get("redirect_to_url") if isinstance(action, dict) else None
    if isinstance(redirect, dict) and redirect.get("url"):
        return NextAction("redirect", url=str(redirect["url"]))
    secret = intent.get("client_secret")
    return NextAction("stripe_client_secret", client_secret=str(secret) if secret else None)


def _message(error: Mapping[str, Any]) -> str | None:
    return scrubbed(str(error.get("message") or ""))[:500] or None


def _metadata(data: Mapping[str, Any]) -> dict[str, str]:
    found = data.get("metadata")
    return found if isinstance(found, dict) else {}


def _dressed(answer: Answer, reply: Reply) -> Answer:
    return replace(
        answer,
        http_status=reply.status,
        latency_ms=reply.latency_ms,
        exchange=reply.exchange,
        retry_after_s=reply.retry_after_s,
    )
