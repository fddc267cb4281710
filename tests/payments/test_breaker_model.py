"""The breaker's pure decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.gateways.base import Answer, Outcome, RejectKind
from payctl.payments.breaker_model import (
    Breaker,
    Reason,
    Result,
    State,
    Streak,
    after_calls,
    after_probe,
    backoff,
    claim,
    classify,
    closed,
    forced_open,
    lease_of,
    look,
    often_slow,
    opened,
    paused,
    release,
)

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
FRESH = Breaker("a", "collect", NOW)
SECOND = timedelta(seconds=1)


def failing(count: int, *, auth: bool = False) -> Streak:
    return Streak(count, False, count, count, 0, 0, auth)


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (Answer(Outcome.SUCCEEDED), Result.OK),
        (Answer(Outcome.REQUIRES_ACTION), Result.OK),
        (Answer(Outcome.NOT_FOUND), Result.OK),
        (Answer(Outcome.DECLINED, code="insufficient_funds", http_status=402), Result.REFUSED),
        # Some providers decline with a 5xx; a definite no is a sound answer all the same.
        (Answer(Outcome.DECLINED, code="payer_not_found", http_status=500), Result.REFUSED),
        (Answer(Outcome.REJECTED, reject=RejectKind.VALIDATION, http_status=400), Result.REFUSED),
        (Answer(Outcome.REJECTED, reject=RejectKind.STATE, http_status=409), Result.REFUSED),
        (Answer(Outcome.REJECTED, reject=RejectKind.STATE, http_status=503), Result.TECH_FAIL),
        (Answer(Outcome.REJECTED, reject=RejectKind.AUTH, http_status=401), Result.AUTH),
        (Answer(Outcome.REJECTED, reject=RejectKind.RATE, http_status=429), Result.LIMITED),
        (Answer(Outcome.UNKNOWN), Result.TECH_FAIL),
        (Answer(Outcome.NOT_SENT), Result.NOT_SENT),
    ],
)
def test_only_lost_unsendable_and_unauthorised_calls_count_as_failures(
    answer: Answer, result: Result
) -> None:
    assert classify(answer) is result


def test_declines_and_validation_never_fail() -> None:
    assert not any(each.failed for each in (Result.OK, Result.REFUSED, Result.LIMITED))


@given(st.integers(1, 60), st.floats(0, 1, exclude_max=True))
def test_back_off_doubles_to_a_quarter_of_an_hour(count: int, jitter: float) -> None:
    base_s = min(60 * 2 ** (count - 1), 900)
    assert 0.8 * base_s <= backoff(count, jitter).total_seconds() <= 1.2 * base_s


def test_four_failures_in_a_row_do_not_open_and_the_fifth_does() -> None:
    four = after_calls(FRESH, failing(4), NOW, 0.5)
    assert four.state is State.CLOSED
    five = after_calls(four, failing(1), NOW, 0.5)
    assert (five.state, five.reason) == (State.OPEN, Reason.IN_A_ROW)
    assert five.next_probe_at == NOW + timedelta(seconds=60)


def test_a_sound_answer_breaks_the_row() -> None:
    four = after_calls(FRESH, failing(4), NOW, 0.5)
    broken = after_calls(four, Streak(1, True, 6, 5, 0, 0), NOW, 0.5)
    assert (broken.state, broken.failed_in_row) == (State.CLOSED, 1)


@given(st.integers(0, 40), st.integers(1, 40))
def test_the_rate_opens_at_ten_calls_and_half(sound: int, failed: int) -> None:
    streak = Streak(1, True, sound + failed, failed, 0, 0)
    state = after_calls(FRESH, streak, NOW, 0.5)
    expected = sound + failed >= 10 and failed * 2 >= sound + failed
    assert (state.state is State.OPEN) is expected
    assert state.reason == (Reason.FAILURE_RATE if expected else None)


def test_refused_credentials_open_at_once_and_nothing_but_an_operator_closes() -> None:
    state = after_calls(FRESH, failing(1, auth=True), NOW, 0.5)
    assert (state.state, state.reason, state.next_probe_at) == (State.OPEN, Reason.AUTH, None)
    for days in (0, 1, 1000):
        seen = look(state, NOW + timedelta(days=days))
        assert not seen.allow and not seen.unclaimed
    assert claim(state, NOW + timedelta(days=1000), "t") is None
    assert look(closed(state, NOW), NOW).allow


def test_refused_credentials_weigh_more_than_an_outage() -> None:
    down = opened(FRESH, Reason.IN_A_ROW, NOW, 0.5)
    assert after_calls(down, failing(1, auth=True), NOW, 0.5).reason == Reason.AUTH
    forced = forced_open(FRESH, "ama", NOW, NOW + SECOND)
    assert after_calls(forced, failing(1, auth=True), NOW, 0.5) == forced


def test_a_429_holds_calls_for_as_long_as_asked_and_opens_nothing() -> None:
    state = paused(FRESH, NOW, 7.0)
    assert state.state is State.CLOSED
    seen = look(state, NOW + 6 * SECOND)
    assert (seen.allow, seen.reason, seen.next_probe_at) == (
        False,
        Reason.RATE_LIMITED,
        NOW + 7 * SECOND,
    )
    assert look(state, NOW + 7 * SECOND).allow
    assert paused(state, NOW, 1.0) == state, "a shorter pause does not shorten a longer one"
    assert look(paused(FRESH, NOW, 86_400), NOW + 60 * SECOND).allow, "not for a day, whoever asks"


def half_open() -> Breaker:
    state = claim(opened(FRESH, Reason.IN_A_ROW, NOW, 0.5), NOW + 60 * SECOND, "t1")
    assert state is not None
    return state


def test_one_probe_at_a_time_until_its_lease_runs_out() -> None:
    state, at = half_open(), NOW + 60 * SECOND
    end = at + lease_of("collect")
    assert claim(state, end - SECOND, "t2") is None
    taken = claim(state, end, "t2")
    assert taken is not None and taken.probe_owner == "t2"


def test_a_process_that_slept_past_its_lease_changes_nothing() -> None:
    state = half_open()
    taken = claim(state, NOW + 60 * SECOND + lease_of("collect"), "t2")
    assert taken is not None
    for result in Result:
        assert after_probe(taken, "t1", result, NOW, 0.5) == taken
    assert release(taken, "t1") == taken


def test_three_probes_close_and_a_failed_one_opens_for_twice_as_long() -> None:
    state, at = half_open(), NOW + 60 * SECOND
    for number in range(3):
        assert state.state is State.HALF_OPEN
        again = claim(state, at, f"t{number}") if number else state
        assert again is not None
        state = after_probe(again, again.probe_owner or "", Result.REFUSED, at, 0.5)
    assert state == closed(state, at)
    worse = after_probe(half_open(), "t1", Result.NOT_SENT, at, 0.5)
    assert (worse.state, worse.next_probe_at) == (State.OPEN, at + 120 * SECOND)


def test_a_probe_that_is_told_to_slow_down_neither_closes_nor_opens() -> None:
    state = after_probe(half_open(), "t1", Result.LIMITED, NOW, 0.5)
    assert (state.state, state.probe_owner, state.probes_ok) == (State.HALF_OPEN, None, 0)


@given(st.integers(0, 200), st.integers(0, 200))
def test_slow_is_a_warning_about_the_95th_percentile(slow: int, others: int) -> None:
    calls = slow + others
    assert often_slow(slow, calls) is (calls >= 20 and slow > calls / 20)
