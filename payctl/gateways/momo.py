"""MTN Mobile Money (MoMo Open API): collection by a prompt on the phone, refunds and payouts.

Every request carries a reference of ours (``X-Reference-Id``, a UUIDv4) that MTN holds unique for
ever: a second request with it is answered 409 and has no effect. So a lost answer is resolved by a
question, and, where nothing is found, by sending the same request again. Callbacks are unsigned;
they only say that it is time to ask. Collection and disbursement are contracts of their own, each
with its own subscription key, user and token; without disbursement nothing can be refunded.
Source: momodeveloper.mtn.com (collection and disbursement, v1_0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from payctl.clock import Clock
from payctl.errors import NotConfigured, NotSent
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
from payctl.gateways.checks import Refusing, refuse_payment, refuse_payout, refuse_refund, rejected
from payctl.gateways.http import Http
from payctl.gateways.momo_answers import (
    PAYOUT,
    REFUND,
    dressed,
    failed,
    missing,
    of_event,
    of_status,
)
from payctl.gateways.momo_data import (
    LIVE_URL,
    PROMPT_S,
    SANDBOX,
    SANDBOX_URL,
    WRONG_NUMBER,
    Market,
)
from payctl.gateways.momo_product import (
    COLLECTION,
    DISBURSEMENT,
    Product,
    callback_of,
    market_of,
)
from payctl.gateways.momo_words import amount_minor, amount_text, message
from payctl.gateways.rest import json_object
from payctl.gateways.settings import Settings

_DAY_S = 86_400
#: The two ways to pay out: a contract has one or both.
_TRANSFER, _DEPOSIT = "transfer", "deposit"


class MomoGateway(Refusing):
    """See the module. Settings: ``environment`` (``sandbox`` or a market, ``mtnivorycoast``),
    ``collection_key``, ``collection_user``, ``collection_secret``, the same three of
    ``disbursement`` where it is contracted, ``payout_by`` (``transfer``, ``deposit``),
    ``callback_url``, ``api_base``, ``limits``, ``payout_limits``.
    """

    name = "momo"

    def __init__(
        self,
        account: str,
        market: Market,
        products: Mapping[str, Product],
        http: Http,
        clock: Clock,
        *,
        payout_by: str = _TRANSFER,
        callback_url: str | None = None,
        limits: Mapping[str, tuple[int, int]],
        payout_limits: Mapping[str, tuple[int, int]],
    ) -> None:
        self.account = account
        self.market = market
        self._products = products
        self._http = http
        self._clock = clock
        self._payout_by = payout_by
        self._callback_url = callback_url
        self.capabilities = replace(
            _capabilities(market, DISBURSEMENT in products),
            limits=limits, payout_limits=payout_limits,
        )  # fmt: skip

    @classmethod
    def from_settings(cls, settings: Settings, *, clock: Clock, probe: Probe) -> MomoGateway:
        market = market_of(settings)
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
        gateway = cls(
            settings.account,
            market,
            products,
            http,
            clock,
            payout_by=settings.one_of("payout_by", _TRANSFER, (_TRANSFER, _DEPOSIT)),
            callback_url=callback_of(settings, market),
            limits=settings.ranges("limits"),
            payout_limits=settings.ranges("payout_limits"),
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
        answer = self._ask(
            COLLECTION,
            "requesttopay",
            request,
            {
                "payer": {"partyIdType": "MSISDN", "partyId": payer},
                "payerMessage": message(request.description) or "payment",
                "payeeNote": message(request.metadata.get("payment", "")) or "payment",
            },
        )
        if answer.outcome is not Outcome.PENDING:
            return answer
        ends = self._clock.now() + timedelta(seconds=PROMPT_S)
        prompt = NextAction("ussd_prompt", expires_at=ends)
        return replace(answer, outcome=Outcome.REQUIRES_ACTION, next_action=prompt)

    def query_payment(self, reference: Reference) -> Answer:
        return self._status(COLLECTION, "requesttopay", reference)

    def refund_payment(self, request: RefundRequest) -> Answer:
        if refusal := refuse_refund(self.capabilities, request):
            return refusal
        return self._ask(
            DISBURSEMENT,
            "refund",
            request,
            {
                "payerMessage": REFUND,
                "payeeNote": message(request.reason) or REFUND,
                "referenceIdToRefund": _known(request.payment),
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
            self._payout_by,
            request,
            {
                "payee": {"partyIdType": "MSISDN", "partyId": payee},
                "payerMessage": PAYOUT,
                "payeeNote": message(request.description) or PAYOUT,
            },
        )

    def query_payout(self, reference: Reference) -> Answer:
        """Also the other way of paying out is asked before a payout counts as not found: it may
        have been made before ``payout_by`` was changed, and would otherwise be paid twice.
        """
        if DISBURSEMENT not in self._products:
            return rejected("not_supported", "payouts")
        until = self._clock.monotonic() + reference.deadline_s
        answer = self._status(DISBURSEMENT, self._payout_by, reference)
        if answer.outcome is not Outcome.NOT_FOUND:
            return answer
        other = _DEPOSIT if self._payout_by == _TRANSFER else _TRANSFER
        left = max(until - self._clock.monotonic(), 0.1)
        second = self._status(DISBURSEMENT, other, replace(reference, deadline_s=left))
        # A contract with one way only refuses the other: then nothing can be there.
        return answer if second.reject is RejectKind.AUTH else second

    def check_payee(self, destination: Destination, deadline_s: float) -> Answer:
        number = self._number(destination.value)
        if isinstance(number, Answer):
            return number
        product, path = self._holder(number)
        reply = product.call("GET", f"{path}/active", deadline_s)
        if reply.status == 404:
            answer = missing(reply)
            if answer.outcome is not Outcome.NOT_FOUND:
                return answer
            return replace(answer, outcome=Outcome.DECLINED, code="payer_not_found")
        if (bad := failed(reply)) is not None:
            return bad
        active = json_object(reply).get("result")
        if not isinstance(active, bool):
            return dressed(Answer(Outcome.UNKNOWN, message="unreadable answer"), reply)
        if active:
            return dressed(Answer(Outcome.SUCCEEDED), reply)
        return dressed(Answer(Outcome.DECLINED, code="payer_not_allowed"), reply)

    def payee_name(self, destination: Destination, deadline_s: float) -> str | None:
        """The account holder's name as MTN has it, for a person to compare; ``None`` where MTN
        does not tell. It is kept in no record.
        """
        number = self._number(destination.value)
        if isinstance(number, Answer):
            return None
        product, path = self._holder(number)
        reply = product.call("GET", f"{path}/basicuserinfo", deadline_s)
        if failed(reply) is not None:
            return None
        found = json_object(reply)
        parts = [found.get("given_name"), found.get("family_name")]
        name = " ".join(part.strip() for part in parts if isinstance(part, str))
        return (name or str(found.get("name") or "")).strip()[:160] or None

    # --- account --------------------------------------------------------------------------------

    def provision(self, product: str, user: str, host: str) -> tuple[Answer, str | None]:
        """A new API user of the sandbox and its key, for *product*.

        Raises:
            NotConfigured: ``gateway.setting_missing`` for a product without a subscription key.
        """
        if product not in self._products:
            field = f"{product}_key"
            raise NotConfigured("gateway.setting_missing", field=field, account=self.account)
        reply, key = self._products[product].provision(user, host, 20.0)
        return failed(reply) or Answer(Outcome.SUCCEEDED, exchange=reply.exchange), key

    def balance(self) -> list[BalanceLine]:
        lines = []
        for name, product in self._products.items():
            reply = product.call("GET", "account/balance", 10.0)
            bad = failed(reply)
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
        spent = 0
        for name, product in self._products.items():
            reply = product.call("GET", "account/balance", 5.0)
            spent += reply.latency_ms
            if (bad := failed(reply)) is not None:
                why = f"{name}: {bad.outcome}: {bad.message or bad.code or ''}"
                return Health(False, spent, why)
        return Health(True, spent, self.market.target)

    def parse_event(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> Event:
        return of_event(body, headers)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()
        for product in self._products.values():
            product.close()

    # --- exchanges ------------------------------------------------------------------------------

    def _ask(
        self,
        product: str,
        path: str,
        request: PaymentRequest | RefundRequest | PayoutRequest,
        about: Mapping[str, Any],
    ) -> Answer:
        """A request that MTN accepts with 202 and carries out later."""
        reference = request.our_reference
        body = {
            "amount": amount_text(request.amount_minor, request.currency),
            "currency": request.currency,
            "externalId": reference,
            **about,
        }
        reply = self._products[product].call(
            "POST", path, request.deadline_s, body=body, reference=reference,
            callback=self._callback_url,
        )  # fmt: skip
        if (bad := failed(reply)) is not None:
            return bad
        if reply.status != 202:
            return dressed(Answer(Outcome.UNKNOWN, message=f"status {reply.status}"), reply)
        taken = Answer(
            Outcome.PENDING, provider_reference=reference, our_reference=reference
        )  # fmt: skip
        return dressed(taken, reply)

    def _status(self, product: str, path: str, reference: Reference) -> Answer:
        known = _known(reference)
        if not known:
            return rejected("not_supported", "query by this reference")
        reply = self._products[product].call("GET", f"{path}/{known}", reference.deadline_s)
        return of_status(reply, known)

    def _holder(self, number: str) -> tuple[Product, str]:
        product = self._products.get(DISBURSEMENT) or self._products[COLLECTION]
        return product, f"accountholder/msisdn/{number}"

    def _number(self, text: str | None) -> str | Answer:
        """The digits MTN wants, or why it cannot be a number of this market."""
        if not text:
            return rejected("phone_missing", "MTN Mobile Money asks the customer on the phone")
        if self.market.country is None:
            # The sandbox's numbers are Swedish, and made up.
            found = numbering.digits_of(text)
            return found or rejected("phone_unreadable", WRONG_NUMBER["phone_unreadable"])
        number = numbering.read(text, self.market.country)
        if isinstance(number, str):
            return rejected(number, WRONG_NUMBER[number])
        if number.country != self.market.country:
            return rejected(
                "phone_other_country", f"{number.country}, not {self.market.country}"
            )  # fmt: skip
        return number.digits


def _known(reference: Reference) -> str | None:
    """Both are the ``X-Reference-Id`` it was made with."""
    return reference.our_reference or reference.provider_reference


def _capabilities(market: Market, disbursement: bool) -> Capabilities:
    return Capabilities(
        methods=frozenset({"mobile_money"}),
        currencies=frozenset({market.currency}),
        countries=frozenset({market.country}) if market.country else None,
        # A reference is held for ever: the first effect stays the only one and a repeat is told so
        # with 409. The day bounds for how long a forgotten request is worth repeating.
        resend_window_s=_DAY_S,
        query_by=frozenset({"our_reference", "provider_reference"}),
        # Three times as long as the customer's prompt lives; with a repeat it begins anew.
        late_horizon_s=3 * PROMPT_S,
        create_moves_money=True,
        refunds="partial" if disbursement else "none",
        query_refunds=disbursement,
        payouts=frozenset({"msisdn"}) if disbursement else frozenset(),
        payee_check=True,
        balance=True,
        reference_format="uuid4",
        reports_payer=True,
        networks=frozenset({numbering.MTN}),
    )
