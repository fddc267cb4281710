"""PayPal's payments: approval, capture, authorisations, lost answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from payctl.clock import ManualClock
from payctl.gateways.base import Answer, Destination, Fee, Outcome, Reference, RejectKind
from payctl.gateways.paypal_requests import Page, order
from payctl.gateways.registry import build
from payctl.testing.emulators.core import Request, Response
from payctl.testing.emulators.example import ExampleEmulator
from payctl.testing.emulators.paypal import PaypalEmulator
from payctl.testing.emulators.server import EmulatorServer
from tests.gateways.harnesses import START
from tests.gateways.paypal_calls import approved, by, capture, held, paid, request
from tests.gateways.paypal_harness import SECRETS, PaypalHarness

pytestmark = pytest.mark.gateways


def posts(paypal: PaypalHarness, ending: str) -> list[dict[str, str]]:
    """Headers of the POSTs whose path ends so."""
    return [dict(each.headers) for each in paypal.provider.requests
            if each.method == "POST" and each.path.endswith(ending)]  # fmt: skip


# --- the way of a payment ---------------------------------------------------------------------


def test_nothing_is_taken_before_it_is_completed(paypal: PaypalHarness) -> None:
    made = paypal.gateway.create_payment(request())
    assert made.next_action is not None and "token=" in str(made.next_action.url)
    assert made.next_action.expires_at == START + timedelta(hours=3)
    assert made.payer is None
    paypal.provider.approve(str(made.provider_reference))
    seen = paypal.gateway.query_payment(by(made))
    assert (seen.outcome, seen.amount_minor, paypal.taken("EUR")) == ("approved", None, 0)
    done = paypal.gateway.complete_payment(by(made, provider_data=seen.provider_data), "k_done")
    assert (done.outcome, done.amount_minor, done.currency) == ("succeeded", 2500, "EUR")
    assert done.payer == Destination("paypal_id", "QYR5Z8XDVJNXQ", "Awa Koné")
    [capture_id] = paypal.provider.books.captures
    assert done.fee == Fee(107, "EUR", capture_id)  # 2.9 % of 25.00 and 0.35
    assert posts(paypal, "/capture")[0]["paypal-request-id"] == "k_done"


def test_the_approve_link_works_like_a_customer(paypal: PaypalHarness) -> None:
    import httpx

    made = paypal.gateway.create_payment(request())
    url = str(made.next_action and made.next_action.url)
    assert url.startswith(f"{paypal.server.url}/checkoutnow?token=")
    given_up = httpx.get(url + "&cancel=1")
    assert given_up.headers["location"].startswith("https://shop.example/no?token=")
    assert paypal.gateway.query_payment(by(made)).outcome == "requires_action"
    back = httpx.get(url).headers["location"]
    assert back.startswith("https://shop.example/back?o=1&token=") and "PayerID=" in back
    assert paypal.gateway.query_payment(by(made)).outcome == "approved"


def test_what_an_order_says() -> None:
    made = order(
        request(email="awa@example.com", description="d" * 200),
        Page(brand_name="B", locale="fr-FR", soft_descriptor="BILLETS"),
    )
    [unit] = made["purchase_units"]
    wallet = made["payment_source"]["paypal"]
    assert unit["custom_id"] == unit["invoice_id"] == "att_a"
    assert unit["amount"] == {"currency_code": "EUR", "value": "25.00"}
    assert len(unit["description"]) == 127 and unit["soft_descriptor"] == "BILLETS"
    assert (made["intent"], wallet["email_address"]) == ("CAPTURE", "awa@example.com")
    assert wallet["experience_context"] == {
        "user_action": "PAY_NOW", "shipping_preference": "NO_SHIPPING",
        "return_url": "https://shop.example/back?o=1", "cancel_url": "https://shop.example/no",
        "brand_name": "B", "locale": "fr-FR",
        "payment_method_preference": "IMMEDIATE_PAYMENT_REQUIRED",
    }  # fmt: skip
    # An address PayPal might refuse would refuse the payment with it.
    odd = order(request(email="not an address", manual_capture=True), Page())
    assert "email_address" not in odd["payment_source"]["paypal"]
    context = odd["payment_source"]["paypal"]["experience_context"]
    assert odd["intent"] == "AUTHORIZE" and "payment_method_preference" not in context


def test_without_an_address_to_come_back_to_nothing_is_sent(paypal: PaypalHarness) -> None:
    answer = paypal.gateway.create_payment(request(return_url=None))
    assert (answer.outcome, answer.code, paypal.sent) == ("rejected", "return_url_missing", 0)
    configured = paypal.build(paypal.server.url, return_url="https://a.example")
    assert configured.create_payment(request(return_url=None)).outcome == "requires_action"


def test_a_key_used_for_another_payment_is_refused(paypal: PaypalHarness) -> None:
    first = paypal.gateway.create_payment(request())
    other = paypal.gateway.create_payment(request(our_reference="att_b"))
    assert (other.outcome, other.code, other.provider_reference) == ("rejected", "key_reused", None)
    again = paypal.gateway.create_payment(request())
    assert again.provider_reference == first.provider_reference
    paypal.provider.advance(6 * 3600)
    late = paypal.gateway.create_payment(request())
    assert late.provider_reference != first.provider_reference, "a key lives six hours"


def test_an_order_that_was_never_seen_cannot_have_been_paid(paypal: PaypalHarness) -> None:
    paypal.provider.fault("drop_after", "order.create")
    assert paypal.gateway.create_payment(request()).outcome == "unknown"
    before = paypal.sent
    asked = paypal.gateway.query_payment(Reference(our_reference="att_a", created_at=START))
    assert (asked.outcome, paypal.sent) == ("not_found", before)
    assert paypal.gateway.query_payment(Reference()).outcome == "rejected"


def test_an_order_that_is_gone_has_lapsed_only_after_days(paypal: PaypalHarness) -> None:
    about = by(paypal.gateway.create_payment(request()), created_at=START)
    paypal.provider.advance(73 * 3600)
    assert paypal.gateway.query_payment(about).outcome == "not_found"
    clock = paypal.clock
    assert isinstance(clock, ManualClock)
    clock.advance(timedelta(days=7, seconds=1))
    assert paypal.gateway.query_payment(about).outcome == "expired"
    assert paypal.gateway.query_payment(replace(about, created_at=None)).outcome == "not_found"


# --- completing -------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop_after", "503_after", "html_after", "empty_after",
                                   "truncated_after", "reset_after"])  # fmt: skip
def test_a_lost_answer_to_a_capture_is_resolved_by_looking(
    paypal: PaypalHarness, fault: str
) -> None:
    about = approved(paypal)
    paypal.provider.fault(fault, "order.capture")
    assert paypal.gateway.complete_payment(about, "k").outcome == "unknown"
    found = paypal.gateway.query_payment(about)
    assert (found.outcome, found.amount_minor) == ("succeeded", 2500) and found.fee is not None
    again = paypal.gateway.complete_payment(
        replace(about, provider_data={"intent": "CAPTURE"}), "k"
    )
    assert (again.outcome, paypal.taken("EUR")) == ("succeeded", 2500)
    other = replace(about, provider_data={"intent": "CAPTURE"})
    assert paypal.gateway.complete_payment(other, "another key").outcome == "exists"
    assert paypal.taken("EUR") == 2500


def test_completing_what_is_not_approved_takes_nothing(paypal: PaypalHarness) -> None:
    made = paypal.gateway.create_payment(request())
    assert paypal.gateway.complete_payment(by(made), "k").outcome == "requires_action"
    assert posts(paypal, "/capture") == []
    told = replace(by(made), provider_data={"intent": "CAPTURE"})
    answer = paypal.gateway.complete_payment(told, "k")
    assert (answer.outcome, answer.provider_code) == ("requires_action", "ORDER_NOT_APPROVED")
    assert answer.next_action is not None and paypal.taken("EUR") == 0
    paypal.provider.fault("503", "order.get")
    # The look beforehand learnt nothing, so nothing was sent.
    assert paypal.gateway.complete_payment(by(made), "k").outcome == "not_sent"


@pytest.mark.parametrize(
    ("status", "outcome", "code"),
    [("COMPLETED", "succeeded", None), ("DECLINED", "declined", "card_declined"),
     ("FAILED", "declined", "card_declined"), ("A_STATUS_OF_TOMORROW", "pending", None)],
)  # fmt: skip
def test_a_pending_capture_is_decided_later(
    paypal: PaypalHarness, status: str, outcome: str, code: str | None
) -> None:
    paypal.provider.fault("pending", "order.capture")
    answer = paid(paypal)
    assert (answer.outcome, answer.provider_code) == ("pending", "PENDING_REVIEW")
    [capture_id] = paypal.provider.books.captures
    paypal.provider.payments.settle(capture_id, status)
    found = paypal.gateway.query_payment(by(answer))
    assert (found.outcome, found.code) == (outcome, code)
    assert (found.amount_minor == 2500) is (status == "COMPLETED")


def test_a_completed_order_with_a_declined_capture_is_declined(paypal: PaypalHarness) -> None:
    paypal.provider.fault("declined", "order.capture")
    answer = paid(paypal)
    assert (answer.outcome, answer.code, paypal.taken("EUR")) == ("declined", "card_declined", 0)
    assert paypal.provider.books.orders[str(answer.provider_reference)]["status"] == "COMPLETED"


def test_the_sandbox_header_for_negative_tests_is_honoured(paypal: PaypalHarness) -> None:
    about = approved(paypal)
    token = next(iter(paypal.provider._tokens))
    headers = {
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "paypal-mock-response": '{"mock_application_codes": "INSTRUMENT_DECLINED"}',
    }
    path = f"/v2/checkout/orders/{about.provider_reference}/capture"
    answer = paypal.provider.receive(Request("POST", path, {}, headers, b"{}")).response
    assert answer is not None and answer.status == 422
    assert answer.body["details"] == [{"issue": "INSTRUMENT_DECLINED"}]
    assert paypal.taken("EUR") == 0


# --- authorisations ---------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop_after", "503_after", "html_after"])
def test_a_capture_whose_answer_was_lost_is_not_made_twice(
    paypal: PaypalHarness, fault: str
) -> None:
    payment = held(paypal)
    paypal.provider.fault(fault, "authorization.capture")
    wanted = capture(payment, final=False)
    assert paypal.gateway.capture_payment(wanted).outcome == "unknown"
    assert paypal.gateway.query_payment(by(payment)).captured_minor == 1000
    paypal.provider.advance(46 * 86_400)  # the key is forgotten; the invoice id is not
    again = paypal.gateway.capture_payment(wanted)
    assert (again.outcome, again.amount_minor, again.captured_minor) == ("succeeded", 1000, 1000)
    assert paypal.taken("EUR") == 1000


def test_a_final_capture_ends_the_authorisation(paypal: PaypalHarness) -> None:
    payment = held(paypal)
    last = paypal.gateway.capture_payment(capture(payment, 1500))
    assert (last.outcome, last.captured_minor) == ("succeeded", 1500) and last.fee is not None
    found = paypal.gateway.query_payment(by(payment))
    assert (found.outcome, found.amount_minor, found.captured_minor) == ("succeeded", 1500, 1500)
    more = paypal.gateway.capture_payment(capture(payment, 500, "more"))
    assert (more.outcome, more.provider_code) == ("exists", "AUTHORIZATION_ALREADY_CAPTURED")
    assert paypal.taken("EUR") == 1500


def test_more_than_was_authorised_is_refused_before_it_is_sent(paypal: PaypalHarness) -> None:
    payment = held(paypal)
    paypal.gateway.capture_payment(capture(payment, 1000, final=False))
    # PayPal itself would take up to 115 %.
    over = paypal.gateway.capture_payment(capture(payment, 1501, "over"))
    assert (over.outcome, over.code) == ("rejected", "amount_too_large")
    assert len(posts(paypal, "/capture")) == 1


def test_a_pending_capture_keeps_the_payment_open(paypal: PaypalHarness) -> None:
    payment = held(paypal)
    paypal.provider.fault("pending", "authorization.capture")
    assert paypal.gateway.capture_payment(capture(payment)).outcome == "pending"
    found = paypal.gateway.query_payment(by(payment))
    assert (found.outcome, found.captured_minor) == ("pending", 0)


def test_releasing_an_authorisation(paypal: PaypalHarness) -> None:
    payment = held(paypal)
    paypal.gateway.capture_payment(capture(payment, 700, final=False))
    done = paypal.gateway.cancel_payment(by(payment), "k")
    assert (done.outcome, done.captured_minor) == ("canceled", 700)
    assert paypal.gateway.cancel_payment(by(payment), "k").outcome == "canceled"
    found = paypal.gateway.query_payment(by(payment))
    assert (found.outcome, found.amount_minor) == ("succeeded", 700)
    untouched = held(paypal, "u")
    paypal.gateway.cancel_payment(by(untouched), "k2")
    assert paypal.gateway.query_payment(by(untouched)).outcome == "canceled"
    late = paypal.gateway.capture_payment(capture(untouched, name="late"))
    assert (late.outcome, late.reject) == ("rejected", RejectKind.STATE)
    taken = held(paypal, "t")
    paypal.gateway.capture_payment(capture(taken, 2500, "t"))
    refused = paypal.gateway.cancel_payment(by(taken), "k3")
    assert (refused.outcome, refused.reject) == ("rejected", RejectKind.STATE)


def test_an_empty_answer_to_a_release_is_its_success(paypal: PaypalHarness) -> None:
    payment = held(paypal)
    paypal.provider.payments.void = lambda held_id, whole: Response(204)  # type: ignore[method-assign]
    assert paypal.gateway.cancel_payment(by(payment), "k").outcome == "canceled"


def test_an_open_order_is_not_released(paypal: PaypalHarness) -> None:
    about = approved(paypal)
    answer = paypal.gateway.cancel_payment(about, "k")
    assert (answer.outcome, answer.code, answer.reject) == (
        "rejected", "not_revocable", RejectKind.STATE,
    )  # fmt: skip
    nothing = paypal.gateway.capture_payment(
        capture(Answer(Outcome.PENDING, about.provider_reference))
    )
    assert nothing.code == "not_authorized"


def test_beside_other_emulators_links_lead_back_too() -> None:
    provider = PaypalEmulator()
    with EmulatorServer(provider, ExampleEmulator()) as server:
        address = server.url_of(provider)
        settings = {"client_id": "env:ID", "client_secret": "env:SECRET", "api_base": address}
        gateway = build("paypal", "pp", settings, SECRETS.__getitem__)
        made = gateway.create_payment(request())
    assert made.next_action is not None
    assert str(made.next_action.url).startswith(f"{server.url}/paypal/checkoutnow?token=")
