"""What every emulated provider shares: requests, answers, faults, time, and what it sends out.

An emulator is a provider with state, written from the provider's published documents and from
nothing of payctl's adapters. It is told what goes wrong by faults: each is armed for an operation
(``payment.create``) and happens to the next request of it, once or several times.

==================  ================================================================================
fault               what happens
==================  ================================================================================
``drop``            the connection is closed before anything happens
``drop_after``      the effect happens, the answer is lost
``hang[:S]``        nothing happens for S seconds, then the connection is closed
``hang_after[:S]``  the effect happens, nothing is said for S seconds, then the connection is closed
``late:S``          the answer is lost and the effect happens S seconds later by the provider's time
``slow:S``          an ordinary answer, S seconds late
``advance:S``       the provider's time moves on by S seconds, then an ordinary answer
``reset_after``     the effect happens, the answer breaks off in the middle
``html_after``      the effect happens, a web page comes instead of JSON; ``html`` without effect
``empty_after``     the effect happens, an empty body comes
``truncated_after`` the effect happens, the JSON is cut
``429`` ``401`` …   any status: the provider's own refusal of that status, without effect
``503_after`` …     any status, after the effect
==================  ================================================================================

Whatever else a provider can do wrong is a fault of its own, see each emulator's module.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived; header names in lower case, ``path`` below the emulator's root,
    which is ``/{name}`` where several share a server.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    root: str = ""

    def json(self) -> Any:
        """The body as JSON, ``None`` when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; ``body`` is sent as JSON, a text as it is, ``None`` as an empty body."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        if self.body is None:
            return b""
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook the provider wants to make."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class _Armed:
    name: str
    operation: str
    times: int
    after: int


class Emulator(ABC):
    """One provider. Thread-safe: requests are handled one at a time, waiting excluded.

    Args:
        now: the provider's time; the machine's, moved by :meth:`advance`, when not given.
    """

    #: first part of the path when several emulators share a server
    name: str
    #: an operation to try a fault on
    example = "payment.create"

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self._source = now or (lambda: datetime.now(UTC))
        self._offset = timedelta()
        self.lock = threading.RLock()
        self.requests: list[Request] = []
        self.deliveries: list[Delivery] = []
        #: how many of them were made by :meth:`take_deliveries`' caller
        self.delivered = 0
        self.default_wait_s = 1.5
        self._armed: list[_Armed] = []
        self._late: list[tuple[datetime, Request]] = []

    # -- what a provider is -----------------------------------------------------------------------

    @abstractmethod
    def operation(self, request: Request) -> str:
        """The name of what is asked, ``payment.create``; ``unknown`` where nothing is there."""

    @abstractmethod
    def handle(self, request: Request, fault: str | None) -> Response:
        """Answer, with whatever effect it has. *fault* is one of the provider's own, if armed."""

    @abstractmethod
    def problem(self, status: int) -> Response:
        """The provider's way to say *status* (401, 429, 500, 503, …) without any effect."""

    @abstractmethod
    def state(self) -> Mapping[str, Any]:
        """Everything it holds, as JSON-like data: for assertions and for the control address."""

    # -- time -------------------------------------------------------------------------------------

    def now(self) -> datetime:
        return self._source() + self._offset

    def advance(self, seconds: float) -> None:
        """Move the provider's time on; what was due to happen late, happens."""
        with self.lock:
            self._offset += timedelta(seconds=seconds)
            self.tick()

    def tick(self) -> None:
        """Let happen what is due. A provider with timers of its own extends it."""
        due = [each for each in self._late if each[0] <= self.now()]
        self._late = [each for each in self._late if each not in due]
        for _at, request in due:
            self.handle(request, None)

    def take_deliveries(self) -> list[Delivery]:
        """The webhooks that were not taken yet, for whoever makes them; all stay in
        :attr:`deliveries`.
        """
        with self.lock:
            taken = self.deliveries[self.delivered :]
            self.delivered = len(self.deliveries)
            return taken

    # -- faults -----------------------------------------------------------------------------------

    def fault(self, name: str, operation: str = "*", times: int = 1, after: int = 0) -> None:
        """Arm *name* for the next *times* requests of *operation*, letting *after* of them pass.

        *operation* may be a pattern: ``payment.*``.
        """
        with self.lock:
            self._armed.append(_Armed(name, operation, times, after))

    def clear_faults(self) -> None:
        with self.lock:
            self._armed.clear()

    def _take(self, operation: str) -> str | None:
        for armed in self._armed:
            if not fnmatchcase(operation, armed.operation):
                continue
            if armed.after:
                armed.after -= 1
                continue
            armed.times -= 1
            if armed.times <= 0:
                self._armed.remove(armed)
            return armed.name
        return None

    # -- one request ------------------------------------------------------------------------------

    def receive(self, request: Request) -> Exchange:
        """Handle *request*, with the fault armed for it."""
        with self.lock:
            self.requests.append(request)
            self.tick()
            fault = self._take(self.operation(request))
            return self._exchange(request, fault)

    def _exchange(self, request: Request, fault: str | None) -> Exchange:
        kind, _, text = (fault or "").partition(":")
        wait = float(text) if text.replace(".", "", 1).isdigit() else self.default_wait_s
        if kind == "drop":
            return Exchange(None)
        if kind == "hang":
            return Exchange(None, wait)
        if kind == "late":
            self._late.append((self.now() + timedelta(seconds=wait), request))
            return Exchange(None)
        if kind == "html":
            return Exchange(_PAGE)
        if kind == "advance":
            self.advance(wait)
        if kind.isdigit():
            return Exchange(self.problem(int(kind)))
        if kind.removesuffix("_after").isdigit():
            self.handle(request, None)
            return Exchange(self.problem(int(kind.removesuffix("_after"))))
        common = kind in _AFTER or kind in ("slow", "advance")
        answer = self.handle(request, None if common else fault)
        if kind in _AFTER:
            return _AFTER[kind](answer, wait)
        return Exchange(answer, wait if kind == "slow" else 0.0)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the wire does: wait, then answer (``None`` closes the connection), whole or cut off."""

    response: Response | None
    wait_s: float = 0.0
    reset: bool = False


_PAGE = Response(200, "<html><body>Bad gateway</body></html>", {"Content-Type": "text/html"})


def _cut(answer: Response) -> Response:
    content = answer.content().decode()
    return Response(answer.status, content[: len(content) // 2], answer.headers)


_AFTER: Mapping[str, Callable[[Response, float], Exchange]] = {
    "drop_after": lambda answer, wait: Exchange(None),
    "hang_after": lambda answer, wait: Exchange(None, wait),
    "reset_after": lambda answer, wait: Exchange(answer, reset=True),
    "html_after": lambda answer, wait: Exchange(_PAGE),
    "empty_after": lambda answer, wait: Exchange(Response(answer.status, "", answer.headers)),
    "truncated_after": lambda answer, wait: Exchange(_cut(answer)),
}
