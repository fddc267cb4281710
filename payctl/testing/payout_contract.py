"""The contract of payouts, for gateways that make them: derive from it beside ``GatewayContract``.

    class TestMine(GatewayContract, PayoutContract): ...

A payout whose outcome is unknown may be repeated with its own key only, so a repetition must be one
effect, and a question must find what a lost answer left behind.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from payctl.testing.harness import Harness, Reasons

AMOUNT_MINOR = 5000


class PayoutContract(Reasons):
    """Subclass it, give it a ``harness`` fixture, and run pytest."""

    def payout(self, harness: Harness, scenario: str = "success", **changes: Any) -> Any:
        """A payout request of 5000 minor units in *scenario*."""
        can = harness.gateway.capabilities
        currencies = sorted(can.payout_limits) or sorted(can.currencies or ("EUR",))
        number = harness.exchanges()
        fields = {
            "our_reference": harness.new_reference(number),
            "idempotency_key": harness.new_reference(number),
            "amount_minor": AMOUNT_MINOR,
            "currency": "EUR" if "EUR" in currencies else currencies[0],
            "destination": harness.destination(scenario),
            **changes,
        }
        return harness.base.PayoutRequest(**fields)

    def end(self, harness: Harness, request: Any, answer: Any) -> Any:
        """The last answer about a payout, when the payee has done what is theirs."""
        if answer.outcome != "pending":
            return answer
        harness.payee_acts(request, answer)
        return self.asked(harness, request, answer)

    def asked(self, harness: Harness, request: Any, answer: Any = None) -> Any:
        reference = harness.base.Reference(
            request.our_reference,
            answer.provider_reference if answer is not None else None,
            request.amount_minor,
            request.currency,
            harness.now(),
            answer.provider_data if answer is not None else {},
        )
        return harness.gateway.query_payout(reference)

    def test_a_payout_pays_and_can_be_asked_again(self, harness: Harness) -> None:
        request = self.payout(harness)
        first = harness.gateway.create_payout(request)
        assert first.outcome in ("pending", "succeeded"), first
        answer = self.end(harness, request, first)
        assert (answer.outcome, harness.paid_out(request.currency)) == ("succeeded", AMOUNT_MINOR)
        assert answer.amount_minor in (None, AMOUNT_MINOR)
        again = self.asked(harness, request, first)
        assert (again.outcome, again.provider_reference) == (
            "succeeded", answer.provider_reference,
        )  # fmt: skip

    def test_a_declined_payout_has_a_code_of_ours_and_pays_nothing(self, harness: Harness) -> None:
        assert harness.payout_declines
        for name in harness.payout_declines:
            request = self.payout(harness, f"decline:{name}")
            answer = self.end(harness, request, harness.gateway.create_payout(request))
            assert answer.outcome in ("declined", "rejected", "canceled", "expired"), (name, answer)
            assert answer.outcome != "declined" or answer.code in self.reasons(harness, name), (
                name, answer,
            )  # fmt: skip
        assert harness.paid_out(self.payout(harness).currency) == 0

    def test_a_lost_answer_is_unknown_and_a_question_finds_the_payout(
        self, harness: Harness
    ) -> None:
        request = self.payout(harness, "lost_answer")
        lost = harness.gateway.create_payout(request)
        assert lost.outcome == "unknown"
        found = self.end(harness, request, self.asked(harness, request, lost))
        assert (found.outcome, harness.paid_out(request.currency)) == ("succeeded", AMOUNT_MINOR)

    def test_no_answer_to_a_payout_without_effect_is_unknown_too(self, harness: Harness) -> None:
        request = self.payout(harness, "no_effect")
        lost = harness.gateway.create_payout(request)
        assert lost.outcome == "unknown"
        # Where a payout is prepared first, what was prepared is known and never goes on.
        assert self.asked(harness, request, lost).outcome in ("not_found", "pending", "expired")
        assert harness.paid_out(request.currency) == 0

    def test_the_same_payout_twice_is_one_effect(self, harness: Harness) -> None:
        if harness.gateway.capabilities.resend_window_s is None:
            return  # declared: no reference is ever sent twice, so nobody does
        for scenario in ("success", "lost_answer"):
            before = harness.paid_out(self.payout(harness).currency)
            request = self.payout(harness, scenario)
            harness.gateway.create_payout(request)
            again = harness.gateway.create_payout(request)
            assert again.outcome in ("exists", "pending", "succeeded"), again
            last = self.asked(harness, request, again)
            assert self.end(harness, request, last).outcome == "succeeded"
            assert harness.paid_out(request.currency) - before == AMOUNT_MINOR

    @pytest.mark.parametrize(
        ("scenario", "outcome", "reject"),
        [
            ("unreachable", "not_sent", None),
            ("server_error", "unknown", None),
            ("garbage", "unknown", None),
            ("rate_limited", "rejected", "rate"),
            ("bad_credentials", "rejected", "auth"),
        ],
    )
    def test_each_failure_of_a_payout_proves_what_it_proves(
        self, harness: Harness, scenario: str, outcome: str, reject: str | None
    ) -> None:
        request = self.payout(harness, scenario)
        answer = harness.gateway.create_payout(request)
        assert (answer.outcome, answer.reject) == (outcome, reject), answer

    def test_what_cannot_be_paid_out_is_refused_before_any_exchange(self, harness: Harness) -> None:
        can = harness.gateway.capabilities
        request = self.payout(harness)
        before = harness.exchanges()
        wrong = [replace(request, destination=replace(request.destination, kind="pigeon"))]
        if can.currencies is not None:
            wrong.append(replace(request, currency="SSP"))
        for currency, (smallest, largest) in list(can.payout_limits.items())[:3]:
            wrong.append(replace(request, currency=currency, amount_minor=largest + 1))
            if smallest > 1:
                wrong.append(replace(request, currency=currency, amount_minor=smallest - 1))
        for currency, step in list(can.payout_steps.items())[:3]:
            wrong.append(replace(request, currency=currency, amount_minor=2500 * step + 1))
        for each in wrong:
            answer = harness.gateway.create_payout(each)
            assert (answer.outcome, answer.reject) == ("rejected", "validation"), each
            assert answer.code
        assert harness.exchanges() == before
