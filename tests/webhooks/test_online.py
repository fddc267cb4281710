"""PayPal's events where they cannot be checked when they come: PayPal is asked before their use,
and asked for those that never came.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from payctl.cases.service import Cases
from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.gateways.base import Event
from payctl.gateways.paypal_certificates import Certificates
from payctl.notifications.outbox import Outbox
from payctl.webhooks.missed import Missed
from payctl.webhooks.reception import Reception
from payctl.webhooks.service import Inbox
from tests.gateways.paypal_harness import PaypalHarness
from tests.gateways.test_paypal_events import _with_crc_of
from tests.payments.kit import OPERATOR
from tests.webhooks.test_service import WORKER, Door

pytestmark = [pytest.mark.integration, pytest.mark.webhooks]


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


@pytest.fixture
def paypal(clock: ManualClock) -> Iterator[PaypalHarness]:
    made = PaypalHarness(clock)
    yield made
    made.close()


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that checks signatures is not installed."""
    monkeypatch.setattr(Certificates, "available", property(lambda self: False))


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def inbox(db: Database, paypal: PaypalHarness, door: Door) -> Inbox:
    cases = Cases(db, Outbox(db))
    return Inbox(db, Reception(db, {"pp": paypal.gateway}, cases), door, cases)


def sent(paypal: PaypalHarness, number: int = 1) -> tuple[bytes, dict[str, str]]:
    """An event as PayPal sends it."""
    resource = {"id": f"CAP{number}", "custom_id": f"att_{number}",
                "supplementary_data": {"related_ids": {"order_id": f"ORDER{number}"}}}  # fmt: skip
    paypal.provider.webhooks.emit("PAYMENT.CAPTURE.COMPLETED", "capture", resource)
    delivery = paypal.provider.deliveries[-1]
    return delivery.body, dict(delivery.headers)


@pytest.mark.usefixtures("unchecked")
def test_paypal_says_which_are_its_own(inbox: Inbox, paypal: PaypalHarness, door: Door) -> None:
    body, headers = sent(paypal)
    true = inbox.receive("pp", body, headers)
    forged = inbox.receive(
        "pp", body.replace(b"ORDER1", b"ORDER9").replace(b"WH-", b"WX-"), headers
    )
    assert {each.proof for each in inbox.list()} == {"none"}
    inbox.apply(WORKER)
    assert (inbox.get(true).state, inbox.get(true).proof) == ("applied", "signature")
    dropped = inbox.get(forged)
    assert (dropped.state, dropped.reason) == ("dropped", "event.bad_signature")
    assert sum(door.seen.values()) == 1


@pytest.mark.usefixtures("unchecked")
def test_while_paypal_cannot_be_asked_an_event_waits(inbox: Inbox, paypal: PaypalHarness) -> None:
    event = inbox.receive("pp", *sent(paypal))
    paypal.provider.fault("503", "webhooks.verify", 5)
    assert inbox.apply(WORKER, only=event) == {"waiting": 1}
    paypal.provider.clear_faults()
    assert inbox.apply(WORKER, only=event) == {"applied": 1}


@pytest.mark.usefixtures("unchecked")
def test_one_that_a_card_number_was_taken_out_of_is_not_asked_about(
    inbox: Inbox, paypal: PaypalHarness, door: Door
) -> None:
    """Its bytes are others than those that were signed: PayPal would call it a forgery."""
    body, headers = sent(paypal)
    event = inbox.receive("pp", body.replace(b"CAP1", b"4242424242424242"), headers)
    assert inbox.apply(WORKER, only=event) == {"applied": 1}
    assert inbox.get(event).proof == "none"


def test_events_that_never_came_are_listed_by_paypal(
    db: Database, inbox: Inbox, paypal: PaypalHarness
) -> None:
    inbox.receive("pp", *sent(paypal, 1))
    sent(paypal, 2)
    since = db.clock.now() - timedelta(hours=1)
    found = Missed(db, inbox.reception).fetch(OPERATOR, "pp", since)
    assert (found.listed, found.new) == (2, 1)
    listed = [each for each in inbox.list() if each.proof == "listed"]
    assert [each.provider_reference for each in listed] == ["ORDER2"]
    event = listed[0].event()
    assert isinstance(event, Event) and event.object_kind == "payment"


def test_another_body_of_the_same_crc_takes_nothing_from_the_true_one(
    inbox: Inbox, paypal: PaypalHarness, door: Door
) -> None:
    """The signature fits it as well, and PayPal is asked about nothing but what the true one says:
    the event's id and its own place in the inbox are not the forger's to take.
    """
    body, headers = sent(paypal)
    forged = _with_crc_of(body.replace(b"ORDER1", b"ORDER9"), body)
    assert forged != body
    other = inbox.receive("pp", forged, headers)
    true = inbox.receive("pp", body, headers)
    assert {each.proof for each in inbox.list()} == {"signature"}
    assert other != true
    assert inbox.apply(WORKER, only=true) == {"applied": 1}
    assert inbox.apply(WORKER, only=other) == {"waiting": 1}
    assert sum(door.seen.values()) == 1
