"""PayPal's payouts, reports, access tokens and settings."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from payctl.clock import ManualClock
from payctl.errors import NotConfigured, NotSent
from payctl.gateways.base import BalanceLine, Destination, Fee, Reference, RejectKind
from payctl.gateways.paypal import PaypalGateway
from payctl.gateways.registry import build
from payctl.testing.emulators.paypal_state import Movement
from tests.gateways.harnesses import START
from tests.gateways.paypal_calls import by, paid, payout, refund, request
from tests.gateways.paypal_harness import SECRETS, PaypalHarness

pytestmark = pytest.mark.gateways
DAY = timedelta(days=1)


def later(paypal: PaypalHarness, **delta: float) -> None:
    assert isinstance(paypal.clock, ManualClock)
    paypal.clock.advance(timedelta(**delta))


# --- payouts ----------------------------------------------------------------------------------


def test_a_payout_is_a_batch_of_one_under_our_reference(paypal: PaypalHarness) -> None:
    sent = paypal.gateway.create_payout(payout(Destination("paypal_id", "QYR5Z8XDVJNXQ")))
    assert (sent.outcome, sent.our_reference) == ("pending", "att_out_o")
    asked = paypal.provider.requests[-1]
    assert asked.headers["paypal-request-id"] == "key_out_o" and "prefer" not in asked.headers
    assert asked.json() == {
        "sender_batch_header": {"sender_batch_id": "att_out_o"},
        "items": [{"recipient_type": "PAYPAL_ID", "receiver": "QYR5Z8XDVJNXQ",
                   "sender_item_id": "att_out_o",
                   "amount": {"currency": "EUR", "value": "50.00"}}],
    }  # fmt: skip
    assert paypal.gateway.query_payout(by(sent)).outcome == "pending"
    later(paypal, seconds=31)
    done = paypal.gateway.query_payout(by(sent))
    row = paypal.provider.books.movements[-1]
    assert (done.outcome, done.amount_minor, done.currency) == ("succeeded", 5000, "EUR")
    assert done.fee == Fee(25, "EUR", row.transaction_id)


def test_a_repeat_is_the_same_batch_with_the_key_and_without(paypal: PaypalHarness) -> None:
    first = paypal.gateway.create_payout(payout("a@example.com"))
    again = paypal.gateway.create_payout(payout("a@example.com"))
    assert (again.outcome, again.provider_reference) == ("pending", first.provider_reference)
    # The key is not what protects: the batch's own reference is.
    other = paypal.gateway.create_payout(payout("a@example.com", idempotency_key="another"))
    assert (other.outcome, other.provider_reference) == ("exists", first.provider_reference)
    later(paypal, days=31)
    assert paypal.gateway.create_payout(payout("a@example.com")).outcome == "pending"
    assert len(paypal.provider.books.batches) == 2, "PayPal remembers 30 days"


def test_a_lost_payout_shows_in_the_reports_when_they_are_there(paypal: PaypalHarness) -> None:
    paypal.provider.reports.late = timedelta(hours=3)
    paypal.provider.fault("drop_after", "payout.create")
    assert paypal.gateway.create_payout(payout("a@example.com")).outcome == "unknown"
    asked = Reference("att_out_o", None, 5000, "EUR", START)
    assert paypal.gateway.query_payout(asked).outcome == "not_found"
    sent = paypal.gateway.create_payout(payout("a@example.com"))
    assert sent.provider_reference is not None, "the same key tells the batch's id at once"
    later(paypal, hours=3, minutes=1)
    found = paypal.gateway.query_payout(asked)
    assert (found.outcome, found.amount_minor) == ("succeeded", 5000)
    assert paypal.paid_out("EUR") == 5000
    assert paypal.gateway.query_payout(replace(asked, our_reference="no")).outcome == "not_found"
    sent_out = [each for each in paypal.provider.requests if each.path == "/v1/payments/payouts"]
    assert len(sent_out) == 2, "a question never sends"


def test_money_nobody_claims_comes_back(paypal: PaypalHarness) -> None:
    paypal.provider.payouts.receivers["new@example.com"] = ("UNCLAIMED", "RECEIVER_UNREGISTERED")
    sent = paypal.gateway.create_payout(payout("new@example.com"))
    later(paypal, minutes=1)
    waiting = paypal.gateway.query_payout(by(sent))
    assert (waiting.outcome, waiting.provider_code) == ("pending", "RECEIVER_UNREGISTERED")
    later(paypal, days=30)
    back = paypal.gateway.query_payout(by(sent))
    assert (back.outcome, back.code, paypal.paid_out("EUR")) == ("declined", "customer_timeout", 0)


@pytest.mark.parametrize(
    ("status", "error", "outcome", "code"),
    [("ONHOLD", None, "pending", None), ("FAILED", "RISK_DECLINE", "declined", "fraud_suspected"),
     ("FAILED", "OF_TOMORROW", "declined", "unknown_reason"),
     ("REVERSED", None, "declined", "processing_error"), ("OF_TOMORROW", None, "pending", None)],
)  # fmt: skip
def test_the_item_tells_not_the_batch(
    paypal: PaypalHarness, status: str, error: str | None, outcome: str, code: str | None
) -> None:
    paypal.provider.payouts.receivers["a@example.com"] = (status, error)
    sent = paypal.gateway.create_payout(payout("a@example.com"))
    later(paypal, minutes=1)
    found = paypal.gateway.query_payout(by(sent))
    assert (found.outcome, found.code) == (outcome, code)
    assert paypal.provider.books.batches[str(sent.provider_reference)]["status"] == "SUCCESS"


def test_batches_that_end_without_paying(paypal: PaypalHarness) -> None:
    denied = paypal.gateway.create_payout(payout("a@example.com"))
    paypal.provider.payouts.deny(str(denied.provider_reference))
    found = paypal.gateway.query_payout(by(denied))
    assert (found.outcome, found.code) == ("declined", "gateway_specific")
    paypal.provider.books.batches[str(denied.provider_reference)]["status"] = "CANCELED"
    assert paypal.gateway.query_payout(by(denied)).outcome == "canceled"
    paypal.provider.books.opening = {}
    poor = paypal.gateway.create_payout(payout("a@example.com", "poor"))
    assert (poor.outcome, poor.code) == ("declined", "insufficient_funds")
    assert paypal.gateway.query_payout(Reference(provider_reference="NONE")).outcome == "not_found"


def test_payouts_are_made_only_where_they_are_allowed(paypal: PaypalHarness) -> None:
    bare = paypal.build(paypal.server.url, payouts=False)
    assert bare.create_payout(payout("a@example.com")).code == "not_supported"
    assert bare.query_payout(Reference("a", "b")).code == "not_supported"
    assert bare.capabilities.payouts == frozenset()
    phone = payout(Destination("msisdn", "+2250708091011"))
    assert paypal.gateway.create_payout(phone).code == "not_supported"
    assert paypal.gateway.query_payout(Reference()).code == "not_supported"
    assert paypal.sent == 0


# --- reports ----------------------------------------------------------------------------------


def test_the_list_is_read_in_spans_and_pages(
    paypal: PaypalHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("payctl.gateways.paypal_reports._PAGE_SIZE", 2)
    for number in range(5):
        paid(paypal, f"n{number}")
        later(paypal, days=9)
    listed = list(paypal.gateway.list_payments(START - DAY, paypal.clock.now()))
    assert [one.our_reference for one in listed] == [f"att_n{number}" for number in range(5)]
    assert {one.outcome for one in listed} == {"succeeded"}
    assert all(one.fee is not None and one.amount_minor == 2500 for one in listed)
    searches = [each.query for each in paypal.provider.requests if "reporting" in each.path]
    assert max(int(each["page"]) for each in searches) == 2
    assert len({each["start_date"] for each in searches}) == 2, "46 days are two spans"


def test_a_span_with_more_rows_than_paypal_shows_is_halved(paypal: PaypalHarness) -> None:
    paypal.provider.reports.most = 2
    for number in range(5):
        paid(paypal, f"n{number}")
        later(paypal, days=2)
    listed = list(paypal.gateway.list_payments(START - DAY, paypal.clock.now()))
    assert [one.our_reference for one in listed] == [f"att_n{number}" for number in range(5)]


def test_a_list_that_the_reports_do_not_reach_ends_as_cut(paypal: PaypalHarness) -> None:
    paypal.provider.reports.late = timedelta(hours=3)
    paid(paypal, "old")
    later(paypal, hours=4)
    paid(paypal, "new")
    listed = list(paypal.gateway.list_payments(START - DAY, paypal.clock.now()))
    assert [one.our_reference for one in listed] == ["att_old", None]
    assert (listed[-1].outcome, listed[-1].provider_reference) == ("unknown", None)
    whole = list(paypal.gateway.list_payments(START - DAY, START + timedelta(minutes=1)))
    assert [one.our_reference for one in whole] == ["att_old"]


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [("503", "unknown"), ("drop", "unknown"), ("429", "rejected"), ("html", "unknown")],
)
def test_a_list_that_breaks_off_says_so(paypal: PaypalHarness, fault: str, outcome: str) -> None:
    paid(paypal)
    paypal.provider.fault(fault, "transactions")
    [last] = paypal.gateway.list_payments(START - DAY, START + DAY)
    assert (last.outcome, last.our_reference, last.provider_reference) == (outcome, None, None)


def test_only_payments_are_listed_strangers_included(paypal: PaypalHarness) -> None:
    done = paid(paypal)
    paypal.gateway.refund_payment(refund(done))
    paypal.gateway.create_payout(payout("a@example.com"))
    now = paypal.clock.now()
    paypal.provider.books.movements += [
        Movement(now, "STRANGER1", "T0000", "S", "EUR", 1200),
        Movement(now, "DENIED1", "T0006", "D", "EUR", 900, custom_id="att_d"),
        Movement(now, "WITHDRAWAL", "T0400", "S", "EUR", -700),
    ]
    listed = list(paypal.gateway.list_payments(START - DAY, START + DAY))
    told = [(one.outcome, one.our_reference, one.provider_reference) for one in listed]
    assert told == [
        ("succeeded", "att_a", done.provider_reference),
        ("succeeded", None, "STRANGER1"),
        ("declined", "att_d", None),
    ]


def test_the_balance_by_currency(paypal: PaypalHarness) -> None:
    paid(paypal)
    paypal.provider.fault("pending", "order.capture")
    paid(paypal, "p", currency="USD", amount_minor=900)
    paypal.provider.books.opening["RUB"] = 100  # no currency of a book
    assert paypal.gateway.balance() == [
        BalanceLine("EUR", 10_000_000 + 2500 - 107), BalanceLine("USD", 0, 900),
    ]  # fmt: skip
    for fault, error, times in (
        ("401", NotConfigured, 2),
        ("503", NotSent, 1),
        ("html", NotSent, 1),
    ):
        paypal.provider.fault(fault, "balances", times)
        with pytest.raises(error):
            paypal.gateway.balance()


# --- tokens and settings ----------------------------------------------------------------------


def tokens(paypal: PaypalHarness) -> int:
    return sum(each.path == "/v1/oauth2/token" for each in paypal.provider.requests)


def test_one_token_serves_until_it_ends(paypal: PaypalHarness) -> None:
    for name in "abc":
        paypal.gateway.create_payment(request(name))
    assert tokens(paypal) == 1
    later(paypal, seconds=32_400 - 30)
    paypal.gateway.create_payment(request("d"))
    assert tokens(paypal) == 2, "renewed before its end"
    paypal.provider.expire_tokens()
    done = paid(paypal, "e")
    assert (done.outcome, tokens(paypal)) == ("succeeded", 3)


def test_refused_credentials(paypal: PaypalHarness) -> None:
    paypal.provider.client_secret = "rolled"
    answer = paypal.gateway.create_payment(request())
    assert (answer.outcome, answer.reject) == ("rejected", RejectKind.AUTH)
    assert not paypal.gateway.ping().ok
    assert all("orders" not in each.path for each in paypal.provider.requests)
    paypal.provider.client_secret = SECRETS["env:SECRET"]
    for fault in ("503", "html", "drop"):
        paypal.provider.fault(fault, "token")
        assert paypal.gateway.create_payment(request()).outcome == "not_sent"
    assert paypal.gateway.ping().ok


def made(**settings: Any) -> PaypalGateway:
    required = {"client_id": "env:ID", "client_secret": "env:SECRET"}
    gateway = build("paypal", "pp", {**required, **settings}, SECRETS.__getitem__)
    assert isinstance(gateway, PaypalGateway)
    return gateway


def test_settings() -> None:
    assert not made().live and made(mode="live").live
    can = made().capabilities
    assert can.currencies is not None and not {"BRL", "CNY", "MYR", "XOF"} & can.currencies
    assert made(currencies=["BRL", "XOF"]).capabilities.currencies == {"BRL"}
    for wrong in ({"mode": "production"}, {"clientid": "x"}, {"payouts": "yes please"}):
        with pytest.raises(NotConfigured):
            made(**wrong)
    for key in ("client_id", "client_secret"):
        with pytest.raises(NotConfigured) as caught:
            build("paypal", "pp", {key: "env:ID"}, SECRETS.__getitem__)
        assert caught.value.field in ("client_id", "client_secret")


def test_importing_the_adapter_loads_nothing_heavy() -> None:
    code = (
        "import sys, payctl.gateways.paypal\n"
        "heavy = {'httpx', 'cryptography', 'certifi', 'sqlalchemy', 'stripe'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
