"""One connection to the core service: kept alive, bound to a checked address, with a deadline.

The standard library's client, because the socket must be ours: it goes to an address that was
checked, and every wait on it ends with the deadline of the whole exchange, however slowly the other
side talks. Redirects are answers like any other; proxies are not used.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from payctl.clock import Clock
from payctl.notifications.target import Resolver, Target, addresses

CONNECT_S = 5.0
#: What an answer says is not used; more of it than this is not read.
MAX_ANSWER = 65_536


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, and how long the other side asks us to wait, in seconds."""

    status: int
    retry_after_s: float | None


class NoConnection(OSError):
    """No connection was made: nothing left this machine."""


class Channel:
    """A connection that is made when first needed and again after it was lost. One thread's own.

    Args:
        clock: measures the deadline.
        context: of TLS; default: the system's authorities.
    """

    def __init__(
        self,
        target: Target,
        clock: Clock,
        *,
        allow_private: bool,
        resolve: Resolver = socket.getaddrinfo,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._target = target
        self._clock = clock
        self._allow_private = allow_private
        self._resolve = resolve
        self._context = context
        self._client: http.client.HTTPConnection | None = None
        self._socket: _Timed | None = None

    def post(self, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Answer:
        """One exchange within *timeout_s* seconds.

        Raises:
            NoConnection: no connection could be made, or none is allowed there.
            OSError, http.client.HTTPException: it ended without an answer that can be read.
        """
        until = self._clock.monotonic() + timeout_s
        used = self._client is not None
        try:
            return self._exchange(body, headers, until)
        except (ConnectionError, http.client.BadStatusLine):
            self.close()
            # A connection that was kept may have been closed meanwhile; a new one says the truth.
            if not used:
                raise
        except BaseException:
            self.close()
            raise
        try:
            return self._exchange(body, headers, until)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next exchange makes a new one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _exchange(self, body: bytes, headers: Mapping[str, str], until: float) -> Answer:
        client = self._client or self._connect(until)
        self._client = client
        assert self._socket is not None, "a client has a socket"
        self._socket.until = until
        client.putrequest("POST", self._target.path, skip_host=True, skip_accept_encoding=True)
        client.putheader("Host", self._target.authority)
        client.putheader("Content-Type", "application/json")
        client.putheader("User-Agent", "payctl")
        client.putheader("Content-Length", str(len(body)))
        for name, value in headers.items():
            client.putheader(name, value)
        client.endheaders(body)
        response = client.getresponse()
        rest = response.read(MAX_ANSWER)
        after = response.getheader("Retry-After")
        if len(rest) == MAX_ANSWER or response.will_close or not response.isclosed():
            self.close()
        return Answer(response.status, retry_after(after, self._clock.now()))

    def _connect(self, until: float) -> http.client.HTTPConnection:
        try:
            plain = self._reach(until)
            try:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._target.tls:
                    context = self._context or _default_context()
                    plain.settimeout(max(until - self._clock.monotonic(), 0.001))
                    plain = context.wrap_socket(plain, server_hostname=self._target.host)
            except BaseException:
                plain.close()
                raise
        except (OSError, ValueError) as error:
            raise NoConnection(_reason(error)) from error
        client = http.client.HTTPConnection(self._target.host, self._target.port)
        client.sock = self._socket = _Timed(plain, self._clock.monotonic)
        return client

    def _reach(self, until: float) -> socket.socket:
        found = addresses(self._target, allow_private=self._allow_private, resolve=self._resolve)
        for number, address in enumerate(found, 1):
            wait = min(CONNECT_S, max(until - self._clock.monotonic(), 0.001))
            try:
                return socket.create_connection((address, self._target.port), wait)
            except OSError:
                if number == len(found):
                    raise
        raise AssertionError("a name without addresses has been refused")


class _Timed:
    """A socket whose every wait ends at ``until``, on the clock *now*."""

    def __init__(self, inner: socket.socket, now: Callable[[], float]) -> None:
        self._inner = inner
        self._now = now
        self.until = now()

    def sendall(self, data: bytes) -> None:
        self._wait()
        self._inner.sendall(data)

    def recv_into(self, buffer: Any) -> int:
        self._wait()
        return self._inner.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        self._inner.close()

    def _wait(self) -> None:
        left = self.until - self._now()
        if left <= 0:
            raise TimeoutError("timed out")
        self._inner.settimeout(left)


class _Reader(io.RawIOBase):
    def __init__(self, timed: _Timed) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._timed.recv_into(buffer)


def retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` asks for: a number, or a date; ``None`` for anything else."""
    text = (text or "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max((at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds(), 0.0)


def _default_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
