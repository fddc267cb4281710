"""The breaker as pure decisions: what opens it, who may probe, what closes it again.

No SQL and no clock: every function takes the state and the time and gives back a new state. The
service in :mod:`payctl.payments.breaker` holds the row's lock around each of them, so what is true
of these functions is true of any number of processes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from payctl.gateways.base import Answer, Outcome, RejectKind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Opens when, in the window, at least this many calls were made and this share of them failed …
WINDOW_MINUTES = 5
MIN_CALLS = 10
FAIL_PERCENT = 50
#: … or when so many failed one after the other, without a sound answer in between.
IN_A_ROW = 5
#: First wait before a probe, doubled with each opening up to the longest, give or take the jitter.
FIRST_OPEN_S = 60
LONGEST_OPEN_S = 900
JITTER_PERCENT = 20
PROBES_TO_CLOSE = 3
#: A call is slow above this part of its deadline; when over 5 % are, the 95th percentile is slow.
SLOW_PERCENT = 80
SLOW_SHARE_PERCENT = 5
SLOW_MIN_CALLS = 20
#: Pause after a 429 that names no time, and the longest pause a provider can ask for.
PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0
#: Deadlines of one call (payments design, 2.4); a probe's lease outlives its call and its commit.
DEADLINES_S = {"collect": 10, "refund": 10, "payout": 20, "read": 10}
LEASE_EXTRA_S = 20


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Reason(StrEnum):
    """Why a breaker is open, or (``rate_limited``) why a closed one holds calls back."""

    FAILURE_RATE = "failure_rate"
    IN_A_ROW = "in_a_row"
    PROBE_FAILED = "probe_failed"
    AUTH = "auth"
    FORCED = "forced"
    RATE_LIMITED = "rate_limited"


class Result(StrEnum):
    """What one answer says about the health of the line to a provider."""

    OK = "ok"
    REFUSED = "refused"  # a definite no: the line is sound
    TECH_FAIL = "tech_fail"
    NOT_SENT = "not_sent"
    AUTH = "auth"
    LIMITED = "limited"
    ENDED = "ended"  # no call at all: a payment that was open has ended

    @property
    def failed(self) -> bool:
        return self in (Result.TECH_FAIL, Result.NOT_SENT, Result.AUTH)

    @property
    def matters(self) -> bool:
        """Whether it can change a breaker, and not only its samples."""
        return self.failed or self is Result.LIMITED

    @property
    def sound(self) -> bool:
        return self in (Result.OK, Result.REFUSED)


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one account's breaker for one class of calls; see the table for each field."""

    account: str
    op_class: str
    since: datetime
    state: State = State.CLOSED
    reason: str | None = None
    next_probe_at: datetime | None = None
    open_count: int = 0
    probe_owner: str | None = None
    probe_lease_until: datetime | None = None
    probes_ok: int = 0
    failed_in_row: int = 0
    failed_minute: int = 0
    ok_mark: int = 0
    counted_after: int = 0
    paused_until: datetime | None = None
    forced_by: str | None = None
    forced_until: datetime | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a call may go out.

    ``probe`` is the token of the probe this caller holds (empty when it holds none); it goes back
    with the call's result. ``unclaimed`` says that the call would be a probe nobody holds yet: only
    :meth:`Breakers.decide` hands it out.
    """

    allow: bool
    probe: str = ""
    state: str = State.CLOSED
    reason: str | None = None
    next_probe_at: datetime | None = None
    unclaimed: bool = False


@dataclass(frozen=True, slots=True)
class Streak:
    """What is new since the breaker was last looked at, in the order it happened.

    Attributes:
        failures: failures after the last sound answer of the group.
        broken: a sound answer came before them, here or in another process.
        calls, failed: totals of the window, this group included.
        ok_mark: sound answers counted from *minute* on, to tell the next streak.
    """

    failures: int
    broken: bool
    calls: int
    failed: int
    minute: int
    ok_mark: int
    auth: bool = False


def classify(answer: Answer) -> Result:
    """What an answer says about the line. A decline and a refused request are sound answers; only a
    lost or unsendable call, a server error and refused credentials count against the gateway.
    """
    if answer.outcome is Outcome.NOT_SENT:
        return Result.NOT_SENT
    if answer.outcome is Outcome.UNKNOWN:
        return Result.TECH_FAIL
    if answer.outcome is Outcome.REJECTED:
        if answer.reject is RejectKind.AUTH:
            return Result.AUTH
        if answer.reject is RejectKind.RATE:
            return Result.LIMITED
        return Result.TECH_FAIL if (answer.http_status or 0) >= 500 else Result.REFUSED
    return Result.REFUSED if answer.outcome is Outcome.DECLINED else Result.OK


def is_slow(answer: Answer, op_class: str) -> bool:
    """Whether a call took more than four fifths of its deadline."""
    return answer.latency_ms * 100 > DEADLINES_S[op_class] * 1000 * SLOW_PERCENT


def often_slow(slow: int, calls: int) -> bool:
    """Whether the 95th percentile lies above the slow mark: a warning, it opens nothing."""
    return calls >= SLOW_MIN_CALLS and slow * 100 > calls * SLOW_SHARE_PERCENT


def minute_of(at: datetime) -> int:
    """Whole minutes since 1970."""
    since = at - _EPOCH
    return since.days * 1440 + since.seconds // 60


def lease_of(op_class: str) -> timedelta:
    """How long a probe belongs to its process."""
    return timedelta(seconds=DEADLINES_S[op_class] + LEASE_EXTRA_S)


def look(breaker: Breaker, now: datetime) -> Verdict:
    """What a caller would be told, without taking the probe."""
    at = breaker.next_probe_at
    if breaker.state is State.CLOSED:
        if breaker.paused_until is not None and now < breaker.paused_until:
            return Verdict(
                False,
                state=State.CLOSED,
                reason=Reason.RATE_LIMITED,
                next_probe_at=breaker.paused_until,
            )
        return Verdict(True, state=State.CLOSED)
    if breaker.state is State.OPEN:
        due = at is not None and now >= at
    else:
        due = breaker.probe_lease_until is None or now >= breaker.probe_lease_until
        at = breaker.probe_lease_until
        if due and breaker.paused_until is not None and now < breaker.paused_until:
            due, at = False, breaker.paused_until
    return Verdict(due, state=breaker.state, reason=breaker.reason, next_probe_at=at, unclaimed=due)


def claim(breaker: Breaker, now: datetime, token: str) -> Breaker | None:
    """Take the probe, if one is due and nobody holds it."""
    if not look(breaker, now).unclaimed:
        return None
    return replace(
        breaker,
        state=State.HALF_OPEN,
        since=now if breaker.state is State.OPEN else breaker.since,
        probes_ok=0 if breaker.state is State.OPEN else breaker.probes_ok,
        next_probe_at=None,
        probe_owner=token,
        probe_lease_until=now + lease_of(breaker.op_class),
        forced_by=None,
        forced_until=None,
    )


def release(breaker: Breaker, token: str) -> Breaker:
    """Give back a probe that was never sent; the next caller may take it at once."""
    if not token or breaker.probe_owner != token:
        return breaker
    return replace(breaker, probe_owner=None, probe_lease_until=None)


def after_probe(
    breaker: Breaker, token: str, result: Result, now: datetime, jitter: float
) -> Breaker:
    """The state after a probe's answer.

    A token that is no longer the holder's changes nothing: its process was paused past the lease
    and another one probes now. *jitter* lies in [0, 1).
    """
    if not token or breaker.probe_owner != token:
        return breaker
    if result.failed:
        reason = Reason.AUTH if result is Result.AUTH else Reason.PROBE_FAILED
        return opened(breaker, reason, now, jitter)
    freed = release(breaker, token)
    if result is Result.LIMITED:
        return freed
    if freed.probes_ok + 1 >= PROBES_TO_CLOSE:
        return closed(freed, now)
    return replace(freed, probes_ok=freed.probes_ok + 1)


def after_calls(breaker: Breaker, streak: Streak, now: datetime, jitter: float) -> Breaker:
    """The state after ordinary calls of which at least one failed.

    Calls that began before the breaker opened may end long after; they neither close nor reopen it.
    Refused credentials open it in any state but a forced one, because waiting cannot heal them.
    """
    waits_for_operator = breaker.state is State.OPEN and breaker.reason in (
        Reason.AUTH,
        Reason.FORCED,
    )
    if streak.auth and not waits_for_operator:
        return opened(breaker, Reason.AUTH, now, jitter)
    if breaker.state is not State.CLOSED:
        return breaker
    in_row = streak.failures if streak.broken else breaker.failed_in_row + streak.failures
    counted = replace(
        breaker, failed_in_row=in_row, failed_minute=streak.minute, ok_mark=streak.ok_mark
    )
    if in_row >= IN_A_ROW:
        return opened(counted, Reason.IN_A_ROW, now, jitter)
    if streak.calls >= MIN_CALLS and streak.failed * 100 >= streak.calls * FAIL_PERCENT:
        return opened(counted, Reason.FAILURE_RATE, now, jitter)
    return counted


def paused(breaker: Breaker, now: datetime, retry_after_s: float | None) -> Breaker:
    """After a 429: hold calls for as long as the provider asks, within reason, without opening."""
    wait_s = min(max(retry_after_s if retry_after_s is not None else PAUSE_S, 0.0), LONGEST_PAUSE_S)
    until = now + timedelta(seconds=wait_s)
    if breaker.paused_until is not None and breaker.paused_until >= until:
        return breaker
    return replace(breaker, paused_until=until)


def opened(breaker: Breaker, reason: Reason, now: datetime, jitter: float) -> Breaker:
    """Open, with the next probe after the back-off; without one when credentials are refused."""
    count = breaker.open_count + 1
    wait = backoff(count, jitter)
    return replace(
        breaker,
        state=State.OPEN,
        reason=reason,
        since=now,
        next_probe_at=None if reason is Reason.AUTH else now + wait,
        open_count=count,
        probe_owner=None,
        probe_lease_until=None,
        probes_ok=0,
        forced_by=None,
        forced_until=None,
    )


def backoff(open_count: int, jitter: float) -> timedelta:
    """60 s, doubled with each opening since the last close, at most 15 min, +-20 %."""
    base_s = min(FIRST_OPEN_S * 2 ** min(open_count - 1, 10), LONGEST_OPEN_S)
    return timedelta(seconds=base_s * (1 + (2 * jitter - 1) * JITTER_PERCENT / 100))


def forced_open(breaker: Breaker, actor: str, now: datetime, until: datetime | None) -> Breaker:
    """Opened by an operator, until a time or until reset."""
    return replace(
        opened(breaker, Reason.FORCED, now, 0.5),
        next_probe_at=until,
        open_count=breaker.open_count,
        forced_by=actor,
        forced_until=until,
    )


def closed(breaker: Breaker, now: datetime) -> Breaker:
    """Closed with a clean slate: failures of before can not open it again."""
    return Breaker(
        account=breaker.account,
        op_class=breaker.op_class,
        since=now,
        counted_after=minute_of(now),
        version=breaker.version,
    )
