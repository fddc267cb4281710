"""The contract every gateway keeps, as tests to run against your own.

    from payctl.gateways import base
    from payctl.testing.gateway_contract import GatewayContract

    class TestMine(GatewayContract):
        @pytest.fixture
        def harness(self): ...   # an object with what Harness lists

The harness holds the gateway and a provider it may break: a fake, a sandbox, a recorded server. The
suite never looks inside the adapter; it looks at answers and at what the provider took.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from payctl.testing.harness import CARD, PHONE, SCENARIOS, Harness, Steps


class GatewayContract(Steps):
    """Subclass it, give it a ``harness`` fixture, and run pytest."""

    # --- what an exchange proves ----------------------------------------------------------------

    def test_a_success_says_what_was_taken_and_can_be_asked_again(self, harness: Harness) -> None:
        can = harness.gateway.capabilities
        request = self.request(harness)
        first = harness.gateway.create_payment(request)
        answer = self.finish(harness, request, first)
        said = (2500, request.currency) if can.status_reports_amount else (None, None)
        assert answer.outcome == "succeeded", answer
        assert (answer.amount_minor, answer.currency) in (said, (2500, request.currency))
        assert answer.provider_reference
        assert harness.taken(request.currency) == 2500
        whole = self.reference(harness, request, replace(answer, provider_data=first.provider_data))
        unknown = {"our_reference": None, "provider_reference": None}
        for key in can.query_by:
            known = {**unknown, key: getattr(whole, key)}
            found = harness.gateway.query_payment(replace(whole, **known))
            assert (found.outcome, found.provider_reference) == (
                "succeeded", answer.provider_reference,
            )  # fmt: skip
            assert found.our_reference in (None, request.our_reference)
            if can.status_reports_amount:
                assert (found.amount_minor, found.currency) == (2500, request.currency)
            if can.reports_payer:
                assert found.payer is not None
                assert found.payer.value

    def test_every_decline_has_a_code_of_ours_and_takes_nothing(self, harness: Harness) -> None:
        assert harness.declines
        for name in harness.declines:
            request = self.request(harness, f"decline:{name}")
            answer = self.finish(harness, request, harness.gateway.create_payment(request))
            assert answer.outcome in ("declined", "canceled", "expired"), (name, answer)
            assert answer.outcome != "declined" or answer.code in self.reasons(harness, name), (
                name, answer,
            )  # fmt: skip
            assert harness.taken(request.currency) == 0

    def test_an_unknown_decline_is_still_a_decline(self, harness: Harness) -> None:
        request = self.request(harness, "unknown_decline")
        answer = self.finish(harness, request, harness.gateway.create_payment(request))
        # On a provider's own page a declined means leaves the page open until its time is over.
        assert answer.outcome in ("declined", "rejected", "canceled", "expired")
        assert answer.outcome != "declined" or answer.code in harness.base.DECLINE_CODES

    def test_what_is_not_decided_is_not_a_success(self, harness: Harness) -> None:
        request = self.request(harness, "pending")
        answer = harness.gateway.create_payment(request)
        assert answer.outcome in ("pending", "requires_action")
        assert answer.outcome != "requires_action" or answer.next_action is not None
        asked = self.about(harness, request, answer)
        assert asked.outcome in ("pending", "requires_action")
        assert harness.taken(request.currency) == 0

    def test_a_lost_answer_is_unknown_and_a_query_finds_the_payment(self, harness: Harness) -> None:
        request = self.request(harness, "lost_answer")
        assert harness.gateway.create_payment(request).outcome == "unknown"
        assert harness.knows(request.our_reference)
        if "our_reference" in harness.gateway.capabilities.query_by:
            found = self.query(harness, our_reference=request.our_reference)
            # A page nobody was shown may be as good as none.
            nothing = () if harness.gateway.capabilities.create_moves_money else ("not_found",)
            assert found.outcome in ("succeeded", "pending", "requires_action", *nothing), found
            assert found.our_reference in (None, request.our_reference)

    def test_no_answer_without_effect_is_unknown_too(self, harness: Harness) -> None:
        request = self.request(harness, "no_effect")
        assert harness.gateway.create_payment(request).outcome == "unknown"
        assert not harness.knows(request.our_reference)
        assert harness.taken(request.currency) == 0
        if "our_reference" in harness.gateway.capabilities.query_by:
            found = self.query(harness, our_reference=request.our_reference)
            # Where payments are found in a list, one that is not there yet may still be made.
            waiting = () if harness.gateway.capabilities.create_moves_money else (
                "requires_action",
            )  # fmt: skip
            assert found.outcome in ("not_found", *waiting)

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
    def test_each_failure_proves_what_it_proves(
        self, harness: Harness, scenario: str, outcome: str, reject: str | None
    ) -> None:
        answer = self.create(harness, scenario)
        assert (answer.outcome, answer.reject) == (outcome, reject), answer

    def test_silence_ends_at_the_deadline(self, harness: Harness) -> None:
        started = time.monotonic()
        request = self.request(harness, "silence", deadline_s=0.5)
        assert harness.gateway.create_payment(request).outcome == "unknown"
        assert time.monotonic() - started < 3

    # --- keys -----------------------------------------------------------------------------------

    def test_the_same_key_twice_is_one_effect(self, harness: Harness) -> None:
        if harness.gateway.capabilities.resend_window_s is None:
            return  # declared: a key is never sent twice, so nobody does
        for scenario in ("success", "lost_answer"):
            request = self.request(harness, scenario)
            before = harness.taken(request.currency)
            first = harness.gateway.create_payment(request)
            again = harness.gateway.create_payment(request)
            assert again.provider_reference in (
                first.provider_reference or again.provider_reference, None,
            )  # fmt: skip
            if again.outcome == "exists":
                again = self.query(harness, our_reference=request.our_reference)
            assert self.finish(harness, request, again).outcome == "succeeded"
            assert harness.taken(request.currency) - before == 2500

    def test_a_key_with_another_body_is_refused(self, harness: Harness) -> None:
        if harness.gateway.capabilities.resend_window_s is None:
            return
        request = self.request(harness)
        first = harness.gateway.create_payment(request)
        other = replace(request, amount_minor=2600)
        assert harness.gateway.create_payment(other).outcome in ("rejected", "exists")
        assert self.finish(harness, request, first).outcome == "succeeded"
        assert harness.taken(request.currency) == 2500

    # --- amounts --------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("currency", "amount_minor"),
        [("XOF", 15_000), ("XAF", 1_000), ("TND", 12_340), ("EUR", 1_999), ("UGX", 5_000)],
    )
    def test_amounts_arrive_in_the_currency_s_own_units(
        self, harness: Harness, currency: str, amount_minor: int
    ) -> None:
        can = harness.gateway.capabilities
        request = self.request(harness, currency=currency, amount_minor=amount_minor)
        before = harness.exchanges()
        answer = harness.gateway.create_payment(request)
        if can.currencies is not None and currency not in can.currencies:
            assert (answer.outcome, harness.exchanges()) == ("rejected", before)
            return
        answer = self.finish(harness, request, answer)
        assert answer.outcome == "succeeded"
        assert answer.amount_minor == amount_minor or not can.status_reports_amount
        assert harness.taken(currency) == amount_minor

    def test_what_is_not_declared_is_refused_before_any_exchange(self, harness: Harness) -> None:
        can = harness.gateway.capabilities
        before = harness.exchanges()
        wrong: list[dict[str, Any]] = [{"method": "no such method"}]
        if can.currencies is not None:
            wrong.append({"currency": "SSP"})
        if not can.manual_capture:
            wrong.append({"manual_capture": True})
        for currency, (smallest, largest) in list(can.limits.items())[:3]:
            wrong.append({"currency": currency, "amount_minor": largest + 1})
            if smallest > 1:
                wrong.append({"currency": currency, "amount_minor": smallest - 1})
        for currency, step in list(can.steps.items())[:3]:
            wrong.append({"currency": currency, "amount_minor": 2500 * step + 1})
        for changes in wrong:
            answer = self.create(harness, **changes)
            assert (answer.outcome, answer.reject) == ("rejected", "validation"), changes
            assert answer.code
        assert harness.exchanges() == before

    # --- refunds --------------------------------------------------------------------------------

    def test_refunds_never_exceed_what_was_taken(self, harness: Harness) -> None:
        can = harness.gateway.capabilities
        payment = self.paid(harness)
        if can.refunds == "none":
            before = harness.exchanges()
            assert self.refund(harness, payment, 2500).code == "not_supported"
            assert harness.exchanges() == before
            return
        refused = ("rejected", "declined")
        assert self.refund(harness, payment, 2501).outcome in refused
        if can.refunds == "partial":
            first = self.refund(harness, payment, 1000)
            assert (first.outcome, first.amount_minor) == ("succeeded", 1000)
            assert self.refund(harness, payment, 1501).outcome in refused
            assert self.refund(harness, payment, 1500).outcome == "succeeded"
        else:
            assert self.refund(harness, payment, 2500).outcome == "succeeded"
        assert harness.refunded(payment.currency) == 2500
        assert self.refund(harness, payment, 1).outcome in refused

    def test_a_refund_can_be_asked_again(self, harness: Harness) -> None:
        can = harness.gateway.capabilities
        if can.refunds == "none":
            return
        refund = self.refund(harness, self.paid(harness), 2500)
        reference = harness.base.Reference(refund.our_reference, refund.provider_reference)
        found = harness.gateway.query_refund(reference)
        if can.query_refunds:
            assert (found.outcome, found.amount_minor) == ("succeeded", 2500)
        else:
            assert found.code == "not_supported"

    # --- capabilities are honest ----------------------------------------------------------------

    def test_manual_capture(self, harness: Harness) -> None:
        can = harness.gateway.capabilities
        if not can.manual_capture:
            return  # refused before any exchange: tested above
        payment = self.paid(harness, manual_capture=True)
        assert (payment.outcome, payment.amount_minor) == ("authorized", 2500)
        assert harness.taken(payment.currency) == 0
        about = harness.base.Reference(provider_reference=payment.provider_reference)
        too_much = harness.base.CaptureRequest(about, "cap_0", "key_cap_0", 2501, payment.currency)
        assert harness.gateway.capture_payment(too_much).outcome == "rejected"
        part = replace(
            too_much, our_reference="cap_1", idempotency_key="key_cap_1", amount_minor=1000,
            final=False,
        )  # fmt: skip
        first = harness.gateway.capture_payment(part)
        assert (first.outcome, first.amount_minor) == ("succeeded", 1000)
        assert first.captured_minor == 1000
        rest = replace(part, our_reference="cap_2", idempotency_key="key_cap_2", amount_minor=500)
        last = harness.gateway.capture_payment(replace(rest, final=True))
        assert (last.outcome, last.amount_minor, last.captured_minor) == ("succeeded", 500, 1500)
        found = self.query(harness, provider_reference=payment.provider_reference)
        assert (found.outcome, found.amount_minor) == ("succeeded", 1500)
        assert harness.taken(payment.currency) == 1500

    def test_cancelling(self, harness: Harness) -> None:
        can = harness.gateway.capabilities
        waiting = self.create(harness, "pending")
        about = harness.base.Reference(provider_reference=waiting.provider_reference)
        answer = harness.gateway.cancel_payment(about, "key_cancel")
        if not can.revocable:
            assert answer.outcome == "rejected"
            return
        assert answer.outcome == "canceled"
        found = self.query(harness, provider_reference=waiting.provider_reference)
        assert found.outcome in ("canceled", "expired")
        done = self.paid(harness)
        about = harness.base.Reference(provider_reference=done.provider_reference)
        late = harness.gateway.cancel_payment(about, "key_cancel_late")
        assert (late.outcome, late.reject) == ("rejected", "state")

    def test_balance_list_and_ping(self, harness: Harness) -> None:
        can = harness.gateway.capabilities
        request = self.request(harness)
        first = harness.gateway.create_payment(request)
        payment = self.finish(harness, request, first)
        assert harness.gateway.ping().ok
        if can.balance:
            assert request.currency in {line.currency for line in harness.gateway.balance()}
        hour = timedelta(hours=1)
        listed = list(harness.gateway.list_payments(harness.now() - hour, harness.now() + hour))
        if can.lists_payments:
            assert [(one.our_reference, one.provider_reference) for one in listed] == [
                (request.our_reference, payment.provider_reference)
            ]
        else:
            assert [one.code for one in listed] == ["not_supported"]

    # --- records, probes, webhooks --------------------------------------------------------------

    def test_records_hold_no_secret_no_card_and_no_whole_phone(self, harness: Harness) -> None:
        phone = getattr(harness, "phone", PHONE)
        spaced = " ".join(CARD[place : place + 4] for place in range(0, 16, 4))
        for scenario in SCENARIOS:
            request = self.request(
                harness,
                scenario,
                description=f"card {CARD} and {spaced}",
                phone=phone,
                metadata={"note": f"call {phone}, {CARD}"},
            )
            answer = harness.gateway.create_payment(request)
            kept = json.dumps([answer.exchange, answer.message], default=str)
            assert answer.exchange, scenario
            for hidden in (CARD, spaced, phone, *harness.secrets):
                assert hidden not in kept, (scenario, hidden)

    def test_the_probe_sees_every_exchange_from_both_sides(self, harness: Harness) -> None:
        seen: list[str] = []
        request = self.request(harness)
        harness.on_probe = seen.append
        harness.gateway.create_payment(request)
        assert seen == ["send.before", "receive.after"]

    @pytest.mark.parametrize(("point", "known"), [("send.before", False), ("receive.after", True)])
    def test_a_kill_at_the_probe_passes_through(
        self, harness: Harness, point: str, known: bool
    ) -> None:
        class Killed(BaseException):
            pass

        def kill(at: str) -> None:
            if at == point:
                raise Killed

        request = self.request(harness)
        harness.on_probe = kill
        with pytest.raises(Killed):
            harness.gateway.create_payment(request)
        assert harness.knows(request.our_reference) is known

    def test_webhooks_name_the_payment_and_say_what_proves_them(self, harness: Harness) -> None:
        request = self.request(harness)
        first = harness.gateway.create_payment(request)
        payment = self.finish(harness, request, first)
        body, headers = harness.event(payment.provider_reference)
        event = harness.gateway.parse_event(body, headers, harness.now())
        about = event.reference
        assert event.object_kind == "payment"
        assert event.event_id
        assert (
            about.provider_reference == payment.provider_reference
            or about.our_reference == request.our_reference
            or (event.token is not None and event.token in first.provider_data.values())
        )
        assert event.proof in ("signature", "token", "none")
        assert event.proof != "token" or event.token
        shouting = {name.upper(): value for name, value in headers.items()}
        assert harness.gateway.parse_event(body, shouting) == event
        self.refused_event(harness, b"\xff\xfe", headers)
        if event.proof == "signature":
            named = payment.provider_reference.encode()
            named = named if named in body else request.our_reference.encode()
            self.refused_event(harness, body.replace(named, b"someone_elses"), headers)
            self.refused_event(harness, body, {})
        for hours in (-1, 1) if harness.signs_time else ():
            with pytest.raises(Exception) as caught:
                harness.gateway.parse_event(body, headers, harness.now() + timedelta(hours=hours))
            assert getattr(caught.value, "code", "") == "event.stale"

    def refused_event(self, harness: Harness, body: bytes, headers: Mapping[str, str]) -> None:
        with pytest.raises(Exception) as caught:
            harness.gateway.parse_event(body, headers)
        assert getattr(caught.value, "code", "").startswith("event."), caught.value
