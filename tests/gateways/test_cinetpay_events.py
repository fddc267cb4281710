"""CinetPay's callbacks: what is signed and how, and what speaks for those that are not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest

from payctl.errors import Forbidden, InvalidInput, NotConfigured
from payctl.gateways.base import Reference
from payctl.gateways.cinetpay_events import SIGNED, sign
from payctl.gateways.registry import build
from payctl.testing.emulators.cinetpay import SECRET_KEY
from tests.gateways.cinetpay_harness import KNOWN, V2Harness, payment, payout, v2_settings
from tests.gateways.harnesses import FIXTURES

pytestmark = pytest.mark.gateways
VECTOR = json.loads((FIXTURES / "cinetpay" / "hmac.json").read_text())


@pytest.fixture
def v2() -> Iterator[V2Harness]:
    harness = V2Harness()
    yield harness
    harness.close()


def test_the_signature_is_the_documented_one() -> None:
    fields = dict(VECTOR["fields_in_order"])
    assert tuple(fields) == SIGNED
    values = {name: text.encode() for name, text in fields.items()}
    assert sign(values, VECTOR["secret_key"]) == VECTOR["x_token"]
    del values["cpm_error_message"]
    short = VECTOR["x_token_when_cpm_error_message_is_left_out"]
    assert sign(values, VECTOR["secret_key"]) == short


def vector_gateway() -> Any:
    settings = v2_settings("http://127.0.0.1:1", site_id=dict(VECTOR["fields_in_order"])[
        "cpm_site_id"])  # fmt: skip
    return build("cinetpay", "cp", settings, lambda _: VECTOR["secret_key"])


def test_a_callback_is_accepted_with_its_signature_alone() -> None:
    gateway, fields = vector_gateway(), dict(VECTOR["fields_in_order"])
    good = VECTOR["x_token"]
    event = gateway.parse_event(urlencode(fields).encode(), {"x-token": good})
    assert (event.proof, event.reference.our_reference) == ("signature", "PAYCTL-0001")
    shuffled = urlencode(dict(reversed(fields.items()))).encode()
    assert gateway.parse_event(shuffled, {"X-Token": good}).event_id == event.event_id
    for wrong in (
        VECTOR["x_token_when_cpm_error_message_is_left_out"], good.upper(), good[:-1], good + "0",
        "", "é" * 64,
    ):  # fmt: skip
        with pytest.raises(Forbidden):
            gateway.parse_event(urlencode(fields).encode(), {"x-token": wrong})
    with pytest.raises(Forbidden):
        gateway.parse_event(urlencode(fields).encode(), {})
    for name in fields:
        changed = fields | {name: fields[name] + "1"}
        with pytest.raises(Forbidden):
            gateway.parse_event(urlencode(changed).encode(), {"x-token": good})


def test_a_callback_for_another_site_is_refused() -> None:
    gateway = build("cinetpay", "cp", v2_settings("http://127.0.0.1:1", site_id="999"),
                    lambda _: VECTOR["secret_key"])  # fmt: skip
    body = urlencode(dict(VECTOR["fields_in_order"])).encode()
    with pytest.raises(Forbidden):
        gateway.parse_event(body, {"x-token": VECTOR["x_token"]})


@pytest.mark.parametrize("raw", ["Caf%E9", "Caf%C3%A9", "a+b%20", "%00"])
def test_values_are_signed_as_the_bytes_that_came(raw: str) -> None:
    gateway = vector_gateway()
    plain = {"cpm_site_id": VECTOR["fields_in_order"][0][1], "cpm_trans_id": "r1"}
    body = (urlencode(plain) + f"&cpm_designation={raw}").encode()
    value = {"Caf%E9": b"Caf\xe9", "Caf%C3%A9": b"Caf\xc3\xa9", "a+b%20": b"a b ", "%00": b"\0"}
    values = {name: text.encode() for name, text in plain.items()} | {"cpm_designation": value[raw]}
    token = sign(values, VECTOR["secret_key"])
    assert gateway.parse_event(body, {"x-token": token}).reference.our_reference == "r1"


def test_without_a_key_no_callback_is_believed() -> None:
    settings = v2_settings("http://127.0.0.1:1")
    del settings["secret_key"]
    gateway = build("cinetpay", "cp", settings, KNOWN.__getitem__)
    body = urlencode(dict(VECTOR["fields_in_order"])).encode()
    with pytest.raises(NotConfigured) as caught:
        gateway.parse_event(body, {"x-token": VECTOR["x_token"]})
    assert caught.value.field == "secret_key"


def test_a_transfer_s_callback_is_unsigned_and_says_so(v2: V2Harness) -> None:
    made = v2.gateway.create_payout(payout())
    v2.emulator.transfers.settle(payout().our_reference)
    call = v2.emulator.deliveries[-1]
    event = v2.gateway.parse_event(call.body, call.headers)
    assert (event.object_kind, event.proof, event.type) == ("payout", "none", "VAL")
    assert event.reference == Reference(payout().our_reference, made.provider_reference)
    with pytest.raises(InvalidInput):
        v2.gateway.parse_event(b"treatment_status=VAL", {})


def test_the_emulator_signs_as_the_adapter_reads(v2: V2Harness) -> None:
    v2.gateway.create_payment(payment())
    v2.emulator.checkout.pay(payment().our_reference)
    call = v2.emulator.deliveries[-1]
    assert call.url == "https://shop.example/hooks/cinetpay"
    assert v2.gateway.parse_event(call.body, call.headers).type == "SUCCES"
    assert SECRET_KEY.encode() not in call.body


PHONE = "0707070711"


@pytest.mark.parametrize(
    "moved",
    [{"payment_method": "OM0", "cel_phone_num": PHONE[1:]},
     {"payment_method": "OM" + PHONE, "cel_phone_num": "", "cpm_phone_prefixe": "225"},
     {"cel_phone_num": PHONE + "2", "cpm_phone_prefixe": "25"},
     {"cpm_phone_prefixe": "22", "cpm_language": "5fr"}],
)  # fmt: skip
def test_digits_moved_between_neighbours_name_nobody(v2: V2Harness, moved: dict[str, str]) -> None:
    asked = payment()
    v2.gateway.create_payment(asked)
    v2.emulator.checkout.pay(asked.our_reference, phone=PHONE)
    sent = v2.emulator.deliveries[-1]
    fields = {key: value[0] for key, value in parse_qs(sent.body.decode(), True).items()}
    event = v2.gateway.parse_event(urlencode(fields | moved).encode(), sent.headers)
    assert event.payer is None  # the signature holds all the same
    assert v2.gateway.parse_event(sent.body, sent.headers).payer is not None
    assert PHONE not in repr(v2.gateway.parse_event(sent.body, sent.headers))
