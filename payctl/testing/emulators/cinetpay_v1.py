"""CinetPay's new API as its sandbox speaks it: payments, transfers, balances, JSON callbacks.

Shapes: the sandbox documentation as published clients record it ("Authentication", "Payments",
"Transfers", "Balances", "Notifications", test numbers). Errors of codes come with 200, invalid
parameters with 422. No document says what a reference used again gets: it is refused with 1004.

The telephone number decides what the payment comes to, once the customer has been on the page (or
at once with ``direct_pay``): see :data:`NUMBERS`; any other number succeeds.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from payctl.testing.emulators.core import Delivery, Request, Response

if TYPE_CHECKING:
    from payctl.testing.emulators.cinetpay import CinetPayEmulator

#: Test number to the statuses it goes through; a later one is reached by time (:meth:`NewApi.go`).
NUMBERS: Mapping[str, tuple[str, ...]] = {
    "+2250707070700": ("SUCCESS",),
    "+2250707070701": ("PENDING", "SUCCESS"),
    "+2250707070703": ("FAILED",),
    "+2250707070704": ("PENDING", "FAILED"),
    "+2250707070706": ("PENDING",),
    "+2250707000001": ("SUCCESS",),
}
CODES: Mapping[str, int] = {
    "OK": 200, "SUCCESS": 100, "INVALID_TOKEN": 1002, "EXPIRED_TOKEN": 1003,
    "INVALID_PARAMS": 1004, "INVALID_CREDENTIALS": 1005, "INITIATED": 2001, "PENDING": 2002,
    "FAILED": 2010, "NOT_ALLOWED": 2011,
}  # fmt: skip
_LIFE_S = 86_400
_REQUIRED = ("currency", "merchant_transaction_id", "amount", "notify_url")
_SMALLEST = 100


@dataclass(slots=True)
class Thing:
    """A payment or a transfer. ``amount`` in whole units; ``path`` is what is still to come."""

    kind: str
    transaction_id: str
    merchant_transaction_id: str
    token: str
    notify_token: str
    amount: int
    currency: str
    phone: str
    name: str
    email: str
    notify_url: str
    status: str
    path: tuple[str, ...]


class NewApi:
    """The new API with the credentials of one country."""

    def __init__(
        self, emulator: CinetPayEmulator, key: str, password: str, float_units: int
    ) -> None:
        self._emulator = emulator
        self._key, self._password = key, password
        self.float_units = float_units
        self.currency = "XOF"
        self.things: dict[str, Thing] = {}
        self._tokens: dict[str, datetime] = {}

    def handle(self, operation: str, request: Request) -> Response:
        if operation == "v1.login":
            return self._login(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        ends = self._tokens.get(token)
        if ends is None:
            return self.coded("1002")
        if ends <= self._emulator.now():
            return self.coded("1003")
        if operation == "v1.balance":
            return Response(200, {
                "code": 200, "status": "OK", "available_balance": self.float_units,
                "pending_balance": 0, "currency": self.currency,
            })  # fmt: skip
        if operation.endswith(".get"):
            return self._get(operation.split(".")[1], request.path.rpartition("/")[2])
        body = request.json()
        if not isinstance(body, dict):
            return _invalid("no JSON object")
        return self._create(operation.split(".")[1], body, request)

    def coded(self, code: str) -> Response:
        """An error with a code of the table, and 200."""
        status = next((name for name, each in CODES.items() if str(each) == code), "ERROR")
        return Response(200, {"code": int(code), "status": status, "message": f"code {code}"})

    # -- what happens outside --------------------------------------------------------------------

    def visit(self, token: str, outcome: str = "paid") -> str | None:
        """The customer is on the page of *token*; with ``paid`` the number decides."""
        found = next((t for t in self.things.values() if t.token == token), None)
        if found is None:
            return None
        if found.status == "INITIATED":
            if outcome != "paid":
                found.path = ("FAILED",)
            self.go(found.merchant_transaction_id)
        return f"{found.merchant_transaction_id}: {found.status}"

    def go(self, merchant_transaction_id: str) -> None:
        """On to the next status, if there is one; CinetPay calls back."""
        thing = self.things[merchant_transaction_id]
        if not thing.path:
            return
        thing.status, *rest = thing.path
        thing.path = tuple(rest)
        if thing.kind == "transfer" and thing.status == "SUCCESS":
            self.float_units -= thing.amount
        self._emulator.deliveries.append(self.callback(merchant_transaction_id))

    def sum(self, kind: str, currency: str) -> int:
        """What was paid (``payment``) or paid out (``transfer``), in whole units."""
        return sum(t.amount for t in self.things.values()
                   if (t.kind, t.status, t.currency) == (kind, "SUCCESS", currency))  # fmt: skip

    def forget_tokens(self) -> None:
        """All tokens end now."""
        self._tokens = dict.fromkeys(self._tokens, self._emulator.now())

    def state(self) -> dict[str, Any]:
        return {name: asdict(thing) for name, thing in self.things.items()}

    def callback(self, merchant_transaction_id: str) -> Delivery:
        """The callback about a payment or a transfer: no signature, the ``notify_token`` inside."""
        thing = self.things[merchant_transaction_id]
        body: dict[str, Any] = {
            "notify_token": thing.notify_token,
            "merchant_transaction_id": thing.merchant_transaction_id,
            "transaction_id": thing.transaction_id,
            "user": _user(thing),
        }
        if thing.kind == "transfer":
            body["fee_amount"] = _fee(thing)
        headers = {"Content-Type": "application/json"}
        return Delivery("POST", thing.notify_url, headers, json.dumps(body).encode())

    # -- requests --------------------------------------------------------------------------------

    def _login(self, request: Request) -> Response:
        body = request.json()
        given = body if isinstance(body, dict) else {}
        if (given.get("api_key"), given.get("api_password")) != (self._key, self._password):
            return self.coded("1005")
        token = f"emulatedjwt{len(self._tokens):04d}.abcdef"
        self._tokens[token] = self._emulator.now() + timedelta(seconds=_LIFE_S)
        return Response(200, {
            "code": 200, "status": "OK", "access_token": token, "token_type": "bearer",
            "expires_in": _LIFE_S,
        })  # fmt: skip

    def _create(self, kind: str, body: Mapping[str, Any], request: Request) -> Response:
        if (why := self._refusal(kind, body)) is not None:
            return _invalid(why)
        if body["amount"] < _SMALLEST or (kind == "transfer" and body["amount"] > self.float_units):
            # Below the operator's minimum, or above what is there: an opaque failure.
            return Response(200, {"code": 2010, "status": "FAILED", "message": "Echec"})
        phone = body.get("phone_number" if kind == "transfer" else "client_phone_number", "")
        name = str(body["merchant_transaction_id"])
        seed = hashlib.sha256(f"{name}{len(self.things)}".encode()).hexdigest()
        names = (body.get("client_last_name", ""), body.get("client_first_name", ""))
        thing = Thing(
            kind, f"tx-{seed[:16]}", name, f"pay{seed[16:40]}", f"notify{seed[40:60]}",
            body["amount"], str(body["currency"]), str(phone), " ".join(names).strip(),
            str(body.get("client_email", "")), str(body["notify_url"]), "INITIATED",
            NUMBERS.get(str(phone), ("SUCCESS",)),
        )  # fmt: skip
        self.things[name] = thing
        if kind == "transfer":
            self.go(name)
            return self._get(kind, name, notify=True)
        if body.get("direct_pay"):
            self.go(name)
        return self._made(thing, request)

    def _made(self, thing: Thing, request: Request) -> Response:
        waits = thing.status == "INITIATED"
        details = {
            "code": CODES[thing.status],
            "status": thing.status,
            "message": "Veuillez cliquer sur le lien pour continuer le paiement" if waits else "",
            "must_be_redirected": waits,
        }
        return Response(200, {
            "code": 200, "status": "OK", "payment_token": thing.token,
            "notify_token": thing.notify_token, "transaction_id": thing.transaction_id,
            "merchant_transaction_id": thing.merchant_transaction_id,
            "payment_url": self._emulator.page_of(request, thing.token), "details": details,
        })  # fmt: skip

    def _refusal(self, kind: str, body: Mapping[str, Any]) -> str | None:
        name, amount = body.get("merchant_transaction_id"), body.get("amount")
        if any(body.get(field) in (None, "") for field in _REQUIRED):
            return "a field is missing"
        if not isinstance(name, str) or len(name) > 30:
            return "merchant_transaction_id is too long"
        if name in self.things:
            return "merchant_transaction_id already exists"
        if type(amount) is not int or amount <= 0:
            return "amount must be a whole number"
        urls = ["notify_url"] if kind == "transfer" else ["notify_url", "success_url", "failed_url"]
        for url in urls:
            if not re.match(r"https?://", str(body.get(url))) or len(str(body[url])) > 120:
                return f"{url} is no address of at most 120 letters"
        if kind == "transfer" and not (body.get("payment_method") and body.get("phone_number")):
            return "payment_method and phone_number are needed"
        if kind == "payment":
            lengths = [len(str(body.get(f"client_{each}_name", ""))) for each in ("first", "last")]
            if not all(2 <= length <= 255 for length in lengths):
                return "client names have 2 to 255 letters"
            if body.get("direct_pay") and not body.get("client_phone_number"):
                return "client_phone_number is needed"
        return None

    def _get(self, kind: str, name: str, *, notify: bool = False) -> Response:
        found = next(
            (t for t in self.things.values() if t.kind == kind
             and name in (t.transaction_id, t.token, t.merchant_transaction_id)),
            None,
        )  # fmt: skip
        if found is None:
            return Response(404, {"code": 404, "status": "NOT_FOUND", "message": "not found"})
        body: dict[str, Any] = {
            "code": CODES[found.status],
            "status": found.status,
            "merchant_transaction_id": found.merchant_transaction_id,
            "transaction_id": found.transaction_id,
            "user": _user(found),
        }
        if kind == "transfer":
            body |= {"amount": found.amount, "fee_amount": _fee(found)}
        if notify:
            body["notify_token"] = found.notify_token
        return Response(200, body)


def _user(thing: Thing) -> dict[str, str]:
    return {"name": thing.name, "email": thing.email, "phone_number": thing.phone}


def _fee(thing: Thing) -> int:
    """Two per cent, as the recorded transfer has it."""
    return thing.amount * 2 // 100


def _invalid(message: str) -> Response:
    return Response(422, {"code": 1004, "status": "INVALID_PARAMS", "message": message})
