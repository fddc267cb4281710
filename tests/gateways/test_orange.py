"""Orange's adapter beyond the contract: states, tokens, secrets, amounts, nonsense."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payctl.errors import InvalidInput, NotConfigured
from payctl.gateways.base import Destination, Outcome, PaymentRequest, PayoutRequest, Reference
from payctl.gateways.orange import OrangeGateway
from payctl.gateways.orange_answers import amount_number, minor_of
from payctl.gateways.orange_data import STATUSES, WEBPAY_COUNTRIES
from payctl.gateways.registry import build
from payctl.money import EXPONENTS
from payctl.testing.emulators import orange
from tests.gateways.orange_harness import SECRETS, SETTINGS, OrangeHarness

pytestmark = pytest.mark.gateways


@pytest.fixture(params=["webpay", "cameroon", "sonatel"])
def harness(request: pytest.FixtureRequest) -> Iterator[OrangeHarness]:
    harness = OrangeHarness(request.param)
    yield harness
    harness.close()


@pytest.fixture
def webpay() -> Iterator[OrangeHarness]:
    harness = OrangeHarness("webpay")
    yield harness
    harness.close()


@pytest.fixture
def cameroon() -> Iterator[OrangeHarness]:
    harness = OrangeHarness("cameroon")
    yield harness
    harness.close()


def asked(harness: OrangeHarness, number: int = 1, scenario: str = "success") -> PaymentRequest:
    currency = next(iter(harness.gateway.capabilities.currencies or ()))
    fields = harness.fields(scenario)
    return PaymentRequest(
        harness.new_reference(number), f"key{number}", 2500, currency, "mobile_money", **fields
    )


def about(request: PaymentRequest, answer: Any) -> Reference:
    return Reference(
        request.our_reference, answer.provider_reference, request.amount_minor, request.currency,
        datetime.now(UTC), answer.provider_data,
    )  # fmt: skip


def test_tokens_are_got_once_and_renewed_once_when_refused(harness: OrangeHarness) -> None:
    gateway = harness.gateway
    gateway.create_payment(asked(harness, 1))
    gateway.create_payment(asked(harness, 2))
    tokens = [each for each in harness.emulator.requests if "token" in each.path]
    assert len(tokens) == 1
    harness.emulator.fault("expire_token")
    assert gateway.create_payment(asked(harness, 3)).outcome in ("requires_action", "succeeded")
    tokens = [each for each in harness.emulator.requests if "token" in each.path]
    assert len(tokens) == 2


def test_no_record_shows_a_pin_a_token_or_a_key(harness: OrangeHarness) -> None:
    gateway, request = harness.gateway, asked(harness)
    answers = [gateway.create_payment(request)]
    answers.append(gateway.query_payment(about(request, answers[0])))
    if gateway.capabilities.payouts:
        payout = PayoutRequest(
            harness.new_reference(9), "k", 500, request.currency, harness.destination("success")
        )
        answers.append(gateway.create_payout(payout))
    held = [value for key, value in SECRETS.items() if key != "env:ID"]
    held += [
        *harness.emulator.tokens,
        *(answers[0].provider_data.get(name) for name in ("pay_token", "notif_token")),
    ]
    kept = json.dumps([[each.exchange, each.message] for each in answers], default=str)
    for hidden in filter(None, held):
        assert hidden not in kept, hidden


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("INITIATED", "requires_action"), ("PENDING", "pending"), ("SUCCESS", "succeeded"),
     ("FAILED", "declined"), ("EXPIRED", "expired"), ("A_STATE_OF_TOMORROW", "pending")],
)  # fmt: skip
def test_each_state_of_a_page(webpay: OrangeHarness, status: str, outcome: str) -> None:
    request = asked(webpay)
    first = webpay.gateway.create_payment(request)
    [order] = webpay.emulator.orders.values()
    order.status = status
    assert webpay.gateway.query_payment(about(request, first)).outcome == outcome


def test_a_page_is_asked_for_with_its_amount_and_token(webpay: OrangeHarness) -> None:
    request = asked(webpay)
    first = webpay.gateway.create_payment(request)
    webpay.emulator.pay(request.our_reference)
    known = about(request, first)
    assert webpay.gateway.query_payment(known).outcome == "succeeded"
    other = webpay.gateway.query_payment(replace(known, amount_minor=2600))
    assert other.outcome is Outcome.REJECTED
    lost = webpay.gateway.query_payment(replace(known, provider_data={}))
    assert lost.outcome is Outcome.NOT_FOUND


def test_a_push_that_was_lost_is_asked_for_by_its_token(cameroon: OrangeHarness) -> None:
    request = asked(cameroon, scenario="lost_answer")
    lost = cameroon.gateway.create_payment(request)
    assert (lost.outcome, bool(lost.provider_reference)) == (Outcome.UNKNOWN, True)
    assert cameroon.gateway.query_payment(about(request, lost)).outcome is Outcome.SUCCEEDED


def test_an_operation_that_could_not_be_begun_was_not_sent(cameroon: OrangeHarness) -> None:
    request = asked(cameroon)
    for fault in ("503", "drop", "html"):
        cameroon.emulator.fault(fault, "payment.init")
        assert cameroon.gateway.create_payment(request).outcome is Outcome.NOT_SENT, fault
    assert cameroon.emulator.moved("payment", "XAF") == 0


@pytest.mark.parametrize(
    ("phone", "code"),
    [(None, "phone_missing"), ("+22507080910", "phone_old_plan"),
     ("+2250708091011", "phone_of_another_country"), ("12", "phone_wrong_length"),
     ("+23769x", "phone_unreadable")],
)  # fmt: skip
def test_a_number_is_looked_at_before_it_is_sent(
    cameroon: OrangeHarness, phone: str | None, code: str
) -> None:
    answer = cameroon.gateway.create_payment(replace(asked(cameroon), phone=phone))
    assert answer.outcome is Outcome.REJECTED
    assert answer.code in (code, "phone_unknown_country")
    assert not [each for each in cameroon.emulator.requests if each.path.endswith("/pay")]


def test_sonatel_s_pin_goes_out_encrypted_and_its_key_is_asked_for_first() -> None:
    harness = OrangeHarness("sonatel")
    request = PayoutRequest(
        harness.new_reference(1), "k", 500, "XOF", Destination("msisdn", "+221771000077")
    )
    harness.emulator.fault("503", "keys")
    assert harness.gateway.create_payout(request).outcome is Outcome.NOT_SENT
    assert harness.gateway.create_payout(request).outcome is Outcome.SUCCEEDED
    [sent] = [each for each in harness.emulator.requests if each.path.endswith("cashins")]
    assert orange.PIN.encode() not in sent.body
    harness.close()


def test_sonatel_s_code_ends_when_nothing_is_listed_in_its_time() -> None:
    harness = OrangeHarness("sonatel")
    request = asked(harness)
    first = harness.gateway.create_payment(request)
    known = about(request, first)
    assert harness.gateway.query_payment(known).outcome is Outcome.REQUIRES_ACTION
    old = replace(known, created_at=datetime.now(UTC) - timedelta(minutes=31))
    assert harness.gateway.query_payment(old).outcome is Outcome.EXPIRED
    harness.emulator.pay(request.our_reference)
    late = harness.gateway.query_payment(old)
    assert (late.outcome, late.amount_minor) == (Outcome.SUCCEEDED, 2500)
    harness.close()


def test_a_notification_that_is_none_is_refused(harness: OrangeHarness) -> None:
    for body in (b"", b"[]", b"{}", b'{"status": 1}', b"\xff", b"null"):
        with pytest.raises(InvalidInput):
            harness.gateway.parse_event(body, {})


def test_every_country_has_a_currency_we_know_and_whole_units() -> None:
    for currency in WEBPAY_COUNTRIES.values():
        whole = 10 ** EXPONENTS[currency]
        assert amount_number(25 * whole, currency) == 25
        assert minor_of("25.00", currency) == minor_of(25, currency) == 25 * whole
    for text in ("25.5", "-1", "", "1e3", "x"):
        with pytest.raises(ValueError, match="amount"):
            minor_of(text, "XAF")
    assert STATUSES["SUCCESSFULL"] is Outcome.SUCCEEDED  # as Cameroon spells it


def test_a_missing_setting_is_named() -> None:
    for api, given in SETTINGS.items():
        for key in given:
            if key in ("environment", "country", "limits", "payout_limits", "channel_msisdn"):
                continue
            rest = {name: value for name, value in given.items() if name != key}
            if api == "sonatel" and key == "pin":
                continue
            with pytest.raises(NotConfigured) as caught:
                build("orange", "om", {"api": api, **rest}, SECRETS.__getitem__)
            assert caught.value.field == key
    with pytest.raises(NotConfigured) as caught:
        build("orange", "om", {"api": "burkina"}, SECRETS.__getitem__)
    assert caught.value.code == "gateway.bad_setting"


def test_a_sandbox_is_no_live_account() -> None:
    def live(environment: str) -> bool:
        given = {"api": "webpay", **SETTINGS["webpay"], "environment": environment}
        gateway = build("orange", "om", given, SECRETS.__getitem__)
        assert isinstance(gateway, OrangeGateway)
        return gateway.live

    assert (live("sandbox"), live("live")) == (False, True)


# -- Sonatel's list ----------------------------------------------------------------------------


@pytest.fixture
def sonatel() -> Iterator[OrangeHarness]:
    harness = OrangeHarness("sonatel")
    yield harness
    harness.close()


def listed(harness: OrangeHarness, monkeypatch: pytest.MonkeyPatch, *items: dict[str, Any]) -> None:
    """What Sonatel's list answers from now on, whatever it is asked."""
    monkeypatch.setattr(harness.emulator, "_listed", lambda query: list(items))


def row(order: str, status: str, number: str = "MP1", **more: Any) -> dict[str, Any]:
    made = {"transactionId": number, "status": status, "amount": {"unit": "XOF", "value": 2500},
            "metadata": {"order": order},
            "customer": {"idType": "MSISDN", "id": "771000001"}}  # fmt: skip
    return made | more


@pytest.mark.parametrize(
    ("minutes", "tries", "outcome"),
    [(1, ["FAILED"], "requires_action"), (1, ["FAILED", "SUCCESS"], "succeeded"),
     (1, ["CANCELLED", "PENDING"], "pending"), (31, ["FAILED", "SUCCESS"], "succeeded"),
     (31, ["FAILED"], "declined"), (31, ["FAILED", "PENDING"], "pending"), (31, [], "expired")],
)  # fmt: skip
def test_a_try_that_failed_decides_nothing_beside_one_that_paid(
    sonatel: OrangeHarness, monkeypatch: pytest.MonkeyPatch, minutes: int, tries: list[str],
    outcome: str,
) -> None:  # fmt: skip
    request = asked(sonatel)
    first = sonatel.gateway.create_payment(request)
    made = datetime.now(UTC) - timedelta(minutes=minutes)
    others = [row("another", "SUCCESS"), {"metadata": {"order": "another"}}]
    rows = [row(request.our_reference, each, f"MP{n}") for n, each in enumerate(tries)]
    listed(sonatel, monkeypatch, *others, *rows)
    known = replace(about(request, first), created_at=made)
    assert sonatel.gateway.query_payment(known).outcome == outcome


def test_our_own_transaction_that_cannot_be_read_decides_nothing(
    sonatel: OrangeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(sonatel)
    first = sonatel.gateway.create_payment(request)
    old = replace(about(request, first), created_at=datetime.now(UTC) - timedelta(hours=1))
    broken = row(request.our_reference, "SUCCESS", amount={"unit": "XOF", "value": "x"})
    listed(sonatel, monkeypatch, row(request.our_reference, "FAILED"), broken)
    assert sonatel.gateway.query_payment(old).outcome is Outcome.UNKNOWN
    listed(sonatel, monkeypatch, {"status": "SUCCESS"})
    assert sonatel.gateway.query_payment(old).outcome is Outcome.UNKNOWN
    *_rest, last = sonatel.gateway.list_payments(old.created_at, datetime.now(UTC))  # type: ignore[arg-type]
    assert (last.provider_reference, last.our_reference) == (None, None)


def test_somebody_else_s_cash_in_is_not_ours(
    sonatel: OrangeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Reference("ref-1")
    for items, outcome in (
        ([row("", "SUCCESS", reference="ref-2")], "not_found"),
        ([row("", "SUCCESS", reference="ref-2"), row("", "FAILED", reference="ref-1")],
         "declined"),
        ([row("", "SUCCESS", reference="ref-2")] * 100, "unknown"),
        ([row("", "SUCCESS")], "unknown"),
        ([], "not_found"),
    ):  # fmt: skip
        listed(sonatel, monkeypatch, *items)
        assert sonatel.gateway.query_payout(ours).outcome == outcome, items[:2]
    assert sonatel.gateway.query_payout(Reference(None, "MP1")).outcome is Outcome.REJECTED


def test_a_question_keeps_to_its_deadline_however_long_the_list(
    sonatel: OrangeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(sonatel)
    first = sonatel.gateway.create_payment(request)
    pages: list[float] = []

    def page(query: Any) -> list[dict[str, Any]]:
        pages.append(1)
        sonatel.emulator.fault("slow:0.12", "transactions")
        return [row("another", "SUCCESS")] * 100

    monkeypatch.setattr(sonatel.emulator, "_listed", page)
    answer = sonatel.gateway.query_payment(replace(about(request, first), deadline_s=0.4))
    assert answer.outcome is Outcome.UNKNOWN and len(pages) < 8


def test_a_payer_who_is_no_number_is_nobody(
    sonatel: OrangeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(sonatel)
    first = sonatel.gateway.create_payment(request)
    code = {"customer": {"idType": "CODE", "id": "412345"}}
    listed(sonatel, monkeypatch, row(request.our_reference, "SUCCESS", **code))
    assert sonatel.gateway.query_payment(about(request, first)).payer is None
    listed(sonatel, monkeypatch, row(request.our_reference, "SUCCESS"))
    assert sonatel.gateway.query_payment(about(request, first)).payer == Destination(
        "msisdn", "+221771000001", country="SN"
    )


@pytest.mark.parametrize("key", ["", "AAAA", "bm8ga2V5", "#"])
def test_a_key_that_is_none_sends_nothing(
    sonatel: OrangeHarness, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setitem(sonatel.emulator.__dict__, "_public", key)
    request = PayoutRequest(
        sonatel.new_reference(1), "k", 500, "XOF", Destination("msisdn", "+221771000077")
    )
    assert sonatel.gateway.create_payout(request).outcome is Outcome.NOT_SENT


def test_a_reason_that_comes_with_a_server_s_error_proves_nothing(
    sonatel: OrangeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = PayoutRequest(
        sonatel.new_reference(1), "k", 500, "XOF", Destination("msisdn", "+221771000077")
    )
    for status, outcome in ((500, "unknown"), (400, "declined")):
        said = orange.Response(status, {"code": "2020", "detail": "refused"})
        monkeypatch.setattr(sonatel.emulator, "_cash_in", lambda *_a, said=said: said)
        assert sonatel.gateway.create_payout(request).outcome == outcome


# -- Cameroon's answers --------------------------------------------------------------------------


def test_cameroon_s_answers_that_are_none(
    cameroon: OrangeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, plain = asked(cameroon), cameroon.emulator._cameroon
    for data in ("MP1", ["MP1"], 5):
        said = orange.Response(200, {"message": "ok", "data": data})
        monkeypatch.setattr(cameroon.emulator, "_cameroon", lambda *_a, said=said: said)
        assert cameroon.gateway.create_payment(request).outcome is Outcome.NOT_SENT
    lost = orange.Response(404, "<html>not here</html>")
    monkeypatch.setattr(cameroon.emulator, "_cameroon", lambda *_a: lost)
    assert cameroon.gateway.query_payment(Reference("r", "MP1")).outcome is Outcome.UNKNOWN
    monkeypatch.setattr(cameroon.emulator, "_cameroon", plain)
    assert cameroon.gateway.query_payment(Reference("r", "MP1")).outcome is Outcome.NOT_FOUND


def test_a_push_that_exists_can_be_asked_about(
    cameroon: OrangeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = orange.Response(409, {"message": "exists"})
    monkeypatch.setattr(cameroon.emulator, "_push", lambda *_a: there)
    answer = cameroon.gateway.create_payment(asked(cameroon))
    assert (answer.outcome, bool(answer.provider_reference)) == (Outcome.EXISTS, True)


def test_a_payout_made_another_way_before_is_found(
    cameroon: OrangeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = PayoutRequest(
        cameroon.new_reference(1), "k", 500, "XAF", cameroon.destination("success")
    )
    made = cameroon.gateway.create_payout(request)
    plain = cameroon.emulator._cameroon

    def by_way(request: Any, operation: str, step: str, *rest: Any) -> Any:
        if step == "paymentstatus" and operation != "cashin":
            return orange.Response(404, {"message": "payToken not found", "data": None})
        return plain(request, operation, step, *rest)

    monkeypatch.setattr(cameroon.emulator, "_cameroon", by_way)
    found = cameroon.gateway.query_payout(Reference("r", made.provider_reference))
    assert found.outcome is Outcome.SUCCEEDED
    assert cameroon.gateway.query_payout(Reference("r", "MP0")).outcome is Outcome.NOT_FOUND
