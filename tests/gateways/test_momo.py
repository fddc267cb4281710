"""MTN's adapter: a market's terms, references, the two ways to pay out, settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from payctl.errors import NotConfigured, NotSent
from payctl.gateways import base
from payctl.gateways.base import Reference
from payctl.gateways.momo_data import WRONG_NUMBER
from payctl.gateways.registry import build
from payctl.testing.emulators.core import Response
from tests.gateways.momo_harness import PAYS, SECRETS, MomoHarness, Said, settings

pytestmark = pytest.mark.gateways


# --- a live market -------------------------------------------------------------------------------


def test_a_market_takes_its_own_currency_and_numbers_only(abidjan: MomoHarness) -> None:
    gateway, before = abidjan.gateway, abidjan.exchanges()
    francs = {"amount_minor": 15_000, "currency": "XOF"}
    wrong = {
        "+22505040302": "phone_old_plan",
        "05040302": "phone_old_plan",
        "+237671234567": "phone_other_country",
        "+22505040302011": "phone_wrong_length",
        "+33612345678": "phone_unknown_country",
        "l'ami": "phone_unreadable",
        "": "phone_missing",
    }
    for phone, code in wrong.items():
        answer = gateway.create_payment(abidjan.payment(phone, **francs))
        assert (answer.outcome, answer.reject, answer.code) == ("rejected", "validation", code)
        assert answer.message and (not phone or phone not in answer.message)
    assert gateway.create_payment(abidjan.payment()).code == "currency_not_supported"
    elsewhere = abidjan.payment("+2250504030201", country="GH", **francs)
    assert gateway.create_payment(elsewhere).code == "country_not_supported"
    assert abidjan.exchanges() == before
    request = abidjan.payment("05 04 03 02 01", description="Billet d'entrée", **francs)
    assert gateway.create_payment(request).outcome == "requires_action"
    body = abidjan.emulator.asked[request.our_reference].body
    assert (body["amount"], body["currency"]) == ("15000", "XOF")
    assert body["payer"] == {"partyIdType": "MSISDN", "partyId": "2250504030201"}
    assert body["externalId"] == request.our_reference
    found = gateway.query_payment(Reference(request.our_reference))
    assert (found.outcome, found.amount_minor) == ("succeeded", 15_000)
    assert found.payer == base.Destination("msisdn", "+2250504030201")
    assert gateway.live


def test_without_disbursement_nothing_goes_out(abidjan: MomoHarness) -> None:
    gateway, before = abidjan.gateway, abidjan.exchanges()
    can = gateway.capabilities
    assert (can.refunds, can.query_refunds, can.payouts) == ("none", False, frozenset())
    refund = base.RefundRequest(Reference("a"), "b", "b", 100, "XOF")
    ours = Reference("a")
    for answer in (
        gateway.refund_payment(refund), gateway.query_refund(ours), gateway.query_payout(ours),
        gateway.create_payout(abidjan.payout("+2250504030201", currency="XOF")),
    ):  # fmt: skip
        assert (answer.outcome, answer.code) == ("rejected", "not_supported")
    assert abidjan.exchanges() == before
    assert [line.part for line in gateway.balance()] == ["collect"]


def test_every_way_a_number_can_be_wrong_is_explained() -> None:
    assert set(WRONG_NUMBER) == {
        "phone_unreadable", "phone_unknown_country", "phone_wrong_length", "phone_old_plan",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["description", "payment"])
def test_no_description_lets_a_payment_be_refused(momo: MomoHarness, name: str) -> None:
    nasty = "L'œuvre <d'art> & \"co\" 料金 €" * 20
    changes = {"description": nasty} if name == "description" else {"metadata": {name: nasty}}
    assert momo.gateway.create_payment(momo.payment(**changes)).outcome == "requires_action"
    assert momo.gateway.create_payout(momo.payout(description=nasty)).outcome == "pending"


# --- references ----------------------------------------------------------------------------------


def test_a_repeat_is_told_so_and_has_no_effect(momo: MomoHarness) -> None:
    request = momo.payment()
    momo.gateway.create_payment(request)
    again = momo.gateway.create_payment(replace(request, amount_minor=9900))
    assert (again.outcome, again.provider_code) == ("exists", "RESOURCE_ALREADY_EXIST")
    assert momo.taken("EUR") == 2500
    assert momo.gateway.capabilities.resend_window_s


def test_a_late_original_after_a_repeat_is_still_one_payment(momo: MomoHarness) -> None:
    """The fence: what was sent again is held, so the first one, arriving late, is refused."""
    request = momo.payment()
    momo.emulator.fault("late:600", "payment.create")
    assert momo.gateway.create_payment(request).outcome == "unknown"
    assert momo.gateway.query_payment(Reference(request.our_reference)).outcome == "not_found"
    assert momo.gateway.create_payment(request).outcome == "requires_action"
    momo.emulator.advance(601)
    assert momo.taken("EUR") == 2500
    assert momo.gateway.capabilities.late_horizon_s > 600


def test_a_payment_waits_for_the_customer_five_minutes(momo: MomoHarness) -> None:
    momo.emulator.fault("pending", "payment.create")
    request = momo.payment()
    answer = momo.gateway.create_payment(request)
    action = answer.next_action
    assert action is not None and action.type == "ussd_prompt" and action.expires_at is not None
    assert 290 < (action.expires_at - momo.now()).total_seconds() <= 300
    assert momo.gateway.query_payment(Reference(request.our_reference)).outcome == "pending"
    momo.emulator.settle(request.our_reference)
    assert momo.gateway.query_payment(Reference(request.our_reference)).outcome == "succeeded"


def test_the_account_that_paid_and_the_operator_s_number_are_told(momo: MomoHarness) -> None:
    request = momo.payment()
    momo.gateway.create_payment(request)
    found = momo.gateway.query_payment(Reference(request.our_reference))
    assert found.payer == base.Destination("msisdn", PAYS)
    assert found.provider_data["financial_transaction_id"].startswith("363")


def test_each_product_has_credentials_of_its_own(momo: MomoHarness) -> None:
    """The emulator refuses the token and the user of another product."""
    momo.emulator.access.expire()
    for act in (
        lambda: momo.gateway.create_payment(momo.payment()),
        lambda: momo.gateway.create_payout(momo.payout()),
    ):
        assert act().outcome in ("requires_action", "pending")
    swapped = dict(SECRETS)
    swapped["env:disbursement_key"] = SECRETS["env:collection_key"]
    mixed = build("momo", "mtn", settings(momo.server.url), swapped.__getitem__)
    assert mixed.create_payment(momo.payment()).outcome == "requires_action"
    answer = mixed.create_payout(momo.payout())
    assert (answer.outcome, answer.reject) == ("rejected", "auth")
    health = mixed.ping()
    assert not health.ok and health.detail.startswith("disbursement:")
    with pytest.raises(NotConfigured):
        mixed.balance()


def test_balances_tell_sales_from_the_float(momo: MomoHarness) -> None:
    momo.gateway.create_payment(momo.payment())
    momo.gateway.create_payout(momo.payout())
    funds = int(momo.emulator.funds * 100)
    lines = {line.part: (line.currency, line.available_minor) for line in momo.gateway.balance()}
    assert lines == {"collect": ("EUR", 2500), "float": ("EUR", funds)}


@pytest.mark.parametrize("body", ["<html>", '{"availableBalance": "1e9", "currency": "EUR"}', "[]"])
def test_a_balance_that_cannot_be_read_is_none(momo: MomoHarness, body: str) -> None:
    with Said(momo, Response(200, body)), pytest.raises(NotSent):
        momo.gateway.balance()


# --- two ways to pay out -------------------------------------------------------------------------


def test_a_payout_is_found_whichever_way_it_was_made(momo: MomoHarness) -> None:
    deposits = build(
        "momo", "mtn", settings(momo.server.url, payout_by="deposit"), SECRETS.__getitem__
    )
    request = momo.payout()
    assert deposits.create_payout(request).outcome == "pending"
    assert momo.emulator.asked[request.our_reference].kind == "deposit"
    ours = Reference(request.our_reference)
    assert deposits.query_payout(ours).outcome == "succeeded"
    # ``payout_by`` was changed since: believing "not found" would pay it a second time.
    assert momo.gateway.query_payout(ours).outcome == "succeeded"
    nothing = Reference(momo.new_reference(999))
    assert momo.gateway.query_payout(nothing).outcome == "not_found"
    momo.emulator.fault("503", "payout.show", after=1)
    assert momo.gateway.query_payout(nothing).outcome == "unknown"
    momo.emulator.fault("429", "payout.show", after=1)
    assert momo.gateway.query_payout(nothing).outcome == "rejected"
    momo.emulator.fault("403", "payout.show", after=1)
    assert momo.gateway.query_payout(nothing).outcome == "not_found"


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        (lambda s: s.pop("environment"), "gateway.setting_missing", "environment"),
        (lambda s: s.update(environment="mtnfrance"), "gateway.bad_setting", "environment"),
        (lambda s: s.pop("collection_key"), "gateway.setting_missing", "collection_key"),
        (lambda s: s.pop("collection_user"), "gateway.setting_missing", "collection_user"),
        (lambda s: s.pop("disbursement_user"), "gateway.setting_missing", "disbursement_user"),
        (lambda s: s.pop("disbursement_secret"), "gateway.setting_missing",
         "disbursement_secret"),
        (lambda s: s.pop("disbursement_key"), "gateway.unknown_setting", "disbursement_secret"),
        (lambda s: s.update(payout_by="pigeon"), "gateway.bad_setting", "payout_by"),
        (lambda s: s.update(callback_url="ftp://a.example"), "gateway.bad_setting",
         "callback_url"),
        (lambda s: s.update(callback_url="https://10.0.0.1/x"), "gateway.bad_setting",
         "callback_url"),
        (lambda s: s.update(callback_url="https://[::1]/x"), "gateway.bad_setting",
         "callback_url"),
        (lambda s: s.update(callback_url="/x"), "gateway.bad_setting", "callback_url"),
        (lambda s: s.update(environment="mtnbenin", callback_url="http://a.example"),
         "gateway.bad_setting", "callback_url"),
    ],
)  # fmt: skip
def test_settings_are_read_strictly(
    change: Callable[[dict[str, Any]], None], code: str, field: str
) -> None:
    section = settings("https://momo.example")
    change(section)
    with pytest.raises(NotConfigured) as refused:
        build("momo", "mtn", section, SECRETS.__getitem__)
    assert (refused.value.code, refused.value.field) == (code, field)


def test_the_declared_terms() -> None:
    section = settings(
        "https://momo.example", environment="mtnbenin", callback_url="https://pay.example.com/m",
        limits={"XOF": [100, 500_000]}, payout_limits={"XOF": [500, 200_000]},
    )  # fmt: skip
    can = build("momo", "mtn", section, SECRETS.__getitem__).capabilities
    assert (can.currencies, can.countries) == (frozenset({"XOF"}), frozenset({"BJ"}))
    assert (can.refunds, can.reference_format, can.late_horizon_s) == ("partial", "uuid4", 900)
    assert (can.limits, can.payout_limits) == ({"XOF": (100, 500_000)}, {"XOF": (500, 200_000)})
