"""Connections that may not wait for ever: a server of this process, with short times."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from payctl.receiver import connections
from payctl.receiver.connections import GuardedProtocol

pytestmark = pytest.mark.integration

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def _hello(scope: Any, receive: Any, send: Any) -> None:
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
    )
    await send({"type": "http.response.body", "body": b""})


class _Streams:
    """Connections to a server of this loop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def connect(self, said: bytes = b"") -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.open.append((reader, writer))
        writer.write(said)
        await writer.drain()
        return reader

    async def close(self) -> None:
        for _, writer in self.open:
            writer.close()
        for _, writer in self.open:
            try:
                await writer.wait_closed()
            except OSError:
                continue


def play(story: Callable[[_Streams], Awaitable[None]]) -> None:
    async def main() -> None:
        config = uvicorn.Config(
            _hello, port=0, http=GuardedProtocol, ws="none", lifespan="off", log_config=None,
            loop="asyncio",
        )  # fmt: skip
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        streams = _Streams(server.servers[0].sockets[0].getsockname()[1])
        try:
            async with asyncio.timeout(20):
                await story(streams)
        finally:
            await streams.close()
            await server.shutdown()

    asyncio.run(main())


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the other side hangs up, having said nothing."""
    try:
        return await reader.read(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "said", [b"", b"G", ASK[:-2], b"\r\n\r\n"], ids=["silent", "slow", "headers", "empty lines"]
)
def test_who_does_not_finish_the_headers_is_hung_up_on(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADERS_S", 0.05)

    async def story(streams: _Streams) -> None:
        assert await ended(await streams.connect(said))

    play(story)


@pytest.mark.parametrize("more", [b"", b"GET / HT", b"\r\n"], ids=["idle", "slow", "empty line"])
def test_a_second_request_has_no_longer(more: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADERS_S", 0.05)
    monkeypatch.setattr(connections, "IDLE_S", 0.1)

    async def story(streams: _Streams) -> None:
        reader = await streams.connect(ASK)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        streams.open[0][1].write(more)
        assert await ended(reader)

    play(story)


def test_the_one_that_was_silent_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 5)

    async def story(streams: _Streams) -> None:
        readers = [await streams.connect(b"G") for _ in range(5)]
        asks = await streams.connect(ASK)
        assert (await asks.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await ended(readers[0])
        streams.open[4][1].write(ASK[1:])
        assert (await readers[4].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")

    play(story)
