"""MTN Mobile Money (MoMo Open API): collection by a prompt on the phone, refunds and payouts.

Every request carries a reference of ours (``X-Reference-Id``, a UUIDv4) that MTN holds unique for
ever: a second request with it is answered 409 and has no effect. So a lost answer is resolved by a
question, and, where nothing is found, by sending the same request again. Callbacks are unsigned;
they only say that it is time to ask. Collection and disbursement are contracts of their own, each
with its own subscription key, user and token; without disbursement nothing can be refunded.
Source: momodeveloper.mtn.com (collection and disbursement, v1_0).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from payctl.clock import Clock
from payctl.errors import InvalidInput, NotConfigured, NotSent
from payctl.gateways import numbering
from payctl.gateways.base import (
    Answer,
    BalanceLine,
    Capabilities,
    Destination,
    Event,
    Health,
    NextAction,
    Outcome,
    PaymentRequest,
    PayoutRequest,
    Probe,
    Reference,
    RefundRequest,
    RejectKind,
)
from payctl.gateways.checks import (
    Refusing,
    refuse_payment,
    refuse_payout,
    refuse_refund,
    rejected,
)
from payctl.gateways.http import Http, Reply, answer_without_success
from payctl.gateways.momo_data import (
    CONFIGURATION,
    INVALID,
    LIVE_URL,
    MARKETS,
    REASONS,
    SANDBOX,
    SANDBOX_URL,
    STATUSES,
    Market,
)
from payctl.gateways.momo_words import amount_minor, amount_text, message
from payctl.gateways.rest import Rest, json_object
from payctl.gateways.settings import Settings
from payctl.gateways.tokens import Tokens, token_key

COLLECTION, DISBURSEMENT = "collection", "disbursement"
_DAY_S = 86_400


class Product:
    """One contract: its credentials, its token, its calls."""

    def __init__(
        self, name: str, settings: Settings, url: str, market: Market, clock: Clock, http: Http
    ) -> None:
        self.name = name
        self.key = settings.secret(f"{name}_key")
        self.user = settings.text(f"{name}_user")
        self.secret = settings.secret(f"{name}_secret")
        self._url = url
        self._market = market
        self._open = Rest(Http(clock, secrets=self.secrets), url, clock)
        tokens = Tokens(
            settings.tokens,
            lambda: token_key(url, name, self.user, self.secret(), self.key()),
            self._fetch,
            _token,
            clock,
        )
        self.rest = Rest(http, url, clock, tokens)

    def secrets(self) -> tuple[str, ...]:
        """What must not appear in a record."""
        return self.key(), self.secret(), self._basic()

    def call(
        self,
        method: str,
        path: str,
        deadline_s: float,
        *,
        body: Mapping[str, Any] | None = None,
        reference: str | None = None,
        callback: str | None = None,
    ) -> Reply:
        """One call of this product."""
        headers = {
            "Ocp-Apim-Subscription-Key": self.key(),
            "X-Target-Environment": self._market.target,
        }
        if reference is not None:
            headers["X-Reference-Id"] = reference
        if callback is not None:
            headers["X-Callback-Url"] = callback
        return self.rest.call(
            method, f"/{self.name}/v1_0/{path}", deadline_s=deadline_s, body=body, headers=headers
        )

    def _basic(self) -> str:
        return base64.b64encode(f"{self.user}:{self.secret()}".encode()).decode()

    def _fetch(self, deadline_s: float) -> Reply:
        # The call takes no body at all: one may be answered with 400.
        return self._open.call(
            "POST",
            f"/{self.name}/token/",
            deadline_s=deadline_s,
            headers={
                "Authorization": f"Basic {self._basic()}",
                "Ocp-Apim-Subscription-Key": self.key(),
            },
        )


class MomoGateway(Refusing):
    """See the module. Settings: ``environment`` (``sandbox`` or a market, ``mtnivorycoast``),
    ``collection_key``, ``collection_user``, ``collection_secret``, the same three of
    ``disbursement`` where it is contracted, ``callback_url``, ``api_base``, ``limits``.
    """

    name = "momo"

    def __init__(
        self,
        account: str,
        market: Market,
        products: Mapping[str, Product],
        clock: Clock,
        callback_url: str | None,
        limits: Mapping[str, tuple[int, int]],
    ) -> None:
        self.account = account
        self.market = market
        self._products = products
        self._clock = clock
        self._callback_url = callback_url
        self.capabilities = _capabilities(market, DISBURSEMENT in products, limits)

    @classmethod
    def from_settings(cls, settings: Settings, *, clock: Clock, probe: Probe) -> MomoGateway:
        market = MARKETS[settings.one_of("environment", SANDBOX.target, tuple(MARKETS))]
        default = SANDBOX_URL if market is SANDBOX else LIVE_URL
        url = settings.text("api_base", default).rstrip("/")
        products: dict[str, Product] = {}
        http = Http(
            clock, probe=probe,
            secrets=lambda: [each for one in products.values() for each in one.secrets()],
        )  # fmt: skip
        products[COLLECTION] = Product(COLLECTION, settings, url, market, clock, http)
        if settings.text_or_none("disbursement_key") is not None:
            products[DISBURSEMENT] = Product(DISBURSEMENT, settings, url, market, clock, http)
        callback = settings.text_or_none("callback_url")
        gateway = cls(
            settings.account, market, products, clock, callback, settings.ranges("limits")
        )
        settings.done()
        return gateway

    @property
    def live(self) -> bool:
        return self.market is not SANDBOX

    # --- payments -------------------------------------------------------------------------------

    def create_payment(self, request: PaymentRequest) -> Answer:
        if refusal := refuse_payment(self.capabilities, request):
            return refusal
        payer = self._number(request.phone)
        if isinstance(payer, Answer):
            return payer
        return self._ask(
            COLLECTION,
            "requesttopay",
            request.deadline_s,
            request.our_reference,
            {
                **_money(request.amount_minor, request.currency),
                "externalId": request.our_reference,
                "payer": {"partyIdType": "MSISDN", "partyId": payer},
                "payerMessage": message(request.description) or "payment",
                "payeeNote": message(request.metadata.get("payment", "")) or "payment",
            },
            prompt=True,
        )

    def query_payment(self, reference: Reference) -> Answer:
        return self._status(COLLECTION, "requesttopay", reference)

    def refund_payment(self, request: RefundRequest) -> Answer:
        if refusal := refuse_refund(self.capabilities, request):
            return refusal
        paid = request.payment.our_reference or request.payment.provider_reference
        return self._ask(
            DISBURSEMENT,
            "refund",
            request.deadline_s,
            request.our_reference,
            {
                **_money(request.amount_minor, request.currency),
                "externalId": request.our_reference,
                "payerMessage": message(request.reason) or "refund",
                "payeeNote": message(request.reason) or "refund",
                "referenceIdToRefund": paid,
            },
        )

    def query_refund(self, reference: Reference) -> Answer:
        if DISBURSEMENT not in self._products:
            return rejected("not_supported", "refunds")
        return self._status(DISBURSEMENT, "refund", reference)

    # --- payouts --------------------------------------------------------------------------------

    def create_payout(self, request: PayoutRequest) -> Answer:
        if refusal := refuse_payout(self.capabilities, request):
            return refusal
        payee = self._number(request.destination.value)
        if isinstance(payee, Answer):
            return payee
        return self._ask(
            DISBURSEMENT,
            "transfer",
            request.deadline_s,
            request.our_reference,
            {
                **_money(request.amount_minor, request.currency),
                "externalId": request.our_reference,
                "payee": {"partyIdType": "MSISDN", "partyId": payee},
                "payerMessage": message(request.description) or "payout",
                "payeeNote": message(request.description) or "payout",
            },
        )

    def query_payout(self, reference: Reference) -> Answer:
        if DISBURSEMENT not in self._products:
            return rejected("not_supported", "payouts")
        return self._status(DISBURSEMENT, "transfer", reference)

    def check_payee(self, destination: Destination, deadline_s: float) -> Answer:
        number = self._number(destination.value)
        if isinstance(number, Answer):
            return number
        product = DISBURSEMENT if DISBURSEMENT in self._products else COLLECTION
        path = f"accountholder/msisdn/{number}/active"
        reply = self._products[product].call("GET", path, deadline_s)
        if reply.status == 404:
            return _dressed(Answer(Outcome.DECLINED, code="payer_not_found"), reply)
        if (bad := _failed(reply)) is not None:
            return bad
        active = json_object(reply).get("result")
        if not isinstance(active, bool):
            return _dressed(Answer(Outcome.UNKNOWN, message="unreadable answer"), reply)
        if active:
            return _dressed(Answer(Outcome.SUCCEEDED), reply)
        return _dressed(Answer(Outcome.DECLINED, code="payer_not_allowed"), reply)

    # --- account --------------------------------------------------------------------------------

    def balance(self) -> list[BalanceLine]:
        lines = []
        for name, product in self._products.items():
            reply = product.call("GET", "account/balance", 10.0)
            bad = _failed(reply)
            if bad is not None and bad.reject is RejectKind.AUTH:
                raise NotConfigured("gateway.refused_credentials", account=self.account)
            data = json_object(reply)
            try:
                currency = str(data["currency"])
                held = amount_minor(data["availableBalance"], currency)
            except (KeyError, ValueError):
                why = str(bad.outcome) if bad is not None else "unreadable"
                raise NotSent("gateway.unreachable", account=self.account, why=why) from None
            part = "collect" if name == COLLECTION else "float"
            lines.append(BalanceLine(currency, held, part=part))
        return lines

    def ping(self) -> Health:
        reply = self._products[COLLECTION].call("GET", "account/balance", 5.0)
        bad = _failed(reply)
        if bad is None:
            return Health(True, reply.latency_ms, self.market.target)
        return Health(False, reply.latency_ms, f"{bad.outcome}: {bad.message or bad.code or ''}")

    def parse_event(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> Event:
        """An unsigned callback: it proves nothing, and names what to ask about."""
        try:
            data = json.loads(body)
            ours, status = str(data["externalId"]), str(data["status"])
        except (ValueError, KeyError, TypeError) as broken:
            raise InvalidInput("event.unreadable", field="body") from broken
        kind = "payment" if "payer" in data else "payout" if "payee" in data else "refund"
        number = data.get("financialTransactionId") or status
        return Event(
            f"{ours}:{number}", f"{kind}.{status}", kind, Reference(our_reference=ours),
            proof="none",
        )  # fmt: skip

    def close(self) -> None:
        """Nothing is held but connections, which end with the process."""

    # --- exchanges ------------------------------------------------------------------------------

    def _ask(
        self,
        product: str,
        path: str,
        deadline_s: float,
        reference: str,
        body: Mapping[str, Any],
        *,
        prompt: bool = False,
    ) -> Answer:
        """A request that MTN accepts with 202 and carries out later."""
        reply = self._products[product].call(
            "POST", path, deadline_s, body=body, reference=reference, callback=self._callback_url
        )
        if (bad := _failed(reply)) is not None:
            return bad
        if reply.status != 202:
            return _dressed(Answer(Outcome.UNKNOWN, message=f"status {reply.status}"), reply)
        taken = Answer(
            Outcome.REQUIRES_ACTION if prompt else Outcome.PENDING,
            provider_reference=reference,
            our_reference=reference,
            next_action=NextAction("ussd_prompt") if prompt else None,
        )
        return _dressed(taken, reply)

    def _status(self, product: str, path: str, reference: Reference) -> Answer:
        known = reference.our_reference or reference.provider_reference
        if not known:
            return rejected("not_supported", "query by this reference")
        call = self._products[product].call
        reply = call("GET", f"{path}/{known}", reference.deadline_s)
        if reply.status == 404:
            return _dressed(Answer(Outcome.NOT_FOUND), reply)
        if (bad := _failed(reply)) is not None:
            return bad
        try:
            return _dressed(_read(json_object(reply), known), reply)
        except (KeyError, ValueError, TypeError, AttributeError):
            return _dressed(Answer(Outcome.UNKNOWN, message="unreadable answer"), reply)

    def _number(self, text: str | None) -> str | Answer:
        """The digits MTN wants, or why it cannot be a number of this market."""
        if not text:
            return rejected("phone_missing", "MTN Mobile Money asks the customer on the phone")
        if self.market.country is None or self.market.country not in numbering.PLANS:
            digits = text.removeprefix("+").replace(" ", "")
            return digits if digits.isdigit() else rejected("phone_unreadable")
        found = numbering.read(text, self.market.country)
        if isinstance(found, str):
            return rejected(found)
        if found.country != self.market.country:
            return rejected("phone_of_another_country", found.country)
        return found.digits


def _read(data: Mapping[str, Any], reference: str) -> Answer:
    """What a status says. MTN tells the reason as a text or as ``{code, message}``."""
    status, currency = str(data["status"]), str(data["currency"])
    given = data.get("reason")
    reason = str(given.get("code") or "") if isinstance(given, dict) else str(given or "")
    outcome, code = STATUSES.get(status, Outcome.PENDING), None
    if outcome is Outcome.DECLINED:
        outcome, code = REASONS.get(reason, (Outcome.DECLINED, "unknown_reason"))
    elif outcome is not Outcome.SUCCEEDED and outcome is not Outcome.PENDING:
        code = reason.lower() or None
    party = data.get("payer") or {}
    payer = str(party.get("partyId") or "") if isinstance(party, dict) else ""
    financial = data.get("financialTransactionId")
    return Answer(
        outcome,
        provider_reference=reference,
        our_reference=str(data.get("externalId") or reference),
        amount_minor=amount_minor(data["amount"], currency),
        currency=currency,
        code=code or None,
        provider_code=reason or status,
        payer=Destination("msisdn", f"+{payer.lstrip('+')}") if payer else None,
        provider_data={"financial_transaction_id": str(financial)} if financial else {},
    )


def _failed(reply: Reply) -> Answer | None:
    """What a reply that is no success proves; ``None`` for a 2xx."""
    plain = answer_without_success(reply)
    if plain is None or reply.status is None:
        return plain
    data = json_object(reply)
    code = str(data.get("code") or "")
    told = replace(
        plain, provider_code=code or None, message=str(data.get("message") or code)[:200]
    )
    if code in CONFIGURATION:
        return replace(
            told, outcome=Outcome.REJECTED, reject=RejectKind.AUTH, code="bad_configuration"
        )
    if code in INVALID:
        return replace(
            told, outcome=Outcome.REJECTED, reject=RejectKind.VALIDATION, code=INVALID[code]
        )
    return told if code else plain


def _dressed(answer: Answer, reply: Reply) -> Answer:
    return replace(
        answer, http_status=reply.status, latency_ms=reply.latency_ms, exchange=reply.exchange
    )


def _money(minor: int, currency: str) -> dict[str, str]:
    return {"amount": amount_text(minor, currency), "currency": currency}


def _token(reply: Reply) -> tuple[str, int] | None:
    data = json_object(reply)
    text, life = data.get("access_token"), data.get("expires_in")
    return (text, life) if isinstance(text, str) and isinstance(life, int) else None


def _capabilities(
    market: Market, disbursement: bool, limits: Mapping[str, tuple[int, int]]
) -> Capabilities:
    return Capabilities(
        methods=frozenset({"mobile_money"}),
        currencies=frozenset({market.currency}),
        countries=frozenset({market.country}) if market.country else None,
        resend_window_s=_DAY_S,
        query_by=frozenset({"our_reference", "provider_reference"}),
        late_horizon_s=900,
        create_moves_money=True,
        refunds="partial" if disbursement else "none",
        query_refunds=disbursement,
        payouts=frozenset({"msisdn"}) if disbursement else frozenset(),
        payee_check=True,
        balance=True,
        reference_format="uuid4",
        reports_payer=True,
        networks=frozenset({numbering.MTN}),
        limits=limits,
    )
