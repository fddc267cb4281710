"""The one place where bytes leave for a provider.

One client per gateway, every call with a deadline, connections bounded, redirects never followed,
nothing ever repeated. Whatever happens ends in a :class:`Reply` that says what the exchange proves:

======================================================  =====================================
observed                                                proves (payments design, 2.5)
======================================================  =====================================
name not found, refused, connect timeout, TLS, no slot  ``NOT_SENT``: no byte of it left
any other failure after that                            ``UNKNOWN``: it may have happened
1xx, 3xx, 408, 5xx, a 2xx we cannot read                ``UNKNOWN``
401, 403                                                ``REJECTED``/``auth``
429                                                     ``REJECTED``/``rate``
409                                                     ``EXISTS``
other 4xx                                               ``REJECTED``/``validation``
======================================================  =====================================

httpx is imported by the first call, not with this module: it costs 86 ms.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from payctl import log
from payctl.clock import Clock
from payctl.gateways import exchange
from payctl.gateways.base import Answer, Outcome, Probe, RejectKind, no_probe

if TYPE_CHECKING:
    import ssl

    import httpx

CONNECT_S = 3.0
MAX_CONNECTIONS = 20
MAX_BODY = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back of one exchange.

    Exactly one of ``status`` and ``fault`` is set: ``fault`` is ``NOT_SENT`` or ``UNKNOWN`` with
    the name of the failure in ``error``. ``exchange`` is the scrubbed record.
    """

    status: int | None
    headers: Mapping[str, str]
    body: bytes
    fault: Outcome | None = None
    error: str | None = None
    latency_ms: int = 0
    exchange: Mapping[str, Any] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        """A response header whatever its case."""
        wanted = name.lower()
        return next((v for k, v in self.headers.items() if k.lower() == wanted), None)

    @property
    def retry_after_s(self) -> float | None:
        """Seconds the provider asks us to wait; a date or nonsense counts as unsaid."""
        text = (self.header("Retry-After") or "").strip()
        return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


class Http:
    """An HTTP client for one gateway. Thread-safe; survives a fork by connecting anew.

    Args:
        clock: measures deadlines and latency.
        probe: told ``send.before`` and ``receive.after`` around each exchange.
        secrets: everything that must not appear in a record, asked anew each time.
        connect_s: longest wait for a connection, in seconds.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        probe: Probe = no_probe,
        secrets: Callable[[], Iterable[str]] = tuple,
        connect_s: float = CONNECT_S,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._clock = clock
        self._probe = probe
        self._secrets = secrets
        self._connect_s = connect_s
        self._max_connections = max_connections
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._owner = 0
        self._deadline = threading.local()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        deadline_s: float,
    ) -> Reply:
        """Make one exchange within *deadline_s* seconds, connecting included; never raises."""
        import httpx

        started = self._clock.monotonic()
        status: int | None = None
        got: dict[str, str] = {}
        content, error, fault = b"", None, None
        self._deadline.until = started + deadline_s
        self._probe("send.before")
        try:
            status, got, content = self._talk(method, url, headers, body, deadline_s)
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.UnsupportedProtocol,
            httpx.InvalidURL,
        ) as failure:
            fault, error = Outcome.NOT_SENT, type(failure).__name__
        except (httpx.HTTPError, httpx.StreamError, OSError, ValueError) as failure:
            fault, error = Outcome.UNKNOWN, type(failure).__name__
        self._probe("receive.after")
        latency = round((self._clock.monotonic() - started) * 1000)
        kept = exchange.record(
            method=method, url=url, request_headers=headers, request_body=body, status=status,
            response_headers=got, response_body=content, fault=error, latency_ms=latency,
            secrets=self._secrets(),
        )  # fmt: skip
        log.info(
            "provider.call", method=method, url=kept["url"], status=status, fault=error,
            ms=latency,
        )  # fmt: skip
        return Reply(status, got, content, fault, error, latency, kept)

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _talk(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline_s: float,
    ) -> tuple[int, dict[str, str], bytes]:
        import httpx

        connect = min(self._connect_s, deadline_s)
        timeout = httpx.Timeout(deadline_s, connect=connect, pool=connect)
        request = dict(headers) | {"Accept-Encoding": "identity"}
        with self._open().stream(
            method, url, headers=request, content=body, timeout=timeout
        ) as response:
            content = bytearray()
            for part in response.iter_bytes():
                content += part
                if len(content) > MAX_BODY:
                    raise httpx.ReadError("too large", request=response.request)
            return response.status_code, dict(response.headers), bytes(content)

    def _open(self) -> httpx.Client:
        """The client of this process. A child must not use its parent's sockets."""
        with self._lock:
            if self._client is None or self._owner != os.getpid():
                self._client = self._new_client()
                self._owner = os.getpid()
                weakref.finalize(self, self._client.close)
            return self._client

    def _new_client(self) -> httpx.Client:
        import httpx

        # They log whole addresses, and some providers want their token there.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        transport = httpx.HTTPTransport(
            verify=_trust(),
            limits=httpx.Limits(
                max_connections=self._max_connections,
                max_keepalive_connections=self._max_connections,
                keepalive_expiry=30.0,
            ),
            retries=0,
        )
        # httpx bounds each read, not their sum: a provider that sends a byte now and then would
        # hold us for ever. Its pool takes the network to use only from inside; a test with a
        # dripping server watches that this stays so.
        pool: Any = transport._pool
        pool._network_backend = _Network(pool._network_backend, self._remaining)
        return httpx.Client(transport=transport, follow_redirects=False, trust_env=False)

    def _remaining(self) -> float:
        until: float = getattr(self._deadline, "until", self._clock.monotonic())
        return max(until - self._clock.monotonic(), 0.001)


class _Network:
    """httpcore's network, with every wait cut to what is left of the deadline."""

    def __init__(self, inner: Any, remaining: Callable[[], float]) -> None:
        self._inner = inner
        self._remaining = remaining

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **rest: Any) -> Any:
        wait = min(timeout or CONNECT_S, self._remaining())
        stream = self._inner.connect_tcp(host, port, timeout=wait, **rest)
        return _Stream(stream, self._remaining)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Stream:
    """One connection of :class:`_Network`."""

    def __init__(self, inner: Any, remaining: Callable[[], float]) -> None:
        self._inner = inner
        self._remaining = remaining

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._inner.read(max_bytes, timeout=self._remaining())
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout=self._remaining())

    def start_tls(self, ssl_context: Any, **rest: Any) -> _Stream:
        rest["timeout"] = min(rest.get("timeout") or CONNECT_S, self._remaining())
        return _Stream(self._inner.start_tls(ssl_context, **rest), self._remaining)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@cache
def _trust() -> ssl.SSLContext:
    """Whom every client trusts. Reading the certificates takes longer than most calls, so a process
    does it once.
    """
    import httpx

    return httpx.create_ssl_context()


def answer_without_success(reply: Reply) -> Answer | None:
    """What a reply proves by itself, or ``None`` for a 2xx, which only the adapter can read.

    An adapter that finds a decline or a known error in the body of a 4xx says so itself.
    """
    if reply.fault is not None:
        return Answer(
            reply.fault,
            message=reply.error,
            latency_ms=reply.latency_ms,
            exchange=reply.exchange,
        )
    status = reply.status or 0
    if 200 <= status < 300:
        return None
    outcome, kind, code = _meaning(status)
    return Answer(
        outcome,
        code=code,
        reject=kind,
        message=f"status {status}",
        retry_after_s=reply.retry_after_s,
        http_status=status,
        latency_ms=reply.latency_ms,
        exchange=reply.exchange,
    )


def _meaning(status: int) -> tuple[Outcome, RejectKind | None, str | None]:
    if status in (401, 403):
        return Outcome.REJECTED, RejectKind.AUTH, "bad_credentials"
    if status == 429:
        return Outcome.REJECTED, RejectKind.RATE, "rate_limited"
    if status == 409:
        return Outcome.EXISTS, None, None
    if 400 <= status < 500 and status != 408:
        return Outcome.REJECTED, RejectKind.VALIDATION, "invalid_request"
    return Outcome.UNKNOWN, None, None
