"""What MTN's replies and callbacks prove, whatever their shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from payctl.errors import InvalidInput
from payctl.gateways import base, exchange
from payctl.gateways.base import Reference
from payctl.gateways.registry import build
from payctl.testing.emulators.core import Response
from tests.gateways.momo_harness import PAYS, SECRETS, MomoHarness, Said, settings

pytestmark = pytest.mark.gateways

# --- nonsense ------------------------------------------------------------------------------------

STATUS = {"amount": "25", "currency": "EUR", "externalId": "x", "status": "SUCCESSFUL"}


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"status": "A_STATUS_OF_TOMORROW"}, "pending"),
        ({"status": "REJECTED"}, "pending"),
        ({"status": "TIMEOUT"}, "pending"),
        ({"status": None}, "pending"),
        ({"status": "FAILED", "reason": "A_REASON_OF_TOMORROW"}, "declined"),
        ({"status": "FAILED", "reason": {"code": "EXPIRED", "message": "x"}}, "expired"),
        ({"status": "FAILED", "reason": {}}, "declined"),
        ({"status": "FAILED"}, "declined"),
        ({"amount": None}, "unknown"),
        ({"amount": "1e3"}, "unknown"),
        ({"amount": "25.005"}, "unknown"),
        ({"currency": "ZZZ"}, "unknown"),
        ({"payer": "somebody"}, "succeeded"),
        ({"payer": {"partyId": "not a number"}}, "succeeded"),
        ({"financialTransactionId": 23503452}, "succeeded"),
    ],
)
def test_a_status_of_another_shape_is_never_a_failure(
    momo: MomoHarness, change: Mapping[str, Any], outcome: str
) -> None:
    with Said(momo, Response(200, {**STATUS, **change})):
        found = momo.gateway.query_payment(Reference("x"))
    assert found.outcome == outcome
    assert found.payer is None
    if outcome == "declined":
        assert found.code == "unknown_reason"


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (Response(200, "<html>ok</html>"), "unknown"),
        (Response(200, '{"status": "SUCC'), "unknown"),
        (Response(200), "unknown"),
        (Response(200, [1]), "unknown"),
        (Response(204), "unknown"),
        (Response(404, {"code": "RESOURCE_NOT_FOUND", "message": "x"}), "not_found"),
        # A wall, a proxy or a wrong address: nothing is proven about the payment.
        (Response(404, {"statusCode": 404, "message": "Resource not found"}), "unknown"),
        (Response(404, "<html>404</html>"), "unknown"),
        (Response(404), "unknown"),
        (Response(500, {"code": "NOT_ALLOWED_TARGET_ENVIRONMENT"}), "rejected"),
        (Response(500, {"code": "A_CODE_OF_TOMORROW"}), "unknown"),
        (Response(500, {"code": ["NOT_ALLOWED"]}), "unknown"),
        (Response(302, "", {"Location": "https://example.com"}), "unknown"),
    ],
)
def test_only_what_mtn_itself_says_proves_anything(
    momo: MomoHarness, response: Response, outcome: str
) -> None:
    with Said(momo, response):
        assert momo.gateway.query_payment(Reference("x")).outcome == outcome
        assert momo.gateway.query_refund(Reference("x")).outcome == outcome


@pytest.mark.parametrize(
    ("response", "outcome", "reject", "code"),
    [
        (Response(200), "unknown", None, None),
        (Response(201, {}), "unknown", None, None),
        (Response(404, {"code": "RESOURCE_NOT_FOUND"}), "rejected", "validation", None),
        (Response(500, {"code": "INTERNAL_PROCESSING_ERROR"}), "unknown", None, None),
        (Response(503, {"code": "SERVICE_UNAVAILABLE"}), "unknown", None, None),
        (Response(500, {"code": "NOT_ALLOWED"}), "rejected", "auth", "bad_configuration"),
        (Response(500, {"code": "INVALID_CALLBACK_URL_HOST"}), "rejected", "auth",
         "bad_configuration"),
        (Response(500, {"code": "INVALID_CURRENCY"}), "rejected", "validation",
         "currency_not_supported"),
        (Response(403, {"code": "FORBIDDEN_IP"}), "rejected", "auth", None),
        (Response(401, {"statusCode": 401, "message": "Access denied due to invalid key"}),
         "rejected", "auth", None),
    ],
)  # fmt: skip
def test_what_a_request_is_answered_proves(
    momo: MomoHarness, response: Response, outcome: str, reject: str | None, code: str | None
) -> None:
    # The token is there already; only a 401 makes the adapter ask for one, and be refused again.
    momo.gateway.ping()
    with Said(momo, response):
        answer = momo.gateway.create_payment(momo.payment())
    momo.emulator.access.expire()
    assert (answer.outcome, answer.reject) == (outcome, reject)
    assert code is None or answer.code == code
    if isinstance(response.body, dict) and "message" in response.body:
        assert answer.message == response.body["message"] or response.status == 401


def test_a_token_that_ends_in_the_middle_of_a_run_is_renewed(momo: MomoHarness) -> None:
    momo.emulator.fault("expire_token", "payment.create")
    request = momo.payment()
    assert momo.gateway.create_payment(request).outcome == "requires_action"
    assert momo.taken("EUR") == 2500
    momo.emulator.advance(3600)
    assert momo.gateway.query_payment(Reference(request.our_reference)).outcome == "succeeded"


def test_a_number_that_mtn_repeats_is_masked_in_what_is_kept(momo: MomoHarness) -> None:
    spoken = {"code": "BAD_REQUEST", "message": f"payer {PAYS} unknown", "msisdn": 46733000001}
    with Said(momo, Response(400, spoken)):
        answer = momo.gateway.create_payment(momo.payment())
    kept = json.dumps([answer.message, answer.exchange])
    assert PAYS[1:] not in kept and "46 73 ** ** 01" in kept


@pytest.mark.parametrize(
    "text",
    ["https://h/v1_0/accountholder/msisdn/2250504030201/active", '{"partyId": 2250504030201}',
     '{"partyId":"2250504030201"}'],
)  # fmt: skip
def test_a_number_without_sign_is_masked_by_where_it_stands(text: str) -> None:
    assert "2250504030201" not in exchange.text(text)
    assert "22 ** ** 01" in exchange.text(text)


# --- callbacks -----------------------------------------------------------------------------------


def test_a_callback_comes_as_mtn_sends_it_and_is_only_a_hint(momo: MomoHarness) -> None:
    where = "http://localhost/webhooks/mtn"
    gateway = build(
        "momo", "mtn", settings(momo.server.url, callback_url=where), SECRETS.__getitem__
    )
    collected, paid = momo.payment(), momo.payout()
    gateway.create_payment(collected)
    back = momo.new_reference(77)
    gateway.refund_payment(
        base.RefundRequest(Reference(collected.our_reference), back, back, 100, "EUR", "l'œuvre")
    )
    gateway.create_payout(replace(paid, our_reference=momo.new_reference(78)))
    made = momo.emulator.take_deliveries()
    assert [(each.method, each.url) for each in made] == [("PUT", where)] * 3
    events = [gateway.parse_event(each.body, each.headers) for each in made]
    assert [event.object_kind for event in events] == ["payment", "refund", "payout"]
    assert {event.proof for event in events} == {"none"}
    assert events[1].reference == Reference(our_reference=back)
    assert len({event.event_id for event in events}) == 3
    # A refund tells its payee where MTN's schema has one.
    body = {**json.loads(made[1].body), "payee": {"partyIdType": "MSISDN", "partyId": "4673"}}
    assert gateway.parse_event(json.dumps(body).encode(), {}).object_kind == "refund"


def test_a_callback_without_our_reference_has_it_in_its_header(momo: MomoHarness) -> None:
    body = json.dumps({"status": "SUCCESSFUL", "payer": {}}).encode()
    event = momo.gateway.parse_event(body, {"X-Reference-Id": "our-own"})
    assert event.reference == Reference(our_reference="our-own")
    assert event.event_id == "our-own:SUCCESSFUL"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"17", b'"x"', b"{}", b'{"externalId": "x"}', b'{"status": "x"}',
     b'{"externalId": ["x"], "status": "x"}', b'{"externalId": "x", "status": 3}',
     b'{"externalId": " ", "status": "x"}',
     b'{"externalId": "' + b"x" * 200 + b'", "status": "x"}'],
)  # fmt: skip
def test_a_callback_that_cannot_be_read_is_refused(momo: MomoHarness, body: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        momo.gateway.parse_event(body, {})
    assert refused.value.code == "event.unreadable"
