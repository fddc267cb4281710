"""Payments a customer approves: taken once, only while wanted, with a key that was stored first."""

from __future__ import annotations

from datetime import timedelta

import pytest

from payctl.errors import Conflict
from payctl.ids import encode
from payctl.insight.whereabouts import Part, Verdict
from payctl.payments import tables as t
from payctl.payments.checks import UNTAKEN, untaken
from payctl.payments.results import PaymentResult
from tests.payments.kit import JANITOR, OPERATOR, Kit, states

pytestmark = pytest.mark.integration


def waiting(kit: Kit, key: str = "k1", **other: object) -> PaymentResult:
    result = kit.pay(key, "tok_approval", **other)
    assert result.payment.status == "requires_action"
    return result


def approve(kit: Kit, result: PaymentResult) -> None:
    [attempt] = [each for each in result.attempts if each.operation == "collect"]
    assert kit.gateways["cards"].customer_acts(attempt.our_reference)


def calls(kit: Kit) -> list[str]:
    with kit.app.db.read() as tx:
        rows = tx.execute(t.provider_call.select().order_by(t.provider_call.c.id))
        return [row.call for row in rows]


def taken(kit: Kit) -> int:
    return sum(total.captured_minor for total in kit.gateways["cards"].totals().values())


@pytest.mark.parametrize("door", ["sync", "due", "webhook"])
def test_approval_leads_to_the_money_through_every_door(kit: Kit, door: str) -> None:
    result = waiting(kit)
    list(kit.gateways["cards"].deliveries())
    approve(kit, result)
    assert taken(kit) == 0
    match door:
        case "sync":
            kit.app.sync.payment(JANITOR, result.payment.id)
        case "due":
            kit.wait(seconds=10)
        case _:
            for body, headers in kit.gateways["cards"].deliveries():
                kit.app.inbox.receive("cards", body, headers)
            kit.app.inbox.apply(JANITOR)
    seen = kit.show(result)
    assert (seen.payment.status, seen.payment.captured_minor) == ("succeeded", 10_000)
    assert calls(kit) == ["create", "query", "complete"]
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


def test_key_and_lease_are_stored_before_the_first_byte(kit: Kit) -> None:
    result = waiting(kit)
    approve(kit, result)
    gateway, kept = kit.gateways["cards"], []
    real = gateway.complete_payment

    def complete(reference: object, key: str) -> object:
        row = kit.app.db.read()
        with row as tx:
            stored = tx.execute(t.attempt.select()).one()
        kept.append((key, stored.completion_key, stored.lease_owner, stored.completion_at))
        return real(reference, key)  # type: ignore[arg-type]

    gateway.complete_payment = complete  # type: ignore[method-assign,assignment]
    kit.app.sync.payment(JANITOR, result.payment.id)
    [(key, stored, owner, at)] = kept
    assert key == stored
    assert owner is not None
    assert at == kit.clock.now()
    assert key != result.attempts[0].idempotency_key


def test_a_lost_answer_repeats_the_same_key(kit: Kit) -> None:
    result = waiting(kit)
    kit.gateways["cards"].add_script("complete timeout_no_effect", "complete late:3")
    approve(kit, result)
    kit.app.sync.payment(JANITOR, result.payment.id)
    assert states(kit.show(result)) == ["unknown"]
    with kit.app.db.read() as tx:
        key = tx.execute(t.attempt.select()).one().completion_key
    for _ in range(4):
        kit.wait(seconds=20)
    assert kit.show(result).payment.status == "succeeded"
    with kit.app.db.read() as tx:
        assert tx.execute(t.attempt.select()).one().completion_key == key
    assert taken(kit) == 10_000
    kit.check()


def test_what_has_run_out_or_is_paid_elsewhere_is_let_go(kit: Kit) -> None:
    expires = kit.clock.now() + timedelta(minutes=5)
    late = waiting(kit, "k1", expires_at=expires)
    twice = waiting(kit, "k2", order="o-2")
    kit.pay("k3", order="o-2")
    kit.clock.advance(timedelta(minutes=6))
    for each in (late, twice):
        approve(kit, each)
        kit.app.sync.payment(JANITOR, each.payment.id)
    seen = [kit.show(each).payment for each in (late, twice)]
    assert [(each.status, each.failure_code) for each in seen] == [
        ("expired", "payment_expired"), ("canceled", "order_paid"),
    ]  # fmt: skip
    assert "complete" not in calls(kit)
    assert taken(kit) == 10_000
    kit.check()


def test_what_is_being_taken_cannot_be_canceled(kit: Kit) -> None:
    result = waiting(kit)
    kit.gateways["cards"].add_script("complete timeout_no_effect")
    approve(kit, result)
    kit.app.sync.payment(JANITOR, result.payment.id)
    with pytest.raises(Conflict, match=r"payment\.being_taken"):
        kit.app.captures.cancel(OPERATOR, result.payment.id, reason="sold out")


def test_what_was_provably_not_taken_can_be_canceled(kit: Kit) -> None:
    result = waiting(kit)
    kit.gateways["cards"].add_script("complete 429")
    approve(kit, result)
    kit.app.sync.payment(JANITOR, result.payment.id)
    done = kit.app.captures.cancel(OPERATOR, result.payment.id, reason="sold out")
    assert done.payment.status == "canceled"
    kit.wait(hours=4)
    assert taken(kit) == 0


def test_an_approved_authorisation_is_captured_as_any_other(kit: Kit) -> None:
    result = waiting(kit, manual_capture=True)
    approve(kit, result)
    kit.app.sync.payment(JANITOR, result.payment.id)
    seen = kit.show(result).payment
    assert (seen.status, seen.authorized_minor, seen.captured_minor) == ("authorized", 10_000, 0)
    done = kit.app.captures.capture(OPERATOR, result.payment.id, key="c1", amount_minor=4_000)
    assert (done.payment.status, taken(kit)) == ("succeeded", 4_000)
    kit.check()


def test_a_gateway_that_drains_still_finishes_what_customers_approved(kit: Kit) -> None:
    result = waiting(kit)
    settings = kit.app.gateway_settings
    settings.set_state(OPERATOR, "cards", "disabled", reason="contract ends")
    approve(kit, result)
    kit.app.sync.payment(JANITOR, result.payment.id)
    assert taken(kit) == 0
    settings.set_state(OPERATOR, "cards", "draining", reason="until friday")
    kit.app.sync.payment(JANITOR, result.payment.id)
    assert taken(kit) == 10_000


def left(kit: Kit) -> list[str]:
    """What the check of approved payments finds."""
    with kit.app.db.read() as tx:
        return [each.detail for each in untaken(kit.clock.now()).run(tx)]


def test_what_stays_approved_is_found_by_the_check_of_the_book(kit: Kit) -> None:
    result, other = waiting(kit), waiting(kit, "k2")
    kit.gateways["cards"].add_script(*["complete timeout_no_effect"] * 3)
    approve(kit, result)
    kit.app.sync.payment(JANITOR, result.payment.id)
    assert kit.show(result).payment.status == "unknown" and left(kit) == []
    kit.clock.advance(UNTAKEN - timedelta(seconds=1))
    assert left(kit) == []
    kit.clock.advance(timedelta(seconds=1))
    [found] = left(kit)
    assert encode("payment", result.payment.id) in found
    assert "approved_taken" in {each.name for each in kit.app.check_ledger().violations}
    approve(kit, other)  # long ago made, just approved
    kit.app.sync.payment(JANITOR, other.payment.id)
    assert len(left(kit)) == 1
    for _ in range(4):
        kit.wait(hours=1)
    assert kit.show(result).payment.status.terminal and left(kit) == []


def test_what_was_approved_and_not_taken_is_said_without_asking(kit: Kit) -> None:
    result = waiting(kit)
    name = encode("payment", result.payment.id)
    told = kit.app.lookup.situation(result.payment.id)
    assert [each.part for each in told.whereabouts.places] == [Part.WAITING]
    assert told.next == (f"payctl payments status {name} --watch",)
    kit.gateways["cards"].add_script("complete 429")
    approve(kit, result)
    kit.app.sync.payment(JANITOR, result.payment.id)
    asked = calls(kit)
    told = kit.app.lookup.situation(result.payment.id)
    assert [each.part for each in told.whereabouts.places] == [Part.APPROVED]
    assert (told.whereabouts.verdict, told.next) == (
        Verdict.WAITING, (f"payctl payments sync {name}",),
    )  # fmt: skip
    assert calls(kit) == asked and taken(kit) == 0
    kit.wait(minutes=5)
    assert taken(kit) == 10_000
    told = kit.app.lookup.situation(result.payment.id)
    assert Part.APPROVED not in [each.part for each in told.whereabouts.places]
