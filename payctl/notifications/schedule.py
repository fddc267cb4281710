"""What a try of a delivery means: for the notification, and for the endpoint as a whole.

A try speaks against a notification only when the endpoint is up. While it is down it is probed with
one notification at a time and no tries are used up, so an outage of days makes no dead letters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from payctl.notifications.outbox import Notification

#: Seconds before each try, counted from the one before it (Standard Webhooks' own schedule).
DELAYS_S = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
TRIES = len(DELAYS_S)
#: Delays are lengthened by up to this part, so that what failed together does not come together.
JITTER = 0.1
#: How long an endpoint that is down is left alone: doubled from the first to the most.
PAUSE_FIRST_S, PAUSE_MOST_S = 5, 300
#: A longer wait than this is not taken from a Retry-After.
RETRY_AFTER_MOST_S = 86_400
#: So many different notifications refused one after the other say that it is the endpoint.
STREAK = 5
#: A relay that has not settled what it took by then is taken for dead.
LEASE_S = 120

#: What a try can end in. ``refused``: the endpoint has read it and will not have it. ``failed``:
#: either may be at fault. ``throttled`` and ``no_answer``: the endpoint is in trouble, unless it
#: takes others meanwhile. ``down``: nothing was sent. ``gone``: it wants no more. ``unsent``: not
#: tried at all.
OUTCOMES = (
    "delivered", "refused", "failed", "throttled", "no_answer", "down", "gone", "unsent",
)  # fmt: skip
_THROTTLED = frozenset({408, 429, 502, 503, 504})
#: Answers that a wrong address or key gives to everything.
_EITHER = frozenset({401, 403, 404, 405})


@dataclass(frozen=True, slots=True)
class Parcel:
    """A notification that this relay has taken, and how its earlier tries went."""

    notification: Notification
    tries: int = 0
    waits: int = 0
    tried_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What one try ended in; ``reason`` says why it is not ``delivered``."""

    parcel: Parcel
    outcome: str
    reason: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as stored (:data:`payctl.notifications.tables.notification_endpoint`)."""

    name: str
    state: str
    start: UUID
    front: UUID
    looked_to: UUID
    looked_at: datetime | None
    looked_deep_at: datetime | None
    mark: UUID | None
    mark_xmax: int | None
    pauses: int
    paused_until: datetime | None
    streak: tuple[UUID, ...]
    succeeded_at: datetime | None
    failed_at: datetime | None
    reason: str | None

    def ready(self, now: datetime) -> bool:
        """Whether anything may be sent at *now*."""
        return self.state == "enabled" and (self.paused_until is None or self.paused_until <= now)


@dataclass(frozen=True, slots=True)
class Step:
    """What a try does to the delivery; ``values`` are columns."""

    id: UUID
    values: Mapping[str, Any]

    @property
    def settled(self) -> bool:
        return bool(self.values["state"] != "pending")


def delay(tries: int, dice: Callable[[], float]) -> timedelta | None:
    """How long after the *tries*-th try (from 1) the next one comes; ``None``: there is none.

    Args:
        dice: a number from 0 up to 1.
    """
    if tries >= TRIES:
        return None
    return timedelta(seconds=DELAYS_S[tries] * (1 + JITTER * dice()))


def pause(pauses: int, dice: Callable[[], float]) -> timedelta:
    """How long an endpoint is left alone when it is found down the *pauses*-th time in a row."""
    seconds = min(PAUSE_FIRST_S * 2 ** min(pauses - 1, 16), PAUSE_MOST_S)
    return timedelta(seconds=seconds * (1 + JITTER * dice()))


def outcome_of(status: int) -> str:
    """What an HTTP status says about a delivery."""
    if 200 <= status < 300:
        return "delivered"
    if status == 410:
        return "gone"
    if status in _THROTTLED:
        return "throttled"
    return "refused" if 400 <= status < 500 and status not in _EITHER else "failed"


def judge(
    endpoint: Endpoint, results: Iterable[Result], now: datetime, dice: Callable[[], float]
) -> tuple[Endpoint, list[Step]]:
    """The endpoint and the deliveries after *results*, given in the order they came in."""
    before, steps = endpoint.pauses, []
    for result in results:
        # Whether it counts is decided by what came before it.
        steps.append(_step(endpoint, result, now, dice))
        endpoint = _told(endpoint, before, result, now, dice)
    return endpoint, steps


def _step(endpoint: Endpoint, result: Result, now: datetime, dice: Callable[[], float]) -> Step:
    parcel = result.parcel
    values: dict[str, Any] = {
        "state": "pending", "tries": parcel.tries, "waits": parcel.waits, "next_try_at": now,
        "tried_at": now, "reason": result.reason, "settled_at": None,
    }  # fmt: skip
    if result.outcome == "unsent":
        # It keeps its place in the queue.
        values |= {"tried_at": parcel.tried_at, "next_try_at": parcel.notification.created_at}
    elif result.outcome == "delivered":
        values |= {"state": "delivered", "tries": parcel.tries + 1, "next_try_at": None}
        values |= {"reason": None, "settled_at": now}
    elif not _counts(endpoint, result):
        # Behind all others that are due: the next probe is another one.
        values["waits"] = parcel.waits + 1
    else:
        tries = parcel.tries + 1
        wait = delay(tries, dice)
        values["tries"] = tries
        if wait is None:
            values |= {"state": "dead", "next_try_at": None, "settled_at": now}
        else:
            values["next_try_at"] = now + max(wait, _asked(result))
    return Step(parcel.notification.id, values)


def _counts(endpoint: Endpoint, result: Result) -> bool:
    """Whether the try speaks against the notification."""
    if result.outcome in ("down", "gone"):
        return False
    if result.outcome == "refused" or (result.outcome == "failed" and endpoint.pauses == 0):
        return True
    # It took another one since it was last offered this one.
    tried, took = result.parcel.tried_at, endpoint.succeeded_at
    return tried is not None and took is not None and took > tried


def _told(
    endpoint: Endpoint, before: int, result: Result, now: datetime, dice: Callable[[], float]
) -> Endpoint:
    """The endpoint after one result; a batch raises ``pauses`` (*before* it) once at most."""
    if result.outcome == "unsent" or endpoint.state == "disabled":
        return endpoint
    trouble = endpoint.pauses or endpoint.streak or endpoint.reason
    if result.outcome == "delivered" and endpoint.succeeded_at == now and not trouble:
        return endpoint  # as it is for nearly all of a batch
    up = replace(endpoint, pauses=0, paused_until=None, streak=(), reason=None)
    if result.outcome == "delivered":
        return replace(up, succeeded_at=now)
    if result.outcome == "refused":
        # It answers, and reads what it is sent.
        return replace(up, failed_at=now)
    endpoint = replace(endpoint, failed_at=now)
    if result.outcome == "gone":
        return replace(endpoint, state="disabled", reason=result.reason)
    if result.outcome == "failed":
        id_ = result.parcel.notification.id
        if id_ not in endpoint.streak:
            endpoint = replace(endpoint, streak=(*endpoint.streak, id_)[-STREAK:])
        if endpoint.pauses == 0 and len(endpoint.streak) < STREAK:
            return endpoint
    pauses = min(endpoint.pauses, before) + 1
    until = now + max(pause(pauses, dice), _asked(result))
    if endpoint.pauses > before and endpoint.paused_until is not None:
        until = max(until, endpoint.paused_until)
    return replace(endpoint, pauses=pauses, paused_until=until, reason=result.reason)


def _asked(result: Result) -> timedelta:
    return timedelta(seconds=min(max(result.retry_after_s or 0.0, 0.0), RETRY_AFTER_MOST_S))
