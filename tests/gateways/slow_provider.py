"""Many payments at a provider that answers slowly: how long they take, over how many connections.

The tests do it small, the benchmarks in full.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from payctl.testing.emulators.core import Exchange, Request
from payctl.testing.emulators.example import ExampleEmulator


class SlowProvider(ExampleEmulator):
    """Takes *answer_s* for each payment; counts the connections it is called over."""

    def __init__(self, answer_s: float) -> None:
        super().__init__()
        self._answer_s = answer_s
        self.connections: set[int] = set()

    def receive(self, request: Request) -> Exchange:
        # Each connection of the server is served by a thread of its own.
        self.connections.add(threading.get_ident())
        exchange = super().receive(request)
        if self.operation(request) == "payment.create":
            return Exchange(exchange.response, self._answer_s)
        return exchange


@dataclass(frozen=True, slots=True)
class Rush:
    """What a rush of payments came to."""

    seconds: float
    connections: int
    taken: int
    results: list[Any]


def rush(provider: SlowProvider, payments: int, workers: int, pay: Callable[[int], Any]) -> Rush:
    """Make *payments* payments by *workers* at once."""
    started = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(pay, range(payments)))
    seconds = time.monotonic() - started
    return Rush(seconds, len(provider.connections), len(provider.payments), results)
