"""An emulated PayPal: orders, payments, refunds, payouts, disputes, reports and webhooks.

Written from the published specifications (Orders v2 2.13, Payments v2 2.5, Payouts v1 1.9,
Customer Disputes v1 1.10, Transaction Search v1 1.9, Webhooks v1 1.11) and
developer.paypal.com/api/rest. Besides the common faults it knows:

====================  ==============================================================================
fault                 what happens
====================  ==============================================================================
``issue:NAME``        the request is refused with that issue, without effect
``in_progress``       409: the same key is being worked on
``pending``           what is made stays pending (a capture, an authorisation, a refund)
``declined``          an order's capture is made, and declined: the order is COMPLETED all the same
====================  ==============================================================================

A request with ``PayPal-Mock-Response: {"mock_application_codes": "NAME"}`` is refused with that
issue too, as in PayPal's sandbox.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from payctl.testing.emulators.core import Emulator, Request, Response
from payctl.testing.emulators.paypal_disputes import Disputes
from payctl.testing.emulators.paypal_events import Webhooks
from payctl.testing.emulators.paypal_orders import Orders
from payctl.testing.emulators.paypal_payments import Payments
from payctl.testing.emulators.paypal_payouts import Payouts
from payctl.testing.emulators.paypal_reports import Reports
from payctl.testing.emulators.paypal_state import Object, SaysNo, State, refusal, refuse

CLIENT_ID, CLIENT_SECRET = "client-of-the-emulator", "secret-of-the-emulator"
#: developer.paypal.com/api/rest/authentication: tokens live about nine hours.
TOKEN_LIFE_S = 32_400
_ROUTES = tuple(
    (method, re.compile(path), name)
    for method, path, name in (
        ("POST", r"/v1/oauth2/token", "token"),
        ("GET", r"/checkoutnow", "page"),
        ("POST", r"/v2/checkout/orders", "order.create"),
        ("GET", r"/v2/checkout/orders/([^/]+)", "order.get"),
        ("POST", r"/v2/checkout/orders/([^/]+)/capture", "order.capture"),
        ("POST", r"/v2/checkout/orders/([^/]+)/authorize", "order.authorize"),
        ("GET", r"/v2/payments/authorizations/([^/]+)", "authorization.get"),
        ("POST", r"/v2/payments/authorizations/([^/]+)/capture", "authorization.capture"),
        ("POST", r"/v2/payments/authorizations/([^/]+)/void", "authorization.void"),
        ("GET", r"/v2/payments/captures/([^/]+)", "capture.get"),
        ("POST", r"/v2/payments/captures/([^/]+)/refund", "capture.refund"),
        ("GET", r"/v2/payments/refunds/([^/]+)", "refund.get"),
        ("POST", r"/v1/payments/payouts", "payout.create"),
        ("GET", r"/v1/payments/payouts/([^/]+)", "payout.get"),
        ("GET", r"/v1/payments/payouts-item/([^/]+)", "payout_item.get"),
        ("POST", r"/v1/payments/payouts-item/([^/]+)/cancel", "payout_item.cancel"),
        ("GET", r"/v1/customer/disputes", "dispute.list"),
        ("GET", r"/v1/customer/disputes/([^/]+)", "dispute.get"),
        ("POST", r"/v1/customer/disputes/([^/]+)/accept-claim", "dispute.accept"),
        ("POST", r"/v1/customer/disputes/([^/]+)/provide-evidence", "dispute.evidence"),
        ("POST", r"/v1/customer/disputes/([^/]+)/provide-supporting-info", "dispute.info"),
        ("GET", r"/v1/reporting/transactions", "transactions"),
        ("GET", r"/v1/reporting/balances", "balances"),
        ("GET", r"/v1/notifications/webhooks", "webhooks.list"),
        ("POST", r"/v1/notifications/verify-webhook-signature", "webhooks.verify"),
        ("GET", r"/v1/notifications/webhooks-events", "events.list"),
        ("GET", r"/v1/notifications/webhooks-events/([^/]+)", "events.get"),
        ("POST", r"/v1/notifications/webhooks-events/([^/]+)/resend", "events.resend"),
    )
)


class PaypalEmulator(Emulator):
    """See the module.

    Args:
        sign: makes webhooks' RSA signatures, see :class:`Webhooks`.
    """

    name = "paypal"

    def __init__(
        self,
        now: Callable[[], datetime] | None = None,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> None:
        super().__init__(now)
        self.books = State(self.now)
        self.payments = Payments(self.books)
        self.orders = Orders(self.books, self.payments)
        self.payouts = Payouts(self.books)
        self.disputes = Disputes(self.books)
        self.reports = Reports(self.books)
        self.webhooks = Webhooks(self.books, self.deliveries, sign)
        self.client_id, self.client_secret = CLIENT_ID, CLIENT_SECRET
        self._tokens: dict[str, datetime] = {}

    # -- what a provider is -----------------------------------------------------------------------

    def operation(self, request: Request) -> str:
        return _route(request)[0]

    def problem(self, status: int) -> Response:
        return refusal(status)

    def state(self) -> Mapping[str, Any]:
        books = self.books
        plain = {
            "orders": books.orders, "captures": books.captures, "refunds": books.refunds,
            "authorizations": books.authorizations, "payouts": books.batches,
            "disputes": books.disputes,
        }  # fmt: skip
        seen: Mapping[str, Any] = json.loads(json.dumps(plain, default=str))
        return seen

    def tick(self) -> None:
        super().tick()
        self.orders.forget_old()
        self.payouts.work()

    def handle(self, request: Request, fault: str | None) -> Response:
        name, key = _route(request)
        if host := request.headers.get("host"):
            # Links lead back here, the customer's page among them.
            self.books.base_url = f"http://{host}{request.root}"
        try:
            if name == "token":
                return self._token(request)
            if name == "page":
                return self.orders.page(request.query)
            self._check(request)
            _refuse_as_told(request, fault)
            return self._answer(name, key, request, fault)
        except SaysNo as no:
            return no.response

    # -- what the customer and time do ------------------------------------------------------------

    def approve(self, order_id: str, customer: Object | None = None) -> None:
        """The customer agrees on PayPal's page."""
        with self.lock:
            self.orders.approve(order_id, customer)

    def expire_tokens(self) -> None:
        """Every access token ends now."""
        with self.lock:
            self._tokens.clear()

    # -- inside -----------------------------------------------------------------------------------

    def _answer(self, name: str, key: str, request: Request, fault: str | None) -> Response:
        request_id = request.headers.get("paypal-request-id")
        whole = request.headers.get("prefer") == "return=representation"
        body = _body(request)
        answers: Mapping[str, Callable[[], Response]] = {
            "order.create": lambda: self.orders.create(body, request_id, whole),
            "order.get": lambda: self.orders.get(key),
            "order.capture": lambda: self.orders.complete(key, "capture", request_id, whole, fault),
            "order.authorize": lambda: self.orders.complete(
                key, "authorize", request_id, whole, fault
            ),
            "authorization.get": lambda: self.payments.get_authorization(key),
            "authorization.capture": lambda: self.payments.capture(
                key, body, request_id, whole, fault
            ),
            "authorization.void": lambda: self.payments.void(key, whole),
            "capture.get": lambda: self.payments.get_capture(key),
            "capture.refund": lambda: self.payments.refund(key, body, request_id, whole, fault),
            "refund.get": lambda: self.payments.get_refund(key),
            "payout.create": lambda: self.payouts.create(body, request_id),
            "payout.get": lambda: self.payouts.get(key),
            "payout_item.get": lambda: self.payouts.get_item(key),
            "payout_item.cancel": lambda: self.payouts.cancel_item(key),
            "dispute.list": lambda: self.disputes.listed(request.query),
            "dispute.get": lambda: self.disputes.get(key),
            "dispute.accept": lambda: self.disputes.accept(key, body),
            "dispute.evidence": lambda: self.disputes.answer(key, "provide-evidence", request),
            "dispute.info": lambda: self.disputes.answer(key, "provide-supporting-info", request),
            "transactions": lambda: self.reports.search(request.query),
            "balances": self.reports.balances,
            "webhooks.list": self.webhooks.webhooks,
            "webhooks.verify": lambda: self.webhooks.verify(request.body, body),
            "events.list": lambda: self.webhooks.listed(request.query),
            "events.get": lambda: self.webhooks.event(key),
            "events.resend": lambda: self.webhooks.resend(key),
        }
        return answers[name]() if name in answers else refusal(404)

    def _token(self, request: Request) -> Response:
        pair = f"{self.client_id}:{self.client_secret}".encode()
        given = request.headers.get("authorization")
        if given != "Basic " + base64.b64encode(pair).decode():
            said = {"error": "invalid_client", "error_description": "Client Authentication failed"}
            return Response(401, said)
        if request.form().get("grant_type") != "client_credentials":
            return Response(400, {"error": "unsupported_grant_type"})
        token = "A21AA" + secrets.token_urlsafe(40)
        self._tokens[token] = self.now() + timedelta(seconds=TOKEN_LIFE_S)
        body = {
            "scope": "https://uri.paypal.com/services/payments/payment/authcapture",
            "access_token": token, "token_type": "Bearer", "app_id": "APP-80W284485P519543T",
            "expires_in": TOKEN_LIFE_S, "nonce": self.books.stamp() + secrets.token_hex(8),
        }  # fmt: skip
        return Response(200, body)

    def _check(self, request: Request) -> None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        ends = self._tokens.get(token)
        if kind != "Bearer" or ends is None or ends <= self.now():
            raise SaysNo(refusal(401))
        kinds = ("application/json", "multipart/form-data")
        typed = request.headers.get("content-type", "").startswith(kinds)
        if request.method == "POST" and request.body and not typed:
            raise SaysNo(refusal(415))
        if len(request.headers.get("paypal-request-id", "")) > 108:
            raise refuse("INVALID_STRING_LENGTH")


def _route(request: Request) -> tuple[str, str]:
    for method, path, name in _ROUTES:
        found = path.fullmatch(request.path) if method == request.method else None
        if found is not None:
            return name, found[1] if path.groups else ""
    return "unknown", ""


def _body(request: Request) -> Object:
    kind = request.headers.get("content-type", "")
    if request.method != "POST" or not request.body or kind.startswith("multipart/"):
        return {}
    body = request.json()
    if not isinstance(body, dict):
        raise refuse("MALFORMED_REQUEST_JSON")
    return body


def _refuse_as_told(request: Request, fault: str | None) -> None:
    """What a fault, or the sandbox's header for negative tests, makes PayPal refuse."""
    kind, _, issue = (fault or "").partition(":")
    if kind == "issue":
        raise refuse(issue)
    if kind == "in_progress":
        raise refuse("PREVIOUS_REQUEST_IN_PROGRESS")
    try:
        told = json.loads(request.headers.get("paypal-mock-response", "{}"))
    except ValueError:
        raise refuse("INVALID_PARAMETER_SYNTAX") from None
    if isinstance(told, dict) and isinstance(told.get("mock_application_codes"), str):
        raise refuse(told["mock_application_codes"])
