"""What a try means, as pure functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.notifications.http import retry_after
from payctl.notifications.outbox import Notification
from payctl.notifications.schedule import (
    JITTER,
    STREAK,
    TRIES,
    Endpoint,
    Parcel,
    Result,
    delay,
    judge,
    outcome_of,
    pause,
)

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
S = timedelta(seconds=1)


def endpoint(**values: object) -> Endpoint:
    none = dict.fromkeys(
        ("looked_at", "looked_deep_at", "mark", "mark_xmax", "paused_until", "succeeded_at",
         "failed_at", "reason")
    )  # fmt: skip
    zero = UUID(int=0)
    made: dict[str, object] = {
        "name": "core", "state": "enabled", "start": zero, "front": zero, "looked_to": zero,
        "pauses": 0, "streak": (),
    }  # fmt: skip
    return Endpoint(**{**none, **made, **values})  # type: ignore[arg-type]


def parcel(number: int = 1, tries: int = 0, tried_at: datetime | None = None) -> Parcel:
    made = Notification(UUID(int=number), "t", "payment", UUID(int=number), 1, {}, NOW)
    return Parcel(made, tries, 0, tried_at)


def test_the_schedule_is_the_one_of_the_standard() -> None:
    waits = [delay(tries, lambda: 0.0) for tries in range(TRIES)]
    hours = timedelta(hours=1)
    assert waits == [
        0 * S, 5 * S, 300 * S, 1800 * S,
        2 * hours, 5 * hours, 10 * hours, 14 * hours, 20 * hours, 24 * hours,
    ]  # fmt: skip
    assert delay(TRIES, lambda: 0.0) is None
    # Longer than three days in all: a weekend's outage is not the end of a notification.
    assert sum((each for each in waits if each), timedelta()) > timedelta(days=3)


@given(st.integers(1, TRIES - 1), st.floats(0, 1, exclude_max=True))
def test_jitter_only_lengthens(tries: int, dice: float) -> None:
    exact, real = delay(tries, lambda: 0.0), delay(tries, lambda: dice)
    assert exact is not None
    assert real is not None
    assert exact <= real <= exact * (1 + JITTER)


def test_an_endpoint_is_left_alone_for_longer_and_longer_up_to_five_minutes() -> None:
    seconds = [pause(number, lambda: 0.0).total_seconds() for number in range(1, 10)]
    assert seconds == [5, 10, 20, 40, 80, 160, 300, 300, 300]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"), (204, "delivered"), (299, "delivered"), (301, "failed"),
        (304, "failed"), (400, "refused"), (401, "failed"), (404, "failed"), (408, "throttled"),
        (410, "gone"), (422, "refused"), (429, "throttled"), (500, "failed"), (502, "throttled"),
        (503, "throttled"), (504, "throttled"), (100, "failed"),
    ],
)  # fmt: skip
def test_only_2xx_is_success(status: int, outcome: str) -> None:
    assert outcome_of(status) == outcome


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0), (" 0 ", 0.0), ("Mon, 02 Nov 2026 09:01:00 GMT", 60.0),
        ("Mon, 02 Nov 2026 08:00:00 GMT", 0.0), ("soon", None), ("", None), (None, None),
        ("-5", None), ("9" * 40, None),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds


def test_the_last_try_makes_a_dead_letter() -> None:
    for tries in range(TRIES):
        _, [step] = judge(
            endpoint(), [Result(parcel(tries=tries), "refused", "status 400")], NOW, lambda: 0.0
        )
        assert step.values["tries"] == tries + 1
        assert (step.values["state"] == "dead") == (tries == TRIES - 1)


@pytest.mark.parametrize("outcome", ["throttled", "no_answer", "down"])
def test_trouble_of_the_endpoint_uses_up_no_tries(outcome: str) -> None:
    after, [step] = judge(endpoint(), [Result(parcel(), outcome, "x")], NOW, lambda: 0.0)
    assert (step.values["tries"], step.values["waits"]) == (0, 1)
    assert (after.pauses, after.paused_until) == (1, NOW + 5 * S)


def test_one_that_fails_while_others_are_taken_is_at_fault_itself() -> None:
    """Otherwise a notification that crashes the receiver would be tried for ever."""
    before = endpoint(succeeded_at=NOW - S)
    tried = parcel(tried_at=NOW - 2 * S)
    _, [step] = judge(before, [Result(tried, "no_answer", "x")], NOW, lambda: 0.0)
    assert step.values["tries"] == 1
    _, [step] = judge(before, [Result(tried, "down", "x")], NOW, lambda: 0.0)
    assert step.values["tries"] == 0


def test_many_different_ones_refused_in_a_row_are_the_endpoint() -> None:
    results = [Result(parcel(number), "failed", "status 500") for number in range(1, STREAK + 6)]
    after, steps = judge(endpoint(), results, NOW, lambda: 0.0)
    assert after.pauses == 1
    assert [step.values["tries"] for step in steps] == [1] * STREAK + [0] * 5
    one = [Result(parcel(1), "failed", "status 500")] * (STREAK + 5)
    assert judge(endpoint(), one, NOW, lambda: 0.0)[0].pauses == 0
    taken = [*results[: STREAK - 1], Result(parcel(99), "delivered"), results[STREAK]]
    assert judge(endpoint(), taken, NOW, lambda: 0.0)[0].pauses == 0


def test_a_batch_that_fails_is_one_failure_of_the_endpoint() -> None:
    before = endpoint(pauses=3, paused_until=NOW)
    results = [Result(parcel(number), "no_answer", "x") for number in range(1, 9)]
    after, _ = judge(before, results, NOW, lambda: 0.0)
    assert (after.pauses, after.paused_until) == (4, NOW + 40 * S)


@given(
    st.lists(
        st.sampled_from(("delivered", "refused", "failed", "throttled", "no_answer", "down")),
        min_size=1,
        max_size=12,
    )
)
def test_after_a_success_the_endpoint_is_up(outcomes: list[str]) -> None:
    results = [Result(parcel(number), each, "x") for number, each in enumerate(outcomes, 1)]
    after, steps = judge(endpoint(pauses=2, paused_until=NOW), results, NOW, lambda: 0.0)
    assert (after.pauses == 0) == (after.paused_until is None)
    if outcomes[-1] == "delivered":
        assert after.ready(NOW)
        assert after.streak == ()
    for step, outcome in zip(steps, outcomes, strict=True):
        assert step.settled == (outcome == "delivered")
        assert step.settled == (step.values["next_try_at"] is None)
