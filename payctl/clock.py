"""The only module that reads the time. Everything else is handed a clock, so any run can be
replayed.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """A source of time. ``now`` is aware and in UTC; ``monotonic`` is seconds for deadlines."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ManualClock:
    """A clock that stands still until told to move: for tests and for ``payctl demo``."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        """Move on (or back, for a clock that jumps)."""
        self._now += by
        self._monotonic += max(by.total_seconds(), 0.0)


class AnchoredClock(SystemClock):
    """The database server's time, carried on by this machine's monotonic clock.

    Leases, due times and quarantines are compared between machines, so they must come from one
    clock; and a machine whose wall clock jumps must not end a quarantine early. Until it is
    anchored it shows the machine's own time.
    """

    def __init__(self) -> None:
        self._anchor: tuple[datetime, float] | None = None

    def anchor(self, server_now: datetime) -> None:
        """Take *server_now* (aware) as the present."""
        self._anchor = (server_now.astimezone(UTC), _since_boot())

    def now(self) -> datetime:
        anchor = self._anchor
        if anchor is None:
            return super().now()
        return anchor[0] + timedelta(seconds=_since_boot() - anchor[1])


#: It also goes on while the machine sleeps, where there is such a clock.
_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _since_boot() -> float:
    return time.clock_gettime(_BOOT_CLOCK)
