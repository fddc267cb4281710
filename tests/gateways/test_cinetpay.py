"""CinetPay's adapter beyond the contract: amounts, settings, the checkout, its callbacks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from payctl.errors import NotConfigured
from payctl.gateways.base import Destination, Reference
from payctl.gateways.cinetpay_terms import CURRENCIES, LIMITS, PAYOUT_LIMITS, STEPS, minor, whole
from payctl.gateways.registry import build
from payctl.testing.emulators.cinetpay import SITE_ID, CinetPayEmulator
from payctl.testing.emulators.core import Request
from tests.gateways.cinetpay_harness import (
    KNOWN,
    V2Harness,
    payment,
    payout,
    v1_settings,
    v2_settings,
)

pytestmark = pytest.mark.gateways


@pytest.fixture
def v2() -> Iterator[V2Harness]:
    harness = V2Harness(currencies=sorted(CURRENCIES), balance_currency="XOF")
    yield harness
    harness.close()


# --- amounts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "amount_minor", "units"),
    [("XOF", 2500, 2500), ("XAF", 105, 105), ("GNF", 50_000, 50_000), ("CDF", 40_000, 400),
     ("CDF", 123_500, 1235), ("USD", 500, 5), ("USD", 2_500, 25)],
)  # fmt: skip
def test_amounts_leave_in_whole_units_and_come_back_in_minor_ones(
    v2: V2Harness, currency: str, amount_minor: int, units: int
) -> None:
    request = payment(amount_minor=amount_minor, currency=currency)
    assert v2.gateway.create_payment(request).outcome == "requires_action"
    assert v2.came_in("/v2/payment")[0].json()["amount"] == units
    v2.emulator.checkout.pay(request.our_reference)
    found = v2.gateway.query_payment(Reference(request.our_reference))
    assert (found.amount_minor, found.currency) == (amount_minor, currency)


@pytest.mark.parametrize(
    ("currency", "amount_minor", "code"),
    [("XOF", 2501, "amount_off_step"), ("XOF", 95, "amount_too_small"),
     ("CDF", 39_500, "amount_too_small"), ("CDF", 50_050, "amount_off_step"),
     ("USD", 550, "amount_off_step"), ("USD", 20, "amount_too_small"),
     ("XOF", 2_000_005, "amount_too_large")],
)  # fmt: skip
def test_amounts_cinetpay_would_refuse_never_leave(
    v2: V2Harness, currency: str, amount_minor: int, code: str
) -> None:
    answer = v2.gateway.create_payment(payment(amount_minor=amount_minor, currency=currency))
    assert (answer.outcome, answer.code) == ("rejected", code)
    assert v2.emulator.requests == []


def test_settings_go_before_the_tables_and_a_fraction_is_refused_all_the_same() -> None:
    harness = V2Harness(
        currencies=["USD"], countries=["CD"], steps={"USD": 1}, limits={"USD": [20, 1000]}
    )
    can = harness.gateway.capabilities
    assert (can.limits, can.steps, can.countries) == (
        {"USD": (20, 1000)}, {"USD": 1}, frozenset({"CD"}),
    )  # fmt: skip
    answer = harness.gateway.create_payment(payment(amount_minor=550, currency="USD"))
    assert (answer.outcome, answer.code) == ("rejected", "amount_not_representable")
    assert harness.emulator.requests == []
    harness.close()


def test_the_tables_speak_of_the_same_currencies() -> None:
    assert CURRENCIES == LIMITS.keys() == PAYOUT_LIMITS.keys() == STEPS.keys()
    for currency in CURRENCIES:
        for smallest, largest in (LIMITS[currency], PAYOUT_LIMITS[currency]):
            assert smallest % STEPS[currency] == 0 < smallest < largest
            assert whole(smallest, currency) is not None


@pytest.mark.parametrize(
    ("text", "currency", "amount_minor"),
    [("100", "XOF", 100), (100, "XOF", 100), ("100.00", "XOF", 100), ("5", "USD", 500),
     ("0.25", "USD", 25), ("0.255", "USD", None), ("abc", "XOF", None), (None, "XOF", None),
     (True, "XOF", None), ("100", "EUR", None), ("NaN", "XOF", None), ("-5", "XOF", None)],
)  # fmt: skip
def test_only_what_is_an_amount_is_read_as_one(
    text: object, currency: str, amount_minor: int | None
) -> None:
    assert minor(text, currency) == amount_minor


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("generation", "changes", "code", "field"),
    [
        ("v2", {"apikey": None}, "gateway.setting_missing", "apikey"),
        ("v2", {"site_id": None}, "gateway.setting_missing", "site_id"),
        ("v2", {"notify_url": "/hook"}, "gateway.bad_setting", "notify_url"),
        ("v2", {"currencies": ["EUR"]}, "gateway.bad_setting", "currencies"),
        ("v2", {"balance_currency": "USD"}, "gateway.bad_setting", "balance_currency"),
        ("v2", {"currencies": ["XOF", "XAF"]}, "gateway.setting_missing", "balance_currency"),
        ("v2", {"api_key": "env:KEY"}, "gateway.unknown_setting", "api_key"),
        ("v2", {"test_server": True, "api_base": None}, "gateway.bad_setting", "test_server"),
        ("v2", {"test_server": True, "transfer_base": None}, "gateway.bad_setting",
         "test_server"),
        ("v2", {"api": "v3"}, "gateway.bad_setting", "api"),
        ("v1", {"api_password": None}, "gateway.setting_missing", "api_password"),
        ("v1", {"country": "FR"}, "gateway.bad_setting", "country"),
        ("v1", {"currencies": ["XAF"]}, "gateway.bad_setting", "currencies"),
        ("v1", {"notify_url": "https://shop.example/" + 100 * "x"}, "gateway.bad_setting",
         "notify_url"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(
    generation: str, changes: dict[str, Any], code: str, field: str
) -> None:
    settings = (v2_settings if generation == "v2" else v1_settings)("http://127.0.0.1:1")
    settings |= changes
    kept = {key: value for key, value in settings.items() if value is not None}
    with pytest.raises(NotConfigured) as caught:
        build("cinetpay", "cp", kept, KNOWN.__getitem__)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_without_a_transfer_password_nothing_is_paid_out() -> None:
    settings = v2_settings("http://127.0.0.1:1")
    del settings["api_password"]
    gateway = build("cinetpay", "cp", settings, KNOWN.__getitem__)
    assert gateway.live and not gateway.capabilities.payouts
    assert gateway.create_payout(payout()).code == "not_supported"
    assert gateway.query_payout(Reference("x")).code == "not_supported"
    with pytest.raises(NotConfigured) as caught:
        gateway.balance()
    assert caught.value.code == "gateway.not_supported"


def test_a_checkout_is_live_unless_it_is_a_test_server(v2: V2Harness) -> None:
    assert v2.gateway.live
    assert not v2.build(v2.server.url, test_server=True).live


def test_building_it_resolves_no_secret() -> None:
    def never(reference: str) -> str:
        raise AssertionError(reference)

    for settings in (v2_settings("http://127.0.0.1:1"), v1_settings("http://127.0.0.1:1")):
        assert build("cinetpay", "cp", settings, never).capabilities.reference_format == "plain30"


# --- the checkout -------------------------------------------------------------------------------


def test_a_creation_says_what_cinetpay_wants_to_know(v2: V2Harness) -> None:
    request = payment(
        description="Concert #12 / A&B_c 5$", phone="+2250708091011", email="awa@example.com",
        country="CI", metadata={"customer_name": "Kone", "customer_surname": "Awa"},
    )  # fmt: skip
    answer = v2.gateway.create_payment(request)
    body = v2.came_in("/v2/payment")[0].json()
    assert body["description"] == "Concert  12   A B c 5"
    assert (body["channels"], body["lang"], body["site_id"]) == ("MOBILE_MONEY", "fr", SITE_ID)
    assert (body["customer_name"], body["customer_surname"]) == ("Kone", "Awa")
    assert "lock_phone_number" not in body
    assert answer.next_action and answer.next_action.url
    assert answer.next_action.url.endswith(f"/pay/{answer.provider_data['payment_token']}")
    assert v2.came_in("/v2/payment")[0].headers["user-agent"] == "payctl"


def test_a_phone_is_locked_when_the_account_says_so() -> None:
    harness = V2Harness(lock_phone_number=True)
    harness.gateway.create_payment(payment(phone="+2250708091011"))
    harness.gateway.create_payment(payment(2))
    bodies = [each.json() for each in harness.came_in("/v2/payment")]
    assert [each.get("lock_phone_number") for each in bodies] == [True, None]
    harness.close()


def test_a_card_payment_without_the_customer_s_address_never_leaves() -> None:
    harness = V2Harness(methods=["card", "mobile_money"])
    request = payment(method="card", phone="+2250708091011", email="a@example.com", country="CI",
                      metadata={"customer_city": "Abidjan"})  # fmt: skip
    refused = harness.gateway.create_payment(request)
    assert (refused.outcome, refused.code) == ("rejected", "customer_data_missing")
    assert refused.message == "customer_address, customer_state, customer_zip_code"
    assert harness.emulator.requests == []
    whole_address = {"customer_city": "Abidjan", "customer_address": "Rue 12",
                     "customer_state": "AB", "customer_zip_code": "00225"}  # fmt: skip
    answer = harness.gateway.create_payment(replace(request, metadata=whole_address))
    assert answer.outcome == "requires_action"
    assert harness.came_in("/v2/payment")[0].json()["channels"] == "CREDIT_CARD"
    harness.close()


def test_the_same_reference_again_exists(v2: V2Harness) -> None:
    assert v2.gateway.create_payment(payment()).outcome == "requires_action"
    again = v2.gateway.create_payment(payment())
    assert (again.outcome, len(v2.emulator.checkout.payments)) == ("exists", 1)


@pytest.mark.parametrize("code", ["662", "623", "664"])
def test_an_open_payment_is_open(v2: V2Harness, code: str) -> None:
    v2.gateway.create_payment(payment())
    v2.emulator.checkout.waits(payment().our_reference, code)
    found = v2.gateway.query_payment(Reference(payment().our_reference))
    assert (found.outcome, found.amount_minor) == (
        "requires_action" if code == "662" else "pending", None,
    )  # fmt: skip


class Nonsense(CinetPayEmulator):
    """Answers every check with the same body."""

    body: Any = None

    def handle(self, request: Request, fault: str | None) -> Any:
        made = super().handle(request, fault)
        return replace(made, status=200, body=self.body) if request.path.startswith("/v2") else made


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"code": "00", "data": {"status": "ACCEPTED", "amount": "abc", "currency": "XOF"}},
         "unknown"),
        ({"code": "00", "data": {"status": "ACCEPTED", "amount": "100", "currency": "EUR"}},
         "unknown"),
        ({"code": "00", "data": {"status": "ACCEPTED"}}, "unknown"),
        ({"code": "00", "data": None}, "unknown"),
        ({"code": "00"}, "unknown"),
        ({"code": "00", "data": {"status": "PENDING", "amount": "100", "currency": "XOF"}},
         "pending"),
        ({"code": "00", "data": {"status": "SETTLED", "amount": "100", "currency": "XOF"}},
         "unknown"),
        ({"code": "00", "data": {"status": "REFUSED", "amount": "100", "currency": "XOF"}},
         "declined"),
        ({"code": "600", "data": {"status": "ACCEPTED", "amount": "100", "currency": "XOF"}},
         "declined"),
        ({"code": "999", "data": {"status": "ACCEPTED", "amount": "100", "currency": "XOF"}},
         "unknown"),
        ({"code": None}, "unknown"), ({"code": True}, "unknown"), ([], "unknown"),
        ({"code": "627", "data": {"status": "REFUSED"}}, "canceled"),
        ({"code": "625", "data": {"status": "REFUSED"}}, "expired"),
        ({"code": 0, "data": {"status": "ACCEPTED", "amount": 100, "currency": "XOF"}}, "unknown"),
    ],
)  # fmt: skip
def test_nonsense_is_never_a_success(v2: V2Harness, body: Any, outcome: str) -> None:
    v2.emulator.__class__ = Nonsense
    v2.emulator.body = body  # type: ignore[attr-defined]
    found = v2.gateway.query_payment(Reference("x"))
    assert (found.outcome, found.amount_minor) == (outcome, None), found


@pytest.mark.parametrize("data", [None, {}, {"payment_url": ""}, {"payment_url": "javascript:1"}])
def test_created_without_a_page_is_unknown(v2: V2Harness, data: Any) -> None:
    v2.emulator.__class__ = Nonsense
    v2.emulator.body = {"code": "201", "data": data}  # type: ignore[attr-defined]
    assert v2.gateway.create_payment(payment()).outcome == "unknown"


def test_a_web_page_with_404_is_not_taken_for_nothing_found(v2: V2Harness) -> None:
    gateway = v2.build(v2.server.url, api_base=f"{v2.server.url}/wrong")
    assert gateway.query_payment(Reference("x")).outcome == "rejected"
    assert v2.gateway.query_payment(Reference("x")).outcome == "not_found"


def test_a_check_that_names_the_payer_is_believed_and_one_that_does_not_names_none(
    v2: V2Harness,
) -> None:
    v2.gateway.create_payment(payment())
    v2.emulator.checkout.pay(payment().our_reference)
    found = v2.gateway.query_payment(Reference(payment().our_reference))
    assert (found.outcome, found.payer) == ("succeeded", None)
    assert found.provider_data.keys() == {"payment_method", "operator_id"}
    assert not v2.gateway.capabilities.reports_payer
    data = {"status": "ACCEPTED", "amount": "100", "currency": "XOF",
            "phone_number": "0708091011", "phone_prefix": "225"}  # fmt: skip
    v2.emulator.__class__ = Nonsense
    v2.emulator.body = {"code": "00", "data": data}  # type: ignore[attr-defined]
    found = v2.gateway.query_payment(Reference("x"))
    assert found.payer == Destination("msisdn", "+2250708091011", "", "CI")
    assert "0708091011" not in json.dumps(found.exchange)


def test_ping_tells_a_wrong_key(v2: V2Harness) -> None:
    assert v2.gateway.ping().ok
    assert not v2.build(v2.server.url, apikey="env:KEY").ping().ok
    assert not v2.build(v2.server.url, site_id="1").ping().ok
