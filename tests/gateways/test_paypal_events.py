"""PayPal's webhooks: what they name, and what proves them."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from payctl.clock import ManualClock
from payctl.errors import Forbidden, InvalidInput, NotConfigured
from payctl.gateways.base import Outcome
from payctl.gateways.http import Reply
from payctl.gateways.paypal_certificates import HOSTS, Certificates, Signed, check, is_paypal
from payctl.gateways.paypal_events import of_event
from payctl.testing.emulators.core import Delivery
from payctl.testing.emulators.paypal_events import CERT_URL, WEBHOOK_ID
from tests.gateways.harnesses import START
from tests.gateways.paypal_calls import by, capture, held, paid, payout, refund
from tests.gateways.paypal_harness import PaypalHarness
from tests.gateways.paypal_signer import Signer, paypal_signer

pytestmark = pytest.mark.gateways


def sent(paypal: PaypalHarness, name: str) -> Delivery:
    """The last delivery of an event of that name."""
    return next(each for each in reversed(paypal.provider.deliveries)
                if json.loads(each.body)["event_type"] == name)  # fmt: skip


@pytest.fixture
def delivery(paypal: PaypalHarness) -> Delivery:
    paid(paypal)
    return sent(paypal, "PAYMENT.CAPTURE.COMPLETED")


def code_of(paypal: PaypalHarness, body: bytes, headers: Any) -> str:
    with pytest.raises(Forbidden) as caught:
        paypal.gateway.parse_event(body, headers, paypal.clock.now())
    return caught.value.code


# --- what they name -----------------------------------------------------------------------------


def test_each_event_names_what_it_is_about(paypal: PaypalHarness) -> None:
    done = paid(paypal)
    paypal.gateway.refund_payment(refund(done))
    payment = held(paypal)
    paypal.gateway.capture_payment(capture(payment, final=False))
    paypal.gateway.cancel_payment(by(payment), "k")
    out = paypal.gateway.create_payout(payout("a@example.com"))
    paypal.provider.payouts.finish(str(out.provider_reference))
    [refund_id] = paypal.provider.books.refunds
    expected = {
        "CHECKOUT.ORDER.APPROVED": ("payment", "att_m", payment.provider_reference),
        "PAYMENT.CAPTURE.COMPLETED": ("payment", "att_m", payment.provider_reference),
        "PAYMENT.CAPTURE.REFUNDED": ("refund", "rfd_r", refund_id),
        "PAYMENT.AUTHORIZATION.CREATED": ("payment", "att_m", payment.provider_reference),
        "PAYMENT.AUTHORIZATION.VOIDED": ("payment", "att_m", payment.provider_reference),
        "PAYMENT.PAYOUTSBATCH.SUCCESS": ("payout", "att_out_o", out.provider_reference),
        "PAYMENT.PAYOUTS-ITEM.SUCCEEDED": ("payout", "att_out_o", out.provider_reference),
    }
    for name, about in expected.items():
        each = sent(paypal, name)
        event = paypal.gateway.parse_event(each.body, each.headers, paypal.clock.now())
        assert (event.type, event.proof) == (name, "signature")
        assert (
            event.object_kind, event.reference.our_reference, event.reference.provider_reference,
        ) == about, name  # fmt: skip
        assert event.occurred_at == START and event.event_id.startswith("WH-")


@pytest.mark.parametrize(
    ("name", "resource", "expected"),
    [
        ("CUSTOMER.DISPUTE.CREATED", {"dispute_id": "PP-D-1"}, ("dispute", None, "PP-D-1")),
        ("PAYMENT.CAPTURE.REVERSED", {"id": "X", "custom_id": "att_1"}, ("payment", "att_1", None)),
        ("CHECKOUT.PAYMENT-APPROVAL.REVERSED", {"order_id": "O"}, ("payment", None, "O")),
        ("BILLING.PLAN.CREATED", {"id": "P-1"}, ("other", None, "P-1")),
    ],
)
def test_events_of_other_shapes(
    name: str, resource: dict[str, Any], expected: tuple[str | None, ...]
) -> None:
    event = of_event({"id": "WH-1", "event_type": name, "resource": resource})
    about = event.reference
    assert (event.object_kind, about.our_reference, about.provider_reference) == expected


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff\xfe", b'{"id": 1, "event_type": "X"}',
    b'{"id": 1, "event_type": "PAYMENT.PAYOUTSBATCH.SUCCESS", "resource": {}}'])  # fmt: skip
def test_an_event_that_makes_no_sense(paypal: PaypalHarness, body: bytes) -> None:
    headers = paypal.provider.webhooks.headers(body)
    with pytest.raises(InvalidInput) as caught:
        paypal.gateway.parse_event(body, headers)
    assert caught.value.code == "event.unreadable"


# --- what proves them ---------------------------------------------------------------------------


def test_a_certificate_is_fetched_once(paypal: PaypalHarness, delivery: Delivery) -> None:
    for _ in range(3):
        event = paypal.gateway.parse_event(delivery.body, delivery.headers, START)
        assert event.proof == "signature"
    assert paypal.fetched == [CERT_URL]


@pytest.mark.parametrize(
    ("header", "value"),
    [("PAYPAL-TRANSMISSION-ID", "another"), ("PAYPAL-TRANSMISSION-TIME", "2026-11-02T09:00:01Z"),
     ("PAYPAL-TRANSMISSION-SIG", "AAAA"), ("PAYPAL-TRANSMISSION-SIG", "not base64!"),
     ("PAYPAL-AUTH-ALGO", "none"), ("PAYPAL-CERT-URL", "https://evil.example/v1/notifications/certs/C"),
     ("PAYPAL-TRANSMISSION-TIME", "yesterday"), ("PAYPAL-CERT-URL", "")],
)  # fmt: skip
def test_a_header_that_was_changed(
    paypal: PaypalHarness, delivery: Delivery, header: str, value: str
) -> None:
    changed = {**delivery.headers, header: value}
    assert code_of(paypal, delivery.body, changed) == "event.bad_signature"


def test_another_body_other_webhook_or_old_time(paypal: PaypalHarness, delivery: Delivery) -> None:
    changed = delivery.body.replace(b"25.00", b"99.00")
    assert changed != delivery.body
    assert code_of(paypal, changed, delivery.headers) == "event.bad_signature"
    other = paypal.build(paypal.server.url, webhook_id="AnotherWebhook1")
    with pytest.raises(Forbidden):
        other.parse_event(delivery.body, delivery.headers, START)
    for moment, stale in ((3, False), (5, True), (-1, True)):
        at = START + timedelta(days=moment)
        if not stale:
            assert paypal.gateway.parse_event(delivery.body, delivery.headers, at)
            continue
        with pytest.raises(Forbidden) as caught:
            paypal.gateway.parse_event(delivery.body, delivery.headers, at)
        assert caught.value.code == "event.stale"


def test_the_signature_alone_does_not_tell_bodies_of_one_crc_apart() -> None:
    """Why the object is always asked for: PayPal signs a CRC-32, and another body has the same."""
    real = b'{"amount": "25.00"}'
    forged = _with_crc_of(b'{"amount": "99.00", "x": "', real)
    assert forged != real and zlib.crc32(forged) == zlib.crc32(real)
    signer = paypal_signer()
    key = signer._key.public_key()
    signed = Signed("t1", "2026-11-02T09:00:00Z", WEBHOOK_ID, real)
    import base64

    given = base64.b64encode(signer.sign(signed.text())).decode()
    check(key, signed, given)
    check(key, replace(signed, body=forged), given)  # no exception: it cannot be told


def _with_crc_of(start: bytes, like: bytes) -> bytes:
    """*start* and four bytes that give it the CRC-32 of *like*."""
    table = []
    for number in range(256):
        value = number
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
        table.append(value)
    back = {value >> 24: number for number, value in enumerate(table)}
    wanted, have = zlib.crc32(like) ^ 0xFFFFFFFF, zlib.crc32(start) ^ 0xFFFFFFFF
    chosen = []
    for _ in range(4):
        number = back[wanted >> 24]
        wanted = ((wanted ^ table[number]) << 8) & 0xFFFFFFFF | number
        chosen.append(number)
    patch = b""
    for number in reversed(chosen):
        patch += bytes([(have ^ number) & 0xFF])
        have = table[number] ^ (have >> 8)
    return start + patch


@pytest.mark.parametrize(
    "url",
    [
        "http://api.paypal.com/v1/notifications/certs/C", "https://api.paypal.com/other/C",
        "https://api.paypal.com:443/v1/notifications/certs/C",
        "https://me@api.paypal.com/v1/notifications/certs/C",
        "https://evil.example/v1/notifications/certs/C",
        "https://xpaypal.com/v1/notifications/certs/C",
        "https://api.paypal.com.evil.example/v1/notifications/certs/C",
        "https://API.paypal.com/v1/notifications/certs/C",
        "https://api.paypal.com/v1/notifications/certs/../../x",
        "https://api.paypal.com/v1/notifications/certs/C?u=https://evil.example",
        "https://api.paypal.com/v1/notifications/certs/C#x",
        "https://api.sandbox.paypal.com/v1/notifications/certs/C",
        "https://api.paypal.com\\@evil.example/v1/notifications/certs/C",
        "https://[::1", "", "C",
    ],
)  # fmt: skip
def test_only_paypal_s_own_hosts_are_asked(url: str) -> None:
    assert not is_paypal(url, HOSTS["live"])


def test_each_environment_has_its_hosts() -> None:
    for mode, hosts in HOSTS.items():
        for host in hosts:
            assert is_paypal(f"https://{host}/v1/notifications/certs/CERT-1_a", HOSTS[mode])
    assert not HOSTS["live"] & HOSTS["sandbox"]


def test_certificates_that_are_not_paypal_s(paypal: PaypalHarness, delivery: Delivery) -> None:
    stranger, named = Signer(), Signer("messageverificationcerts.paypal.com")

    def answers(status: int, body: bytes, fault: Outcome | None = None) -> Certificates:
        return Certificates(
            paypal.clock, "sandbox", roots=paypal_signer().roots,
            fetch=lambda url: Reply(None if fault else status, {}, body, fault),
        )  # fmt: skip

    ours = paypal_signer().chain
    wrong = (
        answers(200, stranger.chain), answers(200, b"no certificate"), answers(404, ours),
        answers(302, ours), answers(200, ours * 99),
        Certificates(paypal.clock, "sandbox", roots=named.roots,
                     fetch=lambda url: Reply(200, {}, named.chain)),
    )  # fmt: skip
    for certificates in wrong:
        with pytest.raises(Forbidden):
            certificates.key(CERT_URL, START)
    good = answers(200, ours)
    assert good.key(CERT_URL, START) is not None
    with pytest.raises(Forbidden):
        good.key(CERT_URL, START + timedelta(days=9999))
    # When PayPal cannot be asked for it, the event is read without proof.
    for unreachable in (answers(0, b"", Outcome.NOT_SENT), answers(503, b"")):
        assert unreachable.key(CERT_URL, START) is None
        paypal.gateway.webhooks.certificates = unreachable
        event = paypal.gateway.parse_event(delivery.body, delivery.headers, START)
        assert event.proof == "none"


def test_without_the_library_or_a_webhook_id_an_event_has_no_proof(
    paypal: PaypalHarness, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = paypal.build(paypal.server.url)
    bare.webhooks._webhook_id = None
    assert bare.parse_event(delivery.body, {}).proof == "none"
    with pytest.raises(NotConfigured):
        bare.verify_event_online(delivery.body, delivery.headers)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert paypal.gateway.parse_event(delivery.body, delivery.headers).proof == "none"
    assert paypal.fetched == []


# --- asking PayPal ------------------------------------------------------------------------------


def test_paypal_is_asked_about_the_very_bytes_that_came(
    paypal: PaypalHarness, delivery: Delivery
) -> None:
    ask = paypal.gateway.verify_event_online
    assert ask(delivery.body, delivery.headers).outcome == "succeeded"
    assert delivery.body in paypal.provider.requests[-1].body
    again = json.dumps(json.loads(delivery.body), indent=1).encode()
    refused = ask(again, delivery.headers)
    assert (refused.outcome, refused.code) == ("rejected", "bad_signature")
    other = {**delivery.headers, "PAYPAL-TRANSMISSION-ID": "another"}
    assert ask(delivery.body, other).code == "bad_signature"


def test_what_cannot_be_an_event_is_not_asked_about(
    paypal: PaypalHarness, delivery: Delivery
) -> None:
    before = paypal.sent
    ask = paypal.gateway.verify_event_online
    injected = b'{}, "webhook_id": "theirs", "x": {}'
    for body in (b"", b"[]", b"\xff", injected, delivery.body + b"}"):
        assert ask(body, delivery.headers).code == "bad_signature"
    assert ask(delivery.body, {}).code == "bad_signature"
    assert paypal.sent == before


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [("503", "unknown"), ("html", "unknown"), ("drop", "unknown"), ("429", "rejected")],
)
def test_when_paypal_does_not_answer_nothing_is_believed(
    paypal: PaypalHarness, delivery: Delivery, fault: str, outcome: str
) -> None:
    paypal.provider.fault(fault, "webhooks.verify")
    answer = paypal.gateway.verify_event_online(delivery.body, delivery.headers)
    assert answer.outcome == outcome and answer.code != "bad_signature"


def test_an_event_can_be_sent_again(paypal: PaypalHarness, delivery: Delivery) -> None:
    first = paypal.gateway.parse_event(delivery.body, delivery.headers, START)
    assert isinstance(paypal.clock, ManualClock)
    paypal.clock.advance(timedelta(days=2))
    paypal.provider.webhooks.resend(first.event_id)
    late = paypal.provider.deliveries[-1]
    again = paypal.gateway.parse_event(late.body, late.headers, paypal.clock.now())
    assert (again.event_id, again.reference) == (first.event_id, first.reference)
    assert late.headers["PAYPAL-TRANSMISSION-ID"] != delivery.headers["PAYPAL-TRANSMISSION-ID"]
