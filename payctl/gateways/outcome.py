"""What one exchange with a provider proves, in words that are the same for every gateway.

Apart from :mod:`payctl.gateways.base`, where adapters find them, because whoever only reads
payments needs no more of a gateway.
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What one exchange with a provider proves."""

    NOT_SENT = "not_sent"  # no byte left: safe to repeat or to fail over
    REJECTED = "rejected"  # the provider refused the request itself; no effect
    DECLINED = "declined"  # a definite no with a reason
    REQUIRES_ACTION = "requires_action"  # the customer must act (redirect, 3-DS, USSD)
    APPROVED = "approved"  # the customer agreed; ``complete_payment`` takes the money
    PENDING = "pending"  # accepted, the result comes later
    AUTHORIZED = "authorized"  # money is reserved, a capture must follow
    SUCCEEDED = "succeeded"  # money moved
    UNKNOWN = "unknown"  # it may have happened: only a query can tell
    EXISTS = "exists"  # our reference is already there: query and adopt it
    NOT_FOUND = "not_found"  # a query found nothing (believed only after quarantine)
    CANCELED = "canceled"  # ended without money, for good
    EXPIRED = "expired"  # ended by time, for good


class RejectKind(StrEnum):
    """Why a request was refused before it had any effect."""

    VALIDATION = "validation"  # our request is wrong
    AUTH = "auth"  # 401, 403: credentials or configuration; opens the breaker
    RATE = "rate"  # 429: slow down, not a failure
    STATE = "state"  # the object is not in a state that allows it


#: Normalised decline codes, the same for every gateway. Only those in :data:`FAIL_OVER_CODES` say
#: something about this gateway rather than about the customer or the money.
DECLINE_CODES = frozenset(
    {
        "insufficient_funds", "card_declined", "expired_card", "incorrect_cvc", "incorrect_number",
        "fraud_suspected", "lost_or_stolen", "authentication_required", "authentication_failed",
        "limit_exceeded", "customer_canceled", "customer_timeout", "wrong_pin", "payer_not_found",
        "payer_not_allowed", "currency_not_supported", "processing_error", "issuer_unavailable",
        "gateway_specific", "not_permitted", "duplicate", "unknown_reason",
    }
)  # fmt: skip
FAIL_OVER_CODES = frozenset(
    {"gateway_specific", "processing_error", "issuer_unavailable", "currency_not_supported"}
)
