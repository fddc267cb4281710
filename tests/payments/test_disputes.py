"""Disputes, against the fake of Stripe over real HTTP: every unit is somewhere at every moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from payctl.db.engine import Database
from payctl.errors import Conflict, InvalidInput, NotSent, OutcomeOpen, Refused
from payctl.gateways.disputes import DisputeStatus
from payctl.payments.dispute_records import DisputeFilter
from payctl.testing.stripe_disputes import FEE
from tests.payments.dispute_kit import Desk, open_desk
from tests.payments.kit import JANITOR, OPERATOR

pytestmark = pytest.mark.gateways


@pytest.fixture
def desk(db: Database, tmp_path: Path) -> Iterator[Desk]:
    with open_desk(db, tmp_path) as desk:
        yield desk


OWNER = ("wallet:org-1:pending", "wallet:org-1:disputed", "owed:org-1")
OURS = ("income:commission:ticket_sale", "vat:FR")


def test_a_dispute_takes_the_money_freezes_the_owner_s_part_and_tells_a_person(desk: Desk) -> None:
    paid = desk.pay()
    before = desk.kit.balance("gateway:st:collect")
    assert desk.hear(desk.contested(paid)) == "applied"
    found = desk.one()
    assert (found.status, found.withdrawn_minor, found.frozen_minor) == (
        DisputeStatus.NEEDS_RESPONSE, 10_000, 9_400,
    )  # fmt: skip
    assert desk.amounts("dispute:st", "gateway:st:collect", "expense:dispute_fee:st") == [
        10_000, before - 10_000 - FEE, FEE,
    ]  # fmt: skip
    assert desk.amounts(*OWNER, *OURS) == [0, 9_400, 0, 500, 100]
    [case] = desk.cases()
    assert case.detail["respond_by"] == found.respond_by.isoformat()  # type: ignore[union-attr]
    desk.kit.check()


def test_the_same_news_twice_changes_nothing(desk: Desk) -> None:
    reference = desk.contested(desk.pay())
    desk.hear(reference)
    assert desk.hear(reference) == "nothing_new"
    assert desk.amounts("dispute:st", "expense:dispute_fee:st") == [10_000, FEE]
    assert len(desk.cases()) == 1


def test_won_gives_the_owner_the_money_and_repays_debts_first(desk: Desk) -> None:
    first, second = desk.pay("k1"), desk.pay("k2")
    reference = desk.contested(first)
    desk.hear(reference)
    refund = desk.kit.app.refunds.create(
        OPERATOR, second.payment.id, key="r", reason="x", keep_commission=True
    )
    assert refund.refund.state == "succeeded"
    assert desk.amounts(*OWNER) == [0, 9_400, 600]
    desk.fake.disputes.decide(reference, "won")
    assert desk.hear(reference) == "applied"
    found = desk.one()
    assert (found.status, found.settled, found.frozen_minor) == (DisputeStatus.WON, True, 0)
    assert desk.amounts(*OWNER, "wallet:org-1:available", "dispute:st") == [0, 0, 0, 8_800, 0]
    assert desk.cases() == []
    desk.kit.check()


def test_lost_takes_owner_commission_and_vat(desk: Desk) -> None:
    paid = desk.pay()
    reference = desk.contested(paid)
    desk.hear(reference)
    desk.fake.disputes.decide(reference, "lost")
    desk.hear(reference)
    assert desk.amounts(*OWNER, *OURS, "dispute:st") == [0, 0, 0, 0, 0, 0]
    assert desk.one().settled
    where = desk.kit.app.lookup.situation(paid.payment.id).whereabouts
    assert where.verdict == "returned"
    desk.kit.check()


def test_lost_with_the_commission_kept_is_the_owner_s_loss(desk: Desk) -> None:
    from payctl.payments.disputes import Disputes

    app = desk.kit.app
    app.__dict__["disputes"] = Disputes(
        app.db, app.book, app.gateways, app.cases, app.outbox, keep_commission=True
    )
    reference = desk.contested(desk.pay())
    desk.hear(reference)
    desk.fake.disputes.decide(reference, "lost")
    desk.hear(reference)
    assert desk.amounts(*OWNER, *OURS, "dispute:st") == [0, 0, 600, 500, 100, 0]
    desk.kit.check()


def test_a_partial_loss_and_refunds_end_exactly_at_the_sale(desk: Desk) -> None:
    paid = desk.pay()
    reference = desk.contested(paid, 3_333)
    desk.hear(reference)
    desk.fake.disputes.decide(reference, "lost")
    desk.hear(reference)
    assert desk.kit.balance("income:commission:ticket_sale") == 500 - 167
    desk.kit.app.refunds.create(OPERATOR, paid.payment.id, key="r", reason="x", amount_minor=6_667)
    assert desk.amounts(*OWNER, *OURS) == [0, 0, 0, 0, 0]
    desk.kit.check()


def test_what_is_contested_cannot_be_refunded_beside_it(desk: Desk) -> None:
    paid = desk.pay()
    reference = desk.contested(paid, 4_000)
    desk.hear(reference)
    with pytest.raises(Conflict) as caught:
        desk.kit.app.refunds.create(OPERATOR, paid.payment.id, key="r", reason="x")
    assert caught.value.code == "refund.disputed"
    desk.kit.app.refunds.create(OPERATOR, paid.payment.id, key="r2", reason="x", amount_minor=6_000)
    desk.fake.disputes.decide(reference, "won")
    desk.hear(reference)
    desk.kit.app.refunds.create(OPERATOR, paid.payment.id, key="r3", reason="x", amount_minor=4_000)
    desk.kit.check()


def test_an_inquiry_moves_no_money(desk: Desk) -> None:
    reference = desk.contested(desk.pay(), inquiry=True)
    desk.hear(reference)
    assert desk.amounts(*OWNER, "dispute:st") == [9_400, 0, 0, 0]
    assert desk.one().status is DisputeStatus.INQUIRY
    desk.fake.disputes.decide(reference, "warning_closed")
    desk.hear(reference)
    assert (desk.one().status, desk.one().settled) == (DisputeStatus.CLOSED, True)


def test_won_before_the_money_is_back_is_looked_at_until_it_is(desk: Desk) -> None:
    reference = desk.contested(desk.pay())
    desk.hear(reference)
    desk.fake.disputes.decide(reference, "won", reinstate=False)
    desk.hear(reference)
    found = desk.one()
    assert (found.status, found.settled, desk.kit.balance("dispute:st")) == (
        DisputeStatus.WON, False, 10_000,
    )  # fmt: skip
    desk.kit.check()
    desk.fake.disputes.move(reference, 10_000)
    desk.kit.clock.advance(timedelta(hours=7))
    desk.kit.app.disputes.sync(JANITOR)
    assert (desk.one().settled, desk.kit.balance("dispute:st")) == (True, 0)
    assert desk.cases("dispute_changed") == []


def test_money_that_moves_after_a_loss_is_booked_and_a_person_told(desk: Desk) -> None:
    reference = desk.contested(desk.pay())
    desk.hear(reference)
    desk.fake.disputes.decide(reference, "lost")
    desk.hear(reference)
    desk.fake.disputes.move(reference, 10_000)
    desk.hear(reference)
    assert desk.kit.balance("dispute:st") == -10_000
    assert len(desk.cases("dispute_changed")) == 1
    desk.kit.check()


def test_a_dispute_no_webhook_told_of_is_found_in_the_list(desk: Desk) -> None:
    desk.contested(desk.pay())
    assert desk.kit.app.disputes.sync(JANITOR)["listed"] == 1
    assert desk.one().frozen_minor == 9_400


@pytest.mark.parametrize(("end", "left"), [("lost", [0, 0, 0]), ("won", [9_400, 0, 0])])
def test_a_dispute_that_is_over_when_we_first_hear_of_it(
    desk: Desk, end: str, left: list[int]
) -> None:
    reference = desk.contested(desk.pay())
    desk.fake.disputes.decide(reference, end)
    desk.hear(reference)
    assert desk.amounts("wallet:org-1:pending", "wallet:org-1:available", "dispute:st") == left
    assert desk.one().settled and desk.one().status == end
    desk.kit.check()


def test_a_dispute_of_a_payment_that_is_not_ours_opens_a_case(desk: Desk) -> None:
    paid = desk.pay()
    intent = desk.fake.intents[str(paid.attempts[0].provider_reference)]
    reference = desk.fake.disputes.open({**intent, "id": "pi_of_another_shop"})
    assert desk.hear(reference) == "orphan"
    assert len(desk.cases("dispute_orphan")) == 1


def test_a_dispute_of_a_second_receipt_is_lost_from_where_it_lies(desk: Desk) -> None:
    second = desk.kit.pay("k2", "pm_processing", preferred=("st",), order="o-k1")
    intent = str(second.attempts[0].provider_reference)
    desk.fake.settle(intent, "canceled")
    desk.kit.app.sync.payment(JANITOR, second.payment.id)
    desk.kit.clock.advance(timedelta(hours=1))
    desk.pay("k1")
    desk.fake.settle(intent)
    desk.kit.app.sync.payment(JANITOR, second.payment.id)
    assert desk.kit.balance("unapplied:st") == 10_000
    reference = desk.contested(second)
    desk.hear(reference)
    assert desk.amounts("unapplied:st", "dispute:st") == [10_000, 10_000]
    desk.kit.check()
    desk.fake.disputes.decide(reference, "lost")
    desk.hear(reference)
    assert desk.amounts("unapplied:st", "dispute:st") == [0, 0]
    desk.kit.check()


# -- what we answer --------------------------------------------------------------------------------


def test_evidence_with_a_file_goes_out_once(desk: Desk) -> None:
    reference = desk.contested(desk.pay())
    desk.hear(reference)
    done = desk.kit.app.disputes.contest(
        OPERATOR, desk.one().id, text="scanned at the gate", file_name="scan.pdf", file=b"%PDF-1.7"
    )
    assert done.dispute.status is DisputeStatus.UNDER_REVIEW
    held = desk.fake.disputes.held[reference]["evidence"]
    assert held["uncategorized_text"] == "scanned at the gate"
    assert held["uncategorized_file"] in desk.fake.disputes.files
    assert desk.cases() == []
    with pytest.raises(Conflict) as caught:
        desk.kit.app.disputes.accept(OPERATOR, desk.one().id, reason="no")
    assert caught.value.code == "dispute.answered"


def test_accepting_loses_it_at_once(desk: Desk) -> None:
    reference = desk.contested(desk.pay())
    desk.hear(reference)
    done = desk.kit.app.disputes.accept(OPERATOR, desk.one().id, reason="called off")
    assert (done.dispute.status, done.dispute.responded_by) == (DisputeStatus.LOST, "ama")
    assert desk.amounts(*OWNER, *OURS) == [0, 0, 0, 0, 0]
    with pytest.raises(Conflict) as caught:
        desk.kit.app.disputes.contest(OPERATOR, desk.one().id, text="late")
    assert caught.value.code == "dispute.ended"
    desk.kit.check()


@pytest.mark.parametrize(
    ("fault", "error"), [("drop_after", OutcomeOpen), ("401", Refused), ("429", Refused)]
)
def test_an_answer_that_fails_says_what_became_of_it(
    desk: Desk, fault: str, error: type[Exception]
) -> None:
    reference = desk.contested(desk.pay())
    desk.hear(reference)
    desk.fake.fault(fault, f"/disputes/{reference}")
    with pytest.raises(error):
        desk.kit.app.disputes.contest(OPERATOR, desk.one().id, text="here")
    again = desk.kit.app.disputes
    if error is OutcomeOpen:
        # It had arrived: the next look sees it.
        desk.hear(reference)
        assert desk.one().status is DisputeStatus.UNDER_REVIEW
    else:
        done = again.contest(OPERATOR, desk.one().id, text="here")
        assert done.dispute.status is DisputeStatus.UNDER_REVIEW


def test_an_answer_that_never_left_may_be_another_one(desk: Desk) -> None:
    desk.hear(desk.contested(desk.pay()))
    desk.harness.fields("unreachable")
    app = desk.kit.app
    app.gateways["st"] = desk.harness.gateway
    with pytest.raises(NotSent):
        app.disputes.contest(OPERATOR, desk.one().id, text="here")
    desk.harness.fields("success")
    app.gateways["st"] = desk.harness.gateway
    assert app.disputes.accept(OPERATOR, desk.one().id, reason="x").dispute.settled


def test_evidence_is_looked_at_before_it_is_sent(desk: Desk) -> None:
    desk.hear(desk.contested(desk.pay()))
    disputes, id_ = desk.kit.app.disputes, desk.one().id
    for text, file, code in (
        ("  ", b"", "dispute.evidence_missing"),
        ("x", b"x" * (4 * 1024 * 1024 + 1), "dispute.file_too_large"),
    ):
        with pytest.raises(InvalidInput) as caught:
            disputes.contest(OPERATOR, id_, text=text, file=file)
        assert caught.value.code == code


def test_the_urgent_come_first(desk: Desk) -> None:
    for key in ("k1", "k2"):
        desk.hear(desk.contested(desk.pay(key)))
        desk.kit.clock.advance(timedelta(days=1))
    soon = desk.kit.app.disputes.page(
        DisputeFilter(respond_before=desk.kit.clock.now() + timedelta(days=5, hours=1))
    )
    assert len(soon) == 1
    every = desk.kit.app.disputes.page(
        DisputeFilter(respond_before=datetime.max.replace(tzinfo=UTC))
    )
    assert [each.respond_by for each in every] == sorted(
        each.respond_by for each in every if each.respond_by
    )
