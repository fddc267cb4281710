"""What a try does to an event, and what is kept of a body and its headers."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.webhooks.model import (
    ORPHAN_RETRIES,
    TRIES,
    Stored,
    after,
    clean_body,
    clean_headers,
)

pytestmark = [pytest.mark.unit, pytest.mark.webhooks]

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def stored(tries: int = 0, waits: int = 0) -> Stored:
    return Stored(
        UUID(int=1), "stripe", "evt_1", "evt_1", "payment", "payment", None, "pi_1", None, b"{}",
        {}, NOW, "received", tries, waits, NOW, None, None, None, "signature", None,
    )  # fmt: skip


def run(outcomes: list[str]) -> list[tuple[str, int]]:
    """States and delays in seconds of a series of tries, until the event is settled."""
    tries = waits = 0
    out = []
    for outcome in outcomes:
        step = after(stored(tries, waits), outcome, None, NOW)
        tries, waits = step.tries, step.waits
        delay = int((step.next_try_at - NOW).total_seconds()) if step.next_try_at else 0
        out.append((step.state, delay))
        if step.next_try_at is None:
            break
    return out


def test_errors_of_ours_are_tried_three_times() -> None:
    assert run(["error"] * 9) == [("waiting", 10), ("waiting", 60), ("dead", 0)]


def test_an_orphan_is_looked_up_again_three_times() -> None:
    assert run(["orphan"] * 9) == [
        ("waiting", 10), ("waiting", 60), ("waiting", 300), ("orphan", 0),
    ]  # fmt: skip
    assert after(stored(3), "orphan", None, NOW).open_case
    assert not after(stored(2), "error", None, NOW).open_case


def test_an_unreachable_provider_is_no_try() -> None:
    delays = [delay for _, delay in run(["unreachable"] * 20)]
    assert delays[:7] == [30, 60, 120, 240, 480, 900, 900]
    assert delays[-1] == 900
    assert after(stored(2, 40), "unreachable", None, NOW).tries == 2


def test_applied_and_nothing_new_are_the_end() -> None:
    assert run(["applied"]) == [("applied", 0)]
    assert after(stored(), "nothing_new", None, NOW).reason == "nothing_new"


@given(st.lists(st.sampled_from(["error", "orphan", "unreachable", "applied", "nothing_new"])))
def test_an_event_is_either_settled_or_due(outcomes: list[str]) -> None:
    tries = waits = failures = 0
    for outcome in outcomes:
        step = after(stored(tries, waits), outcome, None, NOW)
        assert (step.state == "waiting") == (step.next_try_at is not None)
        if step.next_try_at is None:
            break
        assert step.next_try_at > NOW
        failures += outcome != "unreachable"
        assert failures <= max(TRIES - 1, ORPHAN_RETRIES)
        tries, waits = step.tries, step.waits


def test_bodies_lose_cards_and_client_secrets_only() -> None:
    body = b'{"client_secret": "pi_1_secret_abc", "card": "4242424242424242", "n":  1 }\n'
    assert clean_body(body) == (
        b'{"client_secret": "removed", "card": "9999999999999999", "n":  1 }\n',
        1,
    )
    assert clean_body(b'{"client_secret":null}') == (b'{"client_secret":null}', 0)


@given(st.binary(max_size=200))
def test_other_bodies_are_kept_byte_for_byte(body: bytes) -> None:
    clean, cards = clean_body(body)
    assert clean == body or cards or b"client_secret" in body


def test_headers_lose_credentials() -> None:
    given = {
        "Stripe-Signature": "t=1,v1=ab",
        "Authorization": "Bearer x",
        "COOKIE": "a=b",
        "X-Api-Key": "k",
        "X-Note": "4242424242424242",
        "X-Long": "x" * 5_000,
    }
    assert clean_headers(given) == {
        "stripe-signature": "t=1,v1=ab",
        "x-note": "************4242",
    }
    assert len(clean_headers({str(n): "x" for n in range(500)})) == 100


def test_the_event_of_the_columns() -> None:
    event = stored().event()
    assert event is not None
    assert (event.event_id, event.reference.provider_reference) == ("evt_1", "pi_1")
