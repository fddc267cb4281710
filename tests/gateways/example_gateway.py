"""An adapter for the example emulator: what concurrency is measured through."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from payctl.clock import Clock, SystemClock
from payctl.errors import InvalidInput
from payctl.gateways.base import (
    Answer,
    Capabilities,
    Event,
    Health,
    Outcome,
    PaymentRequest,
    Reference,
)
from payctl.gateways.checks import Refusing, refuse_payment
from payctl.gateways.http import Http, Reply, answer_without_success
from payctl.gateways.rest import Rest, json_object
from payctl.gateways.tokens import MemoryTokens, Tokens, token_key
from payctl.testing.emulators.example import CREDENTIALS

STATES = {"paid": Outcome.SUCCEEDED, "pending": Outcome.PENDING, "declined": Outcome.DECLINED}


class ExampleGateway(Refusing):
    """Takes the money at once; asked about a payment by our reference."""

    name = "example"
    live = False
    capabilities = Capabilities(
        methods=frozenset({"mobile_money", "card"}), currencies=frozenset({"XOF", "EUR"})
    )

    def __init__(self, account: str, url: str, *, max_connections: int = 20) -> None:
        clock: Clock = SystemClock()
        self.account = account
        self._http = Http(clock, max_connections=max_connections)
        self._plain = Rest(self._http, url, clock)
        tokens = Tokens(
            MemoryTokens(), lambda: token_key(url, CREDENTIALS), self._fetch, self._token, clock
        )
        self._rest = Rest(self._http, url, clock, tokens)

    def create_payment(self, request: PaymentRequest) -> Answer:
        if refusal := refuse_payment(self.capabilities, request):
            return refusal
        body: dict[str, Any] = {
            "reference": request.our_reference, "amount": request.amount_minor,
            "currency": request.currency,
        }  # fmt: skip
        reply = self._rest.call("POST", "/payments", deadline_s=request.deadline_s, body=body)
        return _answer(reply)

    def query_payment(self, reference: Reference) -> Answer:
        path = f"/payments/{reference.our_reference}"
        reply = self._rest.call("GET", path, deadline_s=reference.deadline_s)
        if reply.status == 404:
            return Answer(Outcome.NOT_FOUND, http_status=404)
        return _answer(reply)

    def ping(self) -> Health:
        reply = self._rest.call("GET", "/payments/none", deadline_s=5.0)
        return Health(reply.status == 404, reply.latency_ms)

    def parse_event(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> Event:
        raise InvalidInput("event.unreadable", field="body")

    def close(self) -> None:
        self._http.close()

    def _fetch(self, deadline_s: float) -> Reply:
        basic = base64.b64encode(CREDENTIALS.encode()).decode()
        return self._plain.call(
            "POST", "/token", deadline_s=deadline_s, form={"grant_type": "client_credentials"},
            headers={"Authorization": f"Basic {basic}"},
        )  # fmt: skip

    @staticmethod
    def _token(reply: Reply) -> tuple[str, int] | None:
        data = json_object(reply)
        return (data["access_token"], data["expires_in"]) if data else None


def _answer(reply: Reply) -> Answer:
    if (proven := answer_without_success(reply)) is not None:
        return proven
    data = json_object(reply)
    return Answer(
        STATES.get(data.get("status", ""), Outcome.UNKNOWN), data.get("id"), data.get("amount"),
        data.get("currency"), our_reference=data.get("reference"), http_status=reply.status,
        latency_ms=reply.latency_ms, exchange=reply.exchange,
    )  # fmt: skip
