"""The sandbox's payouts and approvals: what each word does, and what it does to the float."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from payctl.clock import ManualClock
from payctl.gateways.base import Answer, Destination, PayoutRequest, Reference
from payctl.gateways.sandbox import SandboxGateway
from tests.gateways.harnesses import sandbox
from tests.gateways.sandbox_calls import ask, pay, taken

pytestmark = pytest.mark.gateways
ABOUT = Reference(our_reference="att_a")


@pytest.fixture
def paying(tmp_path: Path, clock: ManualClock) -> Iterator[SandboxGateway]:
    gateway = sandbox(
        tmp_path, clock, payouts=["msisdn"], float={"EUR": 10_000}, payout_fee_fixed={"EUR": 30},
        payout_fee_ppm=10_000,
    )  # fmt: skip
    yield gateway
    gateway.close()


def send(gateway: SandboxGateway, word: str = "", name: str = "a", amount: int = 5_000) -> Answer:
    payee = Destination("msisdn", "+2250708091011", f"tok_payout_{word}" if word else "")
    return gateway.create_payout(PayoutRequest(f"out_{name}", f"key_{name}", amount, "EUR", payee))


#: word, answer, then a question 100 s later, and what is left of a float of 10000 (fee: 80)
PAYOUTS = [
    ("", "succeeded", "succeeded", 4_920),
    ("pending:20", "pending", "succeeded", 4_920),
    ("pending_fail:20", "pending", "declined", 10_000),
    ("returned:20", "succeeded", "canceled", 9_920),
    ("decline_payer_not_found", "declined", "not_found", 10_000),
    ("lost_answer", "unknown", "succeeded", 4_920),
    ("timeout_no_effect", "unknown", "not_found", 10_000),
    ("late:20", "unknown", "succeeded", 4_920),
]


@pytest.mark.parametrize(("word", "first", "later", "left"), PAYOUTS, ids=[w[0] for w in PAYOUTS])
def test_each_word_pays_what_its_table_says(
    paying: SandboxGateway, clock: ManualClock, word: str, first: str, later: str, left: int
) -> None:
    assert send(paying, word).outcome == first
    clock.advance(timedelta(seconds=100))
    answer = paying.query_payout(Reference(our_reference="out_a"))
    assert (answer.outcome, paying.float_minor("EUR")) == (later, left)
    if later == "succeeded":
        assert answer.fee is not None
        assert answer.fee.amount_minor == 80


def test_the_float_is_never_overdrawn(paying: SandboxGateway) -> None:
    assert send(paying, amount=9_900).code == "insufficient_funds"  # the fee would be too much
    assert send(paying, amount=9_800, name="b").outcome == "succeeded"
    assert send(paying, amount=100, name="c").code == "insufficient_funds"
    paying.top_up("EUR", 200)
    assert send(paying, amount=100, name="d").outcome == "succeeded"
    [line] = paying.balance()
    assert (line.part, line.available_minor) == ("float", paying.float_minor("EUR"))


@pytest.mark.parametrize(
    ("word", "outcome", "money"),
    [
        ("", "succeeded", 2_500),
        ("complete_pending:20", "pending", 2_500),
        ("complete_decline_insufficient_funds", "declined", 0),
        ("complete_lost_answer", "unknown", 2_500),
        ("complete_late:20", "unknown", 2_500),
    ],
)
def test_an_approved_payment_is_taken_once(
    tmp_path: Path, clock: ManualClock, word: str, outcome: str, money: int
) -> None:
    gateway = sandbox(tmp_path, clock)
    pay(gateway, "a", f"tok_approval tok_{word}" if word else "tok_approval")
    assert gateway.customer_acts("att_a")
    assert (ask(gateway, "a").outcome, taken(gateway)) == ("approved", 0)
    assert gateway.complete_payment(ABOUT, "k1").outcome == outcome
    clock.advance(timedelta(seconds=30))
    gateway.complete_payment(ABOUT, "another key")
    assert taken(gateway) == money
    gateway.close()


def test_an_approval_that_nobody_completes_runs_out(tmp_path: Path, clock: ManualClock) -> None:
    gateway = sandbox(tmp_path, clock)
    pay(gateway, "a", "tok_approval:10")
    assert gateway.complete_payment(ABOUT, "early").code == "not_approved"
    clock.advance(timedelta(seconds=11))
    assert ask(gateway, "a").outcome == "approved"
    clock.advance(timedelta(hours=3))
    assert ask(gateway, "a").outcome == "expired"
    assert gateway.complete_payment(ABOUT, "late").outcome == "rejected"
    assert taken(gateway) == 0
    gateway.close()
