"""Orange Money Web Payment (api.orange.com): a page of Orange's that the customer pays on.

A payment is known by three things together: our ``order_id``, its amount and the ``pay_token`` that
came with the page's address; without the token nothing can be asked, and nothing can have happened
either, because the page's address came in the same answer and nobody has been shown it. The
notification carries only the ``notif_token`` of that answer. There is no refund, no payout, no
balance and no list. Source: developer.orange.com, "Orange Money Web Payment / M Payment".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from payctl.clock import Clock
from payctl.errors import InvalidInput
from payctl.gateways import numbering
from payctl.gateways.base import (
    Answer,
    Capabilities,
    Event,
    Health,
    NextAction,
    Outcome,
    PaymentRequest,
    Probe,
    Reference,
)
from payctl.gateways.checks import rejected
from payctl.gateways.http import Http, Reply
from payctl.gateways.orange_answers import amount_number, dressed, failed, token_of, unit
from payctl.gateways.orange_data import SANDBOX_CURRENCY, WEBPAY_COUNTRIES, WEBPAY_URL
from payctl.gateways.rest import Rest, json_object
from payctl.gateways.settings import Settings
from payctl.gateways.tokens import Tokens, token_key

#: How long a page can be paid on.
PAGE_LIFE = timedelta(minutes=10)
_STATUSES: Mapping[str, Outcome] = {
    "INITIATED": Outcome.REQUIRES_ACTION,
    "PENDING": Outcome.PENDING,
    "SUCCESS": Outcome.SUCCEEDED,
    "FAILED": Outcome.DECLINED,
    "EXPIRED": Outcome.EXPIRED,
}


class WebPayment:
    """This API for one merchant account in one country."""

    name: Literal["webpay"] = "webpay"

    def __init__(self, settings: Settings, clock: Clock, probe: Probe) -> None:
        self.country = settings.one_of("country", "CI", tuple(WEBPAY_COUNTRIES))
        self.sandbox = settings.one_of("environment", "live", ("live", "sandbox")) == "sandbox"
        self._merchant_key = settings.secret("merchant_key")
        self._client = settings.secret("client_id"), settings.secret("client_secret")
        self._notify_url = settings.text("notify_url")
        self._shop = settings.text("shop_name", "")
        url = settings.text("api_base", WEBPAY_URL).rstrip("/")
        self.currency = WEBPAY_COUNTRIES[self.country]
        self.capabilities = _capabilities(self.country, self.currency, settings.ranges("limits"))
        self._clock = clock
        http = Http(clock, probe=probe, secrets=self._secrets)
        self._open = Rest(Http(clock, secrets=self._secrets), url, clock)
        tokens = Tokens(
            settings.tokens, lambda: token_key(url, *(each() for each in self._client)),
            self._fetch, token_of, clock,
        )  # fmt: skip
        self._rest = Rest(http, url, clock, tokens)
        part = "dev" if self.sandbox else self.country.lower()
        self._root = f"/orange-money-webpay/{part}/v1"

    def create(self, request: PaymentRequest) -> Answer:
        """A page; ``REQUIRES_ACTION`` with its address."""
        if not request.return_url:
            return rejected("return_url_missing", "the page must send its customer back somewhere")
        body = {
            "merchant_key": self._merchant_key(),
            "currency": SANDBOX_CURRENCY if self.sandbox else request.currency,
            "order_id": request.our_reference,
            "amount": amount_number(request.amount_minor, request.currency),
            "return_url": request.return_url,
            "cancel_url": request.cancel_url or request.return_url,
            "notif_url": self._notify_url,
            "lang": "fr",
            "reference": (self._shop or request.description or request.our_reference)[:30],
        }
        reply = self._rest.call(
            "POST", f"{self._root}/webpayment", deadline_s=request.deadline_s, body=body
        )
        if (bad := failed(reply)) is not None:
            return bad
        data = json_object(reply)
        named = [data.get(name) for name in ("pay_token", "payment_url", "notif_token")]
        if not all(isinstance(each, str) and each for each in named):
            return dressed(Answer(Outcome.UNKNOWN, message="unreadable answer"), reply)
        pay_token, page, notif_token = map(str, named)
        expires = self._clock.now() + PAGE_LIFE
        shown = Answer(
            Outcome.REQUIRES_ACTION,
            provider_reference=request.our_reference,
            our_reference=request.our_reference,
            next_action=NextAction("redirect", url=page, expires_at=expires),
            provider_data={"pay_token": pay_token, "notif_token": notif_token},
        )
        return dressed(shown, reply)

    def query(self, reference: Reference) -> Answer:
        """The state of a page."""
        pay_token = reference.provider_data.get("pay_token")
        if not pay_token:
            return Answer(Outcome.NOT_FOUND, message="no page of it was ever shown to anybody")
        amount, currency = reference.amount_minor, reference.currency or self.currency
        if amount is None or not reference.our_reference:
            return rejected("not_supported", "a query without order and amount")
        reply = self._rest.call(
            "POST",
            f"{self._root}/transactionstatus",
            deadline_s=reference.deadline_s,
            body={
                "order_id": reference.our_reference,
                "amount": amount_number(amount, currency),
                "pay_token": pay_token,
            },
        )
        if (bad := failed(reply)) is not None:
            return bad
        data = json_object(reply)
        status = str(data.get("status") or "")
        if not status:
            return dressed(Answer(Outcome.UNKNOWN, message="unreadable answer"), reply)
        outcome = _STATUSES.get(status, Outcome.PENDING)
        told = Answer(
            outcome,
            provider_reference=str(data.get("txnid") or "") or reference.our_reference,
            our_reference=str(data.get("order_id") or reference.our_reference),
            # Orange tells no amount; the question had to name it, and is refused with another.
            amount_minor=amount if outcome is Outcome.SUCCEEDED else None,
            currency=currency if outcome is Outcome.SUCCEEDED else None,
            code="card_declined" if outcome is Outcome.DECLINED else None,
            provider_code=status,
            next_action=NextAction("redirect") if outcome is Outcome.REQUIRES_ACTION else None,
        )
        return dressed(told, reply)

    def ping(self) -> Health:
        """A token is the only thing that can be asked for without a payment."""
        reply = self._fetch(5.0)
        found = token_of(reply) if reply.status is not None and reply.status < 300 else None
        detail = f"webpay {self.country}" if found else reply.error or f"status {reply.status}"
        return Health(found is not None, reply.latency_ms, detail)

    def event(self, body: bytes) -> Event:
        """A notification: proven by its ``notif_token`` alone, and without an order."""
        import json

        try:
            data = json.loads(body)
            token, status = str(data["notif_token"]), str(data["status"])
        except (ValueError, KeyError, TypeError) as broken:
            raise InvalidInput("event.unreadable", field="body") from broken
        number = str(data.get("txnid") or status)
        return Event(
            f"{number}:{status}", f"payment.{status}", "payment", Reference(), proof="token",
            token=token,
        )  # fmt: skip

    def _secrets(self) -> tuple[str, ...]:
        import base64

        user, secret = (each() for each in self._client)
        basic = base64.b64encode(f"{user}:{secret}".encode()).decode()
        return self._merchant_key(), secret, basic

    def _fetch(self, deadline_s: float) -> Reply:
        import base64

        user, secret = (each() for each in self._client)
        basic = base64.b64encode(f"{user}:{secret}".encode()).decode()
        return self._open.call(
            "POST", "/oauth/v3/token", deadline_s=deadline_s,
            form={"grant_type": "client_credentials"}, headers={"Authorization": f"Basic {basic}"},
        )  # fmt: skip


def _capabilities(
    country: str, currency: str, limits: Mapping[str, tuple[int, int]]
) -> Capabilities:
    return Capabilities(
        methods=frozenset({"mobile_money"}),
        currencies=frozenset({currency}),
        countries=frozenset({country}),
        resend_window_s=None,
        query_by=frozenset({"our_reference"}),
        late_horizon_s=1800,
        create_moves_money=False,
        reference_format="plain30",
        networks=frozenset({numbering.ORANGE}),
        limits=limits,
        steps={currency: unit(currency)} if unit(currency) > 1 else {},
    )
