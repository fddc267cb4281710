"""An adapter for Kiosk, a mobile money provider that exists only in this example.

Kiosk takes the money as soon as a payment is created (the customer confirms on the phone), answers
by our reference, and can neither cancel nor refund. All of that is declared, not coded around.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from payctl.clock import Clock
from payctl.errors import InvalidInput
from payctl.gateways.base import (
    Answer,
    Capabilities,
    Event,
    Health,
    Outcome,
    PaymentRequest,
    Probe,
    Reference,
)
from payctl.gateways.checks import Refusing, refuse_payment, refuse_query
from payctl.gateways.http import Http, Reply, answer_without_success
from payctl.gateways.settings import Settings
from payctl.gateways.signature import header_of, verify

STATES = {"paid": Outcome.SUCCEEDED, "waiting": Outcome.PENDING, "refused": Outcome.DECLINED}
DECLINES = {
    "no_money": "insufficient_funds",
    "bad_pin": "wrong_pin",
    "no_such_phone": "payer_not_found",
}


class KioskGateway(Refusing):
    """Settings: ``url``, ``key`` and ``webhook_secret`` (both references to secrets)."""

    name = "kiosk"
    live = True
    capabilities = Capabilities(
        methods=frozenset({"mobile_money"}),
        currencies=frozenset({"XOF", "EUR"}),
        query_by=frozenset({"our_reference", "provider_reference"}),
        late_horizon_s=900,
        create_moves_money=True,
    )

    def __init__(
        self,
        account: str,
        url: str,
        key: Callable[[], str],
        webhook_secret: Callable[[], str],
        clock: Clock,
        probe: Probe,
    ) -> None:
        self.account = account
        self._url = url
        self._key = key
        self._webhook_secret = webhook_secret
        self._http = Http(clock, probe=probe, secrets=lambda: (key(),))

    @classmethod
    def from_settings(cls, settings: Settings, *, clock: Clock, probe: Probe) -> KioskGateway:
        url = settings.text("url")
        key, webhook_secret = settings.secret("key"), settings.secret("webhook_secret")
        settings.done()
        return cls(settings.account, url, key, webhook_secret, clock, probe)

    def create_payment(self, request: PaymentRequest) -> Answer:
        if refusal := refuse_payment(self.capabilities, request):
            return refusal
        wanted = {
            "reference": request.our_reference,
            "key": request.idempotency_key,
            "amount": request.amount_minor,
            "currency": request.currency,
            "phone": request.phone,
        }
        return _answer(self._send("POST", "/payments", request.deadline_s, wanted))

    def query_payment(self, reference: Reference) -> Answer:
        if refusal := refuse_query(self.capabilities, reference):
            return refusal
        name = reference.our_reference or reference.provider_reference
        reply = self._send("GET", f"/payments/{name}", reference.deadline_s)
        if reply.status == 404:
            return Answer(Outcome.NOT_FOUND, http_status=404, exchange=reply.exchange)
        return _answer(reply)

    def ping(self) -> Health:
        reply = self._send("GET", "/ping", 5.0)
        return Health(reply.status == 200, reply.latency_ms, reply.error or "")

    def parse_event(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> Event:
        given = header_of(headers, "Kiosk-Signature")
        verify(body, given, (self._webhook_secret(),), received_at)
        try:
            event = json.loads(body)
            reference = Reference(event["reference"], event["payment"])
            return Event(event["id"], event["type"], "payment", reference)
        except (ValueError, KeyError, TypeError) as broken:
            raise InvalidInput("event.unreadable", field="body") from broken

    def close(self) -> None:
        self._http.close()

    def _send(
        self, method: str, path: str, deadline_s: float, body: Mapping[str, Any] | None = None
    ) -> Reply:
        headers = {"Authorization": f"Bearer {self._key()}", "Content-Type": "application/json"}
        content = json.dumps(body).encode() if body is not None else None
        return self._http.send(
            method, self._url + path, headers=headers, body=content, deadline_s=deadline_s
        )


def _answer(reply: Reply) -> Answer:
    """What the reply proves. A 2xx that cannot be read may have had its effect: unknown."""
    if (proven := answer_without_success(reply)) is not None:
        return proven
    try:
        data = json.loads(reply.body)
        outcome, why = STATES[data["state"]], data.get("why")
        declined = outcome is Outcome.DECLINED
        return Answer(
            outcome,
            provider_reference=data["id"],
            our_reference=data["reference"],
            amount_minor=data["amount"],
            currency=data["currency"],
            code=DECLINES.get(why, "unknown_reason") if declined else None,
            provider_code=why,
            http_status=reply.status,
            latency_ms=reply.latency_ms,
            exchange=reply.exchange,
        )
    except (ValueError, KeyError, TypeError):
        return Answer(Outcome.UNKNOWN, http_status=reply.status, exchange=reply.exchange)
