"""MTN Mobile Money's tables: markets, and what each reason and error code means.

Sources: MTN's MoMo developer portal (momodeveloper.mtn.com, common errors and the list of target
environments) and its official PHP library's constants. What a code *proves* is our reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from payctl.gateways.base import Outcome

SANDBOX_URL = "https://sandbox.momodeveloper.mtn.com"
LIVE_URL = "https://proxy.momoapi.mtn.com"


class Market(NamedTuple):
    """One country's operation: its ``X-Target-Environment``, ISO country and currency."""

    target: str
    country: str | None
    currency: str


#: The sandbox takes euros from any number.
SANDBOX = Market("sandbox", None, "EUR")
MARKETS: Mapping[str, Market] = {
    market.target: market
    for market in (
        SANDBOX,
        Market("mtnivorycoast", "CI", "XOF"),
        Market("mtnbenin", "BJ", "XOF"),
        Market("mtncameroon", "CM", "XAF"),
        Market("mtncongo", "CG", "XAF"),
        Market("mtnguineaconakry", "GN", "GNF"),
        Market("mtnghana", "GH", "GHS"),
        Market("mtnuganda", "UG", "UGX"),
        Market("mtnrwanda", "RW", "RWF"),
        Market("mtnzambia", "ZM", "ZMW"),
        Market("mtnswaziland", "SZ", "SZL"),
        Market("mtnliberia", "LR", "LRD"),
        Market("mtnsouthafrica", "ZA", "ZAR"),
        Market("mtnsouthsudan", "SS", "SSP"),
        Market("mtnnigeria", "NG", "NGN"),
    )
}

#: ``status`` of a request. One that is not here counts as still open, also where its name sounds
#: final (``REJECTED``, ``TIMEOUT``): MTN documents none, and money is not written off for a guess.
STATUSES: Mapping[str, Outcome] = {
    "PENDING": Outcome.PENDING,
    "ONGOING": Outcome.PENDING,
    "DELAYED": Outcome.PENDING,
    "CREATED": Outcome.PENDING,
    "SUCCESSFUL": Outcome.SUCCEEDED,
    "FAILED": Outcome.DECLINED,
}

#: ``reason`` of a failed one: what it ended as, and our decline code.
REASONS: Mapping[str, tuple[Outcome, str]] = {
    "PAYER_NOT_FOUND": (Outcome.DECLINED, "payer_not_found"),
    "PAYEE_NOT_FOUND": (Outcome.DECLINED, "payer_not_found"),
    "NOT_ENOUGH_FUNDS": (Outcome.DECLINED, "insufficient_funds"),
    "PAYER_LIMIT_REACHED": (Outcome.DECLINED, "limit_exceeded"),
    "PAYEE_NOT_ALLOWED_TO_RECEIVE": (Outcome.DECLINED, "payer_not_allowed"),
    "INTERNAL_PROCESSING_ERROR": (Outcome.DECLINED, "processing_error"),
    "SERVICE_UNAVAILABLE": (Outcome.DECLINED, "issuer_unavailable"),
    "NOT_ALLOWED": (Outcome.DECLINED, "gateway_specific"),
    "NOT_ALLOWED_TARGET_ENVIRONMENT": (Outcome.DECLINED, "gateway_specific"),
    "INVALID_CALLBACK_URL_HOST": (Outcome.DECLINED, "gateway_specific"),
    "INVALID_CURRENCY": (Outcome.DECLINED, "currency_not_supported"),
    "TRANSFER_TYPE_UNKNOWN": (Outcome.DECLINED, "gateway_specific"),
    "RESOURCE_NOT_FOUND": (Outcome.DECLINED, "payer_not_found"),
    "NOT_FOUND": (Outcome.DECLINED, "payer_not_found"),
    "FAILED": (Outcome.DECLINED, "card_declined"),
    "APPROVAL_REJECTED": (Outcome.CANCELED, "customer_canceled"),
    "REJECTED": (Outcome.CANCELED, "customer_canceled"),
    "TRANSACTION_CANCELED": (Outcome.CANCELED, "customer_canceled"),
    "PAYMENT_NOT_APPROVED": (Outcome.CANCELED, "customer_canceled"),
    "EXPIRED": (Outcome.EXPIRED, "customer_timeout"),
    "COULD_NOT_PERFORM_TRANSACTION": (Outcome.EXPIRED, "customer_timeout"),
    "ONGOING": (Outcome.PENDING, ""),
    "DELAYED": (Outcome.PENDING, ""),
}

#: Codes that arrive with status 500 and are mistakes of configuration: nothing happened, and a
#: repetition would change nothing. They must not count as the provider being down.
CONFIGURATION = frozenset(
    {"NOT_ALLOWED", "NOT_ALLOWED_TARGET_ENVIRONMENT", "INVALID_CALLBACK_URL_HOST",
     "TRANSFER_TYPE_UNKNOWN"}
)  # fmt: skip
#: Those that come with status 500 too, and are about what was asked.
INVALID: Mapping[str, str] = {"INVALID_CURRENCY": "currency_not_supported"}
#: What a 404 says when it means the object that was asked for.
NOT_FOUND = frozenset({"RESOURCE_NOT_FOUND", "NOT_FOUND"})
#: Seconds after which the customer's prompt ends (COULD_NOT_PERFORM_TRANSACTION).
PROMPT_S = 300

#: What is wrong with a number, and what to do about it.
WRONG_NUMBER: Mapping[str, str] = {
    "phone_unreadable": "not a telephone number: give it as +225 05 04 03 02 01",
    "phone_unknown_country": "no country of ours: give the number with its country code",
    "phone_wrong_length": "too short or too long for its country",
    "phone_old_plan": "a number from before the change of plan: ask the customer for today's",
}
