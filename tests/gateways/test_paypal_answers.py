"""What PayPal's answers mean, nonsense included, and its amounts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.gateways.base import Destination, Fee
from payctl.gateways.http import Reply
from payctl.gateways.paypal_answers import of_order, of_refund
from payctl.gateways.paypal_api import failed
from payctl.gateways.paypal_money import CURRENCIES, WHOLE, from_money, money, to_value
from payctl.money import EXPONENTS
from payctl.testing.emulators.core import Response
from tests.gateways.paypal_calls import paid, refund, request
from tests.gateways.paypal_harness import PaypalHarness

pytestmark = pytest.mark.gateways


# --- amounts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "ours", "theirs"),
    [("EUR", 2500, "25.00"), ("EUR", 5, "0.05"), ("JPY", 500, "500"), ("HUF", 150_000, "1500"),
     ("HUF", 150_050, None), ("TWD", 10_000, "100"), ("TWD", 10_001, None), ("USD", 1, "0.01")],
)  # fmt: skip
def test_amounts_at_paypal(currency: str, ours: int, theirs: str | None) -> None:
    assert to_value(ours, currency) == theirs
    if theirs is not None:
        assert from_money({"currency_code": currency, "value": theirs}) == (ours, currency)
        assert from_money({"currency": currency, "value": "-" + theirs}) == (-ours, currency)


@given(st.sampled_from(sorted(CURRENCIES)), st.integers(1, 10**13))
def test_an_amount_comes_back_as_it_went_or_never_goes(currency: str, amount: int) -> None:
    value = to_value(amount, currency)
    whole = amount % 10 ** EXPONENTS[currency] == 0
    assert (value is None) == (currency in WHOLE and not whole)
    if value is not None:
        assert from_money(money(amount, currency)) == (amount, currency)
        assert ("." in value) == (currency not in WHOLE)


@pytest.mark.parametrize("value", ["", ".", "-", "1,00", "1.005", "1e3", "0x1", "٣", None, 5, {}])
def test_what_is_no_amount_is_not_read_as_one(value: Any) -> None:
    if value == 5:
        assert from_money({"currency_code": "EUR", "value": 5}) == (500, "EUR")
        return
    with pytest.raises(ValueError):
        from_money({"currency_code": "EUR", "value": value})


def test_currencies_without_decimals_are_taken_in_whole_units(paypal: PaypalHarness) -> None:
    for currency, amount in (("HUF", 150_000), ("JPY", 500), ("TWD", 10_000)):
        done = paid(paypal, currency, currency=currency, amount_minor=amount)
        assert (done.outcome, done.amount_minor, done.currency) == ("succeeded", amount, currency)
        back = paypal.gateway.refund_payment(
            replace(refund(done, amount // 5, currency), currency=currency)
        )
        assert (back.outcome, back.amount_minor) == ("succeeded", amount // 5)
    before = paypal.sent
    odd = replace(refund(done, 150, "odd"), currency="HUF")
    assert paypal.gateway.refund_payment(odd).code == "amount_off_step"
    for currency in ("XOF", "XAF", "MAD", "GNF", "CDF", "BRL", "CNY", "MYR", "RUB"):
        answer = paypal.gateway.create_payment(request(currency, currency=currency))
        assert (answer.outcome, answer.code) == ("rejected", "currency_not_supported")
    assert paypal.sent == before


# --- nonsense ---------------------------------------------------------------------------------


def reply(status: int, body: Any) -> Reply:
    return Reply(status, {}, Response(status, body).content())


@pytest.mark.parametrize(
    ("status", "body", "outcome", "reject"),
    [
        (400, "<html>", "unknown", None), (404, "<html>", "unknown", None),
        (422, {}, "unknown", None), (409, {"name": "RESOURCE_CONFLICT"}, "unknown", None),
        (404, {"name": "RESOURCE_NOT_FOUND"}, "not_found", None),
        (404, {"name": "SOMETHING_ELSE"}, "unknown", None),
        (403, {"name": "NOT_AUTHORIZED"}, "rejected", "auth"), (403, "<html>", "rejected", "auth"),
        (401, {"error": "invalid_token"}, "rejected", "auth"), (429, "slow", "rejected", "rate"),
        (400, {"name": "INVALID_REQUEST"}, "rejected", "validation"),
        (422, {"name": "UNPROCESSABLE_ENTITY", "details": "x"}, "rejected", "state"),
        (422, {"name": "N", "details": [{"issue": "NEW"}, {"issue": "INSTRUMENT_DECLINED"}]},
         "declined", None),
        (500, {"name": "INTERNAL_SERVER_ERROR", "details": [{"issue": "INSTRUMENT_DECLINED"}]},
         "unknown", None),
        (302, {"name": "N"}, "unknown", None), (408, {"name": "N"}, "unknown", None),
    ],
)  # fmt: skip
def test_a_refusal_proves_only_what_it_says(
    status: int, body: Any, outcome: str, reject: str | None
) -> None:
    answer = failed(reply(status, body))
    assert answer is not None and (answer.outcome, answer.reject) == (outcome, reject)


@pytest.mark.parametrize(
    "body",
    [{"id": "O", "status": "OF_TOMORROW"}, {"id": "O", "status": "COMPLETED"},
     {"id": "O", "status": "COMPLETED", "purchase_units": [{"payments": {}}]}],
)  # fmt: skip
def test_what_an_order_does_not_say_is_pending(body: dict[str, Any]) -> None:
    answer = of_order(body, reply(200, body))
    assert (answer.outcome, answer.provider_reference) == ("pending", "O")


def test_a_minimal_answer_keeps_the_order_s_id(paypal: PaypalHarness) -> None:
    shown = paypal.provider.orders.shown
    paypal.provider.orders.shown = lambda key, whole: shown(key, False)  # type: ignore[method-assign]
    answer = paypal.gateway.create_payment(request())
    assert answer.outcome == "requires_action" and answer.provider_reference


@pytest.mark.parametrize("body", [{}, {"id": "O"}, {"id": "O", "status": "COMPLETED",
    "purchase_units": [{"payments": {"captures": [{"status": "COMPLETED"}]}}]}])  # fmt: skip
def test_an_order_without_its_fields_is_not_guessed(body: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        of_order(body, reply(200, body))


def test_the_fee_is_told_in_the_currency_it_is_kept_in() -> None:
    capture_ = {
        "id": "C", "status": "COMPLETED", "amount": {"currency_code": "USD", "value": "10.00"},
        "seller_receivable_breakdown": {
            "paypal_fee": {"currency_code": "USD", "value": "0.59"},
            "paypal_fee_in_receivable_currency": {"currency_code": "EUR", "value": "0.54"},
        },
    }  # fmt: skip
    body = {"id": "O", "status": "COMPLETED", "payer": {"email_address": "a@example.com"},
            "purchase_units": [{"payments": {"captures": [capture_]}}]}  # fmt: skip
    answer = of_order(body, reply(200, body))
    assert answer.fee == Fee(54, "EUR", "C")
    assert answer.payer == Destination("email", "a@example.com")


def test_a_refund_of_the_dashboard_has_no_reference_of_ours() -> None:
    body = {"id": "R", "status": "COMPLETED", "amount": {"currency_code": "EUR", "value": "1.00"}}
    answer = of_refund(body, reply(200, body))
    assert (answer.outcome, answer.our_reference, answer.amount_minor) == ("succeeded", None, 100)
