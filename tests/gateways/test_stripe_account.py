"""Stripe's balance, customers and webhooks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from payctl.errors import Forbidden, InvalidInput, NotConfigured, NotFound, NotSent, OutcomeOpen
from payctl.gateways.base import (
    RejectKind,
)
from payctl.gateways.registry import build
from payctl.gateways.signature import sign
from tests.gateways.harnesses import KEY, WEBHOOK_SECRET, StripeHarness
from tests.gateways.stripe_calls import request

pytestmark = pytest.mark.gateways


def test_balance_ping_and_wrong_keys(stripe: StripeHarness) -> None:
    stripe.gateway.create_payment(request())
    stripe.gateway.create_payment(request("x", currency="XOF", amount_minor=15_000))
    lines = {line.currency: line.available_minor for line in stripe.gateway.balance()}
    assert lines == {"EUR": 2500, "XOF": 15_000}
    assert stripe.gateway.ping().detail == "test mode"
    stripe.fake.fault("401")
    assert not stripe.gateway.ping().ok
    stripe.fake.fault("401")
    with pytest.raises(NotConfigured) as caught:
        stripe.gateway.balance()
    assert caught.value.code == "gateway.refused_credentials"
    stripe.fake.fault("drop")
    with pytest.raises(NotSent):
        stripe.gateway.balance()


@pytest.mark.parametrize("key", ["", " ", "\n", "sk test", "sk_test_\u00e9", "sk_test_\x00"])
def test_with_a_malformed_key_nothing_is_sent(stripe: StripeHarness, key: str) -> None:
    settings = {"secret_key": "env:K", "api_base": stripe.fake.url}
    gateway = build("stripe", "st", settings, lambda _: key)
    answer = gateway.create_payment(request())
    assert (answer.outcome, answer.reject) == ("rejected", RejectKind.AUTH)
    assert stripe.fake.calls() == []


def test_customers(stripe: StripeHarness) -> None:
    customers = stripe.gateway.customers
    made = customers.create(email="a@example.com", name="Awa", idempotency_key="k")
    assert customers.create(email="a@example.com", name="Awa", idempotency_key="k") == made
    assert customers.get(made.id) == made
    other = customers.create(email="b@example.com", idempotency_key="k2", metadata={"order": "o-1"})
    assert [one.id for one in customers.list()] == [other.id, made.id]
    assert customers.list(email="a@example.com") == [made]
    assert customers.get(other.id).metadata == {"order": "o-1"}
    for fault, error in (
        ("drop_after", OutcomeOpen),
        ("401", NotConfigured),
        ("html_after", OutcomeOpen),
    ):
        stripe.fake.fault(fault)
        with pytest.raises(error):
            customers.create(email="c@example.com", idempotency_key="k3")
    with pytest.raises(NotFound):
        customers.get("cus_nobody")
    stripe.fields("unreachable")
    with pytest.raises(NotSent):
        stripe.gateway.customers.list()


def event(kind: str, about: Mapping[str, Any], **more: Any) -> bytes:
    data = {"id": "evt_1", "type": kind, "created": 1_762_074_000, "data": {"object": dict(about)}}
    return json.dumps(data | more).encode()


@pytest.mark.parametrize(
    ("kind", "about", "expected"),
    [
        ("payment_intent.succeeded",
         {"object": "payment_intent", "id": "pi_1", "metadata": {"payctl_ref": "att_1"}},
         ("payment", "pi_1", "att_1")),
        ("charge.refunded", {"object": "charge", "id": "ch_1", "payment_intent": "pi_2"},
         ("payment", "pi_2", None)),
        ("refund.failed", {"object": "refund", "id": "re_1", "metadata": {"payctl_ref": "rfd_1"}},
         ("refund", "re_1", "rfd_1")),
        ("charge.dispute.created", {"object": "dispute", "id": "dp_1", "metadata": {}},
         ("dispute", "dp_1", None)),
        ("payout.paid", {"object": "payout", "id": "po_1"}, ("payout", "po_1", None)),
        ("balance.available", {"object": "balance"}, ("other", None, None)),
    ],
)  # fmt: skip
def test_events_name_their_object(
    stripe: StripeHarness, kind: str, about: dict[str, Any], expected: tuple[str, ...]
) -> None:
    body = event(kind, about)
    headers = {"stripe-signature": sign(body, WEBHOOK_SECRET, datetime.now(UTC))}
    read = stripe.gateway.parse_event(body, headers, datetime.now(UTC))
    assert (
        read.object_kind, read.reference.provider_reference, read.reference.our_reference,
    ) == expected  # fmt: skip
    assert (read.event_id, read.type) == ("evt_1", kind)
    assert read.occurred_at == datetime.fromtimestamp(1_762_074_000, UTC)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"id": "evt", "type": "x", "data": []}',
     event("x", {"object": "charge", "metadata": []}, created="soon"),
     event("x", {}, created=10**30)],
)  # fmt: skip
def test_a_signed_event_that_makes_no_sense(stripe: StripeHarness, body: bytes) -> None:
    headers = {"Stripe-Signature": sign(body, WEBHOOK_SECRET, datetime.now(UTC))}
    with pytest.raises(InvalidInput) as caught:
        stripe.gateway.parse_event(body, headers)
    assert caught.value.code == "event.unreadable"


def test_events_need_a_configured_secret(stripe: StripeHarness) -> None:
    bare = build("stripe", "st", {"secret_key": "env:K"}, lambda _: KEY)
    body = event("x", {"object": "charge"})
    with pytest.raises(NotConfigured):
        bare.parse_event(body, {"Stripe-Signature": sign(body, "", datetime.now(UTC))})
    with pytest.raises(Forbidden):
        stripe.gateway.parse_event(body, {"Stripe-Signature": sign(body, "", datetime.now(UTC))})


def test_events_of_the_past_are_listed_oldest_first(stripe: StripeHarness) -> None:
    """More than a page of them, one before the time, and one about nothing."""
    start = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
    for number in range(-1, 130):
        name = f"evt_{number}"
        about: dict[str, Any] = {"object": "payment_intent", "id": f"pi_{number}"}
        stripe.fake.events[name] = {
            "id": name, "object": "event", "type": "payment_intent.succeeded",
            "created": int(start.timestamp()) + number,
            "data": {"object": about} if number != 50 else {},
        }  # fmt: skip
    listed = list(stripe.gateway.list_events(start))
    assert [each.event_id for each, _ in listed] == [f"evt_{n}" for n in range(130) if n != 50]
    found, body = listed[3]
    assert found.reference.provider_reference == "pi_3"
    assert json.loads(body) == stripe.fake.events["evt_3"]
    stripe.fake.fault("drop", "*", 9)
    with pytest.raises(NotSent):
        list(stripe.gateway.list_events(start))
