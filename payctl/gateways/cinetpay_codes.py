"""What CinetPay's codes mean: data, and the two ways to read it.

A code proves one thing when it answers the request that makes something, and another when it
answers a question about it: 609 says of a creation that nothing was made, and of a question that
nothing was learnt. So each code has a :class:`Kind`, and each kind an outcome for either case.

Names: docs.cinetpay.com, "Table of codes" (checkout), "Annexe" (transfer, airtime), and the new
API's contract. What is not in a table is unknown and never a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from payctl.gateways.base import Outcome, RejectKind


class Kind(StrEnum):
    """What a code is about."""

    DONE = "done"  # it succeeded
    CREATED = "created"  # it was made and waits for the customer
    WAITS = "waits"  # accepted, not decided
    ACTION = "action"  # the customer must act
    DECLINED = "declined"  # a definite no
    CANCELED = "canceled"  # the customer gave up
    EXPIRED = "expired"  # of a payment: its time is over; of a creation: our subscription's is
    DOWN = "down"  # the operator does not answer
    DUPLICATE = "duplicate"  # our reference is known already
    INPUT = "input"  # our request is wrong
    SETUP = "setup"  # our account or its settings are wrong
    UNEXPLAINED = "unexplained"  # mostly our settings; a question learns nothing from it
    MISSING = "missing"  # nothing is known by that reference
    UNCLEAR = "unclear"  # says nothing about what happened


Proof = tuple[Outcome, RejectKind | None]

#: What a kind proves when it answers a request that makes something.
MAKING: Mapping[Kind, Proof] = {
    Kind.DONE: (Outcome.UNKNOWN, None),  # a success is read from its own fields
    Kind.CREATED: (Outcome.UNKNOWN, None),
    Kind.WAITS: (Outcome.PENDING, None),
    Kind.ACTION: (Outcome.PENDING, None),
    Kind.DECLINED: (Outcome.DECLINED, None),
    Kind.CANCELED: (Outcome.CANCELED, None),
    Kind.EXPIRED: (Outcome.REJECTED, RejectKind.AUTH),
    Kind.DOWN: (Outcome.UNKNOWN, None),
    Kind.DUPLICATE: (Outcome.EXISTS, None),
    Kind.INPUT: (Outcome.REJECTED, RejectKind.VALIDATION),
    Kind.SETUP: (Outcome.REJECTED, RejectKind.AUTH),
    Kind.UNEXPLAINED: (Outcome.REJECTED, RejectKind.AUTH),
    Kind.MISSING: (Outcome.UNKNOWN, None),
    Kind.UNCLEAR: (Outcome.UNKNOWN, None),
}
#: What a kind proves when it answers a question.
ASKING: Mapping[Kind, Proof] = {
    **MAKING,
    Kind.CREATED: (Outcome.REQUIRES_ACTION, None),
    Kind.ACTION: (Outcome.REQUIRES_ACTION, None),
    Kind.EXPIRED: (Outcome.EXPIRED, None),
    Kind.DUPLICATE: (Outcome.UNKNOWN, None),
    Kind.INPUT: (Outcome.UNKNOWN, None),
    Kind.UNEXPLAINED: (Outcome.UNKNOWN, None),
    Kind.MISSING: (Outcome.NOT_FOUND, None),
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """One code. ``decline`` is ours of :data:`payctl.gateways.base.DECLINE_CODES`: what it comes to
    when the payment is refused for it."""

    name: str
    kind: Kind
    decline: str = "unknown_reason"


#: Codes of ``api-checkout.cinetpay.com/v2``. 662 is the customer's turn on the page, 623 and 664
#: are with the operator. 606 at Orange is a wrong code, too little money, or the same number and
#: amount again too soon: no reason to be told apart, and none to try again by itself.
CHECKOUT: Mapping[str, Meaning] = {
    "00": Meaning("SUCCES", Kind.DONE),
    "201": Meaning("CREATED", Kind.CREATED),
    "600": Meaning("PAYMENT_FAILED", Kind.DECLINED),
    "602": Meaning("INSUFFICIENT_BALANCE", Kind.DECLINED, "insufficient_funds"),
    "603": Meaning("SERVICE_UNAVAILABLE", Kind.DOWN, "issuer_unavailable"),
    "604": Meaning("OTP_CODE_ERROR", Kind.DECLINED, "wrong_pin"),
    "606": Meaning("INCORRECT_SETTINGS", Kind.DECLINED),
    "608": Meaning("MINIMUM_REQUIRED_FIELDS", Kind.INPUT),
    "609": Meaning("AUTH_NOT_FOUND", Kind.SETUP),
    "610": Meaning("ERROR_PAYMETHOD_NOTFOUND", Kind.INPUT),
    "611": Meaning("ERROR_AMOUNT_TYPE", Kind.INPUT),
    "612": Meaning("ERROR_CURRENCY_NOTVALID", Kind.INPUT, "currency_not_supported"),
    "613": Meaning("ERROR_SITE_ID_NOTVALID", Kind.SETUP),
    "619": Meaning("ERROR_SIGNATURE_DONT_MATCHED", Kind.SETUP),
    "620": Meaning("ERROR_DOUBLE_PAYEMNT", Kind.DUPLICATE, "duplicate"),
    "621": Meaning("ERROR_OMPAY_UNAVAILABLE", Kind.DOWN, "issuer_unavailable"),
    "622": Meaning("ERROR_MOMOPAY_UNAVAILABLE", Kind.DOWN, "issuer_unavailable"),
    "623": Meaning("WAITING_CUSTOMER_TO_VALIDATE", Kind.WAITS),
    "624": Meaning("UNKNOWN_ERROR", Kind.UNEXPLAINED),
    "625": Meaning("ABONNEMENT_OR_TRANSACTIONS_EXPIRED", Kind.EXPIRED, "customer_timeout"),
    "626": Meaning("ERROR_FLOOZPAY_UNAVAILABLE", Kind.DOWN, "issuer_unavailable"),
    "627": Meaning("TRANSACTION_CANCEL", Kind.CANCELED, "customer_canceled"),
    "628": Meaning("ERROR_AMOUNT_FORMAT", Kind.INPUT),
    "635": Meaning("ERROR_PHONE_NUMBER_NOT_FOUND", Kind.DECLINED, "payer_not_found"),
    "636": Meaning("ERROR_PHONE_NUMBER_NOT_SUPPORTED", Kind.DECLINED, "payer_not_allowed"),
    "637": Meaning("ERROR_PHONE_PREFIX_NOT_SUPPORTED", Kind.DECLINED, "payer_not_allowed"),
    "641": Meaning("ERROR_AMOUNT_TOO_LOW", Kind.INPUT, "limit_exceeded"),
    "642": Meaning("ERROR_AMOUNT_TOO_HIGH", Kind.INPUT, "limit_exceeded"),
    "662": Meaning("WAITING_CUSTOMER_PAYMENT", Kind.ACTION),
    "663": Meaning("WAITING_CUSTOMER_OTP_CODE", Kind.ACTION),
    "664": Meaning("WAITING_CUSTOMER_PAYMENT_AT_OPERATOR_SIDE", Kind.WAITS),
    "804": Meaning("OPERATOR_UNAVAILABLE", Kind.DOWN, "issuer_unavailable"),
    "807": Meaning("DAILY_MAX_NUMBER_TRANSACTION_REACHED", Kind.DECLINED, "limit_exceeded"),
    "808": Meaning("DAILY_MAX_AMOUNT_TRANSACTION_REACHED", Kind.DECLINED, "limit_exceeded"),
    "809": Meaning("MONTHLY_MAX_AMOUNT_TRANSACTION_REACHED", Kind.DECLINED, "limit_exceeded"),
    "810": Meaning("MONTHLY_MAX_NUMBER_TRANSACTION_REACHED", Kind.DECLINED, "limit_exceeded"),
    "811": Meaning("WEEKLY_MAX_AMOUNT_TRANSACTION_REACHED", Kind.DECLINED, "limit_exceeded"),
    "812": Meaning("WEEKLY_MAX_NUMBER_TRANSACTION_REACHED", Kind.DECLINED, "limit_exceeded"),
}
#: ``data.status`` of a check.
CHECKOUT_STATUS: Mapping[str, Kind] = {
    "ACCEPTED": Kind.DONE,
    "REFUSED": Kind.DECLINED,
    "PENDING": Kind.WAITS,
    "WAITING_FOR_CUSTOMER": Kind.ACTION,
}

#: Codes of ``client.cinetpay.com/v1`` (transfers), as text whatever type they come in.
TRANSFER: Mapping[str, Meaning] = {
    "0": Meaning("OPERATION_SUCCES", Kind.DONE),
    "-1": Meaning("OPERATION_ERROR", Kind.UNCLEAR),
    "602": Meaning("INSUFFICIENT_BALANCE", Kind.DECLINED, "insufficient_funds"),
    "701": Meaning("INVALID_CREDENTIALS", Kind.SETUP),
    "702": Meaning("COULD_NOT_CREATE_TOKEN", Kind.SETUP),
    "703": Meaning("INVALID_USER", Kind.SETUP),
    "704": Meaning("INVALID_PARAM", Kind.INPUT),
    "705": Meaning("EXPIRED_TOKEN", Kind.SETUP),
    "706": Meaning("INVALID_TOKEN", Kind.SETUP),
    "707": Meaning("CANT_REFRESH_TOKEN", Kind.SETUP),
    "708": Meaning("NOT_ALLOWED", Kind.SETUP),
    "709": Meaning("EXECUTION_ERROR", Kind.UNCLEAR),
    "710": Meaning("EXECUTION_ERROR", Kind.UNCLEAR),
    "715": Meaning("UNEXPECTED_ERROR", Kind.UNCLEAR),
    "716": Meaning("DATA_NOT_VALID", Kind.INPUT),
    "717": Meaning("ERROR_PHONE_NOT_PARTICULAR", Kind.DECLINED, "payer_not_allowed"),
    "718": Meaning("JSON_PARSE_ERROR", Kind.INPUT),
    "719": Meaning("AMOUNT_TOO_SMALL", Kind.DECLINED, "limit_exceeded"),
    "720": Meaning("AMOUNT_TOO_LARGE", Kind.DECLINED, "limit_exceeded"),
    "721": Meaning("OPERATOR_NOT_AVAILABLE", Kind.DECLINED, "gateway_specific"),
    "723": Meaning("NOT_FOUND", Kind.MISSING),
    "724": Meaning("ERROR_PHONE_NOT_MY_CONTACT", Kind.INPUT),
    "725": Meaning("MISSING_NOTIFY_URL", Kind.INPUT),
    "726": Meaning("ERROR_PHONE_ALREADY_MY_CONTACT", Kind.DONE),
    "801": Meaning("INVALID_AMOUNT", Kind.INPUT),
    "802": Meaning("INVALID_PHONE", Kind.DECLINED, "payer_not_found"),
    "804": Meaning("OPERATOR_UNAVAILABLE", Kind.DOWN, "issuer_unavailable"),
    "805": Meaning("CLIENT_TRANSACTION_ID_EXIST", Kind.DUPLICATE, "duplicate"),
}
#: ``treatment_status`` of a transfer.
TREATMENT: Mapping[str, Kind] = {
    "NEW": Kind.WAITS,
    "REC": Kind.WAITS,
    "NOS": Kind.WAITS,
    "VAL": Kind.DONE,
    "REJ": Kind.DECLINED,
}
#: Codes that refuse the token only: nothing was done.
TRANSFER_TOKEN = frozenset({"705", "706"})

#: Codes of the new API (``api.cinetpay.net``, ``api.cinetpay.co``).
V1: Mapping[str, Meaning] = {
    "200": Meaning("OK", Kind.CREATED),
    "100": Meaning("SUCCESS", Kind.DONE),
    "1002": Meaning("INVALID_TOKEN", Kind.SETUP),
    "1003": Meaning("EXPIRED_TOKEN", Kind.SETUP),
    "1004": Meaning("INVALID_PARAMS", Kind.INPUT),
    "1005": Meaning("INVALID_CREDENTIALS", Kind.SETUP),
    "2001": Meaning("INITIATED", Kind.ACTION),
    "2010": Meaning("FAILED", Kind.DECLINED),
    "2011": Meaning("NOT_ALLOWED", Kind.SETUP),
}
V1_STATUS: Mapping[str, Kind] = {
    "SUCCESS": Kind.DONE,
    "FAILED": Kind.DECLINED,
    "PENDING": Kind.WAITS,
    "INITIATED": Kind.ACTION,
}
V1_TOKEN = frozenset({"1002", "1003"})
