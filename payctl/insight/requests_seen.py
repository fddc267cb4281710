"""What the receiver answered, counted in its process until it is written into the book."""

from __future__ import annotations

import threading
from bisect import bisect_left

import sqlalchemy as sa

from payctl.db import tally
from payctl.db.engine import Database
from payctl.db.tally import ABOVE, Cell, Totals

FAMILY = "http"
#: Upper ends of the time an answer takes, in milliseconds.
LATENCIES_MS = (5, 10, 25, 50, 100, 150, 200, 300, 500, 1000, 2500, 5000, 10_000)


class RequestsSeen:
    """Counts answers without touching the database; :meth:`flush` writes what has come together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: Totals = {}

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one answer.

        Args:
            route: the pattern, ``/webhooks/{account}``: never a path with ids in it.
            seconds: from the first byte of the request to the last one of the answer.
        """
        took = round(seconds * 1000)
        place = bisect_left(LATENCIES_MS, took)
        bound = LATENCIES_MS[place] if place < len(LATENCIES_MS) else ABOVE
        with self._lock:
            tally.add(self._seen, Cell(FAMILY, route, str(status), "", bound), took)

    def flush(self, db: Database) -> None:
        """Write what was counted since the last flush; when that fails it is kept for the next.

        Raises:
            Unavailable: the database's errors.
        """
        with self._lock:
            seen, self._seen = self._seen, {}
        if not seen:
            return

        def write(tx: sa.Connection) -> None:
            for cell, (number, measured) in seen.items():
                tally.count(tx, cell, measured, number)

        try:
            db.run(write)
        except BaseException:
            with self._lock:
                for cell, (number, measured) in seen.items():
                    tally.add(self._seen, cell, measured, number)
            raise
