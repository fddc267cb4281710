"""One request as the receiver sees it, and its body, read with a limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from payctl.receiver.addresses import Address, Networks, client_of
from payctl.receiver.answers import request_id_of

Scope = Mapping[str, Any]


class TooLarge(Exception):
    """The body is larger than allowed."""


class Unfinished(Exception):
    """The body did not come."""


@dataclass
class Asked:
    """A request without its body.

    Attributes:
        headers: by lower-case name; of one that comes twice the last.
        forwarded: whether a proxy, or somebody who wants to look like one, has passed it on.
    """

    scope: Scope
    proxies: Networks = ()

    def __post_init__(self) -> None:
        pairs = [
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in self.scope["headers"]
        ]
        self.headers = dict(pairs)
        self._client: Address | None = None
        self._hops = [value for name, value in pairs if name == "x-forwarded-for"]
        self.forwarded = bool(self._hops) or "forwarded" in self.headers
        self.request_id = request_id_of(self.headers.get("x-request-id"))

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def client(self) -> Address | None:
        """Whose address it came from; only worked out when somebody wants to know."""
        if self._client is None:
            peer = self.scope.get("client")
            self._client = client_of(peer[0] if peer else None, self._hops, self.proxies)
        return self._client


async def read_body(asked: Asked, receive: Callable[[], Awaitable[Any]], limit: int) -> bytes:
    """The whole body; who calls says how long that may take.

    Raises:
        TooLarge: as soon as it says so or is so.
        Unfinished: the caller has gone.
    """
    said = asked.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and (len(said) > 12 or int(said) > limit):
        raise TooLarge
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Unfinished
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise TooLarge
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts) if len(parts) > 1 else bytes(parts[0])
