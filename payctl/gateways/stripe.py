"""Stripe: payment intents, refunds, customers, balance and webhooks.

**One request per payment.** With a payment token we create and confirm in the same POST: then every
unknown has one key, and is resolved by sending the same key again within 23 hours (Stripe keeps a
key for at least 24 and replays its first answer), by the intent's id, or by listing the intents
created since and comparing ``metadata.payctl_ref``. Two requests would have two unknowns and, after
a crash between them, an intent whose id nobody stored. So ``create_moves_money`` is declared true:
a payment whose creation is unknown must not be failed over, since it may have been confirmed.
Without a token the intent stays unconfirmed and its client secret goes to the customer's page,
where it may be tried several times; there a decline is not the end of it, a cancellation is.

**A 500 is kept for its key and replayed for ever**, so after one only a look at the object helps.
**409** means that the same key is being worked on: unknown, not a duplicate.

Sources: docs.stripe.com/api/idempotent_requests, /error-low-level,
/payments/paymentintents/lifecycle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from payctl.clock import Clock
from payctl.errors import InvalidInput, NotConfigured, NotSent
from payctl.gateways import stripe_requests as requests
from payctl.gateways.base import (
    Answer,
    BalanceLine,
    Capabilities,
    CaptureRequest,
    Event,
    Health,
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
    refuse_capture,
    refuse_payment,
    refuse_payout,
    refuse_query,
    refuse_refund,
    rejected,
)
from payctl.gateways.http import Http, Reply
from payctl.gateways.settings import Settings
from payctl.gateways.signature import header_of, verify
from payctl.gateways.stripe_answers import (
    failed,
    of_balance,
    of_event,
    of_intent,
    of_refund,
    read,
    unreadable,
)
from payctl.gateways.stripe_money import CURRENCIES, limits, to_stripe
from payctl.gateways.stripe_parts import Parts
from payctl.gateways.stripe_sdk import Sdk

if TYPE_CHECKING:
    from stripe._request_options import RequestOptions
    from stripe._v1_services import V1Services

    from payctl.gateways.disputes import DisputeResponse
    from payctl.gateways.stripe_customers import Customers

_DAY_S = 86_400


class StripeGateway(Refusing):
    """See the module. Settings: ``secret_key`` (reference), ``webhook_secrets`` (references),
    ``api_base``, ``methods``, ``currencies``, ``plain_requests``, ``checkout`` (payments without a
    token are paid on Stripe's page), ``connect`` (payouts to connected accounts)."""

    name = "stripe"

    def __init__(
        self,
        account: str,
        *,
        key: Callable[[], str],
        webhook_secrets: Callable[[], tuple[str, ...]],
        clock: Clock,
        probe: Probe,
        api_base: str | None = None,
        methods: frozenset[str] = frozenset({"card"}),
        currencies: frozenset[str] = CURRENCIES,
        plain_requests: bool = False,
        hosted: bool = False,
        connect: bool = False,
    ) -> None:
        self.account = account
        self.capabilities = _capabilities(methods, currencies, connect)
        self._key = key
        self._webhook_secrets = webhook_secrets
        self._clock = clock
        self._plain = plain_requests
        self._http = Http(clock, probe=probe, secrets=lambda: (key(),))
        self._sdk = Sdk(self._http, key, api_base)
        self._hosted = hosted
        self._parts = Parts(account, self._sdk, clock, plain=plain_requests)

    @property
    def customers(self) -> Customers:
        """Customers at Stripe."""
        return self._parts.customers

    @classmethod
    def from_settings(cls, settings: Settings, *, clock: Clock, probe: Probe) -> StripeGateway:
        key = settings.secret("secret_key")
        secrets = settings.secret_list("webhook_secrets")
        methods, currencies = settings.words("methods"), settings.words("currencies")
        gateway = cls(
            settings.account,
            key=key,
            webhook_secrets=secrets,
            clock=clock,
            probe=probe,
            api_base=settings.text_or_none("api_base"),
            methods=frozenset(methods or ("card",)),
            currencies=frozenset(currencies) & CURRENCIES if currencies else CURRENCIES,
            plain_requests=settings.flag("plain_requests", False),
            hosted=settings.flag("checkout", False),
            connect=settings.flag("connect", False),
        )
        settings.done()
        return gateway

    @property
    def live(self) -> bool:
        """Whether the key is not one of test mode: anything else is treated as real money."""
        return not self._key().startswith(("sk_test_", "rk_test_"))

    # --- payments -------------------------------------------------------------------------------

    def create_payment(self, request: PaymentRequest) -> Answer:
        if refusal := refuse_payment(self.capabilities, request):
            return refusal
        if to_stripe(request.amount_minor, request.currency) is None:
            return rejected("amount_not_representable", request.currency)
        if self._hosted and not request.payment_token:
            return self._parts.checkout.create(request)
        params = requests.intent(request, plain=self._plain)
        return self._intent(
            request.deadline_s,
            lambda v1: v1.payment_intents.create(
                params, {"idempotency_key": request.idempotency_key}
            ),
        )

    def confirm_payment(
        self,
        intent_id: str,
        payment_token: str,
        idempotency_key: str,
        *,
        return_url: str | None = None,
        deadline_s: float = 10.0,
    ) -> Answer:
        """Confirm an intent that was created without a means of payment."""

        def act(v1: V1Services) -> object:
            options: RequestOptions = {"idempotency_key": idempotency_key}
            if return_url:
                return v1.payment_intents.confirm(
                    intent_id, {"payment_method": payment_token, "return_url": return_url}, options
                )
            return v1.payment_intents.confirm(intent_id, {"payment_method": payment_token}, options)

        return self._intent(deadline_s, act)

    def query_payment(self, reference: Reference) -> Answer:
        if refusal := refuse_query(self.capabilities, reference):
            return refusal
        if _is_page(reference):
            return self._parts.checkout.query(
                str(reference.provider_reference), reference.deadline_s
            )
        if reference.provider_reference:
            return self._intent(
                reference.deadline_s,
                lambda v1: v1.payment_intents.retrieve(
                    str(reference.provider_reference), {"expand": requests.EXPAND}
                ),
            )
        found = self._parts.lists.intent(reference)
        if found.outcome is Outcome.NOT_FOUND and self._hosted:
            return self._parts.checkout.find(reference)
        if found.provider_reference is None:
            return found
        # The list shows no fee; the object itself does.
        return self.query_payment(replace(reference, provider_reference=found.provider_reference))

    def capture_payment(self, request: CaptureRequest) -> Answer:
        if refusal := refuse_capture(self.capabilities, request):
            return refusal
        if to_stripe(request.amount_minor, request.currency) is None:
            return rejected("amount_not_representable", request.currency)
        intent_id, missing = self._intent_id(request.payment)
        if missing:
            return missing
        answer = self._intent(
            request.deadline_s,
            lambda v1: v1.payment_intents.capture(
                intent_id, requests.capture(request), {"idempotency_key": request.idempotency_key}
            ),
        )
        if answer.outcome in (Outcome.SUCCEEDED, Outcome.AUTHORIZED):
            # The intent tells the sum; this exchange proves that this capture is in it.
            return replace(answer, outcome=Outcome.SUCCEEDED, amount_minor=request.amount_minor)
        return answer

    def cancel_payment(self, reference: Reference, idempotency_key: str) -> Answer:
        if _is_page(reference):
            page = str(reference.provider_reference)
            return self._parts.checkout.expire(page, reference.deadline_s, idempotency_key)
        intent_id, missing = self._intent_id(reference)
        if missing:
            return missing
        return self._intent(
            reference.deadline_s,
            lambda v1: v1.payment_intents.cancel(
                intent_id, None, {"idempotency_key": idempotency_key}
            ),
        )

    def list_payments(self, since: datetime, until: datetime) -> Iterator[Answer]:
        return self._parts.lists.intents(since, until)

    # --- refunds --------------------------------------------------------------------------------

    def refund_payment(self, request: RefundRequest) -> Answer:
        if refusal := refuse_refund(self.capabilities, request):
            return refusal
        if to_stripe(request.amount_minor, request.currency) is None:
            return rejected("amount_not_representable", request.currency)
        intent_id, missing = self._intent_id(request.payment)
        if missing:
            return missing
        answer = self._object(
            request.deadline_s,
            lambda v1: v1.refunds.create(
                requests.refund(request, intent_id), {"idempotency_key": request.idempotency_key}
            ),
            "refund",
            of_refund,
        )
        if answer.outcome is Outcome.NOT_FOUND:
            return replace(answer, outcome=Outcome.REJECTED, reject=RejectKind.VALIDATION,
                           code="payment_not_found")  # fmt: skip
        return answer

    def query_refund(self, reference: Reference) -> Answer:
        if refusal := refuse_query(self.capabilities, reference):
            return refusal
        if refund_id := reference.provider_reference:
            return self._object(
                reference.deadline_s, lambda v1: v1.refunds.retrieve(refund_id), "refund", of_refund
            )
        return self._parts.lists.refund(reference)

    # --- payouts --------------------------------------------------------------------------------

    def create_payout(self, request: PayoutRequest) -> Answer:
        return refuse_payout(self.capabilities, request) or self._parts.connect.create(request)

    def query_payout(self, reference: Reference) -> Answer:
        return self._parts.connect.query(reference)

    # --- disputes -------------------------------------------------------------------------------

    def query_dispute(self, reference: str, deadline_s: float) -> Answer:
        return self._parts.disputes.get(reference, deadline_s)

    def list_disputes(self, since: datetime) -> Iterator[Answer]:
        return self._parts.disputes.listed(since)

    def respond_to_dispute(self, response: DisputeResponse) -> Answer:
        return self._parts.disputes.respond(response)

    # --- account --------------------------------------------------------------------------------

    def balance(self) -> list[BalanceLine]:
        reply = self._sdk.ask(10.0, lambda v1: v1.balance.retrieve())
        bad = reply if isinstance(reply, Answer) else failed(reply)
        data = None if isinstance(reply, Answer) or bad else read(reply)
        if bad is not None and bad.reject is RejectKind.AUTH:
            raise NotConfigured("gateway.refused_credentials", account=self.account)
        if data is None:
            why = str(bad.outcome) if bad else "unreadable"
            raise NotSent("gateway.unreachable", account=self.account, why=why)
        try:
            return of_balance(data)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise NotSent("gateway.unreachable", account=self.account, why="unreadable") from None

    def ping(self) -> Health:
        reply = self._sdk.ask(5.0, lambda v1: v1.balance.retrieve())
        bad = reply if isinstance(reply, Answer) else failed(reply)
        if bad is None:
            return Health(True, reply.latency_ms, "live" if self.live else "test mode")
        return Health(False, reply.latency_ms, f"{bad.outcome}: {bad.message or bad.code or ''}")

    def parse_event(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> Event:
        import json

        secrets = self._webhook_secrets()
        if not secrets:
            raise NotConfigured(
                "gateway.setting_missing", field="webhook_secrets", account=self.account
            )
        verify(body, header_of(headers, "Stripe-Signature"), secrets, received_at)
        try:
            return of_event(json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError) as broken:
            raise InvalidInput("event.unreadable", field="body", proof="signature") from broken

    def list_events(self, since: datetime) -> Iterator[tuple[Event, bytes]]:
        """See :meth:`Lists.events`."""
        return self._parts.lists.events(self.account, since)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    # --- exchanges ------------------------------------------------------------------------------

    def _object(
        self,
        deadline_s: float,
        act: Callable[[V1Services], object],
        kind: str,
        read_object: Callable[[Mapping[str, Any], Reply], Answer],
    ) -> Answer:
        reply = self._sdk.ask(deadline_s, act)
        if isinstance(reply, Answer):
            return reply
        if answer := failed(reply):
            return answer
        data = read(reply)
        if data is None or data.get("object") != kind:
            return unreadable(reply)
        try:
            return read_object(data, reply)
        except (KeyError, ValueError, TypeError, AttributeError):
            return unreadable(reply, f"a {kind} without its fields")

    def _intent(self, deadline_s: float, act: Callable[[V1Services], object]) -> Answer:
        return self._object(deadline_s, act, "payment_intent", of_intent)

    def _intent_id(self, reference: Reference) -> tuple[str, Answer | None]:
        """The intent's id, looked up by our reference where it was never learnt."""
        if reference.provider_reference:
            return reference.provider_reference, None
        if refusal := refuse_query(self.capabilities, reference):
            return "", refusal
        found = self._parts.lists.intent(reference)
        if found.provider_reference:
            return found.provider_reference, None
        # A look-up changes nothing: what it could not learn, the change was never sent for.
        unsure = found.outcome is Outcome.UNKNOWN
        return "", replace(found, outcome=Outcome.NOT_SENT) if unsure else found


def _is_page(reference: Reference) -> bool:
    """Whether a payment is known by the page it is to be paid on, which has no intent yet."""
    return (reference.provider_reference or "").startswith("cs_")


def _capabilities(
    methods: frozenset[str], currencies: frozenset[str], connect: bool
) -> Capabilities:
    return Capabilities(
        methods=methods,
        currencies=currencies,
        resend_window_s=_DAY_S - 3600,
        query_by=frozenset({"provider_reference", "our_reference"}),
        late_horizon_s=_DAY_S,
        create_moves_money=True,
        revocable=True,
        manual_capture=True,
        refunds="partial",
        query_refunds=True,
        balance=True,
        lists_payments=True,
        disputes=True,
        payouts=frozenset({"stripe_account"}) if connect else frozenset(),
        limits={code: pair for code, pair in limits().items() if code in currencies},
    )
