"""CinetPay's new API: recorded shapes against the adapter, and the emulator's held against them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from payctl.clock import SystemClock
from payctl.errors import InvalidInput, NotConfigured, NotSent
from payctl.gateways.base import Destination, Fee, Reference
from payctl.gateways.cinetpay_terms import Site, payout_method
from payctl.gateways.cinetpay_v1 import LIVE_URL, SANDBOX_URL, V1
from payctl.gateways.http import Http
from payctl.gateways.numbering import Number, read
from payctl.gateways.registry import build
from payctl.gateways.tokens import MemoryTokens
from payctl.testing.emulators.cinetpay import V1_KEY
from payctl.testing.emulators.cinetpay_v1 import NUMBERS
from payctl.testing.emulators.core import Emulator, Request, Response
from payctl.testing.emulators.server import EmulatorServer
from tests.gateways.cinetpay_harness import (
    BACK,
    KNOWN,
    NOTIFY,
    V1Harness,
    payment,
    payout,
    v1_settings,
)
from tests.gateways.harnesses import FIXTURES

pytestmark = pytest.mark.gateways
SHAPES = json.loads((FIXTURES / "cinetpay" / "v1.json").read_text())


class Recorded(Emulator):
    """Answers one recorded body after the other."""

    name = "recorded"

    def __init__(self, *bodies: Any) -> None:
        super().__init__()
        self.bodies = list(bodies)

    def operation(self, request: Request) -> str:
        return "any"

    def handle(self, request: Request, fault: str | None) -> Response:
        return Response(200, self.bodies.pop(0))

    def problem(self, status: int) -> Response:
        return Response(status)

    def state(self) -> Mapping[str, Any]:
        return {}

    def calls(self) -> list[tuple[str, str, str]]:
        return [(r.method, r.path, r.headers.get("authorization", "")) for r in self.requests]


def recorded(*names: str | dict[str, Any]) -> tuple[Recorded, EmulatorServer, Any]:
    """A gateway before recorded answers, by their names or as they are."""
    emulator = Recorded(*(SHAPES[each] if isinstance(each, str) else each for each in names))
    server = EmulatorServer(emulator).start()
    gateway = build("cinetpay", "cp", v1_settings(server.url), KNOWN.__getitem__)
    return emulator, server, gateway


@pytest.fixture
def v1() -> Iterator[V1Harness]:
    harness = V1Harness()
    yield harness
    harness.close()


# --- recorded ----------------------------------------------------------------------------------


def test_a_payment_with_a_page() -> None:
    emulator, server, gateway = recorded("login", "redirect")
    answer = gateway.create_payment(payment(payment_token="OM", phone="+2250707070700"))
    assert answer.outcome == "requires_action"
    assert answer.next_action.url == "https://pay.example/pt-1"
    assert answer.provider_data == {"payment_token": "pt-1", "notify_token": "nt-1"}
    assert emulator.calls() == [
        ("POST", "/v1/oauth/login", ""), ("POST", "/v1/payment", "Bearer jwt-1"),
    ]  # fmt: skip
    body = emulator.requests[1].json()
    assert (body["payment_method"], body["amount"], body["direct_pay"]) == ("OM", 2500, False)
    kept = json.dumps(answer.exchange)
    assert "nt-1" not in kept and "2250707070700" not in kept
    server.close()


def test_a_failure_at_once_is_confirmed_by_a_question() -> None:
    emulator, server, gateway = recorded(
        "login", "failed_at_once", {"code": 2010, "status": "FAILED", "transaction_id": "tx-1"}
    )
    answer = gateway.create_payment(payment())
    assert (answer.outcome, answer.provider_reference) == ("pending", "tx-1")
    found = gateway.query_payment(Reference("REF", "tx-1"))
    assert (found.outcome, found.code) == ("declined", "unknown_reason")
    assert emulator.calls()[-1][:2] == ("GET", "/v1/payment/tx-1")
    server.close()


def test_an_expired_token_is_renewed_once_and_the_question_repeated() -> None:
    again = SHAPES["login"] | {"access_token": "jwt-2"}
    emulator, server, gateway = recorded("login", "expired", again, "paid")
    found = gateway.query_payment(Reference("REF"))
    assert (found.outcome, found.amount_minor, found.our_reference) == ("succeeded", None, "REF")
    assert found.payer == Destination("msisdn", "+2250707070700", "Awa Kone", "CI")
    assert emulator.calls() == [
        ("POST", "/v1/oauth/login", ""), ("GET", "/v1/payment/REF", "Bearer jwt-1"),
        ("POST", "/v1/oauth/login", ""), ("GET", "/v1/payment/REF", "Bearer jwt-2"),
    ]  # fmt: skip
    server.close()


def test_a_token_refused_twice_is_our_account_s_trouble() -> None:
    emulator, server, gateway = recorded("login", "expired", "login", "expired")
    found = gateway.query_payment(Reference("REF"))
    assert (found.outcome, found.reject, len(emulator.requests)) == ("rejected", "auth", 4)
    server.close()


def test_a_transfer_that_succeeds_tells_its_fee() -> None:
    emulator, server, gateway = recorded("login", "transferred")
    answer = gateway.create_payout(payout())
    assert (answer.outcome, answer.amount_minor) == ("succeeded", 5000)
    assert answer.fee == Fee(100, "XOF", "tx-2-fee")
    assert emulator.requests[1].json() | {"merchant_transaction_id": ""} == {
        "currency": "XOF", "payment_method": "OM_CI", "merchant_transaction_id": "",
        "amount": 5000, "phone_number": "+2250707080910", "reason": "Paiement",
        "notify_url": NOTIFY,
    }  # fmt: skip
    server.close()


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (SHAPES["balances"], [("XOF", 12345, 50)]),
        ({"code": 200, "status": "OK", "available_balance": "7"}, [("XOF", 7, 0)]),
        ({"code": 200, "data": [{"currency": "USD", "available_balance": "2.5"},
                                {"currency": "CDF", "available_balance": 1}]},
         [("USD", 250, 0), ("CDF", 100, 0)]),
        ({"code": 200, "status": "OK"}, None),
        ({"code": 200, "data": [1]}, None),
        ({"code": 200, "data": [{"currency": "EUR", "available_balance": 1}]}, None),
        ([], None),
    ],
)  # fmt: skip
def test_balances_come_in_more_than_one_shape(body: Any, lines: Any) -> None:
    _emulator, server, gateway = recorded("login", body)
    if lines is None:
        with pytest.raises(NotSent):
            gateway.balance()
    else:
        found = gateway.balance()
        assert [(e.currency, e.available_minor, e.pending_minor) for e in found] == lines
    server.close()


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"code": 100, "status": "REVERSED", "transaction_id": "tx"}, "unknown"),
        ({"code": 2010, "status": "SUCCESS", "transaction_id": "tx"}, "unknown"),
        ({"code": 7777, "status": "SUCCESS", "transaction_id": "tx"}, "unknown"),
        ({"status": "SUCCESS", "transaction_id": "tx"}, "unknown"),
        ({"code": 100, "status": "PENDING", "transaction_id": "tx"}, "pending"),
        ({"code": 7777, "status": "PENDING", "transaction_id": "tx"}, "pending"),
        ({"code": 7777, "status": "FAILED", "transaction_id": "tx"}, "declined"),
        ({"code": 100, "status": "SUCCESS"}, "unknown"), ({}, "unknown"), ([], "unknown"),
        ({"code": 2011, "status": "FAILED", "message": "This Ip is not withlisted"}, "rejected"),
    ],
)  # fmt: skip
def test_a_status_its_code_contradicts_is_never_a_success(body: Any, outcome: str) -> None:
    _emulator, server, gateway = recorded("login", body, "login", body)
    assert gateway.query_payment(Reference("REF", "tx")).outcome == outcome
    server.close()


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"code": 200, "status": "OK"}, "unknown"),
        (SHAPES["redirect"] | {"payment_url": ""}, "unknown"),
        (SHAPES["redirect"] | {"transaction_id": None}, "unknown"),
        ({"code": 2010, "status": "FAILED", "message": "Echec"}, "declined"),
        ({"code": 1004, "message": "This Ip is not withlisted"}, "rejected"),
    ],
)
def test_what_a_creation_may_answer_besides(body: Any, outcome: str) -> None:
    _emulator, server, gateway = recorded("login", body)
    answer = gateway.create_payment(payment())
    assert (answer.outcome, answer.next_action) == (outcome, None)
    assert answer.reject == ("auth" if outcome == "rejected" else None)
    server.close()


# --- the emulator, held against the recordings -------------------------------------------------


def test_the_emulator_s_answers_have_the_recorded_fields(v1: V1Harness) -> None:
    v1.gateway.create_payment(payment(phone="+2250707070700"))
    emulator, thing = v1.emulator, v1.emulator.v1.things[payment().our_reference]
    login = Request("POST", "/v1/oauth/login", {}, {}, json.dumps(
        {"api_key": V1_KEY, "api_password": KNOWN["env:PASSWORD"]}).encode())  # fmt: skip

    def body(request: Request) -> dict[str, Any]:
        response = emulator.handle(request, None)
        assert response.status == 200
        found: dict[str, Any] = response.body
        return found

    token = body(login)["access_token"]
    auth = {"authorization": f"Bearer {token}"}

    def post(path: str, what: dict[str, Any]) -> dict[str, Any]:
        return body(Request("POST", path, {}, auth, json.dumps(what).encode()))

    made = {
        "currency": "XOF", "merchant_transaction_id": "r2", "amount": 500, "notify_url": NOTIFY,
        "success_url": BACK, "failed_url": BACK, "client_first_name": "Awa",
        "client_last_name": "Kone", "client_phone_number": "+2250707070703",
    }  # fmt: skip
    paid_out = {**made, "payment_method": "OM_CI", "phone_number": "+2250707000001",
                "merchant_transaction_id": "r4"}  # fmt: skip
    emulator.v1.visit(thing.token)
    shown = {
        "login": body(login),
        "redirect": post("/v1/payment", made),
        "failed_at_once": post(
            "/v1/payment", {**made, "direct_pay": True, "merchant_transaction_id": "r3"}
        ),
        "paid": body(Request("GET", f"/v1/payment/{thing.token}", {}, auth, b"")),
        "transferred": post("/v1/transfer", paid_out),
        "balances": body(Request("GET", "/v1/balances", {}, auth, b"")),
    }
    for name, answer in shown.items():
        assert SHAPES[name].keys() <= answer.keys(), name
        assert (answer["code"], answer["status"]) == (
            SHAPES[name]["code"], SHAPES[name]["status"],
        )  # fmt: skip
    for name in ("redirect", "failed_at_once"):
        recorded_details, details = SHAPES[name]["details"], shown[name]["details"]
        assert details.keys() == recorded_details.keys()
        for key in ("code", "status", "must_be_redirected"):
            assert details[key] == recorded_details[key]


@pytest.mark.parametrize(("number", "path"), NUMBERS.items())
def test_the_sandbox_s_numbers(v1: V1Harness, number: str, path: tuple[str, ...]) -> None:
    wanted = {"SUCCESS": "succeeded", "PENDING": "pending", "FAILED": "declined"}
    request = payment(phone=number)
    made = v1.gateway.create_payment(request)
    about = Reference(request.our_reference, made.provider_reference)
    assert v1.gateway.query_payment(about).outcome == "requires_action"
    v1.emulator.v1.visit(v1.emulator.v1.things[request.our_reference].token)
    seen = []
    for _step in path:
        found = v1.gateway.query_payment(about)
        seen.append(found.outcome)
        assert found.payer and found.payer.value == number
        v1.emulator.v1.go(request.our_reference)
    assert seen == [wanted[status] for status in path]


def test_a_callback_s_token_is_the_one_that_was_given(v1: V1Harness) -> None:
    made = v1.gateway.create_payment(payment())
    v1.emulator.v1.visit(v1.emulator.v1.things[payment().our_reference].token)
    call = v1.emulator.deliveries[-1]
    event = v1.gateway.parse_event(call.body, call.headers)
    assert (event.object_kind, event.proof) == ("payment", "token")
    assert event.token == made.provider_data["notify_token"]
    assert event.token not in repr(event)
    v1.gateway.create_payout(payout(2))
    call = v1.emulator.deliveries[-1]
    assert v1.gateway.parse_event(call.body, call.headers).object_kind == "payout"
    for body in (b"[]", b"{", b'{"notify_token": "x"}', b'{"transaction_id": "x"}', b""):
        with pytest.raises(InvalidInput):
            v1.gateway.parse_event(body, {})


def test_a_day_s_token_ends_in_the_middle_of_a_run(v1: V1Harness) -> None:
    v1.gateway.create_payment(payment(1))
    v1.emulator.v1.forget_tokens()
    assert v1.gateway.create_payment(payment(2)).outcome == "requires_action"
    assert len(v1.came_in("/v1/oauth/login")) == 2
    assert len(v1.emulator.v1.things) == 2


def test_wrong_credentials_come_with_200_and_are_told(v1: V1Harness) -> None:
    gateway = v1.build(v1.server.url, api_password="env:APIKEY")
    answer = gateway.create_payment(payment())
    assert (answer.outcome, answer.reject) == ("rejected", "auth")
    assert not gateway.ping().ok
    with pytest.raises(NotConfigured) as caught:
        gateway.balance()
    assert caught.value.code == "gateway.refused_credentials"
    assert v1.emulator.v1.things == {}


def test_a_return_address_cinetpay_would_refuse_never_leaves(v1: V1Harness) -> None:
    before = v1.exchanges()
    answer = v1.gateway.create_payment(payment(return_url="https://shop.example/" + 100 * "x"))
    assert (answer.outcome, answer.code, v1.exchanges()) == (
        "rejected", "address_too_long", before,
    )  # fmt: skip


def test_below_an_operator_s_minimum_there_is_only_a_failure(v1: V1Harness) -> None:
    gateway = v1.build(v1.server.url, limits={"XOF": [5, 1000]})
    answer = gateway.create_payment(payment(amount_minor=50))
    assert (answer.outcome, answer.provider_code) == ("declined", "2010")


@pytest.mark.parametrize(
    ("text", "method"),
    [("+2250708091011", "OM_CI"), ("+2250508091011", "MTN_CI"), ("+2250108091011", "MOOV_CI"),
     ("+237670123456", "MTN_CM"), ("+221771234567", "OM_SN"), ("+221701234567", "EXPRESSO_SN"),
     ("+243811234567", "MPESA_CD"), ("+243971234567", "AIRTEL_CD"), ("+243841234567", "OM_CD"),
     ("+243901234567", "AFRICELL_CD"), ("+22890123456", "TMONEY_TG"), ("+22879123456", "MOOV_TG"),
     ("+22994123456", None)],
)  # fmt: skip
def test_the_operator_of_a_transfer_is_told_by_the_number(text: str, method: str | None) -> None:
    site = Site("cp", "fr", NOTIFY, BACK, frozenset(), "XOF")
    number = read(text)
    found = payout_method(number, site) if isinstance(number, Number) else None
    assert found == method


def test_an_account_s_own_name_of_an_operator_goes_before() -> None:
    gateway = V1Harness(payout_methods={"orange": "WAVE_CI"})
    assert gateway.gateway.create_payout(payout()).outcome in ("pending", "succeeded")
    assert gateway.came_in("/v1/transfer")[0].json()["payment_method"] == "WAVE_CI"
    gateway.close()


@pytest.mark.parametrize(
    ("key", "url", "live"),
    [("sk_test_x", SANDBOX_URL, False), ("sk_live_x", LIVE_URL, True), ("other", LIVE_URL, True)],
)
def test_the_key_tells_the_host_and_whether_money_is_real(key: str, url: str, live: bool) -> None:
    clock = SystemClock()
    site = Site("cp", "fr", NOTIFY, BACK, frozenset({"CI"}), "XOF")
    api = V1(site, Http(clock), clock, base_url=None, api_key=lambda: key,
             api_password=lambda: "p", store=MemoryTokens())  # fmt: skip
    assert (api.live, api._rest._base_url) == (live, url)
