"""CinetPay's checkout v2: payments, checks and signed form callbacks.

Shapes: docs.cinetpay.com, checkout, "Initiating a payment" (request fields, ``201 CREATED``),
"Check" (``data`` of a paid and of an open payment; ``SUCCES`` has one final S), "Notification" and
"HMAC" (form fields, ``x-token``), "Table of codes". Two things no page says: a reference used again
is refused with 608 and a description, and so is a check of one that is unknown, with HTTP 404.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from payctl.testing.emulators.core import Delivery, Request, Response

if TYPE_CHECKING:
    from payctl.testing.emulators.cinetpay import CinetPayEmulator

#: Codes of the table with the message each comes with.
MESSAGES: Mapping[str, str] = {
    "00": "SUCCES", "201": "CREATED", "600": "PAYMENT_FAILED", "602": "INSUFFICIENT_BALANCE",
    "603": "SERVICE_UNAVAILABLE", "604": "OTP_CODE_ERROR", "606": "INCORRECT_SETTINGS",
    "608": "MINIMUM_REQUIRED_FIELDS", "609": "AUTH_NOT_FOUND", "610": "ERROR_PAYMETHOD_NOTFOUND",
    "611": "ERROR_AMOUNT_TYPE", "612": "ERROR_CURRENCY_NOTVALID", "613": "ERROR_SITE_ID_NOTVALID",
    "623": "WAITING_CUSTOMER_TO_VALIDATE", "624": "UNKNOWN_ERROR", "627": "TRANSACTION_CANCEL",
    "628": "ERROR_AMOUNT_FORMAT", "641": "ERROR_AMOUNT_TOO_LOW", "642": "ERROR_AMOUNT_TOO_HIGH",
    "662": "WAITING_CUSTOMER_PAYMENT", "664": "WAITING_CUSTOMER_PAYMENT_AT_OPERATOR_SIDE",
}  # fmt: skip
_WAITING: Mapping[str, str] = {"662": "WAITING_FOR_CUSTOMER", "623": "PENDING", "664": "PENDING"}
_REQUIRED = ("transaction_id", "amount", "currency", "description", "notify_url", "return_url",
             "channels", "customer_name", "customer_surname")  # fmt: skip
_CARD = ("customer_email", "customer_phone_number", "customer_address", "customer_city",
         "customer_country", "customer_state", "customer_zip_code")  # fmt: skip
_LIMITS: Mapping[str, tuple[int, int]] = {
    "XOF": (100, 2_000_000), "XAF": (100, 2_000_000), "CDF": (400, 2_000_000),
    "GNF": (1_000, 15_000_000), "USD": (1, 3_000),
}  # fmt: skip
#: Order of the callback's values in ``x-token``.
_SIGNED = ("cpm_site_id", "cpm_trans_id", "cpm_trans_date", "cpm_amount", "cpm_currency",
           "signature", "payment_method", "cel_phone_num", "cpm_phone_prefixe", "cpm_language",
           "cpm_version", "cpm_payment_config", "cpm_page_action", "cpm_custom",
           "cpm_designation", "cpm_error_message")  # fmt: skip


@dataclass(slots=True)
class Payment:
    """One payment. ``amount`` in whole units; ``code`` is what a check answers."""

    transaction_id: str
    token: str
    amount: int
    currency: str
    description: str
    metadata: str
    notify_url: str
    created_at: datetime
    code: str = "662"
    refused: bool = False
    payment_method: str = ""
    operator_id: str = ""
    phone: str = ""
    prefix: str = ""
    ended_at: datetime | None = None


class Checkout:
    """Payments of one site."""

    def __init__(
        self, emulator: CinetPayEmulator, apikey: str, site_id: str, secret_key: str
    ) -> None:
        self._emulator = emulator
        self._apikey, self._site_id, self._secret_key = apikey, site_id, secret_key
        self.payments: dict[str, Payment] = {}

    def handle(self, operation: str, request: Request) -> Response:
        body = request.json()
        if not isinstance(body, dict):
            return self.error("608", "no JSON object")
        if body.get("apikey") != self._apikey:
            return self.error("609", "wrong apikey")
        if str(body.get("site_id")) != self._site_id:
            return self.error("613", "wrong site_id")
        return self._create(body, request) if operation == "payment.create" else self._check(body)

    def error(self, code: str, description: str = "", status: int | None = None) -> Response:
        """An error as the table of codes has it: no ``data``."""
        body = {
            "code": code,
            "message": MESSAGES.get(code, f"CODE_{code}"),
            "description": description,
            "api_response_id": self._response_id(),
        }
        return Response(status or self._emulator.error_status, body)

    # -- what customers and operators do ---------------------------------------------------------

    def pay(self, transaction_id: str, method: str = "OM", phone: str = "0707070700") -> None:
        """The customer pays with *phone*; CinetPay calls back."""
        payment = self.payments[transaction_id]
        payment.payment_method, payment.phone, payment.prefix = method, phone, "225"
        payment.operator_id = f"MP{len(self.payments):06d}.{payment.token[:6]}"
        self.end(transaction_id, "00", refused=False)

    def end(self, transaction_id: str, code: str, *, refused: bool = True) -> None:
        """The payment comes to *code*; CinetPay calls back."""
        payment = self.payments[transaction_id]
        payment.code, payment.refused = code, refused
        payment.ended_at = self._emulator.now()
        self._emulator.deliveries.append(self.callback(transaction_id))

    def waits(self, transaction_id: str, code: str) -> None:
        """The payment is open with *code* (662, 623, 663, 664); CinetPay calls back."""
        self.payments[transaction_id].code = code
        self._emulator.deliveries.append(self.callback(transaction_id))

    def visit(self, token: str, outcome: str) -> str | None:
        """What the customer does on the page of *token*."""
        found = next((p for p in self.payments.values() if p.token == token), None)
        if found is None:
            return None
        if found.ended_at is None:
            if outcome == "paid":
                self.pay(found.transaction_id)
            else:
                self.end(found.transaction_id, {"cancel": "627"}.get(outcome, "602"))
        return f"{found.transaction_id}: {MESSAGES.get(found.code, found.code)}"

    def taken(self, currency: str) -> int:
        """What was paid in *currency*, in whole units."""
        return sum(p.amount for p in self.payments.values()
                   if p.code == "00" and p.currency == currency)  # fmt: skip

    def state(self) -> dict[str, Any]:
        return {
            name: asdict(payment) | {
                "created_at": payment.created_at.isoformat(),
                "ended_at": payment.ended_at.isoformat() if payment.ended_at else None,
            }
            for name, payment in self.payments.items()
        }  # fmt: skip

    def callback(self, transaction_id: str) -> Delivery:
        """The form callback about a payment, signed."""
        payment = self.payments[transaction_id]
        at = payment.ended_at or payment.created_at
        fields = {
            "cpm_site_id": self._site_id,
            "cpm_trans_id": payment.transaction_id,
            "cpm_trans_date": f"{at:%Y-%m-%d %H:%M:%S}",
            "cpm_amount": str(payment.amount),
            "cpm_currency": payment.currency,
            "signature": payment.token,
            "payment_method": payment.payment_method,
            "cel_phone_num": payment.phone,
            "cpm_phone_prefixe": payment.prefix,
            "cpm_language": "fr",
            "cpm_version": "V4",
            "cpm_payment_config": "SINGLE",
            "cpm_page_action": "PAYMENT",
            "cpm_custom": payment.metadata,
            "cpm_designation": payment.description,
            "cpm_error_message": MESSAGES.get(payment.code, payment.code),
        }
        joined = "".join(fields[name] for name in _SIGNED).encode()
        token = hmac.new(self._secret_key.encode(), joined, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "x-token": token}
        return Delivery("POST", payment.notify_url, headers, urlencode(fields).encode())

    # -- requests --------------------------------------------------------------------------------

    def _create(self, body: Mapping[str, Any], request: Request) -> Response:
        if (refused := self._refusal(body)) is not None:
            return self.error(*refused)
        name = str(body["transaction_id"])
        token = hashlib.sha256(f"{name}{len(self.payments)}".encode()).hexdigest()[:40]
        self.payments[name] = Payment(
            name, token, body["amount"], body["currency"], str(body["description"]),
            str(body.get("metadata", "")), str(body["notify_url"]), self._emulator.now(),
        )  # fmt: skip
        data = {"payment_token": token, "payment_url": self._emulator.page_of(request, token)}
        return Response(
            201,
            {
                "code": "201",
                "message": "CREATED",
                "description": "Transaction created with success",
                "data": data,
                "api_response_id": self._response_id(),
            },
        )

    def _refusal(self, body: Mapping[str, Any]) -> tuple[str, str] | None:
        missing = [name for name in _REQUIRED if body.get(name) in (None, "")]
        if missing:
            return "608", f"missing: {', '.join(missing)}"
        if body["transaction_id"] in self.payments:
            return "608", "transaction_id already exists"
        amount, currency = body["amount"], body["currency"]
        if type(amount) is not int:
            return "611", "amount must be an integer"
        if currency not in _LIMITS:
            return "612", "unknown currency"
        if amount % 5:
            return "628", "amount must be a multiple of 5"
        smallest, largest = _LIMITS[currency]
        if not smallest <= amount <= largest:
            return ("641" if amount < smallest else "642"), "amount out of bounds"
        if body.get("channels") not in ("ALL", "MOBILE_MONEY", "CREDIT_CARD", "WALLET"):
            return "610", "unknown channel"
        if body["channels"] == "CREDIT_CARD" and any(not body.get(name) for name in _CARD):
            return "624", "an error occurred while processing"
        if body.get("lock_phone_number") and not body.get("customer_phone_number"):
            return "624", "an error occurred while processing"
        return None

    def _check(self, body: Mapping[str, Any]) -> Response:
        name, token = body.get("transaction_id"), body.get("token") or body.get("payment_token")
        found = self.payments.get(str(name)) or next(
            (each for each in self.payments.values() if token and each.token == token), None
        )
        if found is None:
            return self.error("608", "transaction not found", status=404)
        status = "ACCEPTED" if found.code == "00" else _WAITING.get(found.code, "PENDING")
        paid = found.ended_at if found.code == "00" else None
        data = {
            "amount": str(found.amount),
            "currency": found.currency,
            "status": "REFUSED" if found.refused else status,
            "payment_method": found.payment_method or None,
            "description": found.description,
            "metadata": found.metadata or None,
            "operator_id": found.operator_id or None,
            "payment_date": f"{paid:%Y-%m-%d %H:%M:%S}" if paid else "",
            "fund_availability_date": f"{paid:%Y-%m-%d}" if paid else None,
        }
        return Response(
            200,
            {
                "code": found.code,
                "message": MESSAGES.get(found.code, f"CODE_{found.code}"),
                "data": data,
                "api_response_id": self._response_id(),
            },
        )

    def _response_id(self) -> str:
        return f"{self._emulator.now().timestamp():.4f}"
