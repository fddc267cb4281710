"""How many unverified requests an address may make in a window, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict

#: Addresses remembered at most; the one seen first is forgotten first.
MAX_ADDRESSES = 20_000


class RateLimit:
    """Counts per address in windows that begin with the first request.

    Args:
        limit: requests allowed in a window.
        window_s: its length.
    """

    def __init__(self, limit: int, window_s: float, *, capacity: int = MAX_ADDRESSES) -> None:
        self._limit = limit
        self._window_s = window_s
        self._capacity = capacity
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, address: str, now: float) -> float | None:
        """Count one request; seconds until the next is allowed when this one is too many."""
        start, count = self._seen.get(address, (now, 0))
        if now - start >= self._window_s:
            del self._seen[address]
            start, count = now, 0
        if count >= self._limit:
            return max(start + self._window_s - now, 1.0)
        if address not in self._seen and len(self._seen) >= self._capacity:
            self._seen.popitem(last=False)
        self._seen[address] = (start, count + 1)
        return None

    def __len__(self) -> int:
        return len(self._seen)
