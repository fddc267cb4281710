"""How long "not found" proves nothing: the provider's horizon, from the last byte's leaving."""

from __future__ import annotations

from datetime import timedelta

import pytest

from payctl.payments.dispatch import Dispatch
from payctl.payments.model import LEASE
from payctl.payments.records import Attempt
from payctl.payments.retry import Retries
from tests.payments.kit import CARDS, Kit, states

pytestmark = pytest.mark.integration
HORIZON = timedelta(seconds=CARDS["late_horizon_s"])


def test_the_horizon_begins_when_the_senders_lease_ends(kit: Kit) -> None:
    [attempt] = kit.pay(token="tok_lost_answer").attempts
    assert attempt.quarantine_until == attempt.created_at + LEASE + HORIZON


def test_sending_the_same_key_again_begins_it_anew(kit: Kit) -> None:
    kit.gateways["cards"].add_script("create timeout_no_effect x9")
    paid = kit.pay(expires_at=kit.clock.now() + timedelta(hours=2))
    for _ in range(4):
        kit.wait(minutes=20)
    [attempt] = kit.show(paid).attempts
    assert attempt.state.live
    assert attempt.quarantine_until == kit.clock.now() + LEASE + HORIZON


def test_a_sender_that_wakes_after_its_lease_begins_it_anew(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Dispatch._still_ours

    def oversleeping(self: Dispatch, attempt: Attempt) -> Attempt | None:
        kit.clock.advance(timedelta(hours=1))
        return honest(self, attempt)

    monkeypatch.setattr(Dispatch, "_still_ours", oversleeping)
    [attempt] = kit.pay(token="tok_lost_answer").attempts
    assert attempt.state == "unknown", "nobody else was at work, so it was sent"
    assert attempt.quarantine_until == kit.clock.now() + LEASE + HORIZON


def test_a_sender_that_oversleeps_between_two_tries_sends_no_more(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object) -> bool:
        kit.clock.advance(timedelta(hours=1))
        return True

    monkeypatch.setattr(Retries, "allowed", slow)
    kit.gateways["cards"].add_script("create not_sent")
    assert states(kit.pay(method="card", preferred=("cards",)))[0] == "not_sent"
    assert kit.gateways["cards"].payments() == []
