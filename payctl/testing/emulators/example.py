"""The smallest whole provider: a token, payments, a webhook. The pattern of any other emulator.

========================  =========================================================================
``POST /token``           form ``grant_type=client_credentials``, Basic ``demo:demo-secret``:
                          ``{"access_token", "expires_in"}``; good for :data:`TOKEN_LIFE_S`
``POST /payments``        ``{"reference", "amount", "currency", "callback_url"?}``, with the token:
                          201; 409 for a reference that is there already
``GET /payments/REF``     the payment; 404 when there is none
========================  =========================================================================

Faults of its own, besides those of :mod:`payctl.testing.emulators.core`: ``decline`` (the payment
is made and refused) and ``pending`` (it is paid :data:`PENDING_S` seconds later by the provider's
time). A payment with a ``callback_url`` that ends is told about in ``deliveries``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from payctl.testing.emulators.core import Delivery, Emulator, Request, Response

CREDENTIALS = "demo:demo-secret"
TOKEN_LIFE_S = 3600
PENDING_S = 60
_BASIC = "Basic " + base64.b64encode(CREDENTIALS.encode()).decode()


@dataclass(slots=True)
class Payment:
    """A payment; ``amount`` in minor units."""

    id: str
    reference: str
    amount: int
    currency: str
    status: str
    callback_url: str = ""


class ExampleEmulator(Emulator):
    """See the module."""

    name = "example"

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.tokens: dict[str, datetime] = {}
        self.payments: dict[str, Payment] = {}
        self._due: list[tuple[datetime, str]] = []

    def operation(self, request: Request) -> str:
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["token"]:
                return "token"
            case "POST", ["payments"]:
                return "payment.create"
            case "GET", ["payments", _reference]:
                return "payment.show"
            case _:
                return "unknown"

    def handle(self, request: Request, fault: str | None) -> Response:
        operation = self.operation(request)
        if operation == "unknown":
            return self.problem(404)
        if operation == "token":
            return self._token(request)
        ends = self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if ends is None or ends <= self.now():
            return self.problem(401)
        if operation == "payment.create":
            return self._create(request, fault)
        found = self.payments.get(request.path.strip("/").partition("/")[2])
        return Response(200, asdict(found)) if found else self.problem(404)

    def problem(self, status: int) -> Response:
        headers = {"Retry-After": "1"} if status == 429 else {}
        return Response(status, {"error": {"status": status}}, headers)

    def state(self) -> Mapping[str, Any]:
        return {"tokens": len(self.tokens), "payments": [*map(asdict, self.payments.values())]}

    def tick(self) -> None:
        super().tick()
        due = [each for each in self._due if each[0] <= self.now()]
        self._due = [each for each in self._due if each not in due]
        for _at, reference in due:
            self._end(self.payments[reference], "paid")

    def _token(self, request: Request) -> Response:
        if request.headers.get("authorization") != _BASIC:
            return self.problem(401)
        if request.form().get("grant_type") != "client_credentials":
            return self.problem(400)
        token = f"example-token-{len(self.tokens) + 1}"
        self.tokens[token] = self.now() + timedelta(seconds=TOKEN_LIFE_S)
        return Response(200, {"access_token": token, "expires_in": TOKEN_LIFE_S})

    def _create(self, request: Request, fault: str | None) -> Response:
        given = request.json()
        try:
            reference, amount = str(given["reference"]), int(given["amount"])
            currency, url = str(given["currency"]), str(given.get("callback_url", ""))
        except (TypeError, KeyError, ValueError):
            return self.problem(400)
        if reference in self.payments:
            return self.problem(409)
        number = f"ex_{len(self.payments) + 1}"
        payment = Payment(number, reference, amount, currency, "pending", url)
        self.payments[reference] = payment
        if fault == "pending":
            self._due.append((self.now() + timedelta(seconds=PENDING_S), reference))
        else:
            self._end(payment, "declined" if fault == "decline" else "paid")
        return Response(201, asdict(payment))

    def _end(self, payment: Payment, status: str) -> None:
        payment.status = status
        if payment.callback_url:
            body = json.dumps({"reference": payment.reference}).encode()
            headers = {"Content-Type": "application/json"}
            self.deliveries.append(Delivery("POST", payment.callback_url, headers, body))
