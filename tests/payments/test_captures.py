"""Authorised payments: several captures, release, and what is not known of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from payctl.errors import Conflict
from payctl.payments.model import PaymentStatus
from tests.payments.kit import OPERATOR, Kit, states

pytestmark = pytest.mark.integration


def authorize(kit: Kit, token: str | None = None) -> object:
    result = kit.pay(token=token, manual_capture=True)
    assert result.payment.status is PaymentStatus.AUTHORIZED
    assert kit.our_totals() == {}
    return result.payment.id


def capture(kit: Kit, payment_id: object, amount: int | None, key: str, final: bool = False):  # type: ignore[no-untyped-def]
    return kit.app.captures.capture(OPERATOR, payment_id, key=key, amount_minor=amount, final=final)


def test_several_captures_share_out_like_one(kit: Kit) -> None:
    payment_id = authorize(kit)
    assert capture(kit, payment_id, 3333, "c1").payment.status is PaymentStatus.AUTHORIZED
    capture(kit, payment_id, 3333, "c2")
    done = capture(kit, payment_id, 3334, "c3")
    assert done.payment.status is PaymentStatus.SUCCEEDED
    assert [part.amount_minor for part in done.captures] == [3333, 3333, 3334]
    assert kit.balance("wallet:org-1:pending") == 9400
    assert kit.balance("income:commission:ticket_sale") == 500
    assert kit.our_totals() == kit.provider_totals()
    kit.check()
    told = [
        (each.type, each.data["captured_minor"])
        for each in kit.app.outbox.list(object_id=payment_id)
    ]  # type: ignore[arg-type]
    assert told[1:] == [
        ("payment.authorized", 0), ("payment.authorized", 3333), ("payment.authorized", 6666),
        ("payment.succeeded", 10000),
    ]  # fmt: skip


def test_a_final_capture_of_a_part_ends_the_payment(kit: Kit) -> None:
    payment_id = authorize(kit)
    done = capture(kit, payment_id, 4000, "c1", final=True)
    assert done.payment.status is PaymentStatus.SUCCEEDED
    assert done.payment.captured_minor == 4000
    assert states(done) == ["succeeded", "succeeded"]
    assert kit.our_totals() == kit.provider_totals()


def test_more_than_is_left_is_refused(kit: Kit) -> None:
    payment_id = authorize(kit)
    capture(kit, payment_id, 9000, "c1")
    with pytest.raises(Conflict, match=r"capture\.too_much"):
        capture(kit, payment_id, 1001, "c2")


def test_a_lost_capture_answer_blocks_the_next_and_is_resolved(kit: Kit) -> None:
    payment_id = authorize(kit, "tok_capture_lost_answer")
    capture(kit, payment_id, 4000, "c1")
    with pytest.raises(Conflict, match=r"capture\.in_progress"):
        capture(kit, payment_id, 1000, "c2")
    replay = capture(kit, payment_id, 4000, "c1")
    assert replay.replayed and replay.payment.captured_minor == 0
    kit.wait(seconds=7)
    assert capture(kit, payment_id, 4000, "c1").payment.captured_minor == 4000
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


@pytest.mark.parametrize("part", [None, 4_000])
def test_a_lost_capture_is_counted_once_when_the_payment_is_asked_first(
    kit: Kit, part: int | None
) -> None:
    """A webhook or an operator asks about the payment, whose answer includes the capture."""
    payment_id = authorize(kit, "tok_capture_lost_answer")
    open_ = kit.app.captures.capture(OPERATOR, payment_id, key="c1", amount_minor=part)
    kit.clock.advance(timedelta(minutes=1))
    kit.app.sync.payment(OPERATOR, payment_id)
    kit.app.sync.payment(OPERATOR, payment_id)
    after = kit.show(open_)
    assert after.payment.status is PaymentStatus.SUCCEEDED
    assert after.payment.captured_minor == (part or 10_000)
    assert states(after) == ["succeeded", "succeeded"]
    assert [each.state for each in after.captures] == ["succeeded"]
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


def test_a_capture_that_never_arrived_is_sent_again_with_its_key(kit: Kit) -> None:
    payment_id = authorize(kit, "tok_capture_timeout_no_effect")
    capture(kit, payment_id, 4000, "c1", final=True)
    kit.wait(seconds=7)
    after = capture(kit, payment_id, 4000, "c1", final=True)
    assert after.payment.status is PaymentStatus.SUCCEEDED and after.payment.captured_minor == 4000
    assert kit.gateways["cards"].totals()["EUR"].captured_minor == 4000
    kit.check()


def test_releasing_an_authorisation_moves_no_money(kit: Kit) -> None:
    payment_id = authorize(kit)
    done = kit.app.captures.cancel(OPERATOR, payment_id, reason="order withdrawn")
    assert done.payment.status is PaymentStatus.CANCELED
    assert kit.our_totals() == {} == kit.provider_totals()
    with pytest.raises(Conflict, match=r"payment\.not_authorized"):
        capture(kit, payment_id, 1, "c1")


def test_releasing_the_rest_keeps_what_was_captured(kit: Kit) -> None:
    payment_id = authorize(kit)
    capture(kit, payment_id, 4000, "c1")
    done = kit.app.captures.cancel(OPERATOR, payment_id, reason="rest not needed")
    assert done.payment.status is PaymentStatus.SUCCEEDED
    assert done.payment.captured_minor == 4000
    kit.check()


def test_a_lost_answer_to_a_release_is_resolved(kit: Kit) -> None:
    payment_id = authorize(kit, "tok_cancel_lost_answer")
    open_ = kit.app.captures.cancel(OPERATOR, payment_id, reason="order withdrawn")
    assert open_.payment.status is PaymentStatus.AUTHORIZED
    kit.wait(seconds=7)
    assert kit.show(open_).payment.status is PaymentStatus.CANCELED


def test_an_open_payment_is_revoked_where_the_provider_can(kit: Kit) -> None:
    waiting = kit.pay(token="tok_3ds")
    done = kit.app.captures.cancel(OPERATOR, waiting.payment.id, reason="customer left")
    assert done.payment.status is PaymentStatus.CANCELED


def test_an_open_payment_cannot_be_cancelled_where_the_provider_cannot(kit: Kit) -> None:
    waiting = kit.pay(token="tok_pending", preferred=("momo",), method="mobile_money")
    with pytest.raises(Conflict, match=r"payment\.not_revocable"):
        kit.app.captures.cancel(OPERATOR, waiting.payment.id, reason="customer left")


def test_a_finished_payment_cannot_be_cancelled(kit: Kit) -> None:
    with pytest.raises(Conflict, match=r"payment\.not_cancelable"):
        kit.app.captures.cancel(OPERATOR, kit.pay().payment.id, reason="too late")
