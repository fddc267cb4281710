"""Stripe's adapter over real HTTP against our fake: every unknown can be resolved."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payctl.errors import NotSent
from payctl.gateways.base import (
    CaptureRequest,
    Outcome,
    Reference,
    RejectKind,
)
from payctl.gateways.stripe_sdk import API_VERSION
from tests.gateways.harnesses import KEY, StripeHarness
from tests.gateways.stripe_calls import by_ours, known, refund, request

pytestmark = pytest.mark.gateways


# --- what goes out --------------------------------------------------------------------------------


def test_every_post_carries_our_key_the_pinned_version_and_nothing_of_this_machine(
    stripe: StripeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURSOR_AGENT", "1")  # the library would report it
    gateway = stripe.gateway
    paid = gateway.create_payment(request(manual_capture=True))
    about = known(paid)
    gateway.capture_payment(CaptureRequest(about, "cap_1", "key_cap", 2500, "EUR"))
    gateway.refund_payment(refund(about))
    gateway.cancel_payment(about, "key_cancel")
    gateway.confirm_payment(str(paid.provider_reference), "pm_x", "key_confirm")
    gateway.customers.create(email="a@example.com", idempotency_key="key_customer")
    posts = [
        (params, headers) for method, _, params, headers in stripe.fake.calls() if method == "POST"
    ]
    assert [headers["idempotency-key"] for _, headers in posts] == [
        "key_a", "key_cap", "key_r", "key_cancel", "key_confirm", "key_customer",
    ]  # fmt: skip
    import stripe as library

    assert library.enable_telemetry is False  # it would write an id of this machine to disk
    for _, headers in posts:
        assert headers["stripe-version"] == API_VERSION
        assert headers["authorization"] == f"Bearer {KEY}"
        assert headers["user-agent"].startswith("payctl/")
        assert not [name for name in headers if "telemetry" in name or "client-user" in name]


@pytest.mark.parametrize("fault", ["503", "409", "429", "drop", "drop_after", "500", "html_403"])
def test_one_call_is_one_exchange(stripe: StripeHarness, fault: str) -> None:
    stripe.fake.fault(fault)
    stripe.gateway.create_payment(request())
    assert len(stripe.fake.calls()) == 1


def test_a_notice_of_the_server_is_no_warning_after_the_money_moved(stripe: StripeHarness) -> None:
    stripe.fake.fault("notice")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert stripe.gateway.create_payment(request()).outcome == "succeeded"
    assert told == []


# --- unknowns are resolved ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "effect"),
    [
        ("drop", False), ("drop_after", True), ("reset_after", True), ("503", False),
        ("html_after", True), ("empty_after", True), ("hang", False), ("hang_after", True),
        ("409", False), ("html_400", False),
    ],
)  # fmt: skip
def test_after_an_unknown_look_up_and_resend_agree(
    stripe: StripeHarness, fault: str, effect: bool
) -> None:
    stripe.fake.fault(fault)
    answer = stripe.gateway.create_payment(request(deadline_s=1.0))
    assert answer.outcome == "unknown"
    found = stripe.gateway.query_payment(by_ours())
    assert found.outcome == ("succeeded" if effect else "not_found")
    resent = stripe.gateway.create_payment(request())
    assert resent.outcome == "succeeded"
    assert stripe.fake.taken("EUR") == 2500
    assert len(stripe.fake.intents) == 1
    found = stripe.gateway.query_payment(by_ours())
    assert found.provider_reference == resent.provider_reference
    assert found.fee is not None  # the look-up asks for the object, not only the list


@pytest.mark.parametrize(("fault", "found"), [("500", "not_found"), ("500_after", "succeeded")])
def test_a_frozen_500_never_clears_but_a_look_up_knows(
    stripe: StripeHarness, fault: str, found: str
) -> None:
    stripe.fake.fault(fault)
    outcomes = [stripe.gateway.create_payment(request()).outcome for _ in range(3)]
    assert outcomes == [Outcome.UNKNOWN] * 3
    assert stripe.gateway.query_payment(by_ours()).outcome == found


def test_a_look_up_that_fails_is_not_a_not_found(stripe: StripeHarness) -> None:
    for fault, outcome in (("503", "unknown"), ("drop", "unknown"), ("429", "rejected"),
                           ("401", "rejected"), ("html_403", "rejected")):  # fmt: skip
        stripe.fake.fault(fault)
        assert stripe.gateway.query_payment(by_ours()).outcome == outcome
        stripe.fake.fault(fault)
        reference = Reference(our_reference="rfd_r", created_at=datetime.now(UTC))
        assert stripe.gateway.query_refund(reference).outcome == outcome


def test_a_look_up_reads_all_pages(stripe: StripeHarness) -> None:
    stripe.gateway.create_payment(request("wanted"))
    for number in range(230):
        stripe.gateway.create_payment(request(str(number)))
    before = len(stripe.fake.calls())
    assert stripe.gateway.query_payment(by_ours("wanted")).outcome == "succeeded"
    assert len(stripe.fake.calls()) - before == 4  # three pages, then the object
    since = datetime.now(UTC) - timedelta(hours=1)
    listed = list(stripe.gateway.list_payments(since, since + timedelta(hours=2)))
    assert [one.our_reference for one in listed] == [
        "att_wanted",
        *(f"att_{n}" for n in range(230)),
    ]
    stripe.fake.fault("503")
    cut = list(stripe.gateway.list_payments(since, since + timedelta(hours=2)))
    assert [(one.outcome, one.provider_reference) for one in cut] == [("unknown", None)]


def test_a_look_up_starts_before_our_own_clock_said(stripe: StripeHarness) -> None:
    stripe.gateway.create_payment(request())
    ahead = by_ours(created_at=datetime.now(UTC) + timedelta(minutes=9))
    assert stripe.gateway.query_payment(ahead).outcome == "succeeded"
    assert stripe.gateway.query_payment(by_ours(created_at=None)).outcome == "succeeded"


def test_a_change_whose_look_up_fails_was_not_sent(stripe: StripeHarness) -> None:
    stripe.gateway.create_payment(request(manual_capture=True))
    for act in (
        lambda: stripe.gateway.capture_payment(
            CaptureRequest(by_ours(), "cap", "key_cap", 2500, "EUR")
        ),
        lambda: stripe.gateway.cancel_payment(by_ours(), "key_cancel"),
        lambda: stripe.gateway.refund_payment(refund(by_ours())),
    ):
        stripe.fake.fault("503")
        assert act().outcome == "not_sent"
    assert stripe.gateway.cancel_payment(by_ours("nobody"), "key_n").outcome == "not_found"
    assert stripe.gateway.cancel_payment(by_ours(), "key_cancel").outcome == "canceled"


# --- states ---------------------------------------------------------------------------------------


def test_a_payment_without_a_token_waits_for_the_customer_s_page(stripe: StripeHarness) -> None:
    gateway = stripe.gateway
    made = gateway.create_payment(request(payment_token=None))
    assert made.outcome == "requires_action"
    assert made.next_action is not None
    assert made.next_action.type == "stripe_client_secret"
    assert str(made.next_action.client_secret).endswith("_secret_fake")
    assert "_secret_fake" not in json.dumps(made.exchange)
    intent = str(made.provider_reference)
    first = gateway.confirm_payment(intent, "pm_decline_insufficient_funds", "key_1")
    assert (first.outcome, first.code) == ("declined", "insufficient_funds")
    # The page may try another card, so for the payment that decline was not the end.
    assert gateway.query_payment(known(made)).outcome == "requires_action"
    assert gateway.confirm_payment(intent, "pm_card_visa", "key_2").outcome == "succeeded"
    again = gateway.confirm_payment(intent, "pm_card_visa", "key_3")
    assert (again.outcome, again.reject) == ("rejected", RejectKind.STATE)


def test_a_server_side_decline_is_final_in_answer_and_query(stripe: StripeHarness) -> None:
    answer = stripe.gateway.create_payment(request(payment_token="pm_decline_lost_card"))
    assert (answer.outcome, answer.code, answer.provider_code) == (
        "declined", "lost_or_stolen", "lost_card",
    )  # fmt: skip
    found = stripe.gateway.query_payment(known(answer))
    assert (found.outcome, found.code, found.our_reference) == (
        "declined",
        "lost_or_stolen",
        "att_a",
    )


def test_a_redirect_and_what_follows(stripe: StripeHarness) -> None:
    answer = stripe.gateway.create_payment(
        request(payment_token="pm_action", return_url="https://shop.example/back")
    )
    assert answer.next_action is not None
    assert (answer.next_action.type, answer.next_action.client_secret) == ("redirect", None)
    stripe.fake.settle(str(answer.provider_reference))
    assert stripe.gateway.query_payment(known(answer)).amount_minor == 2500


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("processing", "pending"), ("canceled", "canceled"), ("a_status_of_2031", "pending")],
)
def test_other_statuses(stripe: StripeHarness, status: str, outcome: str) -> None:
    answer = stripe.gateway.create_payment(request(payment_token="pm_processing"))
    stripe.fake.settle(str(answer.provider_reference), status)
    found = stripe.gateway.query_payment(known(answer))
    assert (found.outcome, found.provider_code) == (outcome, status)


def test_a_missing_intent_is_not_found(stripe: StripeHarness) -> None:
    nobody = Reference(provider_reference="pi_nobody")
    assert stripe.gateway.query_payment(nobody).outcome == "not_found"
    odd = Reference(provider_reference="../balance?x=1#")
    assert stripe.gateway.query_payment(odd).outcome == "not_found"


@pytest.mark.parametrize("body", ["[]", "null", "3", "{}", '{"object": "payment_intent"}',
                                  '{"object": "payment_intent", "id": "p", "status": "succeeded"}',
                                  '{"object": "charge", "id": "ch_1"}'])  # fmt: skip
def test_a_success_that_says_nothing_is_unknown(
    stripe: StripeHarness, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    def answer(*_: object) -> tuple[int, Any, bool]:
        return 200, json.loads(body), False

    monkeypatch.setattr(stripe.fake, "answer", answer)
    assert stripe.gateway.create_payment(request()).outcome == "unknown"
    assert stripe.gateway.query_payment(by_ours()).outcome == "unknown"
    assert stripe.gateway.refund_payment(refund(Reference(provider_reference="pi_1"))).outcome == (
        "unknown"
    )
    with pytest.raises(NotSent):
        stripe.gateway.balance()


@pytest.mark.parametrize("currency", ["TND"])
def test_an_amount_stripe_cannot_express_is_refused_before_any_exchange(
    stripe: StripeHarness, currency: str
) -> None:
    answer = stripe.gateway.create_payment(request(amount_minor=12_345, currency=currency))
    assert (answer.outcome, answer.code) == ("rejected", "amount_not_representable")
    assert stripe.fake.calls() == []


# --- refunds --------------------------------------------------------------------------------------


def test_a_refund_that_fails_later_and_one_that_was_lost(stripe: StripeHarness) -> None:
    paid = known(stripe.gateway.create_payment(request()))
    stripe.fake.fault("drop_after", "/refunds")
    assert stripe.gateway.refund_payment(refund(paid)).outcome == "unknown"
    ours = Reference(our_reference="rfd_r", created_at=datetime.now(UTC))
    found = stripe.gateway.query_refund(ours)
    assert (found.outcome, found.amount_minor, found.our_reference) == ("succeeded", 1000, "rfd_r")
    assert stripe.gateway.refund_payment(refund(paid)).outcome == "succeeded"
    assert stripe.refunded("EUR") == 1000
    stripe.fake.fail_refund(str(found.provider_reference), "expired_or_canceled_card")
    failed = stripe.gateway.query_refund(Reference(provider_reference=found.provider_reference))
    assert (failed.outcome, failed.code) == ("declined", "expired_card")
    assert failed.provider_code == "expired_or_canceled_card"


def test_refunding_nothing(stripe: StripeHarness) -> None:
    nobody = stripe.gateway.refund_payment(refund(Reference(provider_reference="pi_nobody")))
    assert (nobody.outcome, nobody.code) == ("rejected", "payment_not_found")
    paid = known(stripe.gateway.create_payment(request()))
    stripe.gateway.refund_payment(refund(paid, 2500))
    again = stripe.gateway.refund_payment(refund(paid, 1, "again"))
    assert (again.outcome, again.reject) == ("rejected", RejectKind.STATE)
    none = Reference(our_reference="rfd_none", created_at=datetime.now(UTC))
    assert stripe.gateway.query_refund(none).outcome == "not_found"
