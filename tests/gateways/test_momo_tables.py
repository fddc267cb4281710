"""MTN's published tables, and the words and amounts it takes, each held against the adapter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.gateways import base
from payctl.gateways.base import DECLINE_CODES, Outcome, Reference
from payctl.gateways.momo_data import CONFIGURATION, INVALID, MARKETS, REASONS
from payctl.gateways.momo_words import amount_minor, amount_text, message
from payctl.money import EXPONENTS
from tests.gateways.momo_harness import PAYS, MomoHarness

pytestmark = pytest.mark.gateways
TABLES = Path(__file__).parent / "fixtures" / "momo"


def table(name: str) -> Any:
    return json.loads((TABLES / f"{name}.json").read_text(encoding="utf-8"))


# --- MTN's published tables ----------------------------------------------------------------------

#: What the published outcome of a test number must become here: ours, and the decline code.
AFTER: Mapping[str, tuple[str, str | None]] = {
    "FAILED": ("declined", "card_declined"),
    "REJECTED": ("canceled", "customer_canceled"),
    "EXPIRED": ("expired", "customer_timeout"),
    "COULD_NOT_PERFORM_TRANSACTION": ("expired", "customer_timeout"),
    "ONGOING": ("pending", None),
    "DELAYED": ("pending", None),
    "PAYER_NOT_FOUND": ("declined", "payer_not_found"),
    "PAYEE_NOT_FOUND": ("declined", "payer_not_found"),
    "PAYEE_NOT_ALLOWED_TO_RECEIVE": ("declined", "payer_not_allowed"),
    "NOT_ENOUGH_FUNDS": ("declined", "insufficient_funds"),
    "PAYER_LIMIT_REACHED": ("declined", "limit_exceeded"),
    "NOT_ALLOWED": ("declined", "gateway_specific"),
    "NOT_ALLOWED_TARGET_ENVIRONMENT": ("declined", "gateway_specific"),
    "INVALID_CALLBACK_URL_HOST": ("declined", "gateway_specific"),
    "TRANSFER_TYPE_UNKNOWN": ("declined", "gateway_specific"),
    "INVALID_CURRENCY": ("declined", "currency_not_supported"),
    "NOT_FOUND": ("declined", "payer_not_found"),
}
#: Answered at once with 500 or 503, which proves nothing until MTN is asked.
AT_ONCE = ("INTERNAL_PROCESSING_ERROR", "SERVICE_UNAVAILABLE")
VALUES = table("sandbox_test_values")


@pytest.mark.parametrize("number", VALUES["requesttopay_payer_msisdn"])
def test_each_published_payer_ends_as_mtn_says(momo: MomoHarness, number: str) -> None:
    published = VALUES["requesttopay_payer_msisdn"][number]
    request = momo.payment("+" + number)
    first = momo.gateway.create_payment(request)
    found = momo.gateway.query_payment(Reference(request.our_reference))
    if published in AT_ONCE:
        assert (first.outcome, first.provider_code) == ("unknown", published)
        assert (found.outcome, found.provider_code) == ("not_found", "RESOURCE_NOT_FOUND")
        return
    assert first.outcome == "requires_action"
    assert (found.outcome, found.code) == AFTER[published]
    assert found.provider_code == published


@pytest.mark.parametrize("number", VALUES["transfer_payee_msisdn"])
def test_each_published_payee_ends_as_mtn_says(momo: MomoHarness, number: str) -> None:
    published = VALUES["transfer_payee_msisdn"][number]
    request = momo.payout("+" + number)
    first = momo.gateway.create_payout(request)
    found = momo.gateway.query_payout(Reference(request.our_reference))
    if published in AT_ONCE:
        assert (first.outcome, found.outcome) == ("unknown", "not_found")
        return
    assert first.outcome == "pending"
    assert (found.outcome, found.code, found.provider_code) == (*AFTER[published], published)


@pytest.mark.parametrize("about", VALUES["refund_referenceIdToRefund"])
def test_each_published_refund_ends_as_mtn_says(momo: MomoHarness, about: str) -> None:
    published = VALUES["refund_referenceIdToRefund"][about]
    reference = momo.new_reference(int(about))
    request = base.RefundRequest(Reference(about), reference, reference, 100, "EUR")
    first = momo.gateway.refund_payment(request)
    found = momo.gateway.query_refund(Reference(reference))
    if published in AT_ONCE:
        assert (first.outcome, found.outcome) == ("unknown", "not_found")
        return
    assert first.outcome == "pending"
    assert (found.outcome, found.code, found.provider_code) == (*AFTER[published], published)


@pytest.mark.parametrize("number", VALUES["accountholder_active_msisdn"])
def test_each_published_account_holder_is_what_mtn_says(momo: MomoHarness, number: str) -> None:
    published = VALUES["accountholder_active_msisdn"][number]
    destination = base.Destination("msisdn", "+" + number)
    found = momo.gateway.check_payee(destination, 5.0)
    expected = {
        "NOT_FOUND": ("declined", "payer_not_found"),
        "NOT_ACTIVE": ("declined", "payer_not_allowed"),
        "NOT_ALLOWED": ("rejected", "bad_configuration"),
        "NOT_ALLOWED_TARGET_ENVIRONMENT": ("rejected", "bad_configuration"),
        "INTERNAL_PROCESSING_ERROR": ("unknown", None),
        "SERVICE_UNAVAILABLE": ("unknown", None),
    }
    assert (found.outcome, found.code) == expected[published]


def test_an_active_account_holder_has_a_name_that_no_record_keeps(momo: MomoHarness) -> None:
    to = base.Destination("msisdn", PAYS)
    found = momo.gateway.check_payee(to, 5.0)
    assert found.outcome == "succeeded"
    assert momo.gateway.payee_name(to, 5.0) == "Sand Box"
    assert momo.gateway.payee_name(base.Destination("msisdn", "+46733123450"), 5.0) is None
    kept = json.dumps(found.exchange)
    assert "/msisdn/46 ** ** 01/active" in kept
    assert PAYS[1:] not in kept and "Sand" not in kept


def test_every_published_market_is_ours() -> None:
    published = table("target_environments")
    assert (MARKETS["sandbox"].currency, MARKETS["sandbox"].country) == ("EUR", None)
    rows = {row["target"]: (row["country"], row["currency"]) for row in published["production"]}
    ours = {name: (m.country, m.currency) for name, m in MARKETS.items() if name != "sandbox"}
    assert ours == rows
    assert {market.currency for market in MARKETS.values()} <= set(EXPONENTS)


def test_every_published_code_proves_what_its_table_says() -> None:
    meaning = {
        "definitive_failure": {"declined"}, "cancelled": {"canceled"}, "expired": {"expired"},
        "pending": {"pending"}, "config": {"declined"}, "retryable": {"declined"},
        "depends": {"declined"},
    }  # fmt: skip
    read = 0
    for code, row in table("error_codes")["codes"].items():
        if "reason" not in row["seen_on"]:
            continue
        read += 1
        assert REASONS[code][0] in meaning[row["outcome"]], code
        if row["outcome"] == "config":
            assert code in CONFIGURATION, code
        elif code not in INVALID:
            assert code not in CONFIGURATION, code
    assert read > 15
    for reason, (outcome, code) in REASONS.items():
        assert code in DECLINE_CODES or outcome is Outcome.PENDING, reason


# --- words and amounts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("Billet d'entrée", "Billet d entree"),
        ("Œuvre à cœur, Ægir æ", "OEuvre a coeur AEgir ae"),
        ("Straße 12 €", "Strasse 12 EUR"),
        ("Noël à Yaoundé — 2e édition", "Noel a Yaounde 2e edition"),
        ("Tom & Awa", "Tom et Awa"),
        ("ﬁn № ５", "fin No 5"),
        ("Ǽ", "AE"),
        ("<b>\"100%\"</b>", "b 100 b"),
        ("Þór Łódź Đà Nẵng ı", "THor Lodz Da Nang i"),
        ("料金", ""),
        ("a\u0301\n\tb\x00", "a b"),
        ("x" * 300, "x" * 160),
        ("ab " * 100, ("ab " * 54)[:160].strip()),
    ],
)  # fmt: skip
def test_messages_are_spelt_in_what_mtn_takes(text: str, sent: str) -> None:
    assert message(text) == sent


@given(st.text(max_size=400))
def test_a_message_is_plain_and_short_whatever_is_said(text: str) -> None:
    sent = message(text)
    assert len(sent) <= 160
    assert sent.isascii()
    assert all(letter.isalnum() or letter == " " for letter in sent)
    assert sent == message(sent) == " ".join(sent.split())


@given(st.integers(1, 10**14), st.sampled_from(sorted({m.currency for m in MARKETS.values()})))
def test_amounts_go_out_in_main_units_and_come_back(minor: int, currency: str) -> None:
    text = amount_text(minor, currency)
    assert Decimal(text) * 10 ** EXPONENTS[currency] == minor
    assert amount_minor(text, currency) == minor
    assert EXPONENTS[currency] or "." not in text


@pytest.mark.parametrize(
    ("said", "currency"),
    [
        ("25.005", "EUR"), ("100.5", "XOF"), ("1e3", "EUR"), ("1E+999999", "EUR"), ("NaN", "EUR"),
        ("", "EUR"), (None, "EUR"), (True, "EUR"), ("12,50", "EUR"), ("25", "XXX"), ("٢٥", "EUR"),
    ],
)  # fmt: skip
def test_what_is_no_amount_is_not_guessed(said: object, currency: str) -> None:
    with pytest.raises(ValueError, match="no amount"):
        amount_minor(said, currency)


@pytest.mark.parametrize(
    ("said", "currency", "minor"),
    [("25", "EUR", 2500), ("25.5", "EUR", 2550), (25.5, "EUR", 2550), ("25.00", "XOF", 25),
     (15000, "XOF", 15000), ("-3", "UGX", -3)],
)  # fmt: skip
def test_amounts_as_mtn_may_write_them(said: object, currency: str, minor: int) -> None:
    assert amount_minor(said, currency) == minor
