"""PayPal's disputes through the services, over real HTTP: the entries are those of any dispute, and
at every moment our books say what PayPal's balance says.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from payctl.db.engine import Database
from payctl.errors import Conflict, OutcomeOpen
from payctl.gateways.disputes import DisputeStatus
from payctl.testing.emulators.paypal_disputes import CHARGEBACK_FEE, DISPUTE_FEE
from tests.payments.kit import JANITOR, OPERATOR
from tests.payments.paypal_desk import PaypalDesk, open_desk

pytestmark = pytest.mark.gateways
OWNER = ("wallet:org-1:pending", "wallet:org-1:disputed", "owed:org-1")
OURS = ("income:commission:ticket_sale", "vat:FR")
TAKEN = ("dispute:pp", "expense:dispute_fee:pp")


@pytest.fixture
def desk(db: Database, tmp_path: Path) -> Iterator[PaypalDesk]:
    with open_desk(db, tmp_path) as desk:
        yield desk


def test_an_opened_dispute_freezes_the_owner_s_part_before_any_money_moves(
    desk: PaypalDesk,
) -> None:
    desk.contested(desk.pay())
    assert desk.hear() == "applied"
    found = desk.one()
    assert (found.status, found.withdrawn_minor, found.frozen_minor, found.reason) == (
        DisputeStatus.NEEDS_RESPONSE, 0, 9_400, "fraudulent",
    )  # fmt: skip
    assert desk.amounts(*OWNER, *OURS, *TAKEN) == [0, 9_400, 0, 500, 100, 0, 0]
    [case] = desk.cases()
    assert found.respond_by == desk.kit.clock.now().replace(microsecond=0) + timedelta(days=10)
    assert case.detail["respond_by"] == found.respond_by.isoformat()
    assert desk.agrees()
    desk.kit.check()


def test_a_chargeback_takes_the_money_and_a_fee_at_once(desk: PaypalDesk) -> None:
    desk.contested(desk.pay(), external=True)
    desk.hear()
    assert desk.amounts(*OWNER, *TAKEN) == [0, 9_400, 0, 10_000, CHARGEBACK_FEE]
    assert desk.agrees()
    desk.kit.check()


@pytest.mark.parametrize("as_seen", [False, True])
def test_lost(desk: PaypalDesk, as_seen: bool) -> None:
    desk.theirs.as_seen = as_seen
    reference = desk.contested(desk.pay())
    desk.hear()
    desk.theirs.decide(reference, "RESOLVED_BUYER_FAVOUR")
    assert desk.hear() == "applied"
    found = desk.one()
    assert (found.status, found.settled, found.lost_minor) == (DisputeStatus.LOST, True, 10_000)
    assert desk.amounts(*OWNER, *OURS, *TAKEN) == [0, 0, 0, 0, 0, 0, DISPUTE_FEE]
    assert desk.agrees() and desk.cases() == []
    desk.kit.check()


@pytest.mark.parametrize(
    ("outcome", "status", "as_seen"),
    [("RESOLVED_SELLER_FAVOUR", "won", True), ("CANCELED_BY_BUYER", "closed", False)],
)
def test_won(desk: PaypalDesk, outcome: str, status: str, as_seen: bool) -> None:
    desk.theirs.as_seen = as_seen
    reference = desk.contested(desk.pay())
    desk.hear()
    desk.theirs.decide(reference, outcome)
    desk.hear()
    assert (desk.one().status, desk.one().settled) == (status, True)
    assert desk.amounts(*OWNER, "wallet:org-1:available", *OURS, *TAKEN) == [
        0, 0, 0, 9_400, 500, 100, 0, 0,
    ]  # fmt: skip
    assert desk.agrees() and desk.cases() == []
    desk.kit.check()


def test_a_chargeback_that_is_won_brings_the_money_back_later(desk: PaypalDesk) -> None:
    reference = desk.contested(desk.pay(), external=True)
    desk.hear()
    desk.theirs.decide(reference, "RESOLVED_SELLER_FAVOUR", tell_money=False)
    desk.hear()
    assert (desk.one().status, desk.one().settled) == (DisputeStatus.WON, False)
    assert desk.amounts("dispute:pp", "wallet:org-1:available") == [10_000, 9_400]
    desk.theirs.move(reference, 10_000)
    desk.theirs.charge(reference, -CHARGEBACK_FEE, "CHARGEBACK_FEE")
    desk.kit.clock.advance(timedelta(hours=7))
    desk.kit.app.disputes.sync(JANITOR)
    assert (desk.one().settled, *desk.amounts(*TAKEN)) == (True, 0, 0)
    assert desk.agrees() and desk.cases("dispute_changed") == []


def test_a_decision_for_the_customer_counts_when_the_money_is_told(desk: PaypalDesk) -> None:
    reference = desk.contested(desk.pay())
    desk.hear()
    desk.theirs.decide(reference, "RESOLVED_BUYER_FAVOUR", tell_money=False)
    outcome = desk.harness.provider.books.disputes[reference]["dispute_outcome"]
    told = outcome.pop("amount_refunded")
    desk.hear()
    assert (desk.one().status, desk.one().frozen_minor) == (DisputeStatus.UNDER_REVIEW, 9_400)
    outcome["amount_refunded"] = told
    desk.kit.clock.advance(timedelta(hours=7))
    desk.kit.app.disputes.sync(JANITOR)
    assert (desk.one().status, desk.one().lost_minor) == (DisputeStatus.LOST, 10_000)
    desk.kit.check()


def test_a_part_and_less_than_was_held(desk: PaypalDesk) -> None:
    paid = desk.pay()
    reference = desk.contested(paid, 6_000)
    desk.hear()
    assert desk.amounts(*OWNER) == [9_400 - 5_640, 5_640, 0]
    desk.theirs.decide(reference, "RESOLVED_BUYER_FAVOUR", 3_333)
    desk.hear()
    assert desk.one().lost_minor == 3_333
    assert desk.kit.balance("income:commission:ticket_sale") == 500 - 167
    assert desk.agrees()
    desk.kit.check()
    desk.kit.app.refunds.create(OPERATOR, paid.payment.id, key="r", reason="x", amount_minor=6_667)
    assert desk.amounts(*OWNER, *OURS) == [0, 0, 0, 0, 0]
    desk.kit.check()


def test_held_after_a_refund_freezes_no_more_than_is_left(desk: PaypalDesk) -> None:
    paid = desk.pay()
    desk.kit.app.refunds.create(OPERATOR, paid.payment.id, key="r", reason="x", amount_minor=4_000)
    reference = desk.contested(paid)
    desk.hear()
    assert desk.one().frozen_minor == 5_640
    desk.theirs.decide(reference, "RESOLVED_SELLER_FAVOUR")
    desk.hear()
    assert desk.amounts("wallet:org-1:disputed", "wallet:org-1:available") == [0, 5_640]
    desk.kit.check()


def test_an_inquiry_that_becomes_a_claim(desk: PaypalDesk) -> None:
    reference = desk.contested(desk.pay(), inquiry=True)
    desk.hear()
    assert (desk.one().status, *desk.amounts(*OWNER)) == (DisputeStatus.INQUIRY, 9_400, 0, 0)
    desk.theirs.escalate(reference)
    desk.hear()
    assert (desk.one().status, *desk.amounts(*OWNER)) == (
        DisputeStatus.NEEDS_RESPONSE, 0, 9_400, 0,
    )  # fmt: skip
    desk.kit.check()


def test_news_in_any_order_and_twice_end_where_paypal_is(desk: PaypalDesk) -> None:
    reference = desk.contested(desk.pay())
    desk.theirs.decide(reference, "RESOLVED_BUYER_FAVOUR")
    first, last = desk.events()
    assert [desk.hear(each) for each in (last, first, last, first)] == [
        "applied", "nothing_new", "nothing_new", "nothing_new",
    ]  # fmt: skip
    assert desk.amounts(*OWNER, *OURS, *TAKEN) == [0, 0, 0, 0, 0, 0, DISPUTE_FEE]
    assert desk.agrees()
    desk.kit.check()


def test_accepting_loses_it_at_once(desk: PaypalDesk) -> None:
    desk.theirs.as_seen = True
    desk.contested(desk.pay())
    desk.hear()
    done = desk.kit.app.disputes.accept(OPERATOR, desk.one().id, reason="called off")
    assert (done.dispute.status, done.dispute.responded_by) == (DisputeStatus.LOST, "ama")
    assert desk.amounts(*OWNER, *OURS, *TAKEN) == [0, 0, 0, 0, 0, 0, 0]
    assert desk.agrees()
    desk.kit.check()


@pytest.mark.parametrize("fault", ["drop_after", "html_after", "drop"])
def test_an_acceptance_whose_answer_is_lost_is_asked_about(desk: PaypalDesk, fault: str) -> None:
    desk.contested(desk.pay())
    desk.hear()
    desk.harness.provider.fault(fault, "dispute.accept")
    disputes, name = desk.kit.app.disputes, desk.one().id
    if fault == "html_after":  # a 200 is a yes, whatever its words
        assert disputes.accept(OPERATOR, name, reason="x").dispute.status is DisputeStatus.LOST
        return
    with pytest.raises(OutcomeOpen):
        disputes.accept(OPERATOR, name, reason="x")
    assert desk.amounts("dispute:pp", "wallet:org-1:disputed") == [0, 9_400]
    with pytest.raises(Conflict):  # the other answer may not be given meanwhile
        disputes.contest(OPERATOR, name, text="no")
    desk.kit.clock.advance(timedelta(seconds=1))
    disputes.sync(JANITOR)
    if fault == "drop":  # it never arrived: the same answer again
        assert desk.one().status is DisputeStatus.NEEDS_RESPONSE
        disputes.accept(OPERATOR, name, reason="x")
    assert (desk.one().status, desk.one().lost_minor) == (DisputeStatus.LOST, 10_000)
    given = [each for each in desk.harness.provider.requests if each.path.endswith("accept-claim")]
    assert len(given) == (2 if fault == "drop" else 1)
    assert desk.agrees()
    desk.kit.check()
