"""Orange Money Cameroon (omcoreapis): a push to the customer's phone, and payouts.

Each operation is made in two steps: ``init`` gives a ``payToken`` and moves nothing, ``pay`` uses
it. The token is the only thing a payment can be asked by, so it is handed back also when the answer
to ``pay`` is lost; a process that dies in that very moment leaves a payment nobody can ask about,
which becomes a case. The merchant's PIN travels in the body and appears in no record.
Source: the operator's published guide of omcoreapis 1.0.2; where published sources disagree (which
operation pays out), a setting decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

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
    PayoutRequest,
    Probe,
    Reference,
)
from payctl.gateways.checks import rejected
from payctl.gateways.http import Http, Reply
from payctl.gateways.orange_answers import amount_number, dressed, failed, minor_of, token_of
from payctl.gateways.orange_data import CAMEROON_URL, STATUSES
from payctl.gateways.rest import Rest, json_object
from payctl.gateways.settings import Settings
from payctl.gateways.tokens import Tokens, token_key

COUNTRY, CURRENCY = "CM", "XAF"
_ROOT = "/omcoreapis/1.0.2"
_PAYOUTS = ("cashout", "cashin", "ic2c")


class Cameroon:
    """This API for one channel user."""

    name: Literal["cameroon"] = "cameroon"

    def __init__(self, settings: Settings, clock: Clock, probe: Probe) -> None:
        self.sandbox = settings.one_of("environment", "live", ("live", "sandbox")) == "sandbox"
        self._client = settings.secret("client_id"), settings.secret("client_secret")
        self._login = settings.text("api_user"), settings.secret("api_password")
        self._channel = settings.text("channel_msisdn")
        self._pin = settings.secret("pin")
        self._notify_url = settings.text("notify_url")
        self._payout = settings.one_of("payout_operation", "cashout", _PAYOUTS)
        self.capabilities = _capabilities(
            settings.ranges("limits"), settings.ranges("payout_limits")
        )
        url = settings.text("api_base", CAMEROON_URL).rstrip("/")
        tokens = Tokens(
            settings.tokens, lambda: token_key(url, *(each() for each in self._client)),
            self._fetch, token_of, clock,
        )  # fmt: skip
        self._clock = clock
        quiet = Http(clock, secrets=self._secrets)
        self._open = Rest(quiet, url, clock)
        #: what moves nothing: tokens of operations, questions
        self._aside = Rest(quiet, url, clock, tokens)
        self._rest = Rest(Http(clock, probe=probe, secrets=self._secrets), url, clock, tokens)

    # --- payments and payouts ------------------------------------------------------------------

    def create(self, request: PaymentRequest) -> Answer:
        """A prompt on the customer's phone."""
        number = _national(request.phone)
        if isinstance(number, Answer):
            return number
        answer = self._make(
            "mp",
            request.deadline_s,
            {
                "subscriberMsisdn": number,
                "amount": str(amount_number(request.amount_minor, request.currency)),
                "orderId": request.our_reference,
                "description": request.description[:60] or request.our_reference,
            },
        )
        if answer.outcome is Outcome.PENDING:
            prompt = NextAction("ussd_prompt")
            return replace(answer, outcome=Outcome.REQUIRES_ACTION, next_action=prompt)
        return answer

    def query(self, reference: Reference) -> Answer:
        return self._status("mp", reference)

    def pay_out(self, request: PayoutRequest) -> Answer:
        """Money to a customer, or with ``ic2c`` to another channel user."""
        number = _national(request.destination.value)
        if isinstance(number, Answer):
            return number
        payee = "toChannelMsisdn" if self._payout == "ic2c" else "subscriberMsisdn"
        return self._make(
            self._payout,
            request.deadline_s,
            {
                payee: number,
                "amount": str(amount_number(request.amount_minor, request.currency)),
                "orderId": request.our_reference,
                "description": request.description[:60] or request.our_reference,
            },
        )

    def query_payout(self, reference: Reference) -> Answer:
        """Also the other ways of paying out are asked before a payout counts as not found: it may
        have been made before ``payout_operation`` was changed, and would be paid twice.
        """
        until = self._clock.monotonic() + reference.deadline_s
        answer = self._status(self._payout, reference)
        for other in _PAYOUTS:
            if answer.outcome is not Outcome.NOT_FOUND:
                break
            if other != self._payout:
                left = max(until - self._clock.monotonic(), 0.1)
                answer = self._status(other, replace(reference, deadline_s=left))
        return answer

    def ping(self) -> Health:
        reply = self._fetch(5.0)
        found = token_of(reply) if reply.status is not None and reply.status < 300 else None
        detail = "cameroon" if found else reply.error or f"status {reply.status}"
        return Health(found is not None, reply.latency_ms, detail)

    def event(self, body: bytes) -> Event:
        """An unsigned notification: it names the payToken to ask about."""
        import json

        try:
            data = json.loads(body)
            data = data["data"] if isinstance(data.get("data"), dict) else data
            token, status = str(data["payToken"]), str(data["status"])
        except (ValueError, KeyError, TypeError, AttributeError) as broken:
            raise InvalidInput("event.unreadable", field="body") from broken
        return Event(
            f"{token}:{status}", f"payment.{status}", "payment",
            Reference(provider_reference=token), proof="none",
        )  # fmt: skip

    # --- exchanges -------------------------------------------------------------------------------

    def _make(self, operation: str, deadline_s: float, body: Mapping[str, Any]) -> Answer:
        token = self._init(operation, deadline_s / 2)
        if isinstance(token, Answer):
            return token
        whole = {
            **body,
            "payToken": token,
            "channelUserMsisdn": self._channel,
            "pin": self._pin(),
            "notifUrl": self._notify_url,
        }
        reply = self._rest.call(
            "POST", f"{_ROOT}/{operation}/pay", deadline_s=deadline_s / 2, body=whole,
            headers=self._headers(),
        )  # fmt: skip
        bad = failed(reply)
        answer = bad if bad is not None else self._read(reply, token)
        if answer.outcome in (Outcome.UNKNOWN, Outcome.EXISTS):
            # Only with it can the lost answer be asked for.
            return replace(answer, provider_reference=token)
        return answer

    def _init(self, operation: str, deadline_s: float) -> str | Answer:
        """The token of a new operation. It moves nothing: when it fails, nothing was sent."""
        reply = self._aside.call(
            "POST", f"{_ROOT}/{operation}/init", deadline_s=deadline_s, headers=self._headers()
        )
        bad = failed(reply)
        if bad is None:
            data = json_object(reply).get("data")
            token = data.get("payToken") if isinstance(data, dict) else None
            if isinstance(token, str) and token:
                return token
            bad = dressed(Answer(Outcome.UNKNOWN, message="no payToken"), reply)
        return replace(bad, outcome=Outcome.NOT_SENT) if bad.outcome is Outcome.UNKNOWN else bad

    def _status(self, operation: str, reference: Reference) -> Answer:
        token = reference.provider_reference
        if not token:
            return rejected("not_supported", "a query without the payToken")
        reply = self._aside.call(
            "GET", f"{_ROOT}/{operation}/paymentstatus/{token}", deadline_s=reference.deadline_s,
            headers=self._headers(),
        )  # fmt: skip
        if reply.status == 404:
            # A wrong address or a proxy on the way says 404 too, and not in Orange's words.
            theirs = "message" in json_object(reply)
            said = Answer(Outcome.NOT_FOUND if theirs else Outcome.UNKNOWN)
            return dressed(said, reply)
        bad = failed(reply)
        return bad if bad is not None else self._read(reply, token)

    def _read(self, reply: Reply, token: str) -> Answer:
        data = json_object(reply).get("data")
        if not isinstance(data, dict) or not data.get("status"):
            return dressed(Answer(Outcome.UNKNOWN, message="unreadable answer"), reply)
        status = str(data["status"])
        outcome = STATUSES.get(status.upper(), Outcome.PENDING)
        try:
            amount = minor_of(data["amount"], CURRENCY) if data.get("amount") is not None else None
        except ValueError:
            return dressed(Answer(Outcome.UNKNOWN, message="unreadable amount"), reply)
        told = Answer(
            outcome,
            provider_reference=token,
            our_reference=str(data["orderId"]) if data.get("orderId") else None,
            amount_minor=amount,
            currency=CURRENCY if amount is not None else None,
            code=_code(str(data.get("confirmtxnmessage") or "")) if _no(outcome) else None,
            provider_code=status,
            provider_data={"txnid": str(data["txnid"])} if data.get("txnid") else {},
        )
        return dressed(told, reply)

    def _headers(self) -> dict[str, str]:
        import base64

        user, password = self._login[0], self._login[1]()
        return {"X-AUTH-TOKEN": base64.b64encode(f"{user}:{password}".encode()).decode()}

    def _secrets(self) -> tuple[str, ...]:
        import base64

        user, secret = (each() for each in self._client)
        basic = base64.b64encode(f"{user}:{secret}".encode()).decode()
        login = self._headers()["X-AUTH-TOKEN"]
        return secret, basic, self._login[1](), login, self._pin()

    def _fetch(self, deadline_s: float) -> Reply:
        import base64

        user, secret = (each() for each in self._client)
        basic = base64.b64encode(f"{user}:{secret}".encode()).decode()
        return self._open.call(
            "POST", "/token", deadline_s=deadline_s, form={"grant_type": "client_credentials"},
            headers={"Authorization": f"Basic {basic}"},
        )  # fmt: skip


def _no(outcome: Outcome) -> bool:
    return outcome is Outcome.DECLINED


def _code(message: str) -> str:
    """Our code for the operator's sentence; it gives no other reason."""
    text = message.lower()
    for words, code in (
        (("solde", "balance", "insufficient"), "insufficient_funds"),
        (("pin", "code secret"), "wrong_pin"),
        (("limit", "plafond"), "limit_exceeded"),
        (("not found", "inconnu", "not register"), "payer_not_found"),
    ):
        if any(word in text for word in words):
            return code
    return "card_declined"


def _national(phone: str | None) -> str | Answer:
    """Nine digits without the country code."""
    if not phone:
        return rejected("phone_missing", "Orange Money asks the customer on the phone")
    found = numbering.read(phone, COUNTRY)
    if isinstance(found, str):
        return rejected(found)
    if found.country != COUNTRY:
        return rejected("phone_of_another_country", found.country)
    return found.national


def _capabilities(
    limits: Mapping[str, tuple[int, int]], payout_limits: Mapping[str, tuple[int, int]]
) -> Capabilities:
    return Capabilities(
        methods=frozenset({"mobile_money"}),
        currencies=frozenset({CURRENCY}),
        countries=frozenset({COUNTRY}),
        resend_window_s=None,
        query_by=frozenset({"provider_reference"}),
        late_horizon_s=1800,
        create_moves_money=True,
        payouts=frozenset({"msisdn"}),
        reference_format="plain30",
        networks=frozenset({numbering.ORANGE}),
        limits=limits,
        payout_limits=payout_limits,
    )
