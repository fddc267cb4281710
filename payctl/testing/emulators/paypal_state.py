"""What the parts of the emulated PayPal share: the books, ids, times, amounts and refusals.

Shapes of errors: the ``error_400`` ... ``error_503`` schemas of Payments v2, which all of PayPal's
newer APIs share. Amounts are integers in the smallest unit PayPal knows of the currency.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from payctl.testing.emulators.core import Response

Object = dict[str, Any]
#: Currencies without decimals at PayPal (developer.paypal.com/api/rest/reference/currency-codes).
WHOLE = frozenset({"HUF", "JPY", "TWD"})
CURRENCIES = frozenset(
    {
        "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "JPY",
        "MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "RUB", "SEK", "SGD", "THB", "TWD", "USD",
    }
)  # fmt: skip
#: How long a PayPal-Request-Id is remembered: parameter ``paypal_request_id`` of each API.
ORDER_KEYS, PAYMENT_KEYS, PAYOUT_KEYS = timedelta(hours=6), timedelta(days=45), timedelta(days=30)
_NAMES = {
    400: ("INVALID_REQUEST",
          "Request is not well-formed, syntactically incorrect, or violates schema."),
    401: ("AUTHENTICATION_FAILURE",
          "Authentication failed due to missing authorization header, or invalid authentication"
          " credentials."),
    403: ("NOT_AUTHORIZED", "Authorization failed due to insufficient permissions."),
    404: ("RESOURCE_NOT_FOUND", "The specified resource does not exist."),
    409: ("RESOURCE_CONFLICT",
          "The server has detected a conflict while processing this request."),
    415: ("UNSUPPORTED_MEDIA_TYPE",
          "The server does not support the request payload's media type."),
    422: ("UNPROCESSABLE_ENTITY",
          "The requested action could not be performed, semantically incorrect, or failed business"
          " validation."),
    429: ("RATE_LIMIT_REACHED", "Too many requests. Blocked due to rate limiting."),
    500: ("INTERNAL_SERVER_ERROR", "An internal server error occurred."),
    503: ("SERVICE_UNAVAILABLE", "Service Unavailable."),
}  # fmt: skip
#: Issues that come with another status than 422.
_STATUS_OF = {
    "PERMISSION_DENIED": 403, "INVALID_RESOURCE_ID": 404, "PREVIOUS_REQUEST_IN_PROGRESS": 409,
    "MALFORMED_REQUEST_JSON": 400, "MISSING_REQUIRED_PARAMETER": 400,
    "INVALID_PARAMETER_VALUE": 400, "INVALID_PARAMETER_SYNTAX": 400, "INVALID_STRING_LENGTH": 400,
    "CONSENT_NEEDED": 403, "INVALID_ACCOUNT_STATUS": 401,
}  # fmt: skip


class SaysNo(Exception):
    """PayPal says no: raised anywhere below :meth:`handle`, which answers with it."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def refusal(status: int, issue: str | None = None, name: str | None = None,
            links: list[Object] | None = None) -> Response:  # fmt: skip
    """An error as PayPal words it. Its sentences about each issue are left out."""
    own, message = _NAMES.get(status, _NAMES[500])
    body: Object = {"name": name or own, "message": message, "debug_id": secrets.token_hex(7)}
    if issue:
        body["details"] = [{"issue": issue}]
    if links:
        body["links"] = links
    headers = {"Paypal-Debug-Id": body["debug_id"]}
    return Response(status, body, headers | ({"Retry-After": "2"} if status == 429 else {}))


def refuse(issue: str, status: int | None = None) -> SaysNo:
    return SaysNo(refusal(status or _STATUS_OF.get(issue, 422), issue))


def missing() -> SaysNo:
    return SaysNo(refusal(404, "INVALID_RESOURCE_ID"))


@dataclass(slots=True)
class Movement:
    """A row of the reports."""

    at: datetime
    transaction_id: str
    code: str
    status: str
    currency: str
    amount: int
    fee: int = 0
    custom_id: str | None = None
    invoice_id: str | None = None
    order_id: str | None = None


@dataclass(slots=True)
class State:
    """The books of one merchant account.

    Attributes:
        base_url: begins the links in answers.
        opening: what the account held before, by currency.
        emit: tells the webhooks; set by the part that sends them.
    """

    now: Callable[[], datetime]
    base_url: str = "https://api-m.sandbox.paypal.com"
    opening: dict[str, int] = field(default_factory=dict)
    orders: dict[str, Object] = field(default_factory=dict)
    captures: dict[str, Object] = field(default_factory=dict)
    authorizations: dict[str, Object] = field(default_factory=dict)
    refunds: dict[str, Object] = field(default_factory=dict)
    batches: dict[str, Object] = field(default_factory=dict)
    disputes: dict[str, Object] = field(default_factory=dict)
    movements: list[Movement] = field(default_factory=list)
    emit: Callable[[str, str, Object], None] = lambda name, kind, resource: None
    _keys: dict[tuple[str, str], tuple[datetime, str]] = field(default_factory=dict)

    def stamp(self, later: timedelta = timedelta()) -> str:
        return (self.now() + later).strftime("%Y-%m-%dT%H:%M:%SZ")

    def link(self, path: str, rel: str, method: str = "GET") -> Object:
        return {"href": self.base_url + path, "rel": rel, "method": method}

    def remembered(self, kind: str, request_id: str | None, life: timedelta) -> str | None:
        """The id of what this key made before, while PayPal remembers it."""
        made = self._keys.get((kind, request_id or ""))
        return made[1] if made is not None and self.now() - made[0] < life else None

    def remember(self, kind: str, request_id: str | None, made: str) -> None:
        if request_id:
            self._keys[kind, request_id] = (self.now(), made)

    def moved(self, transaction_id: str) -> Movement:
        """The newest row about a transaction."""
        return next(each for each in reversed(self.movements)
                    if each.transaction_id == transaction_id)  # fmt: skip

    def holds(self, currency: str) -> int:
        """What the account holds: every movement that was neither denied nor is pending."""
        rows = [each for each in self.movements if each.currency == currency]
        return self.opening.get(currency, 0) + sum(
            each.amount + each.fee for each in rows if each.status == "S"
        )


_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def new_id(length: int = 17) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def decimals(currency: str) -> int:
    return 0 if currency in WHOLE else 2


def money(amount: int, currency: str) -> Object:
    """A ``money`` object."""
    return {"currency_code": currency, "value": value(amount, currency)}


def value(amount: int, currency: str) -> str:
    sign, places = "-" if amount < 0 else "", decimals(currency)
    whole, rest = divmod(abs(amount), 10**places)
    return f"{sign}{whole}.{rest:0{places}d}" if places else f"{sign}{whole}"


def amount_of(data: Any, key: str = "currency_code") -> tuple[int, str]:
    """The amount of a request, refused as PayPal refuses it."""
    if not isinstance(data, Mapping) or not isinstance(data.get("value"), str):
        raise refuse("INVALID_PARAMETER_SYNTAX")
    currency = data.get(key)
    if currency not in CURRENCIES:
        raise refuse("INVALID_CURRENCY_CODE")
    whole, _, rest = str(data["value"]).partition(".")
    places = decimals(currency)
    if not (whole + rest).lstrip("-").isdigit():
        raise refuse("INVALID_PARAMETER_SYNTAX")
    if len(rest) > places:
        raise refuse("DECIMAL_PRECISION" if places else "DECIMALS_NOT_SUPPORTED")
    amount = int(whole + rest.ljust(places, "0"))
    if amount <= 0:
        raise refuse("CANNOT_BE_ZERO_OR_NEGATIVE")
    return amount, str(currency)
