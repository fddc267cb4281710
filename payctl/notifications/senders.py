"""The core service as a receiver: several deliveries in flight, over connections kept open."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from payctl.clock import Clock
from payctl.notifications.http import Channel, NoConnection
from payctl.notifications.schedule import STREAK, Parcel, Result, outcome_of
from payctl.notifications.signing import body_of, headers

#: Standard Webhooks: 15 to 30 seconds.
TIMEOUT_S = 15.0
#: After these the rest of a batch is not tried.
_TROUBLE = frozenset({"throttled", "no_answer", "down", "gone"})


class Sender(Protocol):
    """Something that takes notifications."""

    def send(self, parcels: Sequence[Parcel], until: float) -> list[Result]:
        """Try each of *parcels* once, none after *until* (monotonic).

        Returns:
            One result for each, in the order they came in; never raises for what the other side
            does.
        """
        ...

    def close(self) -> None: ...


class CoreSender:
    """Delivers by Standard Webhooks.

    Args:
        keys: each signs; two while one is being replaced.
        channel: makes a connection, one for each thread.
        width: deliveries in flight at once, at most.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        channel: Callable[[], Channel],
        clock: Clock,
        *,
        width: int = 16,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._keys = tuple(keys)
        self._make = channel
        self._clock = clock
        self._most = self._width = width
        self._timeout_s = timeout_s
        self._pool: ThreadPoolExecutor | None = None
        self._own = threading.local()
        self._channels: list[Channel] = []

    def send(self, parcels: Sequence[Parcel], until: float) -> list[Result]:
        """As :class:`Sender` says."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="deliver")
        run = _Run(list(reversed(parcels)), until)
        width = min(self._width, len(parcels))
        for each in [self._pool.submit(self._work, run) for _ in range(width)]:
            each.result()
        throttled = any(result.outcome == "throttled" for result in run.results)
        # It asks us to slow down; come back to full width by and by.
        self._width = max(self._width // 2, 1) if throttled else min(self._width + 1, self._most)
        return run.results + [Result(each, "unsent") for each in reversed(run.left)]

    def close(self) -> None:
        """End the threads and close their connections."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        for channel in self._channels:
            channel.close()
        self._channels.clear()
        self._own = threading.local()

    def _work(self, run: _Run) -> None:
        channel: Channel | None = getattr(self._own, "channel", None)
        if channel is None:
            channel = self._own.channel = self._make()
            self._channels.append(channel)
        while (parcel := run.take(self._clock.monotonic())) is not None:
            run.put(self._try(channel, parcel))

    def _try(self, channel: Channel, parcel: Parcel) -> Result:
        body = body_of(parcel.notification)
        signed = headers(parcel.notification, body, self._keys, self._clock.now())
        try:
            answer = channel.post(body, signed, self._timeout_s)
        except NoConnection as error:
            return Result(parcel, "down", str(error))
        except (OSError, http.client.HTTPException) as error:
            return Result(parcel, "no_answer", f"{type(error).__name__}: {error}"[:200])
        outcome = outcome_of(answer.status)
        if outcome == "delivered":
            return Result(parcel, outcome)
        return Result(parcel, outcome, f"status {answer.status}", answer.retry_after_s)


class _Run:
    """One batch under way."""

    def __init__(self, left: list[Parcel], until: float) -> None:
        self.left = left
        self.results: list[Result] = []
        self._until = until
        self._lock = threading.Lock()
        self._failed = 0
        self._stopped = False

    def take(self, now: float) -> Parcel | None:
        """The next parcel; none any more after trouble or too late."""
        with self._lock:
            if self._stopped or not self.left or now >= self._until:
                return None
            return self.left.pop()

    def put(self, result: Result) -> None:
        with self._lock:
            self.results.append(result)
            self._failed = self._failed + 1 if result.outcome == "failed" else 0
            if result.outcome in _TROUBLE or self._failed >= STREAK:
                self._stopped = True
