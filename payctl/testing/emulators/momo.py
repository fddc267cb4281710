"""MTN Mobile Money as its sandbox and documents describe it (momodeveloper.mtn.com).

Provisioning (``/v1_0/apiuser``), tokens per product (``/{product}/token/``, no body), collection
(``requesttopay``), disbursement (``transfer``, ``deposit``, ``refund``), balances and account
holders. A request is accepted with 202 and an empty body and ends by its number, as MTN's page
"testing" lists them: any other number succeeds. References are unique for ever (409). Errors carry
``{"code", "message"}``; wrong configuration comes as status 500, as it does there.

Faults of its own: ``pending`` (the customer does nothing until :meth:`MomoEmulator.settle`),
``reason:CODE`` (it fails with that reason), ``expire_token`` (this call finds its token expired).
Callbacks are unsigned PUTs to ``X-Callback-Url``.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from payctl.testing.emulators.core import Delivery, Emulator, Request, Response

SUBSCRIPTION_KEYS: Mapping[str, str] = {
    "collection": "c0ffee00c0ffee00c0ffee00c0ffee00",
    "disbursement": "d15bd15bd15bd15bd15bd15bd15bd15b",
}
USER = "5f3c7a10-7f6f-4f6e-9d0a-2f6f1c1d9e01"
API_KEY = "0123456789abcdef0123456789abcdef"
TOKEN_LIFE_S = 3600

#: "Sandbox: testing", by operation: what the last two digits of 467331234NN lead to.
_TO_PAY = (
    "FAILED", "REJECTED", "EXPIRED", "ONGOING", "DELAYED", "PAYER_NOT_FOUND",
    "PAYEE_NOT_ALLOWED_TO_RECEIVE", "NOT_ALLOWED", "NOT_ALLOWED_TARGET_ENVIRONMENT",
    "INVALID_CALLBACK_URL_HOST", "INVALID_CURRENCY", "INTERNAL_PROCESSING_ERROR",
    "SERVICE_UNAVAILABLE", "COULD_NOT_PERFORM_TRANSACTION", "TRANSFER_TYPE_UNKNOWN",
)  # fmt: skip
_TRANSFER = (
    "FAILED", "REJECTED", "EXPIRED", "ONGOING", "DELAYED", "NOT_ENOUGH_FUNDS",
    "PAYER_LIMIT_REACHED", "PAYEE_NOT_FOUND", "NOT_ALLOWED", "NOT_ALLOWED_TARGET_ENVIRONMENT",
    "INVALID_CALLBACK_URL_HOST", "INVALID_CURRENCY", "INTERNAL_PROCESSING_ERROR",
    "SERVICE_UNAVAILABLE", "TRANSFER_TYPE_UNKNOWN",
)  # fmt: skip
_ACTIVE = (
    "NOT_FOUND", "NOT_ACTIVE", "NOT_ALLOWED", "NOT_ALLOWED_TARGET_ENVIRONMENT",
    "INTERNAL_PROCESSING_ERROR", "SERVICE_UNAVAILABLE",
)  # fmt: skip
_REFUND = (
    "NOT_FOUND", "FAILED", "REJECTED", "EXPIRED", "ONGOING", "DELAYED", "NOT_ALLOWED",
    "NOT_ALLOWED_TARGET_ENVIRONMENT", "INVALID_CALLBACK_URL_HOST", "INVALID_CURRENCY",
    "INTERNAL_PROCESSING_ERROR", "SERVICE_UNAVAILABLE", "COULD_NOT_PERFORM_TRANSACTION",
)  # fmt: skip
#: What a POST answers with status 500 or 503 at once (error table of the portal).
_AT_ONCE = {"SERVICE_UNAVAILABLE": 503, "INTERNAL_PROCESSING_ERROR": 500}
_OPEN = ("ONGOING", "DELAYED")
_MONEY = re.compile(r"\d+(\.\d{1,2})?")
_WORDS = re.compile(r"[^'\"<>&]{0,160}")
_PATH = re.compile(r"/(collection|disbursement)/v[12]_0/(\w+)(?:/(.*))?")


@dataclass(slots=True)
class Asked:
    """A request that was accepted. ``amount`` in main units, as a string, as it came."""

    kind: str
    reference: str
    body: Mapping[str, Any]
    made_at: datetime
    status: str = "PENDING"
    reason: str = ""
    callback: str = ""
    ends_as: str = ""
    financial_id: str = ""
    about: str = ""


@dataclass(slots=True)
class _User:
    host: str
    keys: set[str] = field(default_factory=set)


class MomoEmulator(Emulator):
    """See the module.

    Args:
        currency: what is taken; the sandbox takes euros only.
        target: the ``X-Target-Environment`` it answers to.
        delay_s: how long the customer takes to confirm.
        float_minor: what the disbursement account holds, in main units.
    """

    name = "momo"

    def __init__(
        self, *, currency: str = "EUR", target: str = "sandbox", delay_s: float = 0.0,
        funds: str = "1000000", **given: Any,
    ) -> None:  # fmt: skip
        super().__init__(**given)
        self.currency = currency
        self.target = target
        self.delay_s = delay_s
        self.funds = Decimal(funds)
        self.asked: dict[str, Asked] = {}
        self.users: dict[str, _User] = {USER: _User("localhost", {API_KEY})}
        self.tokens: dict[str, tuple[str, datetime]] = {}

    # -- for tests ----------------------------------------------------------------------------

    def settle(self, reference: str, status: str = "SUCCESSFUL", reason: str = "") -> None:
        """The customer confirms, refuses, or time ends it."""
        with self.lock:
            self._end(self.asked[reference], status, reason)

    def moved(self, kind: str, currency: str) -> Decimal:
        """What requests of *kind* have moved, in main units."""
        done = [a for a in self.asked.values() if a.kind == kind and a.status == "SUCCESSFUL"]
        found = [Decimal(a.body["amount"]) for a in done if a.body["currency"] == currency]
        return sum(found, Decimal())

    def expire_tokens(self) -> None:
        """Every token given so far is refused from now on."""
        with self.lock:
            self.tokens.clear()

    # -- what a provider is -------------------------------------------------------------------

    def operation(self, request: Request) -> str:
        path, verb = request.path, request.method
        if path.startswith("/v1_0/apiuser"):
            return "provision"
        if path.rstrip("/").endswith("/token"):
            return "token"
        found = _PATH.fullmatch(path)
        if found is None:
            return "unknown"
        names = {"requesttopay": "payment", "transfer": "payout", "deposit": "payout",
                 "refund": "refund"}  # fmt: skip
        if found[2] in names:
            return f"{names[found[2]]}.{'create' if verb == 'POST' else 'show'}"
        return {"account": "balance", "accountholder": "payee"}.get(found[2], "unknown")

    def handle(self, request: Request, fault: str | None) -> Response:
        operation = self.operation(request)
        if operation == "provision":
            return self._provision(request)
        if operation == "token":
            return self._token(request)
        found = _PATH.fullmatch(request.path)
        if found is None:
            return _error(404, "RESOURCE_NOT_FOUND")
        product, rest = found[1], found[3] or ""
        if fault == "expire_token":
            self.tokens.clear()
        refused = self._refused(request, product)
        if refused is not None:
            return refused
        if operation.endswith(".create"):
            return self._create(request, found[2], fault or "")
        if operation.endswith(".show"):
            asked = self.asked.get(rest)
            if asked is None:
                return _error(404, "RESOURCE_NOT_FOUND")
            return Response(200, _shown(asked))
        if operation == "balance":
            return Response(200, self._balance(product))
        if operation == "payee":
            return self._payee(rest)
        return _error(404, "RESOURCE_NOT_FOUND")

    def problem(self, status: int) -> Response:
        codes = {
            400: "BAD_REQUEST", 401: "ACCESS_DENIED_SUBSCRIPTION_KEY", 403: "FORBIDDEN_IP",
            404: "RESOURCE_NOT_FOUND", 409: "RESOURCE_ALREADY_EXIST",
            500: "INTERNAL_PROCESSING_ERROR", 503: "SERVICE_UNAVAILABLE",
        }  # fmt: skip
        headers = {"Retry-After": "1"} if status == 429 else {}
        return _error(status, codes.get(status, "TOO_MANY_REQUESTS"), headers)

    def state(self) -> Mapping[str, Any]:
        return {
            "asked": [{"kind": a.kind, "reference": a.reference, **_shown(a)}
                      for a in self.asked.values()],
            "funds": str(self.funds),
        }  # fmt: skip

    def tick(self) -> None:
        super().tick()
        wait = timedelta(seconds=self.delay_s)
        for asked in self.asked.values():
            if asked.status == "PENDING" and asked.ends_as and asked.made_at + wait <= self.now():
                self._decide(asked)

    # -- provisioning and tokens --------------------------------------------------------------

    def _provision(self, request: Request) -> Response:
        """Sandbox user provisioning: ``POST apiuser``, ``POST apiuser/{id}/apikey``, ``GET``."""
        if request.headers.get("ocp-apim-subscription-key") not in SUBSCRIPTION_KEYS.values():
            return _error(401, "ACCESS_DENIED_SUBSCRIPTION_KEY")
        parts = request.path.removeprefix("/v1_0/apiuser").strip("/").split("/")
        if request.method == "POST" and parts == [""]:
            user, given = request.headers.get("x-reference-id", ""), request.json() or {}
            if not _is_uuid4(user) or not given.get("providerCallbackHost"):
                return _error(400, "BAD_REQUEST")
            if user in self.users:
                return _error(409, "RESOURCE_ALREADY_EXIST")
            self.users[user] = _User(str(given["providerCallbackHost"]))
            return Response(201)
        known = self.users.get(parts[0])
        if known is None:
            return _error(404, "RESOURCE_NOT_FOUND")
        if request.method == "POST" and parts[1:] == ["apikey"]:
            key = uuid.uuid4().hex
            known.keys.add(key)
            return Response(201, {"apiKey": key})
        return Response(200, {"providerCallbackHost": known.host, "targetEnvironment": self.target})

    def _token(self, request: Request) -> Response:
        product = request.path.strip("/").partition("/")[0]
        if request.headers.get("ocp-apim-subscription-key") != SUBSCRIPTION_KEYS.get(product):
            return _error(401, "ACCESS_DENIED_SUBSCRIPTION_KEY")
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        try:
            user, _, key = base64.b64decode(text).decode().partition(":")
        except ValueError:
            return _error(401, "LOGIN_FAILED")
        if kind != "Basic" or key not in self.users.get(user, _User("")).keys:
            return Response(401, {"error": "login_failed"})
        token = f"momo-token-{product}-{uuid.uuid4().hex}"
        self.tokens[token] = (product, self.now() + timedelta(seconds=TOKEN_LIFE_S))
        body = {"access_token": token, "token_type": "access_token", "expires_in": TOKEN_LIFE_S}
        return Response(200, body)

    def _refused(self, request: Request, product: str) -> Response | None:
        headers = request.headers
        if headers.get("ocp-apim-subscription-key") != SUBSCRIPTION_KEYS[product]:
            return _error(401, "ACCESS_DENIED_SUBSCRIPTION_KEY")
        token = headers.get("authorization", "").removeprefix("Bearer ")
        held, ends = self.tokens.get(token, ("", self.now()))
        if held != product or ends <= self.now():
            return Response(401, {"code": "UNAUTHORIZED_TOKEN", "message": "Unauthorized."})
        if headers.get("x-target-environment") != self.target:
            return _error(500, "NOT_ALLOWED_TARGET_ENVIRONMENT")
        return None

    # -- requests -----------------------------------------------------------------------------

    def _create(self, request: Request, kind: str, fault: str) -> Response:
        reference, body = request.headers.get("x-reference-id", ""), request.json()
        party = "payer" if kind == "requesttopay" else "payee"
        if not _is_uuid4(reference) or not _sound(body, None if kind == "refund" else party):
            return _error(400, "BAD_REQUEST")
        if reference in self.asked:
            return _error(409, "RESOURCE_ALREADY_EXIST")
        if body["currency"] != self.currency:
            return _error(500, "INVALID_CURRENCY")
        fate = fault.removeprefix("reason:") if fault.startswith("reason:") else ""
        fate = fate or self._fate(kind, body, party)
        if fate in _AT_ONCE and kind != "refund" and not fault:
            return _error(_AT_ONCE[fate], fate)
        asked = Asked(
            kind, reference, body, self.now(), callback=request.headers.get("x-callback-url", ""),
            ends_as="" if fault == "pending" or fate in _OPEN else fate or "SUCCESSFUL",
            about=str(body.get("referenceIdToRefund") or ""),
        )  # fmt: skip
        if fate in _OPEN:
            asked.reason = fate
        self.asked[reference] = asked
        if asked.ends_as and not self.delay_s:
            self._decide(asked)
        return Response(202)

    def _fate(self, kind: str, body: Mapping[str, Any], party: str) -> str:
        if kind == "refund":
            about = str(body.get("referenceIdToRefund"))
            if about.isdigit() and 1 <= int(about) <= len(_REFUND):
                return _REFUND[int(about) - 1]
            return ""
        table = _TO_PAY if kind == "requesttopay" else _TRANSFER
        return _listed(str(body[party]["partyId"]), table)

    def _decide(self, asked: Asked) -> None:
        fate = asked.ends_as
        if fate == "SUCCESSFUL" and asked.kind == "refund":
            fate = self._refundable(asked)
        if fate == "SUCCESSFUL" and asked.kind != "requesttopay":
            amount = Decimal(asked.body["amount"])
            if amount > self.funds:
                fate = "NOT_ENOUGH_FUNDS"
            else:
                self.funds -= amount
        if fate == "SUCCESSFUL":
            self._end(asked, "SUCCESSFUL", "")
        else:
            self._end(asked, "FAILED", fate)

    def _refundable(self, asked: Asked) -> str:
        paid = self.asked.get(asked.about)
        if paid is None or paid.status != "SUCCESSFUL":
            return "RESOURCE_NOT_FOUND"
        given = [
            Decimal(a.body["amount"])
            for a in self.asked.values()
            if a.kind == "refund" and a.about == asked.about and a.status == "SUCCESSFUL"
        ]
        total = sum(given, Decimal()) + Decimal(asked.body["amount"])
        return "SUCCESSFUL" if total <= Decimal(paid.body["amount"]) else "NOT_ALLOWED"

    def _end(self, asked: Asked, status: str, reason: str) -> None:
        asked.status, asked.reason, asked.ends_as = status, reason, ""
        if status == "SUCCESSFUL":
            asked.financial_id = str(363_000_000 + len(self.asked))
        if asked.callback:
            content = json.dumps(_shown(asked)).encode()
            headers = {"Content-Type": "application/json"}
            self.deliveries.append(Delivery("PUT", asked.callback, headers, content))

    def _balance(self, product: str) -> dict[str, str]:
        taken = self.moved("requesttopay", self.currency)
        held = taken if product == "collection" else self.funds
        return {"availableBalance": str(held), "currency": self.currency}

    def _payee(self, rest: str) -> Response:
        found = re.fullmatch(r"(?:msisdn|MSISDN)/(\d+)/(active|basicuserinfo)", rest)
        if found is None:
            return _error(400, "BAD_REQUEST")
        fate = _listed(found[1], _ACTIVE)
        if fate == "NOT_FOUND":
            return _error(404, "RESOURCE_NOT_FOUND")
        if fate and fate != "NOT_ACTIVE":
            return _error(_AT_ONCE.get(fate, 500), fate)
        if found[2] == "basicuserinfo":
            return Response(200, {"given_name": "Sand", "family_name": "Box", "status": "ACTIVE"})
        return Response(200, {"result": fate != "NOT_ACTIVE"})


def _listed(number: str, table: tuple[str, ...]) -> str:
    found = re.fullmatch(r"467331234(\d\d)", number)
    place = int(found[1]) - 50 if found else -1
    return table[place] if 0 <= place < len(table) else ""


def _shown(asked: Asked) -> dict[str, Any]:
    """The status body (requesttopay, transfer, refund), as the schema has it."""
    out = {name: value for name, value in asked.body.items() if name != "referenceIdToRefund"}
    out["status"] = asked.status
    if asked.financial_id:
        out["financialTransactionId"] = asked.financial_id
    if asked.reason:
        out["reason"] = asked.reason
    return out


def _sound(body: Any, party: str | None) -> bool:
    """What MTN validates: a string amount, a currency, plain words, a party of digits."""
    if not isinstance(body, dict):
        return False
    amount, currency = body.get("amount"), body.get("currency")
    if not isinstance(amount, str) or not _MONEY.fullmatch(amount) or not currency:
        return False
    try:
        if Decimal(amount) <= 0:
            return False
    except InvalidOperation:
        return False
    words = (body.get("payerMessage", ""), body.get("payeeNote", ""))
    if not all(isinstance(each, str) and _WORDS.fullmatch(each) for each in words):
        return False
    if party is None:
        return bool(body.get("referenceIdToRefund"))
    named = body.get(party) or {}
    return named.get("partyIdType") == "MSISDN" and str(named.get("partyId", "")).isdigit()


def _is_uuid4(text: str) -> bool:
    try:
        return uuid.UUID(text).version == 4
    except ValueError:
        return False


def _error(status: int, code: str, headers: Mapping[str, str] | None = None) -> Response:
    message = code.replace("_", " ").capitalize()
    return Response(status, {"code": code, "message": message}, headers or {})
