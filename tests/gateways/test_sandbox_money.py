"""The sandbox: keys, captures, cancellations and refunds, in ways of their own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from payctl.clock import ManualClock
from payctl.gateways.base import (
    Answer,
    CaptureRequest,
    Reference,
    RejectKind,
)
from payctl.gateways.sandbox import SandboxGateway
from tests.gateways.harnesses import sandbox
from tests.gateways.sandbox_calls import ask, ask_refund, give_back, pay, taken

pytestmark = pytest.mark.gateways

# --- keys, references, refusals ----------------------------------------------------------------


def test_a_key_is_forgotten_after_its_window(tmp_path: Path, clock: ManualClock) -> None:
    gateway = sandbox(tmp_path, clock, resend_window_s=3600, unique_reference=False)
    pay(gateway, "a")
    clock.advance(timedelta(seconds=3599))
    pay(gateway, "a")
    assert taken(gateway) == 2500
    clock.advance(timedelta(seconds=1))
    pay(gateway, "a")
    assert taken(gateway) == 5000  # as a real provider would: this is what must never be done


def test_a_reference_used_before_exists(gateway: SandboxGateway) -> None:
    first = pay(gateway, "a")
    again = pay(gateway, "a", idempotency_key="another")
    assert (again.outcome, again.provider_reference) == ("exists", first.provider_reference)
    assert taken(gateway) == 2500


def test_only_declared_references_can_be_asked_by(tmp_path: Path, clock: ManualClock) -> None:
    gateway = sandbox(tmp_path, clock, query_by=["provider_reference"])
    answer = pay(gateway, "a")
    assert ask(gateway, "a").code == "not_supported"
    known = Reference(our_reference="nonsense", provider_reference=answer.provider_reference)
    assert gateway.query_payment(known).outcome == "succeeded"


def test_a_status_may_hide_the_amount(tmp_path: Path, clock: ManualClock) -> None:
    gateway = sandbox(tmp_path, clock, status_reports_amount=False)
    pay(gateway, "a", "tok_wrong_amount")
    found = ask(gateway, "a")
    assert (found.outcome, found.amount_minor, found.currency) == ("succeeded", None, None)


def test_fees_come_with_the_capture_or_later(tmp_path: Path, clock: ManualClock) -> None:
    gateway = sandbox(tmp_path, clock, fee_ppm=14_000, fee_fixed={"EUR": 25}, fee_after_s=60)
    assert pay(gateway, "a").fee is None
    clock.advance(timedelta(seconds=60))
    fee = ask(gateway, "a").fee
    assert fee is not None
    assert (fee.amount_minor, fee.currency) == (60, "EUR")
    assert ask(gateway, "a").fee == fee  # the same posting keeps its reference
    assert gateway.balance()[0].available_minor == 2440


# --- capture and cancel ------------------------------------------------------------------------


def capture(gateway: SandboxGateway, nr: str, amount: int, final: bool) -> Answer:
    return gateway.capture_payment(
        CaptureRequest(
            Reference(our_reference="att_m"), f"cap_{nr}", f"key_cap_{nr}", amount, "EUR", final
        )
    )


def test_captures_have_their_own_fees_and_faults(
    gateway: SandboxGateway, clock: ManualClock
) -> None:
    pay(gateway, "m", "tok_capture_lost_answer", manual_capture=True)
    first = capture(gateway, "1", 1000, final=False)
    assert first.outcome == "unknown"
    found = ask(gateway, "m")
    assert (found.outcome, found.captured_minor) == ("authorized", 1000)
    resent = capture(gateway, "1", 1000, final=False)
    assert (resent.outcome, resent.captured_minor) == ("succeeded", 1000)
    clock.advance(timedelta(days=1))
    second = capture(gateway, "2", 400, final=False)
    assert second.outcome == "unknown"
    second = capture(gateway, "2", 400, final=False)
    assert second.captured_minor == 1400
    assert resent.fee is not None and second.fee is not None
    assert resent.fee.reference != second.fee.reference
    clock.advance(timedelta(days=7))
    assert ask(gateway, "m").outcome == "succeeded"  # the rest has lapsed
    capture(gateway, "3", 100, final=True)  # this answer is lost too
    late = capture(gateway, "3", 100, final=True)
    assert (late.outcome, late.reject) == ("rejected", RejectKind.STATE)
    assert taken(gateway) == 1400


def test_an_authorisation_that_nobody_captures_expires(
    gateway: SandboxGateway, clock: ManualClock
) -> None:
    pay(gateway, "m", manual_capture=True)
    clock.advance(timedelta(days=7))
    assert ask(gateway, "m").outcome == "expired"


def test_cancelling_beats_a_customer_who_pays_later(
    gateway: SandboxGateway, clock: ManualClock
) -> None:
    pay(gateway, "a", "tok_3ds:60")
    about = Reference(our_reference="att_a")
    assert gateway.cancel_payment(about, "key_c").outcome == "canceled"
    assert gateway.cancel_payment(about, "key_c2").outcome == "canceled"
    clock.advance(timedelta(seconds=100))
    assert (ask(gateway, "a").outcome, taken(gateway)) == ("canceled", 0)


def test_cancelling_what_has_not_arrived_does_not_stop_it(
    gateway: SandboxGateway, clock: ManualClock
) -> None:
    pay(gateway, "a", "tok_late:90")
    assert gateway.cancel_payment(Reference(our_reference="att_a"), "k").outcome == "not_found"
    clock.advance(timedelta(seconds=90))
    assert ask(gateway, "a").outcome == "succeeded"


# --- refunds -----------------------------------------------------------------------------------

REFUNDS = [
    ("tok_refund_lost_answer", "unknown", "succeeded", "succeeded", 2500),
    ("tok_refund_timeout_no_effect", "unknown", "not_found", "not_found", 0),
    ("tok_refund_late:90", "unknown", "not_found", "succeeded", 2500),
    ("tok_refund_pending:60", "pending", "pending", "succeeded", 2500),
    ("tok_refund_pending_fail:60", "pending", "pending", "declined", 0),
    ("tok_refund_fails_later:60", "succeeded", "succeeded", "declined", 0),
    ("tok_refund_decline_not_permitted", "declined", "not_found", "not_found", 0),
    ("tok_refund_not_sent", "not_sent", "not_found", "not_found", 0),
    ("tok_refund_5xx_effect", "unknown", "succeeded", "succeeded", 2500),
]


@pytest.mark.parametrize(
    ("token", "first", "asked", "later", "money"), REFUNDS, ids=[r[0] for r in REFUNDS]
)
def test_refunds_fail_in_ways_of_their_own(
    gateway: SandboxGateway,
    clock: ManualClock,
    token: str,
    first: str,
    asked: str,
    later: str,
    money: int,
) -> None:
    pay(gateway, "a", token)
    seen = [give_back(gateway, "a").outcome, ask_refund(gateway, "a").outcome]
    clock.advance(timedelta(seconds=100))
    seen.append(ask_refund(gateway, "a").outcome)
    assert seen == [first, asked, later]
    assert gateway.totals()["EUR"].refunded_minor == money


def test_a_failed_refund_frees_its_amount_and_a_late_one_is_not_doubled(
    gateway: SandboxGateway, clock: ManualClock
) -> None:
    gateway.add_script("refund fails_later:60")
    pay(gateway, "a")
    give_back(gateway, "a")
    assert give_back(gateway, "a", nr="2").code == "refund_exceeds_captured"
    clock.advance(timedelta(seconds=60))
    assert give_back(gateway, "a", nr="3").outcome == "succeeded"
    pay(gateway, "b", "tok_refund_late:90")
    give_back(gateway, "b")
    assert give_back(gateway, "b").outcome == "succeeded"
    clock.advance(timedelta(seconds=100))
    assert gateway.totals()["EUR"].refunded_minor == 5000
