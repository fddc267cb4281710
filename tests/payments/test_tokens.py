"""What a provider tells for later: handed back with questions, the proof of events, never shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.db.tables import audit
from payctl.gateways.base import Event, Reference
from payctl.insight.dossier import of_payment
from payctl.insight.timeline import timeline
from payctl.notifications.tables import notification
from payctl.payments import store
from payctl.payments import tables as t
from payctl.payments.attempt_rows import token_hash
from payctl.payments.views import payment_full_json
from payctl.webhooks.tables import webhook_event
from tests.payments.kit import CARDS, JANITOR, Kit, make_kit

pytestmark = pytest.mark.integration
PHONE = "+2250708091011"


@pytest.fixture(params=["token", "none"])
def proof(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def kit(db: Database, tmp_path: Path, proof: str) -> Iterator[Kit]:
    tokens = {**CARDS, "gives_tokens": True, "event_proof": proof, "reports_payer": True}
    made = make_kit(db, tmp_path, {"cards": tokens})
    yield made
    made.gateways["cards"].close()


def attempt(kit: Kit, payment_id: Any) -> Any:
    with kit.app.db.read() as tx:
        return store.attempts(tx, payment_id)[0]


def deliver(kit: Kit) -> list[str]:
    for body, headers in kit.gateways["cards"].deliveries():
        kit.app.inbox.receive("cards", body, headers)
    return [what for what, n in kit.app.inbox.apply(JANITOR).items() for _ in range(n)]


def test_a_question_carries_what_the_provider_gave(kit: Kit) -> None:
    result = kit.pay(token="tok_3ds", phone=PHONE)
    list(kit.gateways["cards"].deliveries())
    kit.gateways["cards"].customer_acts(result.attempts[0].our_reference)
    kit.wait(seconds=10)
    assert kit.show(result).payment.status == "succeeded"
    known = attempt(kit, result.payment.id)
    assert sorted(known.provider_data) == ["notify_token", "status_token"]
    assert known.paid_by().value == PHONE


def test_an_unsigned_event_leads_to_a_question_about_its_own_payment(kit: Kit, proof: str) -> None:
    first, second = kit.pay("k1", "tok_3ds"), kit.pay("k2", "tok_3ds")
    list(kit.gateways["cards"].deliveries())
    kit.gateways["cards"].customer_acts(second.attempts[0].our_reference)
    assert deliver(kit) == ["applied"]
    assert kit.show(second).payment.status == "succeeded"
    assert kit.show(first).payment.status == "requires_action"
    if proof == "token":
        secret = attempt(kit, second.payment.id).provider_data["notify_token"]
        with kit.app.db.read() as tx:
            [stored] = tx.execute(sa.select(webhook_event)).all()
        assert secret.encode() not in stored.body
        assert stored.token_hash == token_hash(secret)


@pytest.mark.parametrize("proof", ["token"], indirect=True)
def test_a_wrong_secret_asks_nobody_and_opens_no_case(kit: Kit) -> None:
    """Not even with the right reference beside it, nor with another payment's secret."""
    first, second = kit.pay("k1", "tok_3ds"), kit.pay("k2", "tok_3ds")
    mine, other = attempt(kit, first.payment.id), attempt(kit, second.payment.id)
    before = mine.checks
    for secret in ("x" * 40, other.provider_data["notify_token"], mine.currency):
        event = Event("e1", "payment", "payment", Reference(mine.our_reference), proof="token")
        assert kit.app.sync.apply_event(JANITOR, "cards", event, token_hash(secret)) == "orphan"
    bare = Event("e2", "payment", "payment", Reference(), proof="token")
    assert kit.app.sync.apply_event(JANITOR, "cards", bare, token_hash("y" * 40)) == "orphan"
    assert kit.app.sync.apply_event(JANITOR, "cards", bare) == "orphan"
    assert attempt(kit, first.payment.id).checks == before
    forged = json.dumps({"id": "e3", "type": "payment.x", "created": "2026-11-02T09:00:00+00:00",
                         "object": {"kind": "payment"}, "token": "z" * 40}).encode()  # fmt: skip
    event_id = kit.app.inbox.receive("cards", forged, {})
    for _ in range(6):
        kit.wait(minutes=10)
        kit.app.inbox.apply(JANITOR)
    assert kit.app.inbox.get(event_id).state == "orphan"
    assert kit.app.cases.list() == []


@pytest.mark.parametrize("proof", ["token"], indirect=True)
def test_a_secret_is_found_by_an_index(kit: Kit) -> None:
    kit.pay()
    query = (
        "SELECT attempt_id FROM attempt_token WHERE gateway_account = 'cards' AND token_hash = {}"
    )
    with kit.app.db.read() as tx:
        if kit.app.db.is_sqlite:
            sql = "EXPLAIN QUERY PLAN " + query.format("x'00'")
        else:
            tx.exec_driver_sql("SET enable_seqscan = off")
            sql = "EXPLAIN " + query.format("'\\x00'")
        plan = str(tx.exec_driver_sql(sql).all())
    assert ("SEARCH" if kit.app.db.is_sqlite else "Index") in plan


@pytest.mark.parametrize("proof", ["token"], indirect=True)
def test_neither_secrets_nor_the_payer_are_shown_or_kept_elsewhere(kit: Kit) -> None:
    result = kit.pay(token="tok_3ds", phone=PHONE, return_url="https://shop.example/back")
    list(kit.gateways["cards"].deliveries())
    kit.gateways["cards"].customer_acts(result.attempts[0].our_reference)
    deliver(kit)
    known = attempt(kit, result.payment.id)
    secrets = [*known.provider_data.values(), PHONE, PHONE.removeprefix("+")]
    with kit.app.db.read() as tx:
        dossier = of_payment(tx, result.payment.id)
        assert dossier.found is not None
        kept = [
            [dict(row) for row in tx.execute(sa.select(table)).mappings()]
            for table in (t.provider_call, notification, audit)
        ]
    shown = [payment_full_json(dossier.found), timeline(dossier), str(dossier.hooks), repr(known)]
    for where in (*shown, *kept):
        text = json.dumps(where, default=str)
        assert len(text) > 50
        for secret in secrets:
            assert secret not in text
