"""CinetPay's transfers: contacts, tokens, floats, and what each failure leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from payctl.errors import NotConfigured, NotSent
from payctl.gateways.base import Destination, Reference
from tests.gateways.cinetpay_harness import PAYEE, V2Harness, payout

pytestmark = pytest.mark.gateways


@pytest.fixture
def v2() -> Iterator[V2Harness]:
    harness = V2Harness(currencies=["XOF", "XAF"], balance_currency="XOF")
    yield harness
    harness.close()


def test_a_payee_becomes_a_contact_once(v2: V2Harness) -> None:
    for number in (1, 2):
        assert v2.gateway.create_payout(payout(number)).outcome == "pending"
    assert v2.emulator.transfers.contacts == {("225", "0707080910")}
    item = json.loads(v2.came_in("/v1/transfer/contact")[0].form()["data"])[0]
    assert (item["name"], item["surname"]) == ("Kone", "Awa")
    nameless = replace(PAYEE, value="+22670123456", name="", country="BF")
    assert v2.gateway.create_payout(payout(3, destination=nameless)).outcome == "pending"


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [("503", "not_sent"), ("drop_after", "not_sent"), ("html_after", "not_sent"),
     ("code:715", "not_sent"), ("code:716", "rejected"), ("code:802", "declined"),
     ("429", "rejected")],
)  # fmt: skip
def test_when_the_contact_fails_no_transfer_has_left(
    v2: V2Harness, fault: str, outcome: str
) -> None:
    v2.emulator.fault(fault, "transfer.contact")
    assert v2.gateway.create_payout(payout()).outcome == outcome
    assert v2.came_in("/v1/transfer/money/send/contact") == []
    assert v2.gateway.create_payout(payout()).outcome == "pending"


@pytest.mark.parametrize(
    ("value", "code"),
    [("+22507080910", "phone_old_plan"), ("+33612345678", "phone_unknown_country"),
     ("+225070708", "phone_wrong_length"), ("awa", "phone_unreadable"),
     ("+237670123456", "currency_not_supported"), ("+261321234567", "country_not_supported")],
)  # fmt: skip
def test_a_number_that_cannot_be_right_is_refused_before_any_exchange(
    v2: V2Harness, value: str, code: str
) -> None:
    answer = v2.gateway.create_payout(payout(destination=Destination("msisdn", value)))
    assert (answer.outcome, answer.code, v2.emulator.requests) == ("rejected", code, [])


def test_a_transfer_in_another_currency_than_the_account_s_never_leaves(v2: V2Harness) -> None:
    cameroon = Destination("msisdn", "+237670123456")
    answer = v2.gateway.create_payout(payout(currency="XAF", destination=cameroon))
    assert (answer.outcome, answer.code) == ("rejected", "currency_not_supported")
    assert v2.gateway.capabilities.payout_limits.keys() == {"XOF"}
    assert v2.emulator.requests == []


def test_the_same_transfer_again_exists_and_pays_once(v2: V2Harness) -> None:
    v2.emulator.fault("drop_after", "transfer.send")
    assert v2.gateway.create_payout(payout()).outcome == "unknown"
    assert v2.gateway.create_payout(payout()).outcome == "exists"
    v2.emulator.transfers.settle(payout().our_reference)
    found = v2.gateway.query_payout(Reference(payout().our_reference, currency="XOF"))
    assert (found.outcome, v2.emulator.transfers.paid_out()) == ("succeeded", 5000)


def test_a_token_that_ends_is_renewed_once_and_is_in_no_record(v2: V2Harness) -> None:
    assert v2.gateway.create_payout(payout(1)).outcome == "pending"
    v2.emulator.transfers.forget_tokens()
    answer = v2.gateway.create_payout(payout(2))
    assert answer.outcome == "pending"
    assert len(v2.came_in("/v1/auth/login")) == 2
    assert len(v2.emulator.transfers.transfers) == 2
    kept = json.dumps(answer.exchange)
    assert "emulatedtoken" not in kept and answer.exchange["query"]["token"] == "[redacted]"
    assert "0707080910" not in kept


def test_wrong_transfer_credentials_come_with_200_and_are_told(v2: V2Harness) -> None:
    gateway = v2.build(v2.server.url, api_password="env:SECRET")
    for status in (200, 400):
        v2.emulator.error_status = status
        answer = gateway.create_payout(payout())
        assert (answer.outcome, answer.reject) == ("rejected", "auth")
        with pytest.raises(NotConfigured) as caught:
            gateway.balance()
        assert caught.value.code == "gateway.refused_credentials"
    assert v2.emulator.transfers.transfers == {}


def test_a_transfer_that_waits_for_a_mail_says_so(v2: V2Harness) -> None:
    v2.emulator.transfers.knows_server = False
    v2.gateway.create_payout(payout())
    found = v2.gateway.query_payout(Reference(payout().our_reference, currency="XOF"))
    assert found.outcome == "pending" and found.message
    assert "confirmed by mail" in found.message


def test_an_empty_float_is_a_decline_and_the_balance_says_why(v2: V2Harness) -> None:
    v2.emulator.transfers.float_units = 6000
    assert v2.gateway.create_payout(payout(1)).outcome == "pending"
    [line] = v2.gateway.balance()
    assert (line.available_minor, line.pending_minor) == (1000, 5000)
    empty = v2.gateway.create_payout(payout(2))
    assert (empty.outcome, empty.code) == ("declined", "insufficient_funds")


@pytest.mark.parametrize("fault", ["503", "html_after", "code:715", "drop"])
def test_a_balance_that_cannot_be_read_is_none(v2: V2Harness, fault: str) -> None:
    v2.emulator.fault(fault, "transfer.balance")
    with pytest.raises(NotSent) as caught:
        v2.gateway.balance()
    assert caught.value.code == "gateway.unreachable"
