"""PayPal: orders that the customer approves on PayPal's page, refunds, payouts and reports.

**An order takes no money.** It is made (``create_payment``), the customer approves it on PayPal's
page, a question then answers ``APPROVED``, and only our capture (``complete_payment``) takes the
money. So an order whose answer was lost is harmless: nobody has its address. There is no way to
find it by our reference; the same key gives it again for 6 hours.

**What can be sent again.** ``PayPal-Request-Id`` is kept 6 hours for orders, 45 days for captures
and refunds, 30 days for payouts; a repeat is answered with what the first one has come to by now.
The shortest of these is declared. Afterwards the order itself tells what happened.

**An open order cannot be revoked**: PayPal has no call for it. It takes no money unless we capture
it, and its page closes by itself. An authorisation can be released.

Sources: Orders v2, Payments v2, Payouts v1, Transaction Search v1, Webhooks v1 as published at
github.com/paypal/paypal-rest-api-specifications; developer.paypal.com/api/rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote

from payctl.clock import Clock
from payctl.gateways import paypal_requests as requests
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
    rejected,
)
from payctl.gateways.http import Reply
from payctl.gateways.paypal_answers import INTENT, of_order, read_order
from payctl.gateways.paypal_api import BROKEN, HOSTS, Api, failed, unreadable
from payctl.gateways.paypal_money import CURRENCIES, IN_COUNTRY, STEPS
from payctl.gateways.paypal_requests import RECIPIENTS, Page
from payctl.gateways.rest import json_object
from payctl.gateways.settings import Settings

if TYPE_CHECKING:
    from payctl.gateways.disputes import DisputeResponse
    from payctl.gateways.paypal_disputes import Disputes
    from payctl.gateways.paypal_events import Webhooks
    from payctl.gateways.paypal_payments import Payments, Seen
    from payctl.gateways.paypal_payouts import Payouts
    from payctl.gateways.paypal_reports import Reports

_HOUR_S = 3600
#: PayPal forgets an order nobody approved after some days. One that is gone after this long has
#: lapsed; before, it may be the wrong account or environment that does not know it.
_LAPSED = timedelta(days=7)


class PaypalGateway(Refusing):
    """See the module. Settings: ``client_id`` and ``client_secret`` (references), ``mode``
    (``sandbox`` or ``live``), ``webhook_id``, ``currencies``, ``payouts``, ``disputes``,
    ``return_url``, ``cancel_url``, ``brand_name``, ``locale``, ``soft_descriptor``,
    ``immediate_only``, ``api_base``."""

    name = "paypal"

    def __init__(
        self,
        account: str,
        api: Api,
        *,
        mode: str,
        webhook_id: str | None,
        page: Page,
        currencies: frozenset[str],
        payouts: bool,
        disputes: bool,
    ) -> None:
        self.account = account
        self.live = mode == "live"
        self.capabilities = _capabilities(currencies, payouts, disputes)
        self._api = api
        self._page = page
        self._mode = mode
        self._webhook_id = webhook_id

    @classmethod
    def from_settings(cls, settings: Settings, *, clock: Clock, probe: Probe) -> PaypalGateway:
        client_id, secret = settings.secret("client_id"), settings.secret("client_secret")
        mode = settings.one_of("mode", "sandbox", tuple(sorted(HOSTS)))
        base_url = settings.text("api_base", HOSTS[mode]).rstrip("/")
        api = Api(base_url, client_id, secret, settings.tokens, clock, probe)
        chosen = settings.words("currencies")
        page = Page(
            return_url=settings.text_or_none("return_url"),
            cancel_url=settings.text_or_none("cancel_url"),
            brand_name=settings.text_or_none("brand_name"),
            locale=settings.text_or_none("locale"),
            soft_descriptor=settings.text_or_none("soft_descriptor"),
            immediate_only=settings.flag("immediate_only", True),
        )
        gateway = cls(
            settings.account,
            api,
            mode=mode,
            webhook_id=settings.text_or_none("webhook_id"),
            page=page,
            currencies=frozenset(chosen) & CURRENCIES if chosen else CURRENCIES - IN_COUNTRY,
            payouts=settings.flag("payouts", False),
            disputes=settings.flag("disputes", True),
        )
        settings.done()
        return gateway

    # Parts that most runs never need are imported when they are: a command lives for a second.

    @cached_property
    def webhooks(self) -> Webhooks:
        from payctl.gateways.paypal_events import Webhooks

        return Webhooks(self._api, self._mode, self._webhook_id)

    @cached_property
    def _reports(self) -> Reports:
        from payctl.gateways.paypal_reports import Reports

        return Reports(self.account, self._api)

    @cached_property
    def _payments(self) -> Payments:
        from payctl.gateways.paypal_payments import Payments

        return Payments(self._api, self._reports)

    @cached_property
    def _payouts(self) -> Payouts:
        from payctl.gateways.paypal_payouts import Payouts

        return Payouts(self._api, self._reports)

    @cached_property
    def _disputes(self) -> Disputes:
        from payctl.gateways.paypal_disputes import Disputes

        return Disputes(self._api)

    # --- payments -------------------------------------------------------------------------------

    def create_payment(self, request: PaymentRequest) -> Answer:
        if refusal := refuse_payment(self.capabilities, request):
            return refusal
        if not (request.return_url or self._page.return_url):
            return rejected("return_url_missing", "the page must send its customer back somewhere")
        reply = self._api.post(
            "/v2/checkout/orders",
            requests.order(request, self._page),
            request.deadline_s,
            request_id=request.idempotency_key,
            whole=True,
        )
        answer = _payment(reply)
        if answer.provider_reference and _differs(reply, request):
            # The key was used before, for something else: nothing was made now.
            return replace(
                answer,
                outcome=Outcome.REJECTED,
                reject=RejectKind.VALIDATION,
                code="key_reused",
                provider_reference=None,
                next_action=None,
            )
        return answer

    def query_payment(self, reference: Reference) -> Answer:
        order_id = reference.provider_reference
        if not order_id:
            if not reference.our_reference:
                return rejected("not_supported", "query by this reference")
            # We never learnt the order's id, so nobody was shown its page and nobody can pay it.
            return Answer(Outcome.NOT_FOUND, message="the order's id never reached us")
        answer = _payment(self._api.get(_order_path(order_id), reference.deadline_s))
        made = reference.created_at
        if answer.outcome is Outcome.NOT_FOUND and made is not None:
            lapsed = self._api.clock.now() - made > _LAPSED
            return replace(answer, outcome=Outcome.EXPIRED) if lapsed else answer
        return answer

    def complete_payment(self, reference: Reference, idempotency_key: str) -> Answer:
        if refusal := refuse_query(self.capabilities, reference):
            return refusal
        left = self._api.until(reference.deadline_s)
        intent = reference.provider_data.get(INTENT)
        if intent is None:
            seen = self.query_payment(replace(reference, deadline_s=left()))
            if seen.outcome is not Outcome.APPROVED:
                return not_sent_if_unsure(seen)
            intent = seen.provider_data.get(INTENT)
        verb = "authorize" if intent == "AUTHORIZE" else "capture"
        path = f"{_order_path(str(reference.provider_reference))}/{verb}"
        answer = _payment(self._api.post(path, {}, left(), request_id=idempotency_key, whole=True))
        return replace(answer, provider_reference=reference.provider_reference)

    def capture_payment(self, request: CaptureRequest) -> Answer:
        if refusal := refuse_capture(self.capabilities, request):
            return refusal
        left = self._api.until(request.deadline_s)
        seen = self._look(request.payment, left())
        return seen if isinstance(seen, Answer) else self._payments.capture(seen, request, left)

    def cancel_payment(self, reference: Reference, idempotency_key: str) -> Answer:
        left = self._api.until(reference.deadline_s)
        seen = self._look(reference, left())
        return seen if isinstance(seen, Answer) else self._payments.void(seen, left)

    def list_payments(self, since: datetime, until: datetime) -> Iterator[Answer]:
        return self._reports.payments(since, until)

    # --- refunds --------------------------------------------------------------------------------

    def refund_payment(self, request: RefundRequest) -> Answer:
        step = STEPS.get(request.currency, 1)
        if request.amount_minor <= 0 or request.amount_minor % step:
            return rejected("amount_off_step", f"multiples of {step}, above 0")
        left = self._api.until(request.deadline_s)
        known = self._payments.known_capture(request)
        if known is not None:
            return self._payments.refund(known, request, left)
        seen = self._look(request.payment, left())
        return seen if isinstance(seen, Answer) else self._payments.refund_of(seen, request, left)

    def query_refund(self, reference: Reference) -> Answer:
        return self._payments.query_refund(reference)

    # --- payouts --------------------------------------------------------------------------------

    def create_payout(self, request: PayoutRequest) -> Answer:
        return refuse_payout(self.capabilities, request) or self._payouts.create(request)

    def query_payout(self, reference: Reference) -> Answer:
        if not self.capabilities.payouts:
            return rejected("not_supported", "payouts")
        return self._payouts.query(reference)

    # --- disputes -------------------------------------------------------------------------------

    def query_dispute(self, reference: str, deadline_s: float) -> Answer:
        return self._disputes.get(reference, deadline_s)

    def list_disputes(self, since: datetime) -> Iterator[Answer]:
        return self._disputes.listed(since)

    def respond_to_dispute(self, response: DisputeResponse) -> Answer:
        return self._disputes.respond(response)

    # --- account --------------------------------------------------------------------------------

    def balance(self) -> list[BalanceLine]:
        return self._reports.balance()

    def ping(self) -> Health:
        reply = self._api.get("/v1/notifications/webhooks", 5.0)
        bad = failed(reply)
        if bad is None:
            return Health(True, reply.latency_ms, "live" if self.live else "sandbox")
        return Health(False, reply.latency_ms, f"{bad.outcome}: {bad.message or bad.code or ''}")

    def parse_event(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> Event:
        return self.webhooks.parse(body, headers, received_at)

    def verify_event_online(
        self, body: bytes, headers: Mapping[str, str], deadline_s: float = 5.0
    ) -> Answer:
        """Ask PayPal whether it sent this event: ``SUCCEEDED``, ``REJECTED`` with code
        ``bad_signature``, or whatever kept PayPal from answering; a receiver then answers 503, so
        that PayPal sends the event again.
        """
        return self.webhooks.verify_online(body, headers, deadline_s)

    def list_events(self, since: datetime) -> Iterator[tuple[Event, bytes]]:
        """Webhooks that PayPal has sent, or tried to send, since: at most thirty days back.

        Raises:
            NotSent: ``gateway.unreachable``: the list broke off.
        """
        return self.webhooks.listed(self.account, since)

    def close(self) -> None:
        """Close all connections."""
        self._api.close()
        if "webhooks" in self.__dict__:
            self.webhooks.close()

    def _look(self, reference: Reference, deadline_s: float) -> Seen | Answer:
        """The order that something is to be done with, or why it was not done."""
        from payctl.gateways.paypal_payments import Seen

        if not reference.provider_reference:
            return rejected("payment_not_found", "the order's id is not known")
        reply = self._api.get(_order_path(reference.provider_reference), deadline_s)
        if answer := failed(reply):
            if answer.outcome is Outcome.NOT_FOUND:
                return replace(answer, outcome=Outcome.REJECTED, reject=RejectKind.VALIDATION,
                               code="payment_not_found")  # fmt: skip
            return not_sent_if_unsure(answer)
        try:
            return Seen(read_order(json_object(reply)), reply)
        except BROKEN:
            return not_sent_if_unsure(unreadable(reply))


def not_sent_if_unsure(answer: Answer) -> Answer:
    """A look-up changes nothing: what it could not learn, the change was never sent for."""
    unsure = answer.outcome is Outcome.UNKNOWN
    return replace(answer, outcome=Outcome.NOT_SENT) if unsure else answer


def _payment(reply: Reply) -> Answer:
    if answer := failed(reply):
        return answer
    try:
        return of_order(json_object(reply), reply)
    except BROKEN:
        return unreadable(reply, "an order without its fields")


def _differs(reply: Reply, request: PaymentRequest) -> bool:
    """Whether the order that came back is another one than was asked for."""
    order = read_order(json_object(reply))
    asked = (request.amount_minor, request.currency)
    return order.asked not in (None, asked) or order.custom_id not in (None, request.our_reference)


def _order_path(order_id: str) -> str:
    return f"/v2/checkout/orders/{quote(order_id, safe='')}"


def _capabilities(currencies: frozenset[str], payouts: bool, disputes: bool) -> Capabilities:
    steps = {code: step for code, step in STEPS.items() if code in currencies}
    return Capabilities(
        methods=frozenset({"paypal"}),
        currencies=currencies,
        resend_window_s=6 * _HOUR_S - 600,
        query_by=frozenset({"provider_reference"}),
        late_horizon_s=4 * _HOUR_S,  # what a report has not shown after its 3 hours is not there
        create_moves_money=False,
        revocable=False,
        manual_capture=True,
        refunds="partial",
        query_refunds=True,
        payouts=frozenset(RECIPIENTS) if payouts else frozenset(),
        balance=True,
        lists_payments=True,
        disputes=disputes,
        reports_payer=True,
        steps=steps,
        payout_steps=steps,
    )
