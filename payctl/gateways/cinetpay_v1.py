"""CinetPay's new API, ``api.cinetpay.co`` (live) and ``api.cinetpay.net`` (sandbox).

One pair of key and password per country gives a token for a day. An outer ``200 OK`` says that the
request was understood, ``details`` what became of it; a ``FAILED`` there comes with the ids of what
was made, so it counts only when a question confirms it. The status answer tells neither amount nor
currency, and names the payer (``user.phone_number``) as the payment was asked for, which is whom
the customer's page was opened for.

Transfers: a question by CinetPay's id is documented, one by ours is not. So "not found" by our
reference alone proves nothing, and stays unknown; nor is it said what a repeated reference does.

Sources: CinetPay's sandbox documentation as the published clients record it ("Authentication",
"Payments", "Transfers", "Balances", "Notifications", "Status codes").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any
from urllib.parse import quote

from payctl.clock import Clock
from payctl.gateways.base import (
    Answer,
    BalanceLine,
    Event,
    Health,
    Outcome,
    PaymentRequest,
    PayoutRequest,
    Reference,
)
from payctl.gateways.checks import rejected
from payctl.gateways.cinetpay_answers import answered, code_of, meaning_of
from payctl.gateways.cinetpay_codes import V1 as CODES
from payctl.gateways.cinetpay_codes import V1_TOKEN, Kind
from payctl.gateways.cinetpay_events import of_json
from payctl.gateways.cinetpay_terms import Site, payee, payout_method, whole
from payctl.gateways.cinetpay_v1_answers import balances, made, paid_out, status
from payctl.gateways.http import Http, Reply
from payctl.gateways.rest import Rest, json_object
from payctl.gateways.tokens import Tokens, TokenStore, token_key

LIVE_URL, SANDBOX_URL = "https://api.cinetpay.co", "https://api.cinetpay.net"
#: Longest address CinetPay takes.
MAX_URL = 120


class V1:
    """The new API with the credentials of one country."""

    def __init__(
        self,
        site: Site,
        http: Http,
        clock: Clock,
        *,
        base_url: str | None,
        api_key: Callable[[], str],
        api_password: Callable[[], str],
        store: TokenStore,
    ) -> None:
        self._site = site
        self._http = http
        self._clock = clock
        self._given_url = base_url
        self._api_key = api_key
        self._api_password = api_password
        self._store = store

    @property
    def live(self) -> bool:
        """Whether the key is not one of the sandbox: anything else is treated as real money."""
        return not self._api_key().startswith("sk_test_")

    def create_payment(self, request: PaymentRequest) -> Answer:
        back = request.return_url or self._site.return_url
        failed = request.cancel_url or back
        if max(len(back), len(failed)) > MAX_URL:
            return rejected("address_too_long", f"at most {MAX_URL} letters")
        given = request.metadata
        body = {
            "currency": request.currency,
            "payment_method": request.payment_token,
            "merchant_transaction_id": request.our_reference,
            "amount": whole(request.amount_minor, request.currency),
            "lang": self._site.lang,
            "designation": request.description or "Paiement",
            "client_email": request.email,
            "client_phone_number": request.phone,
            "client_first_name": _name(given.get("customer_surname")),
            "client_last_name": _name(given.get("customer_name")),
            "direct_pay": False,
            "success_url": back,
            "failed_url": failed,
            "notify_url": self._site.notify_url,
        }
        told = {key: value for key, value in body.items() if value is not None}
        reply = self._call("POST", "/v1/payment", request.deadline_s, told)
        return made(reply, request.our_reference)

    def query_payment(self, reference: Reference) -> Answer:
        name = reference.provider_reference or reference.our_reference or ""
        path = f"/v1/payment/{quote(name, safe='')}"
        return status(self._call("GET", path, reference.deadline_s), reference.currency)

    def create_payout(self, request: PayoutRequest) -> Answer:
        number = payee(request, self._site)
        if isinstance(number, Answer):
            return number
        method = payout_method(number, self._site)
        if method is None:
            return rejected("operator_unknown", "name it in payout_methods")
        body = {
            "currency": request.currency,
            "payment_method": method,
            "merchant_transaction_id": request.our_reference,
            "amount": whole(request.amount_minor, request.currency),
            "phone_number": number.e164,
            "reason": request.description or "Paiement",
            "notify_url": self._site.notify_url,
        }
        reply = self._call("POST", "/v1/transfer", request.deadline_s, body)
        return paid_out(reply, request.currency, making=True)

    def query_payout(self, reference: Reference) -> Answer:
        theirs = reference.provider_reference
        name = quote(theirs or reference.our_reference or "", safe="")
        reply = self._call("GET", f"/v1/transfer/{name}", reference.deadline_s)
        answer = paid_out(reply, reference.currency or self._site.balance_currency, making=False)
        if answer.outcome is Outcome.NOT_FOUND and not theirs:
            return answered(
                reply, Outcome.UNKNOWN, message="not found by our reference, which proves nothing"
            )
        return answer

    def balance(self) -> tuple[Reply, list[BalanceLine] | None]:
        reply = self._call("GET", "/v1/balances", 10.0)
        data = json_object(reply)
        meaning = meaning_of(data, CODES)
        if meaning is not None and meaning.kind is Kind.SETUP:
            return replace(reply, status=401), None
        if reply.status != 200 or meaning is None or meaning.kind is not Kind.CREATED:
            return reply, None
        return reply, balances(data, self._site.balance_currency)

    def ping(self) -> Health:
        reply, lines = self.balance()
        if lines is not None or (reply.status == 200 and code_of(json_object(reply)) == "200"):
            return Health(True, reply.latency_ms, "live" if self.live else "sandbox")
        return Health(False, reply.latency_ms, reply.error or f"status {reply.status}")

    def parse_event(self, body: bytes, headers: Mapping[str, str]) -> Event:
        return of_json(body)

    # -- exchanges -------------------------------------------------------------------------------

    def _call(
        self, method: str, path: str, deadline_s: float, body: Mapping[str, Any] | None = None
    ) -> Reply:
        return self._rest.call(method, path, body=body, deadline_s=deadline_s)

    @cached_property
    def _rest(self) -> Rest:
        """Made when first needed: the key tells which host is meant, and is a secret."""
        url = self._given_url or (LIVE_URL if self.live else SANDBOX_URL)
        login = Rest(self._http, url, self._clock)

        def fetch(deadline_s: float) -> Reply:
            body = {"api_key": self._api_key(), "api_password": self._api_password()}
            reply = login.call("POST", "/v1/oauth/login", body=body, deadline_s=deadline_s)
            meaning = meaning_of(json_object(reply), CODES)
            refused = meaning is not None and meaning.kind is Kind.SETUP
            return replace(reply, status=401) if refused and reply.fault is None else reply

        tokens = Tokens(
            self._store,
            lambda: token_key(url, self._api_key(), self._api_password()),
            fetch,
            _token,
            self._clock,
        )
        return Rest(self._http, url, self._clock, tokens, refused=_token_refused)


def _name(given: str | None) -> str:
    """A first or last name of two to 255 letters, as CinetPay wants it."""
    text = (given or "").strip()[:255]
    return text if len(text) > 1 else "Client"


def _token(reply: Reply) -> tuple[str, int] | None:
    data = json_object(reply)
    token, life_s = data.get("access_token"), data.get("expires_in")
    if not isinstance(token, str) or not token:
        return None
    return token, life_s if type(life_s) is int and life_s > 0 else 300


def _token_refused(reply: Reply) -> bool:
    return reply.status == 401 or code_of(json_object(reply)) in V1_TOKEN
