"""The sandbox provider fails exactly as it is told: words, scripts, outages, dice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from payctl.clock import ManualClock
from payctl.errors import NotConfigured, NotSent
from payctl.gateways import sandbox as sandbox_module
from payctl.gateways.base import (
    Outcome,
)
from payctl.gateways.sandbox import SandboxGateway
from payctl.gateways.sandbox_script import RESULTS, TRANSPORTS
from tests.gateways.harnesses import START, sandbox
from tests.gateways.sandbox_calls import ask, give_back, pay, taken

pytestmark = pytest.mark.gateways

# --- words -------------------------------------------------------------------------------------

#: token, answer, then a query at once, a resend of the same key, a query 100 s later, money taken
WORDS = [
    ("tok_ok", "succeeded", "succeeded", "succeeded", "succeeded", 2500),
    ("tok_decline_wrong_pin", "declined", "declined", "declined", "declined", 0),
    ("tok_3ds", "requires_action", "requires_action", "requires_action", "requires_action", 0),
    ("tok_3ds:20", "requires_action", "requires_action", "requires_action", "succeeded", 2500),
    ("tok_3ds_fail:20", "requires_action", "requires_action", "requires_action", "declined", 0),
    ("tok_abandon:20", "requires_action", "requires_action", "requires_action", "expired", 0),
    ("tok_approval", "requires_action", "requires_action", "requires_action", "requires_action", 0),
    ("tok_approval:20", "requires_action", "requires_action", "requires_action", "approved", 0),
    ("tok_pending", "pending", "pending", "pending", "pending", 0),
    ("tok_pending:20", "pending", "pending", "pending", "succeeded", 2500),
    ("tok_pending_decline:20", "pending", "pending", "pending", "declined", 0),
    ("tok_pending_expire:20", "pending", "pending", "pending", "expired", 0),
    ("tok_wrong_amount", "succeeded", "succeeded", "succeeded", "succeeded", 2499),
    ("tok_wrong_amount:500", "succeeded", "succeeded", "succeeded", "succeeded", 3000),
    ("tok_not_sent", "not_sent", "not_found", "not_sent", "not_found", 0),
    ("tok_not_sent:1", "not_sent", "not_found", "succeeded", "succeeded", 2500),
    ("tok_429:1", "rejected", "not_found", "succeeded", "succeeded", 2500),
    ("tok_rejected", "rejected", "not_found", "rejected", "not_found", 0),
    ("tok_auth", "rejected", "not_found", "rejected", "not_found", 0),
    ("tok_timeout_no_effect", "unknown", "not_found", "succeeded", "succeeded", 2500),
    ("tok_timeout_no_effect:2", "unknown", "not_found", "unknown", "not_found", 0),
    ("tok_lost_answer", "unknown", "succeeded", "succeeded", "succeeded", 2500),
    ("tok_timeout_effect", "unknown", "succeeded", "succeeded", "succeeded", 2500),
    ("tok_late:90", "unknown", "not_found", "succeeded", "succeeded", 2500),
    ("tok_5xx", "unknown", "not_found", "unknown", "not_found", 0),
    ("tok_5xx_effect", "unknown", "succeeded", "unknown", "succeeded", 2500),
    ("tok_garbage", "unknown", "succeeded", "succeeded", "succeeded", 2500),
    ("tok_query_not_found:50", "succeeded", "not_found", "succeeded", "succeeded", 2500),
    ("tok_query_down:50", "succeeded", "unknown", "succeeded", "succeeded", 2500),
    ("tok_query_down", "succeeded", "unknown", "succeeded", "unknown", 2500),
    ("tok_late:90 tok_decline_wrong_pin", "unknown", "not_found", "declined", "declined", 0),
    ("tok_lost_answer tok_pending:20", "unknown", "pending", "pending", "succeeded", 2500),
    ("tok_down:50", "not_sent", "not_sent", "not_sent", "not_found", 0),
]


@pytest.mark.parametrize(
    ("token", "first", "asked", "resent", "later", "money"), WORDS, ids=[w[0] for w in WORDS]
)
def test_every_word_does_what_its_table_says(
    gateway: SandboxGateway,
    clock: ManualClock,
    token: str,
    first: str,
    asked: str,
    resent: str,
    later: str,
    money: int,
) -> None:
    seen = [pay(gateway, "a", token).outcome, ask(gateway, "a").outcome]
    seen.append(pay(gateway, "a", token).outcome)
    clock.advance(timedelta(seconds=100))
    seen.append(ask(gateway, "a").outcome)
    assert seen == [first, asked, resent, later]
    assert taken(gateway) == money


def test_a_late_effect_without_a_resend_arrives_once_when_it_is_due(
    gateway: SandboxGateway, clock: ManualClock
) -> None:
    assert pay(gateway, "a", "tok_late:90").outcome == "unknown"
    for seconds, found, money in (
        (89, "not_found", 0),
        (1, "succeeded", 2500),
        (9, "succeeded", 2500),
    ):
        clock.advance(timedelta(seconds=seconds))
        assert (ask(gateway, "a").outcome, taken(gateway)) == (found, money)


def test_a_late_original_of_a_resent_key_changes_nothing(
    gateway: SandboxGateway, clock: ManualClock
) -> None:
    pay(gateway, "a", "tok_late:90")
    assert pay(gateway, "a", "tok_late:90").outcome == "succeeded"
    clock.advance(timedelta(seconds=100))
    assert (taken(gateway), len(gateway.payments())) == (2500, 1)


def test_wrong_currency(gateway: SandboxGateway) -> None:
    answer = pay(gateway, "a", "tok_wrong_currency")
    assert (answer.outcome, answer.currency, answer.amount_minor) == ("succeeded", "USD", 2500)


def test_words_may_stand_in_email_and_description_and_a_stray_one_is_refused(
    gateway: SandboxGateway,
) -> None:
    assert pay(gateway, "a", "", email="a+tok_lost_answer@example.com").outcome == "unknown"
    assert pay(gateway, "b", "", description="two seats tok_decline_duplicate").code == "duplicate"
    stray = pay(gateway, "c", "tok_no_such_thing")
    assert (stray.outcome, stray.code) == ("rejected", "unknown_token")
    assert stray.message == "tok_no_such_thing"


def test_the_docstring_names_every_word() -> None:
    text = sandbox_module.__doc__ or ""
    for name in {*TRANSPORTS, *RESULTS["create"]}:
        assert name in text, name
    for verb in ("query", "complete", "refund", "payout", "hook"):
        for name in RESULTS[verb] - {"ok"}:
            assert f"{verb}_{name}" in text, (verb, name)


@pytest.mark.parametrize(
    ("completes", "outcome", "action"),
    [("redirect", "requires_action", "redirect"), ("push", "pending", None)],
)
def test_other_ways_of_paying(
    tmp_path: Path, clock: ManualClock, completes: str, outcome: str, action: str | None
) -> None:
    gateway = sandbox(tmp_path, clock, completes=completes, completes_after_s=30)
    assert gateway.capabilities.create_moves_money is (completes == "push")
    answer = pay(gateway, "a")
    assert answer.outcome == outcome
    assert answer.next_action is not None
    assert answer.next_action.type == (action or "ussd_prompt")
    assert pay(gateway, "b", "tok_decline_wrong_pin").outcome == outcome
    clock.advance(timedelta(seconds=30))
    assert ask(gateway, "a").outcome == "succeeded"
    assert ask(gateway, "b").code == "wrong_pin"


def test_the_customer_acts_when_told(gateway: SandboxGateway) -> None:
    for name, to, outcome in (
        ("a", "succeeded", "succeeded"), ("b", "declined", "declined"), ("c", "expired", "expired"),
    ):  # fmt: skip
        pay(gateway, name, "tok_3ds")
        assert gateway.customer_acts(f"att_{name}", to)
        assert ask(gateway, name).outcome == outcome
        assert not gateway.customer_acts(f"att_{name}", to)
    assert not gateway.customer_acts("att_nobody")


# --- script, outage, dice ----------------------------------------------------------------------


def test_a_script_goes_by_order_and_before_the_payment_s_words(
    tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "script"
    path.write_text(
        "# the first two are lost\ncreate lost_answer x2\n\nquery down\ncreate late:5 # a"
    )
    gateway = sandbox(tmp_path, clock, script=str(path))
    assert [pay(gateway, n, "tok_pending").outcome for n in "abcd"] == [
        "unknown", "unknown", "unknown", "pending",
    ]  # fmt: skip
    assert [ask(gateway, "a").outcome for _ in range(2)] == ["unknown", "succeeded"]
    again = sandbox(tmp_path, clock, script=str(path))
    assert pay(again, "e").outcome == "succeeded"  # the same script is not loaded twice
    again.add_script("create decline_duplicate")
    assert pay(gateway, "f").code == "duplicate"
    with pytest.raises(NotConfigured):
        gateway.add_script("create nonsense")


def test_outages(tmp_path: Path, clock: ManualClock) -> None:
    gateway = sandbox(
        tmp_path,
        clock,
        outages=[
            "2026-11-02T09:10:00Z/2026-11-02T09:20:00Z",
            "2026-11-02T10:00Z/2026-11-02T11:00Z 5xx",
        ],
        script=["create ok x9"],
    )
    assert clock.now() == START
    pay(gateway, "a")
    clock.advance(timedelta(minutes=10))
    assert {pay(gateway, "b").outcome, ask(gateway, "a").outcome} == {Outcome.NOT_SENT}
    assert give_back(gateway, "a").outcome == "not_sent"
    assert not gateway.ping().ok
    assert [one.outcome for one in gateway.list_payments(START, clock.now())] == ["not_sent"]
    with pytest.raises(NotSent):
        gateway.balance()
    clock.advance(timedelta(minutes=10))
    assert pay(gateway, "b").outcome == "succeeded"
    clock.advance(timedelta(minutes=45))
    assert pay(gateway, "c").http_status == 500
    clock.advance(timedelta(hours=1))
    gateway.add_outage(60, "timeout_no_effect")
    assert pay(gateway, "d").outcome == "unknown"
    clock.advance(timedelta(seconds=60))
    assert ask(gateway, "d").outcome == "not_found"


RATES = {"decline_rate": 0.2, "lost_rate": 0.2, "late_rate": 0.2, "hook_double_rate": 0.3}


def fates(gateway: SandboxGateway, names: list[str]) -> dict[str, tuple[str, str | None]]:
    answers = {name: pay(gateway, name, "") for name in names}
    return {name: (str(answer.outcome), answer.code) for name, answer in answers.items()}


def test_dice_fall_the_same_for_one_seed_in_whatever_order(
    tmp_path: Path, clock: ManualClock
) -> None:
    names = [f"n{number}" for number in range(60)]
    first = fates(sandbox(tmp_path, clock, "one", seed=7, **RATES), names)
    other_order = fates(sandbox(tmp_path, clock, "two", seed=7, **RATES), names[::-1])
    other_seed = fates(sandbox(tmp_path, clock, "three", seed=8, **RATES), names)
    assert first == other_order
    assert first != other_seed
    assert {outcome for outcome, _ in first.values()} == {"succeeded", "declined", "unknown"}
