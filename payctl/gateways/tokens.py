"""Access tokens: asked for once, kept until shortly before they end, renewed once when refused.

PayPal, CinetPay, MTN and Orange each give a token for credentials and want it with every call. A
command-line process lives for a second, so tokens outlive it in a :class:`TokenStore` that the
composition root provides; a token is bound to the credentials and the address it was got with, so
a changed key never uses the old one's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from payctl.clock import Clock
from payctl.gateways.base import Outcome
from payctl.gateways.http import Reply

#: A token is renewed this long before its end, so that none runs out on its way.
EARLY_S = 60


@dataclass(frozen=True, slots=True)
class Token:
    """A provider's access token. Its text is never shown."""

    text: str = field(repr=False)
    expires_at: datetime


class TokenStore(Protocol):
    """Where tokens are kept between calls, and between processes."""

    def get(self, key: str) -> Token | None:
        """The token kept under *key*, expired or not."""

    def put(self, key: str, token: Token) -> None: ...

    def drop(self, key: str) -> None:
        """Forget it: the provider has refused it."""


class MemoryTokens:
    """Tokens of this process only."""

    def __init__(self) -> None:
        self._kept: dict[str, Token] = {}

    def get(self, key: str) -> Token | None:
        return self._kept.get(key)

    def put(self, key: str, token: Token) -> None:
        self._kept[key] = token

    def drop(self, key: str) -> None:
        self._kept.pop(key, None)


def token_key(*credentials: str) -> str:
    """A name for the token of *credentials* (address and secrets) that tells nothing of them."""
    import hashlib

    return hashlib.sha256("\0".join(credentials).encode()).hexdigest()[:32]


class Tokens:
    """The current token of one set of credentials. Thread-safe; one thread renews at a time.

    Args:
        store: where it is kept.
        key: names it there, see :func:`token_key`; called when first needed, because it reads
            secrets.
        fetch: makes the provider's token call within the given seconds.
        read: the token text and its life in seconds out of a reply with status 2xx, or ``None``
            when there is none in it.
    """

    def __init__(
        self,
        store: TokenStore,
        key: Callable[[], str],
        fetch: Callable[[float], Reply],
        read: Callable[[Reply], tuple[str, int] | None],
        clock: Clock,
    ) -> None:
        self._store = store
        self._key = key
        self._fetch = fetch
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()

    def current(self, deadline_s: float) -> str | Reply:
        """The token, or the reply that says why there is none.

        That reply never has the fault ``UNKNOWN``: whatever went wrong, the call that needed the
        token was not made, so nothing of it was sent. Waiting for another thread that renews counts
        against *deadline_s*.
        """
        until = self._clock.monotonic() + deadline_s
        if not self._lock.acquire(timeout=deadline_s):
            return Reply(None, {}, b"", Outcome.NOT_SENT, "no token: another call waits for it")
        try:
            kept = self._store.get(self._key())
            if kept is not None and kept.expires_at > self._clock.now():
                return kept.text
            return self._renew(max(until - self._clock.monotonic(), 0.1))
        finally:
            self._lock.release()

    def drop(self, refused: str) -> None:
        """Forget *refused*, unless another thread or process has replaced it meanwhile."""
        with self._lock:
            kept = self._store.get(self._key())
            if kept is not None and kept.text == refused:
                self._store.drop(self._key())

    def _renew(self, deadline_s: float) -> str | Reply:
        reply = self._fetch(deadline_s)
        refused = reply.status in (400, 401, 403, 429)
        if refused:
            status = 401 if reply.status == 400 else reply.status
            return _failed(reply, status, None)
        found = self._read(reply) if reply.status is not None and reply.status < 300 else None
        if found is None:
            return _failed(reply, None, Outcome.NOT_SENT)
        text, life_s = found
        ends = self._clock.now() + timedelta(seconds=max(life_s - EARLY_S, life_s // 2))
        self._store.put(self._key(), Token(text, ends))
        return text


def _failed(reply: Reply, status: int | None, fault: Outcome | None) -> Reply:
    """The call that needed the token ends as its token call did; the record is that call's."""
    why = reply.error or f"status {reply.status}"
    return Reply(
        status, reply.headers, b"", fault, f"no token: {why}", reply.latency_ms, reply.exchange
    )
