"""From any reference to the story of a payment, on every way a payment can go."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from payctl import log
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.tables import audit
from payctl.errors import Forbidden, InvalidInput, NotFound
from payctl.gateways.base import PaymentRequest
from payctl.gateways.signature import sign
from payctl.ids import encode
from payctl.insight.lookup import Story
from payctl.insight.whereabouts import Part, Verdict
from payctl.payments.model import PaymentStatus
from payctl.payments.results import PaymentResult
from tests.gateways.harnesses import WEBHOOK_SECRET, resources
from tests.notifications.kit import ACTOR as RELAY
from tests.notifications.kit import receiving, relaying
from tests.payments.dispute_kit import open_desk
from tests.payments.kit import APPROVER, JANITOR, OPERATOR, Kit

pytestmark = pytest.mark.integration
PHONE = "+2250700000034"


def story(kit: Kit, reference: str) -> Story:
    found = kit.app.lookup.trace(OPERATOR, reference)
    assert len(found.stories) == 1
    return found.stories[0]


def of(kit: Kit, result: PaymentResult) -> Story:
    return story(kit, encode("payment", result.payment.id))


def deliver(kit: Kit) -> None:
    for account, gateway in kit.gateways.items():
        for body, headers in gateway.deliveries():
            kit.app.inbox.receive(account, body, headers)
    kit.app.inbox.apply(JANITOR)


def booked(kit: Kit) -> dict[tuple[str, str], int]:
    """What our books say lies at the providers."""
    pairs = [(f"gateway:{g}:collect", c) for g in kit.gateways for c in ("EUR", "XOF", "USD")]
    return {pair: amount for pair in pairs if (amount := kit.balance(*pair))}


def told(traced: Story) -> list[str]:
    return [f"{item.kind} {item.what}" for item in traced.items]


def test_every_handle_leads_to_the_same_payment(kit: Kit) -> None:
    paid = kit.pay("k1", phone=PHONE)
    kit.pay("k2", order="o-other", email="other@example.com")
    refund = kit.app.refunds.create(
        OPERATOR, paid.payment.id, key="r1", reason="asked", amount_minor=1000
    )
    deliver(kit)
    attempt = paid.attempts[0]
    with kit.app.db.read() as tx:
        events = tx.execute(sa.text("SELECT count(*) FROM webhook_event")).scalar_one()
    assert events >= 3
    whole = of(kit, paid)
    handles = {
        encode("payment", paid.payment.id), encode("attempt", attempt.id), attempt.our_reference,
        attempt.provider_reference, attempt.idempotency_key, "o-k1", "k1", PHONE,
        "+225 07 00 00 00 34", encode("refund", refund.refund.id),
        encode("journal", paid.journals[0].journal_id),
        *(item.id for item in whole.items if item.id),
    }  # fmt: skip
    assert len(handles) >= 14
    for handle in handles:
        found = story(kit, str(handle)).dossier.found
        assert found is not None and found.payment.id == paid.payment.id, handle


def test_the_time_line_tells_everything_in_order(kit: Kit) -> None:
    paid = kit.pay()
    deliver(kit)
    traced = of(kit, paid)
    lines = told(traced)
    for line in (
        "payment created", "route decided", "attempt collect 1", "call create", "journal capture",
        "journal gateway_fee", "notification payment.processing", "notification payment.succeeded",
    ):  # fmt: skip
        assert lines.count(line) == 1, line
    assert [item.at for item in traced.items] == sorted(item.at for item in traced.items)
    assert any(line.startswith("webhook ") for line in lines)
    capture = next(item for item in traced.items if item.what == "capture")
    assert sum(entry.amount_minor for entry in capture.entries) == 0
    assert [(entry.account, entry.amount_minor) for entry in capture.entries if
            entry.amount_minor > 0] == [("gateway:cards:collect", 10_000)]  # fmt: skip
    create = next(item for item in traced.items if item.what == "create")
    assert create.took_ms is not None and "succeeded" in create.note


def test_a_fail_over_says_why_the_first_gateway_was_left(kit: Kit) -> None:
    paid = kit.pay(token="tok_decline_issuer_unavailable", preferred=("cards", "momo"))
    routes = [item for item in of(kit, paid).items if item.kind == "route"]
    assert [(item.what, item.gateway) for item in routes] == [
        ("decided", "cards"), ("failed_over", "momo"),
    ]  # fmt: skip
    assert "cards: tried" in routes[1].note or "cards:" in routes[1].note


def test_an_unknown_outcome_names_the_gateway_and_only_advises_to_ask(kit: Kit) -> None:
    lost = kit.pay(token="tok_lost_answer")
    traced = of(kit, lost)
    assert traced.whereabouts.verdict is Verdict.UNKNOWN
    assert traced.whereabouts.accounts() == {"gateway:cards:collect"}
    assert list(traced.next) == [f"payctl payments sync {encode('payment', lost.payment.id)}"]
    kit.wait(seconds=7)
    assert of(kit, lost).whereabouts.verdict is Verdict.HELD


@pytest.mark.parametrize(
    "token",
    [
        "tok_visa", "tok_decline_card_declined", "tok_not_sent", "tok_rejected", "tok_3ds:60",
        "tok_3ds_fail:60", "tok_abandon:60", "tok_pending:60", "tok_pending_decline:60",
        "tok_wrong_amount:5", "tok_wrong_currency", "tok_timeout_no_effect", "tok_lost_answer",
        "tok_late:60", "tok_late:5000", "tok_5xx", "tok_5xx_effect", "tok_garbage",
    ],
)  # fmt: skip
def test_on_every_way_the_answer_names_the_account_that_holds_the_money(
    kit: Kit, token: str
) -> None:
    """Looked at after each step: what the provider holds is at an account the answer names, and a
    definite answer agrees with the books.
    """
    paid = kit.pay(token=token, preferred=("cards",))
    for wait_s in (0, 10, 90, 1000, 90_000, 90_000):
        if wait_s:
            kit.wait(seconds=wait_s)
        where = of(kit, paid).whereabouts
        payment = kit.show(paid).payment
        for (name, _currency), held in kit.provider_totals().items():
            if held > 0 and not payment.status.terminal:
                assert f"gateway:{name}:collect" in where.accounts()
        if payment.status.terminal:
            held_at = {(p.account, p.currency): p.amount_minor for p in where.of(Part.HELD)}
            assert held_at == booked(kit)
    final = of(kit, paid)
    assert (final.whereabouts.verdict is Verdict.NOWHERE) == (not booked(kit))
    kit.check()


def test_money_of_another_amount_waits_in_unapplied_with_a_case(kit: Kit) -> None:
    paid = kit.pay(token="tok_wrong_amount:5")
    traced = of(kit, paid)
    assert ("unapplied:cards", 10_005) in {
        (place.account, place.amount_minor) for place in traced.whereabouts.places
    }
    assert "case opened" in told(traced)
    assert traced.next[0].startswith("payctl cases show case_")
    assert traced.next[1].startswith("payctl refunds send rfd_")
    case = next(item.id for item in traced.items if item.kind == "case")
    found = story(kit, str(case)).dossier.found
    assert found is not None and found.payment.id == paid.payment.id


def test_a_refund_above_the_threshold_tells_of_its_approval(kit: Kit) -> None:
    paid = kit.pay(amount_minor=500_000)
    asked = kit.app.refunds.create(OPERATOR, paid.payment.id, key="r", reason="called off")
    assert asked.approval_id is not None
    traced = of(kit, paid)
    approval = encode("approval", asked.approval_id)
    assert traced.next[0] == f"payctl approvals approve {approval} --reason TEXT"
    assert "approval requested" in told(traced)
    granted = kit.app.approvals.approve(APPROVER, asked.approval_id, "checked")
    kit.app.after_approval[granted.kind](APPROVER, granted)
    after = story(kit, approval)
    assert after.whereabouts.verdict is Verdict.RETURNED
    assert told(after)[-1] == "notification refund.succeeded"
    assert "approval approved" in told(after)


def test_money_of_a_stranger_is_found_by_the_providers_reference(kit: Kit) -> None:
    answer = kit.gateways["cards"].create_payment(
        PaymentRequest("foreign-1", "key-1", 777, "EUR", "card")
    )
    assert answer.provider_reference
    kit.app.sync.since(JANITOR, kit.clock.now() - timedelta(minutes=5))
    [case] = kit.app.cases.list(kind="orphan")
    for handle in (answer.provider_reference, encode("case", case.id)):
        traced = story(kit, handle)
        assert traced.dossier.found is None
        places = {(p.account, p.amount_minor) for p in traced.whereabouts.of(Part.BELONGS)}
        assert places == {("suspense:cards", 777)}
        assert {"journal orphan_receipt", "case opened"} <= set(told(traced))
        assert list(traced.next) == [f"payctl cases show {encode('case', case.id)}"]


def test_looking_up_a_person_shows_only_them_and_is_audited(kit: Kit) -> None:
    mine = [kit.pay(f"k{n}", phone=PHONE) for n in range(2)]
    kit.pay("other", phone="+2250700000035")
    found = kit.app.lookup.trace(OPERATOR, PHONE)
    seen = [each.dossier.found.payment.id for each in found.stories if each.dossier.found]
    assert seen == [mine[1].payment.id, mine[0].payment.id]
    kit.app.lookup.trace(OPERATOR, "c@example.com")
    with pytest.raises(NotFound) as missing:
        kit.app.lookup.trace(OPERATOR, "+2250700009999")
    assert "2250700009999" not in str(missing.value)
    query = sa.select(audit.c.actor, audit.c.data).where(audit.c.action == "revealed")
    with kit.app.db.read() as tx:
        looks = [(row.actor, row.data) for row in tx.execute(query.order_by(audit.c.id))]
    assert looks == [
        ("ama", {"what": "phone", "payments": 2}),
        ("ama", {"what": "email", "payments": 3}),
        ("ama", {"what": "phone", "payments": 0}),
    ]


def test_half_a_phone_number_finds_nobody(kit: Kit) -> None:
    kit.pay(phone=PHONE)
    for part in ("+22507000000", "0700000034", "00000034"):
        with pytest.raises(NotFound):
            kit.app.lookup.trace(OPERATOR, part)


def test_what_is_unknown_or_empty_or_forbidden_is_said_so(kit: Kit) -> None:
    nobody = Actor("nobody", frozenset())
    with pytest.raises(Forbidden):
        kit.app.lookup.trace(nobody, "o-1")
    with pytest.raises(InvalidInput):
        kit.app.lookup.trace(OPERATOR, "  ")
    with pytest.raises(NotFound) as missing:
        kit.app.lookup.trace(OPERATOR, "4242 4242 4242 4242")
    assert "4242 4242 4242 4242" not in str(missing.value)
    unused = kit.app.db.ids.new()
    for kind in ("payment", "attempt", "refund", "journal", "case", "approval", "event", "hold"):
        with pytest.raises(NotFound):
            kit.app.lookup.trace(OPERATOR, encode(kind, unused))


def test_many_payments_of_one_order_are_cut(kit: Kit) -> None:
    for number in range(21):
        kit.pay(f"k{number}", token="tok_decline_card_declined", order="o-1")
    found = kit.app.lookup.trace(OPERATOR, "o-1")
    assert len(found.stories) == 20 and found.more


def test_advice_follows_the_state(kit: Kit) -> None:
    held = kit.pay("k1", token="tok_visa", manual_capture=True)
    name = encode("payment", held.payment.id)
    assert list(of(kit, held).next) == [
        f"payctl payments capture {name}", f"payctl payments cancel {name} --reason TEXT",
    ]  # fmt: skip
    waiting = kit.pay("k2", token="tok_3ds:600")
    assert waiting.payment.status is PaymentStatus.REQUIRES_ACTION
    assert of(kit, waiting).next[0].endswith("--watch")
    paid = kit.pay("k3")
    assert of(kit, paid).next[0].startswith("payctl refunds create pay_")
    failed = kit.pay("k4", token="tok_decline_card_declined")
    assert of(kit, failed).next == ()


def test_a_dispute_is_told_with_its_webhook_and_what_the_core_service_heard(
    db: Database, tmp_path: Path
) -> None:
    with open_desk(db, tmp_path) as desk:
        reference = desk.contested(paid := desk.pay())
        event = resources()["event"] | {
            "id": "evt_9", "type": "charge.dispute.created",
            "data": {"object": desk.fake.disputes.held[reference]},
        }  # fmt: skip
        body = json.dumps(event).encode()
        signed = sign(body, WEBHOOK_SECRET, desk.kit.clock.now())
        desk.kit.app.inbox.receive("st", body, {"Stripe-Signature": signed})
        desk.kit.app.inbox.apply(JANITOR)
        lines = [(item.kind, item.what) for item in of(desk.kit, paid).items]
    assert ("webhook", "charge.dispute.created") in lines
    assert ("dispute", "needs_response") in lines
    assert ("case", "opened") in lines
    assert [what for kind, what in lines if kind == "notification" and "dispute" in what]


def test_a_notification_says_when_the_core_service_took_it(kit: Kit) -> None:
    with log.correlated("req-1"):
        paid = kit.pay("a")
    waiting = [item for item in of(kit, paid).items if item.kind == "notification"]
    assert [item.note for item in waiting] == ["#1", "#2"]
    kit.clock.advance(timedelta(seconds=5))
    with receiving() as core, relaying(kit.app.db, core.url) as relay:
        relay.run(RELAY)
    taken = [item for item in of(kit, paid).items if item.kind == "notification"]
    assert [item.note for item in taken] == [
        f"#{number}, delivered 2026-11-02 09:00:05 UTC" for number in (1, 2)
    ]
    joined = {item.kind for item in of(kit, paid).items if item.correlation_id == "req-1"}
    assert joined == {"call", "notification"}
