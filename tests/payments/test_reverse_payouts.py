"""Reverse payouts: money goes back to whoever paid where the provider has no refund."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from payctl.db.engine import Database
from payctl.errors import PayctlError, Refused
from payctl.ids import decode
from payctl.insight.advice import about_refund
from payctl.ledger import accounts
from payctl.ledger.model import Draft, cr, dr
from payctl.money import format_money
from payctl.payments import tables as t
from payctl.payments.model import RefundState, Way
from payctl.payments.refunds import RefundResult
from payctl.payments.results import PaymentResult
from tests.payments.kit import APPROVER, JANITOR, OPERATOR, Kit, kinds, make_kit

pytestmark = pytest.mark.integration
PHONE = "+2250708091011"
NO_REFUNDS: dict[str, Any] = {
    "methods": ["mobile_money"], "currencies": ["XOF"], "late_horizon_s": 900, "refunds": "none",
    "query_refunds": False, "payouts": ["msisdn"], "reports_payer": True,
    "payout_limits": {"XOF": [500, 1_000_000]}, "payout_steps": {"XOF": 5},
    "payout_fee_fixed": {"XOF": 150}, "float": {"XOF": 200_000},
}  # fmt: skip


@pytest.fixture
def kit(db: Database, tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(db, tmp_path, {"kiosk": NO_REFUNDS})
    yield made
    made.gateways["kiosk"].close()


def paid(kit: Kit, amount: int = 15_000, **other: Any) -> PaymentResult:
    asked = {"amount_minor": amount, "currency": "XOF", "country": "CI", "method": "mobile_money",
             "phone": PHONE, "preferred": ("kiosk",)}  # fmt: skip
    result = kit.pay(**(asked | other))
    assert result.payment.status == "succeeded"
    return result


def top_up(kit: Kit, amount: int = 200_000, key: str = "1") -> None:
    legs = (dr(accounts.float_("kiosk"), amount, "XOF"), cr(accounts.bank("xof"), amount, "XOF"))
    draft = Draft("float_top_up", f"float_top_up:{key}", legs, "ama")
    kit.app.db.run(lambda tx: kit.app.book.post(tx, draft))


def give_back(
    kit: Kit, result: PaymentResult, amount: int | None = None, key: str = "r1"
) -> RefundResult:
    return kit.app.refunds.create(
        OPERATOR, result.payment.id, key=key, reason="event off", amount_minor=amount
    )


def refused(kit: Kit, result: PaymentResult, amount: int | None = None) -> PayctlError:
    with pytest.raises(Refused) as caught:
        give_back(kit, result, amount, key="refused")
    assert kit.show(result).payment.refund_reserved_minor == 0
    return caught.value


def xof(amount_minor: int) -> str:
    return format_money(amount_minor, "XOF")


def legs(result: RefundResult) -> dict[str, dict[str, int]]:
    return {
        journal.kind: {entry.account: entry.amount_minor for entry in journal.entries}
        for journal in result.journals
    }


def test_the_entries_are_those_of_the_chart(kit: Kit) -> None:
    top_up(kit)
    done = give_back(kit, paid(kit))
    assert (done.refund.state, done.refund.way) == (RefundState.SUCCEEDED, Way.PAYOUT)
    assert legs(done) == {
        "refund_reserved": {
            "wallet:org-1:pending": 14_115, "income:commission:ticket_sale": 750, "vat:CI": 135,
            "refund:kiosk:outgoing": -15_000,
        },
        "refund_paid": {"refund:kiosk:outgoing": 15_000, "gateway:kiosk:float": -15_000},
        "payout_fee": {"expense:payout_fee:kiosk": 150, "gateway:kiosk:float": -150},
    }  # fmt: skip
    gateway = kit.gateways["kiosk"]
    assert gateway.float_minor("XOF") == kit.balance("gateway:kiosk:float", "XOF")
    [sent] = gateway.payouts()
    assert PHONE in sent["destination"]
    kit.check()


def test_a_refusal_for_good_releases_exactly_what_was_set_aside(kit: Kit) -> None:
    top_up(kit)
    result = paid(kit)
    before = {code: kit.balance(code, "XOF") for code in ("wallet:org-1:pending", "vat:CI")}
    kit.gateways["kiosk"].add_script("payout decline_payer_not_found")
    done = give_back(kit, result)
    assert done.refund.state is RefundState.FAILED
    assert done.refund.failure_code == "payer_not_found"
    assert {code: kit.balance(code, "XOF") for code in before} == before
    assert kit.balance("refund:kiosk:outgoing", "XOF") == 0
    kit.check()


def test_amounts_that_cannot_be_paid_out_are_refused_with_those_that_can(kit: Kit) -> None:
    top_up(kit)
    result = paid(kit, 15_003)
    small = refused(kit, result, 400)
    assert (small.code, small.params["smallest"]) == ("refund.payout_too_small", xof(500))
    off = refused(kit, result, 1_002)
    assert off.code == "refund.payout_off_step"
    assert off.params["nearest"] == [xof(1_000), xof(1_005)]
    # The step above lies beyond what was paid.
    assert refused(kit, result).params["nearest"] == [xof(15_000)]
    kit.app.gateway_settings.set_limit(
        OPERATOR, "kiosk", "XOF", min_minor=1_001, max_minor=9_000, reason="their new terms"
    )
    small = refused(kit, result, 1_000)
    assert small.params["smallest"] == xof(1_005)
    assert refused(kit, result, 9_005).params["largest"] == xof(9_000)
    assert give_back(kit, result, 9_000).refund.state is RefundState.SUCCEEDED


def test_only_a_payer_the_provider_named_is_paid(kit: Kit) -> None:
    top_up(kit)
    result = paid(kit)
    with kit.app.db.transaction() as tx:
        tx.execute(t.attempt.update().values(payer=None))
    unknown = refused(kit, result)
    assert unknown.code == "refund.payer_unknown"
    assert decode(str(unknown.params["id"]), "payment") == result.payment.id
    # What the message tells to do helps: the provider is asked once more.
    kit.app.sync.payment(JANITOR, result.payment.id)
    assert give_back(kit, result).refund.state is RefundState.SUCCEEDED

    by_mail = paid(kit, key="k2", phone=None)
    assert refused(kit, by_mail).code == "refund.payer_unpayable"


def test_above_its_threshold_a_second_person_approves_it_by_its_own_kind(kit: Kit) -> None:
    top_up(kit)
    asked = give_back(kit, paid(kit, 150_000))
    assert asked.refund.state is RefundState.AWAITING_APPROVAL
    assert asked.approval_id is not None
    approval = kit.app.approvals.get(asked.approval_id)
    assert approval.kind == "reverse_payout"
    assert approval.content["destination"] == "msisdn +225 07 ** ** 11"
    assert PHONE not in str(approval)
    approval = kit.app.approvals.approve(APPROVER, asked.approval_id, "known customer")
    kit.app.after_approval[approval.kind](APPROVER, approval)
    assert kit.app.refunds.get(asked.refund.id).refund.state is RefundState.SUCCEEDED


@pytest.mark.parametrize("where", ["our books", "the provider"])
def test_without_float_it_waits_and_goes_when_there_is_some(kit: Kit, where: str) -> None:
    gateway = kit.gateways["kiosk"]
    if where == "the provider":
        top_up(kit)
        gateway.top_up("XOF", -200_000)
    result = paid(kit)
    waiting = give_back(kit, result).refund
    assert (waiting.state, waiting.failure_code) == (RefundState.APPROVED, "insufficient_float")
    assert any("gateway:kiosk:float:XOF" in line for line in about_refund(waiting))
    assert gateway.payouts() == []
    kit.check()
    kit.wait(minutes=16)
    assert kit.app.refunds.get(waiting.id).refund.state is RefundState.APPROVED
    top_up(kit, key="2") if where == "our books" else gateway.top_up("XOF", 200_000)
    kit.wait(minutes=16)
    done = kit.app.refunds.get(waiting.id).refund
    assert (done.state, done.failure_code) == (RefundState.SUCCEEDED, None)
    assert len(gateway.payouts()) == 1
    kit.check()


def test_what_may_be_leaving_is_no_float_for_others(kit: Kit) -> None:
    top_up(kit, 20_000)
    one, other = paid(kit), paid(kit, key="k2")
    kit.gateways["kiosk"].add_script("payout lost_answer")
    first = give_back(kit, one)
    second = give_back(kit, other, key="r2")
    assert first.refund.state is RefundState.UNKNOWN
    assert second.refund.failure_code == "insufficient_float"


def test_an_unknown_payout_is_neither_released_nor_sent_anew(kit: Kit) -> None:
    """A day long nothing is believed, whatever the provider does not find."""
    top_up(kit)
    gateway = kit.gateways["kiosk"]
    result = paid(kit, token="tok_query_not_found:80000")
    gateway.add_script("payout late:50000")
    unknown = give_back(kit, result)
    [attempt] = unknown.attempts
    for _ in range(20):
        kit.wait(hours=1)
    seen = kit.app.refunds.get(unknown.refund.id)
    assert [each.our_reference for each in seen.attempts] == [attempt.our_reference]
    assert len(gateway.payouts()) <= 1
    assert kit.balance("refund:kiosk:outgoing", "XOF") in (0, 15_000)
    kit.wait(hours=24)
    seen = kit.app.refunds.get(unknown.refund.id)
    assert (seen.refund.state, len(seen.attempts)) == (RefundState.SUCCEEDED, 1)
    kit.check()


def test_a_returned_payout_is_reversed_with_a_case_and_can_be_sent_again(kit: Kit) -> None:
    top_up(kit)
    gateway = kit.gateways["kiosk"]
    done = give_back(kit, paid(kit))
    gateway.payee_acts(done.attempts[0].our_reference, "returned")
    for body, headers in gateway.deliveries():
        kit.app.inbox.receive("kiosk", body, headers)
    kit.app.inbox.apply(JANITOR)
    seen = kit.app.refunds.get(done.refund.id).refund
    assert seen.state is RefundState.REVERSED
    assert [case.kind for case in kit.app.cases.list()] == ["refund_failed_later"]
    assert kit.balance("refund:kiosk:outgoing", "XOF") == 15_000
    assert gateway.float_minor("XOF") == kit.balance("gateway:kiosk:float", "XOF")
    kit.check()
    again = kit.app.refunds.retry(OPERATOR, done.refund.id, reason="number works again")
    assert again.refund.state is RefundState.SUCCEEDED
    assert [each.state for each in again.attempts] == ["voided", "succeeded"]
    assert kit.app.cases.list() == []
    kit.check()


def test_money_nobody_ordered_goes_back_to_its_payer_too(kit: Kit) -> None:
    top_up(kit)
    kit.pay(token="tok_wrong_amount:500", amount_minor=15_000, currency="XOF", country="CI",
            method="mobile_money", phone=PHONE, preferred=("kiosk",))  # fmt: skip
    [case] = kit.app.cases.list()
    proposed = decode(str(case.detail["proposed_refund"]), "refund")
    done = kit.app.refunds.send(OPERATOR, proposed)
    assert (done.refund.state, done.refund.way) == (RefundState.SUCCEEDED, Way.PAYOUT)
    assert kinds(done.journals) == ["refund_reserved", "refund_paid", "payout_fee"]
    assert kit.balance("unapplied:kiosk", "XOF") == 0
    kit.check()


def test_a_dry_run_shows_the_payout_and_sends_nothing(kit: Kit) -> None:
    top_up(kit)
    result = paid(kit)
    shown = kit.app.refunds.rehearse(OPERATOR, result.payment.id, key="none", reason="event off")
    assert (shown.refund.way, kinds(shown.journals)) == (
        Way.PAYOUT, ["refund_reserved", "refund_paid"],
    )  # fmt: skip
    assert kit.gateways["kiosk"].payouts() == []
    assert kit.show(result).payment.refund_reserved_minor == 0
