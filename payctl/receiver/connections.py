"""HTTP connections that may not wait for ever: what uvicorn leaves to a proxy in front of it.

A connection costs nothing to hold open, so whoever opens hundreds and says nothing, or sends a
header letter by letter, must not use up what a provider's webhook needs. Each has a time for its
headers, and when too many are open, the one that has been silent longest makes room.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Time for the headers of a request, from its first byte or from the opening of the connection.
HEADERS_S = 10.0
#: Time between two requests of a connection; longer than proxies keep theirs.
IDLE_S = 75.0
#: Connections of one process at most.
MAX_CONNECTIONS = 800


class GuardedProtocol(HttpToolsProtocol):
    """One connection of a server whose connections are counted."""

    #: Those of this process that have no request, the longest first.
    _silent: ClassVar[dict[GuardedProtocol, None]] = {}
    _deadline: asyncio.TimerHandle | None = None
    _idle = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            # When all are busy, there is no room for another.
            next(iter(self._silent), self).give_up()
        if not transport.is_closing():
            self._wait(HEADERS_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._heard()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._idle or self._deadline is None:
            self._heard()
            self._wait(HEADERS_S)

    def on_headers_complete(self) -> None:
        self._heard()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing() and self.timeout_keep_alive_task is not None:
            self._wait(IDLE_S)
            self._idle = True

    def give_up(self) -> None:
        """Close without a word: there is no request to answer."""
        self._heard()
        self.transport.abort()

    def _wait(self, seconds: float) -> None:
        self._silent[self] = None
        self._deadline = self.loop.call_later(seconds, self.give_up)

    def _heard(self) -> None:
        self._silent.pop(self, None)
        self._idle = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
