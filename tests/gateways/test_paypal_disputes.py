"""What PayPal's disputes mean, read from its answers; the exchanges are in the services' tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from payctl.gateways.base import Fee, Outcome, Reference, RejectKind
from payctl.gateways.disputes import DisputeResponse, DisputeStatus
from payctl.gateways.paypal_disputes import read_dispute
from payctl.gateways.paypal_evidence import contested
from payctl.testing.emulators.core import Request
from payctl.testing.emulators.paypal_disputes import parts_of
from tests.gateways.paypal_calls import captured
from tests.gateways.paypal_harness import PaypalHarness

pytestmark = pytest.mark.gateways


@pytest.fixture
def paypal() -> Iterator[PaypalHarness]:
    harness = PaypalHarness()
    yield harness
    harness.close()


def dispute(**changes: Any) -> dict[str, Any]:
    made = {
        "dispute_id": "PP-R-1", "status": "UNDER_REVIEW", "reason": "OTHER",
        "dispute_life_cycle_stage": "CHARGEBACK",
        "dispute_amount": {"currency_code": "EUR", "value": "25.00"},
        "disputed_transactions": [{"seller_transaction_id": "CAP", "custom": "att_1"}],
    }  # fmt: skip
    return made | changes


def move(reason: str, value: str, kind: str = "DEBIT", **more: Any) -> dict[str, Any]:
    made = {"affected_party": "SELLER", "reason": reason, "type": kind,
            "amount": {"currency_code": "EUR", "value": value}}  # fmt: skip
    return made | more


def ended(code: str, *moves: dict[str, Any], **outcome: Any) -> dict[str, Any]:
    about = {"status": "RESOLVED", "dispute_outcome": {"outcome_code": code, **outcome}}
    return dispute(**about, **({"money_movements": list(moves)} if moves else {}))


REFUNDED = {"amount_refunded": {"currency_code": "EUR", "value": "10.00"}}
SETTLED = move("DISPUTE_SETTLEMENT", "25.00")
BUYER = move("DISPUTE_SETTLEMENT", "25.00", "CREDIT", affected_party="BUYER")


@pytest.mark.parametrize(
    ("data", "status", "withdrawn", "held"),
    [
        (dispute(), "under_review", 0, 2500),
        (dispute(status="OPEN"), "needs_response", 0, 2500),
        (dispute(status="WAITING_FOR_SELLER_RESPONSE"), "needs_response", 0, 2500),
        (dispute(status="WAITING_FOR_SELLER_RESPONSE", dispute_life_cycle_stage="INQUIRY"),
         "inquiry", 0, 0),
        (dispute(status="UNDER_REVIEW", dispute_life_cycle_stage="INQUIRY"), "under_review", 0, 0),
        (dispute(status="SOMETHING_NEW"), "under_review", 0, 2500),
        (dispute(money_movements=[SETTLED]), "under_review", 2500, 0),
        (dispute(fund_movements=[move("HOLD_PLACED", "20.00", affected_party="RECEIVER")]),
         "under_review", 0, 2000),
        (dispute(fund_movements=[move("HOLD_PLACED", "20.00"),
                                 move("HOLD_RELEASED", "20.00", "CREDIT")]),
         "under_review", 0, 0),
        (ended("RESOLVED_BUYER_FAVOUR", SETTLED, BUYER), "lost", 2500, 0),
        (ended("RESOLVED_BUYER_FAVOUR", move("HOLD_PLACED", "20.00"), **REFUNDED),
         "lost", 1000, 0),
        (ended("RESOLVED_BUYER_FAVOUR", BUYER, **REFUNDED), "closed", 0, 0),
        (ended("RESOLVED_BUYER_FAVOUR", **REFUNDED), "lost", 1000, 0),
        (ended("ACCEPTED"), "under_review", 0, 2500),
        (ended("RESOLVED_SELLER_FAVOUR", SETTLED), "won", 2500, 0),
        (ended("RESOLVED_SELLER_FAVOUR", SETTLED, move("DISPUTE_SETTLEMENT", "25.00", "CREDIT")),
         "won", 0, 0),
        (ended("RESOLVED_IN_A_NEW_WAY", SETTLED), "under_review", 2500, 0),
        (dispute(status="RESOLVED"), "closed", 0, 0),
        (dispute(status="RESOLVED", money_movements=[SETTLED]), "under_review", 2500, 0),
        (dispute(money_movements=[move("DISPUTE_SETTLEMENT", "30.00") | {
            "amount": {"currency_code": "USD", "value": "30.00"}}]), "under_review", 2500, 0),
    ],
)  # fmt: skip
def test_what_a_dispute_says_of_the_money(
    data: dict[str, Any], status: str, withdrawn: int, held: int
) -> None:
    read, _capture = read_dispute(data)
    assert (read.status, read.withdrawn_minor, read.held_minor) == (status, withdrawn, held)


def test_every_fee_has_a_name_of_its_own() -> None:
    read, _capture = read_dispute(
        dispute(money_movements=[
            move("DISPUTE_FEE", "15.00", initiated_time="2026-10-02T15:37:35Z"),
            move("CHARGEBACK_FEE", "8.00", initiated_time="2026-10-02T15:37:35Z"),
            move("CHARGEBACK_FEE", "8.00", "CREDIT", initiated_time="2026-10-02T15:37:35Z"),
            move("DISPUTE_FEE", "15.00", affected_party="BUYER"),
        ])
    )  # fmt: skip
    assert read.fees == (
        Fee(1500, "EUR", "PP-R-1:DISPUTE_FEE:DEBIT:2026-10-02T15:37:35Z"),
        Fee(800, "EUR", "PP-R-1:CHARGEBACK_FEE:DEBIT:2026-10-02T15:37:35Z"),
        Fee(-800, "EUR", "PP-R-1:CHARGEBACK_FEE:CREDIT:2026-10-02T15:37:35Z"),
    )


@pytest.mark.parametrize(
    "broken",
    [{"dispute_amount": None}, {"dispute_amount": {"value": "1"}}, {"status": None},
     {"seller_response_due_date": "soon"}, {"money_movements": [{"affected_party": "SELLER"}]},
     {"dispute_outcome": "lost", "status": "RESOLVED"}, {"disputed_transactions": ["x"]}],
)  # fmt: skip
def test_what_is_no_dispute_is_unknown(paypal: PaypalHarness, broken: dict[str, Any]) -> None:
    case = paypal.provider.disputes.open(captured(paypal, "a"))
    held = paypal.provider.books.disputes[case]
    held |= {name: part for name, part in broken.items() if name != "money_movements"}
    if "money_movements" in broken:
        held["fund_movements"] = broken["money_movements"]
    answer = paypal.gateway.query_dispute(case, 5.0)
    if "status" in broken and broken["status"] is None:
        # A status nobody knows is under review until somebody has looked it up.
        assert answer.dispute is not None and answer.dispute.status is DisputeStatus.UNDER_REVIEW
        return
    assert (answer.outcome, answer.dispute) == (Outcome.UNKNOWN, None)


def test_which_payment_it_is_of(paypal: PaypalHarness) -> None:
    theirs, capture = paypal.provider.disputes, captured(paypal, "a")
    order = next(iter(paypal.provider.books.orders))
    told = paypal.gateway.query_dispute(theirs.open(capture), 5.0).dispute
    assert told is not None and told.payment == Reference("att_a", capture)
    bare = paypal.gateway.query_dispute(theirs.open(capture, names_us=False), 5.0).dispute
    assert bare is not None and bare.payment == Reference("att_a", order)
    case = theirs.open(capture, names_us=False)
    paypal.provider.fault("503", "capture.get")
    assert paypal.gateway.query_dispute(case, 5.0).dispute is None


def test_a_long_list_is_read_page_by_page_and_a_broken_one_says_so(paypal: PaypalHarness) -> None:
    capture = captured(paypal, "a")
    cases = [paypal.provider.disputes.open(capture, 10) for _ in range(60)]
    since = paypal.now() - timedelta(days=1)
    found = [each.dispute.reference for each in paypal.gateway.list_disputes(since) if each.dispute]
    assert found == cases[::-1]
    assert list(paypal.gateway.list_disputes(paypal.now() + timedelta(days=1))) == []
    for operation in ("dispute.list", "dispute.get"):
        paypal.provider.fault("503", operation, after=1)
        *_whole, last = paypal.gateway.list_disputes(since)
        assert (last.outcome, last.dispute) == (Outcome.UNKNOWN, None)


@pytest.mark.parametrize(
    ("fault", "operation", "outcome"),
    [("503", "dispute.get", "not_sent"), ("429", "dispute.get", "rejected"),
     ("403", "dispute.accept", "rejected"), ("429", "dispute.accept", "rejected"),
     ("drop", "dispute.accept", "unknown"), ("500", "dispute.accept", "unknown"),
     ("issue:ACTION_NOT_ALLOWED_IN_CURRENT_DISPUTE_STATE", "dispute.accept", "rejected")],
)  # fmt: skip
def test_an_answer_that_fails_says_what_it_proves(
    paypal: PaypalHarness, fault: str, operation: str, outcome: str
) -> None:
    case = paypal.provider.disputes.open(captured(paypal, "a"))
    paypal.provider.fault(fault, operation)
    answer = paypal.gateway.respond_to_dispute(DisputeResponse(case, "k", accept=True))
    assert (answer.outcome, answer.dispute) == (outcome, None)


def test_too_much_text_for_what_paypal_reviews_already(paypal: PaypalHarness) -> None:
    case = paypal.provider.disputes.open(captured(paypal, "a"))
    gateway = paypal.gateway
    assert gateway.respond_to_dispute(DisputeResponse(case, "k", accept=False, text="a")).dispute
    long = gateway.respond_to_dispute(DisputeResponse(case, "k", accept=False, text="b" * 2001))
    assert (long.code, long.reject) == ("text_too_long", RejectKind.VALIDATION)


@pytest.mark.parametrize("name", ['../../etc/a"b.pdf', "Billet d'entrée.PDF", ".pdf", "a.b.pdf"])
def test_a_file_s_name_cannot_break_out_of_its_part(name: str) -> None:
    content = b"%PDF\r\n--payctl\r\nContent-Disposition: x\r\n\r\n"
    response = DisputeResponse("PP-R-1", "k", accept=False, text="é", file_name=name, file=content)
    body, kind = contested(response, asked=True)
    assert (body, kind) == contested(response, asked=True)
    said, file = parts_of(Request("POST", "/", {}, {"content-type": kind}, body))
    assert said.content == b'{"evidences": [{"evidence_type": "OTHER", "notes": "\xc3\xa9"}]}'
    assert file.content == content and file.content_type == "application/pdf"
    assert file.file_name is not None and '"' not in file.file_name and "/" not in file.file_name


def test_the_record_keeps_no_file(paypal: PaypalHarness) -> None:
    case = paypal.provider.disputes.open(captured(paypal, "a"))
    paypal.provider.fault("503_after", "dispute.evidence")
    answer = paypal.gateway.respond_to_dispute(
        DisputeResponse(
            case, "k", accept=False, text="t", file_name="a.pdf", file=b"private papers"
        )
    )
    assert "private" not in str(answer.exchange)
    assert str(answer.exchange["request"]).startswith("[multipart, ")


def test_an_account_may_be_told_to_leave_disputes_alone(paypal: PaypalHarness) -> None:
    assert paypal.gateway.capabilities.disputes
    assert not paypal.build(paypal.server.url, disputes=False).capabilities.disputes
