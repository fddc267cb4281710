"""Requests, the emulator's answers and our tables against PayPal's published specifications."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import jsonschema
import pytest

from payctl.gateways import paypal_disputes as disputed
from payctl.gateways.base import DECLINE_CODES, Destination, Outcome, RejectKind
from payctl.gateways.disputes import DisputeResponse
from payctl.gateways.paypal_answers import (
    AUTHORIZATION_STATES,
    CAPTURED,
    ORDER_STATES,
    REASONS,
    REFUND_STATES,
    REFUSED,
)
from payctl.gateways.paypal_issues import ISSUES, PAYOUT_ERRORS
from payctl.gateways.paypal_payouts import BATCH_STATES, ITEM_STATES
from payctl.gateways.paypal_requests import Page, order
from payctl.testing.emulators.core import Exchange, Request, Response
from payctl.testing.emulators.paypal_events import WEBHOOK_ID
from tests.gateways import paypal_specs as specs
from tests.gateways.paypal_calls import (
    approved,
    by,
    capture,
    captured,
    held,
    paid,
    payout,
    refund,
    request,
)
from tests.gateways.paypal_harness import PaypalHarness

pytestmark = pytest.mark.gateways
Seen = list[tuple[Request, Response]]
#: How disputes are opened, and how they end.
OPENED: dict[str, dict[str, Any]] = {
    "d1": {}, "d2": {"amount": 700}, "d3": {"inquiry": True}, "d4": {"external": True},
    "d5": {"names_us": False},
}  # fmt: skip
OUTCOMES = ("RESOLVED_BUYER_FAVOUR", "RESOLVED_SELLER_FAVOUR", "RESOLVED_WITH_PAYOUT",
            "CANCELED_BY_BUYER", "NONE")  # fmt: skip


@pytest.fixture
def paypal() -> Iterator[PaypalHarness]:
    harness = PaypalHarness(
        brand_name="Billetterie", locale="fr-FR", soft_descriptor="BILLETS", return_url="https://a.example",
    )  # fmt: skip
    yield harness
    harness.close()


@pytest.fixture
def seen(paypal: PaypalHarness, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Every exchange with the emulator."""
    kept: Seen = []
    receive = paypal.provider.receive

    def spy(asked: Request) -> Exchange:
        exchange = receive(asked)
        if exchange.response is not None:
            kept.append((asked, exchange.response))
        return exchange

    monkeypatch.setattr(paypal.provider, "receive", spy)
    return kept


def everything(paypal: PaypalHarness) -> None:
    """Each call the adapter makes, with each kind of answer."""
    gateway, provider = paypal.gateway, paypal.provider
    done = paid(paypal, "a", email="awa@example.com", description="Two seats, row B")
    gateway.refund_payment(refund(done, 1000))
    gateway.refund_payment(refund(done, 99_999, "over"))
    gateway.query_refund(by(gateway.refund_payment(refund(done, 500, "second"))))
    gateway.refund_payment(refund(done, 500, "by_data", provider_data=done.provider_data))
    reserved = held(paypal, "m")
    gateway.capture_payment(capture(reserved, 500, final=False))
    gateway.cancel_payment(by(reserved), "k_void")
    gateway.cancel_payment(by(reserved), "k_void2")
    provider.fault("pending", "order.capture")
    paid(paypal, "p")
    provider.fault("declined", "order.capture")
    paid(paypal, "d")
    for issue in ("INSTRUMENT_DECLINED", "ORDER_ALREADY_CAPTURED", "PERMISSION_DENIED"):
        provider.fault(f"issue:{issue}", "order.capture")
        paid(paypal, issue)
    gateway.complete_payment(approved(paypal, "intent"), "k_intent")
    gateway.query_payment(by(done, provider_reference="NOSUCHORDER"))
    for receiver in ("a@example.com", "lost@example.com"):
        provider.payouts.receivers["lost@example.com"] = ("FAILED", "RECEIVER_UNREGISTERED")
        sent = gateway.create_payout(payout(receiver, receiver[0]))
        provider.payouts.finish(str(sent.provider_reference))
        gateway.query_payout(by(sent))
    gateway.create_payout(payout("a@example.com", "a", idempotency_key="k_other"))
    gateway.create_payout(payout(Destination("paypal_id", "QYR5Z8XDVJNXQ"), "id"))
    gateway.balance()
    now = paypal.now()
    list(gateway.list_payments(now - timedelta(days=40), now))
    list(gateway.list_payments(now - timedelta(days=2), now - timedelta(days=1)))
    disputes(paypal)
    gateway.ping()
    last = provider.deliveries[-1]
    gateway.verify_event_online(last.body, last.headers)


def disputes(paypal: PaypalHarness) -> None:
    """The same of disputes."""
    gateway, theirs = paypal.gateway, paypal.provider.disputes
    cases = [theirs.open(captured(paypal, name), **how) for name, how in OPENED.items()]
    for number, outcome in enumerate(OUTCOMES):
        lost = theirs.open(captured(paypal, f"o{number}"), 1000)
        theirs.decide(lost, outcome)
        gateway.query_dispute(lost, 5.0)
    list(gateway.list_disputes(paypal.now() - timedelta(days=2)))
    for case in cases:
        gateway.respond_to_dispute(
            DisputeResponse(case, "k", accept=False, text="é" * 1500, file_name="Écran 1.PDF",
                            file=b"%PDF")
        )  # fmt: skip
        gateway.respond_to_dispute(DisputeResponse(case, "k2", accept=False, text="and more"))
    gateway.respond_to_dispute(DisputeResponse(cases[0], "k3", accept=True))
    gateway.respond_to_dispute(DisputeResponse("PP-R-NOBODY-1", "k3", accept=True))
    gateway.query_dispute(cases[0], 5.0)


def test_every_request_and_every_answer_is_what_the_specification_says(
    paypal: PaypalHarness, seen: Seen
) -> None:
    everything(paypal)
    met = set()
    for asked, answered in seen:
        operation = specs.operation_of(asked)
        if operation is None:
            assert asked.path == "/v1/oauth2/token"
            continue
        met.add((operation.method, operation.path, answered.status))
        specs.check_request(asked, operation)
        specs.check_response(answered, operation)
    assert {path for _, path, _ in met} == {
        "/v2/checkout/orders", "/v2/checkout/orders/{id}", "/v2/checkout/orders/{id}/capture",
        "/v2/checkout/orders/{id}/authorize", "/v2/payments/captures/{capture_id}/refund",
        "/v2/payments/refunds/{refund_id}",
        "/v2/payments/authorizations/{authorization_id}/capture",
        "/v2/payments/authorizations/{authorization_id}/void", "/v1/payments/payouts",
        "/v1/payments/payouts/{id}", "/v1/reporting/balances", "/v1/reporting/transactions",
        "/v1/notifications/webhooks", "/v1/notifications/verify-webhook-signature",
        "/v1/customer/disputes", "/v1/customer/disputes/{id}",
        "/v1/customer/disputes/{id}/accept-claim",
        "/v1/customer/disputes/{id}/provide-evidence",
        "/v1/customer/disputes/{id}/provide-supporting-info",
        "/v2/payments/captures/{capture_id}",
    }  # fmt: skip
    assert {status for _, _, status in met} >= {200, 201, 400, 403, 404, 422}


def test_the_events_are_what_the_specification_says(paypal: PaypalHarness, seen: Seen) -> None:
    everything(paypal)
    token = seen[0][1].body["access_token"]
    for path in (
        "/webhooks-events",
        f"/webhooks-events/{next(iter(paypal.provider.webhooks.events))}",
    ):
        asked = Request("GET", f"/v1/notifications{path}", {"page_size": "50"},
                        {"authorization": f"Bearer {token}"}, b"")  # fmt: skip
        answer = paypal.provider.receive(asked).response
        operation = specs.operation_of(asked)
        assert answer is not None and operation is not None and answer.status == 200
        specs.check_response(answer, operation)
    kinds = {each["event_type"] for each in paypal.provider.webhooks.events.values()}
    assert {"CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.COMPLETED", "PAYMENT.CAPTURE.REFUNDED",
            "PAYMENT.AUTHORIZATION.VOIDED", "PAYMENT.PAYOUTSBATCH.SUCCESS",
            "PAYMENT.PAYOUTS-ITEM.SUCCEEDED", "CUSTOMER.DISPUTE.CREATED",
            "CUSTOMER.DISPUTE.UPDATED", "CUSTOMER.DISPUTE.RESOLVED"} <= kinds  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"intent": "BUY"}, {"purchase_units": []}, {"purchase_units": [{"amount": {"value": "1"}}]},
     {"purchase_units": [{"amount": {"currency_code": "EUR", "value": 1}}]}, {"colour": "blue"},
     {"purchase_units": [{"amount": {"currency_code": "EUR", "value": "1"}, "vat": "2"}]}],
)  # fmt: skip
def test_the_check_sees_a_fault(change: dict[str, Any]) -> None:
    body = order(request(), Page(return_url="https://a.example"))
    asked = Request("POST", "/v2/checkout/orders", {}, {}, b"")
    operation = specs.operation_of(asked)
    assert operation is not None
    with pytest.raises((jsonschema.ValidationError, AssertionError)):
        specs.check_request(_with(asked, body | change), operation)
    specs.check_request(_with(asked, body), operation)


def test_the_check_sees_a_foreign_header() -> None:
    asked = Request("GET", "/v1/reporting/balances", {}, {"idempotency-key": "k"}, b"")
    operation = specs.operation_of(asked)
    assert operation is not None
    with pytest.raises(AssertionError, match="idempotency-key"):
        specs.check_request(asked, operation)


def _with(asked: Request, body: Any) -> Request:
    return Request(asked.method, asked.path, {}, {}, Response(200, body).content())


# --- tables -----------------------------------------------------------------------------------


def test_every_issue_of_the_specifications_has_a_meaning() -> None:
    published = {issue for name in specs.NAMES for issue in specs.issues(name)}
    assert len(published) > 200
    assert set(ISSUES) == published
    for issue, meaning in ISSUES.items():
        if meaning.outcome is Outcome.DECLINED:
            assert meaning.code in DECLINE_CODES - {"unknown_reason"}, issue
        assert (meaning.reject is not None) == (meaning.outcome is Outcome.REJECTED), issue
        # A refusal never says that money moved.
        assert meaning.outcome not in (Outcome.SUCCEEDED, Outcome.AUTHORIZED, Outcome.PENDING)


def test_what_was_probably_done_before_is_never_a_refusal() -> None:
    for issue in ("ORDER_ALREADY_CAPTURED", "ORDER_ALREADY_AUTHORIZED", "DUPLICATE_INVOICE_ID",
                  "AUTHORIZATION_ALREADY_CAPTURED"):  # fmt: skip
        assert ISSUES[issue].outcome is Outcome.EXISTS
    for issue in ("PREVIOUS_REQUEST_IN_PROGRESS", "ORDER_COMPLETION_IN_PROGRESS"):
        assert ISSUES[issue].outcome is Outcome.UNKNOWN
    assert ISSUES["PAYEE_ACCOUNT_RESTRICTED"].reject is RejectKind.AUTH


def test_every_status_of_the_specifications_has_a_meaning() -> None:
    orders, payments = "checkout_orders_v2", "payments_payment_v2"
    payouts = "payments_payouts_batch_v1"
    assert set(ORDER_STATES) == specs.enum(orders, "order_status")
    for name in (orders, payments):
        assert CAPTURED | REFUSED | {"PENDING"} == specs.enum(name, "capture_status", "status")
        assert set(AUTHORIZATION_STATES) == specs.enum(name, "authorization_status", "status")
        assert set(REFUND_STATES) == specs.enum(name, "refund_status", "status")
        for details in ("capture_status_details", "authorization_status_details"):
            assert specs.enum(name, details, "reason") <= set(REASONS)
    assert set(BATCH_STATES) == specs.enum(payouts, "batch_enum")
    assert set(ITEM_STATES) == specs.enum(payouts, "transaction_enum")
    contested = "customer_disputes_v1"
    assert set(disputed.STATUSES) == specs.enum(contested, "status")
    assert set(disputed.OUTCOMES) == specs.enum(contested, "dispute_outcome", "outcome_code")
    assert set(disputed.CLAIMS) == specs.enum(contested, "dispute_lifecycle_stage")
    assert set(disputed.REASONS) == specs.enum(contested, "dispute_reason")
    assert specs.enum(contested, "money_movement_reason") <= set(disputed.MOVEMENTS)
    for table in (REASONS, PAYOUT_ERRORS):
        assert set(table.values()) <= DECLINE_CODES - {"unknown_reason"}


def test_the_webhook_of_the_tests_is_one_the_specification_allows() -> None:
    field = specs.spec("notifications_webhooks_v1")["components"]["schemas"]
    wanted = field["verify_webhook_signature"]["properties"]["webhook_id"]
    jsonschema.Draft202012Validator(wanted).validate(WEBHOOK_ID)
