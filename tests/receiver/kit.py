"""Asks the receiver in process, as an ASGI server would, and what it needs around it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from payctl.clock import Clock
from payctl.gateways.signature import sign
from payctl.receiver.application import Receiver

T = TypeVar("T")

SECRET = "secret"
LOOPBACK, ABROAD = "127.0.0.1", "203.0.113.9"


@dataclass(frozen=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


async def ask(
    receiver: Receiver,
    path: str,
    body: bytes | Iterable[bytes] = b"",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    *,
    method: str = "POST",
    client: str = ABROAD,
    hangs: bool = False,
) -> Answered:
    """One request. *body* in pieces is sent chunked; *hangs* leaves the last piece out."""
    pieces = [body] if isinstance(body, bytes) else list(body)
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    waiting = list(pieces)

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        piece = waiting.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(waiting) or hangs}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "query_string": b"",
        "headers": [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in pairs],
        "client": (client, 40_000), "scheme": "http", "server": ("127.0.0.1", 80),
    }  # fmt: skip
    await receiver(scope, receive, send)
    start = sent[0]
    assert start["type"] == "http.response.start"
    return Answered(
        start["status"],
        {name.decode().lower(): value.decode() for name, value in start["headers"]},
        b"".join(each.get("body", b"") for each in sent[1:]),
    )


@asynccontextmanager
async def running(receiver: Receiver) -> AsyncIterator[Receiver]:
    """The receiver between its start and its orderly end."""
    messages: asyncio.Queue[Any] = asyncio.Queue()
    told: asyncio.Queue[Any] = asyncio.Queue()
    task = asyncio.create_task(receiver({"type": "lifespan"}, messages.get, told.put))
    await messages.put({"type": "lifespan.startup"})
    assert (await told.get())["type"] == "lifespan.startup.complete"
    try:
        yield receiver
    finally:
        await messages.put({"type": "lifespan.shutdown"})
        assert (await told.get())["type"] == "lifespan.shutdown.complete"
        await task


def play(receiver: Receiver, story: Callable[[Receiver], Awaitable[T]]) -> T:
    """Run *story* on a receiver that is running."""

    async def main() -> T:
        async with running(receiver):
            return await story(receiver)

    return asyncio.run(main())


def event(number: int = 1, **more: object) -> bytes:
    """An event of the sandbox about an object that is not ours."""
    about = {"kind": "other", "id": f"sb_{number}", "our_reference": f"ref-{number}"}
    return json.dumps(
        {"id": f"evt_{number}", "type": "other.thing", "created": "2026-11-02T09:00:00+00:00",
         "object": about, **more}
    ).encode()  # fmt: skip


def signed(body: bytes, clock: Clock, secret: str = SECRET) -> dict[str, str]:
    return {"Sandbox-Signature": sign(body, secret, clock.now())}
