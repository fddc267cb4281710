"""Durable webhooks: the receiver against the same application that only verifies, and against the
same rows put into the same table by one connection without any application.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import uvicorn

from payctl.app import App
from payctl.clock import SystemClock
from payctl.config import load as load_config
from payctl.db.engine import Database
from payctl.gateways.signature import sign
from payctl.receiver import server
from payctl.receiver.application import Receiver
from payctl.receiver.writer import Writer
from payctl.webhooks.reception import Incoming
from tests.benchmarks.bench import Bench, median_of, rate_ratio
from tests.benchmarks.figures import Condition, Result, figure, percentile
from tests.benchmarks.machine import load
from tests.benchmarks.workers import Run

CONNECTIONS = 32
BODY_BYTES = 2_000
#: Rows in one commit of the bare insert: what shares a commit when all connections wait.
BATCH = CONNECTIONS
WARM_UP_S = 0.5
_SECRET = "whsec_of_the_benchmark"
_PROFILE = """[profiles.default.gateways.box]
type = "sandbox"
webhook_secrets = ["env:SECRET"]
"""


def durable(bench: Bench) -> Iterator[Result]:
    """Goal W: durable webhooks a second over verified ones; its 99th percentile."""
    url = bench.server.new_book("webhooks")
    verified, stored = bench.in_turn(
        "W: webhooks", lambda n: measure(url, bench.seconds, store=False, run=n),
        lambda n: measure(url, bench.seconds, store=True, run=n),
    )  # fmt: skip
    ratio = rate_ratio(stored, verified)
    p99 = median_of(stored, lambda run: run.p99_ms)
    yield Result(
        "W",
        f"durable webhook of {BODY_BYTES // 1000} kB, {CONNECTIONS} connections, one process",
        f"verified only {figure(median_of(verified, lambda run: run.rate))}/s",
        f"{figure(median_of(stored, lambda run: run.rate))}/s, p99 {figure(p99)} ms",
        ratio,
        (Condition("ratio", ratio.median, ">=", 0.5), Condition("p99", p99, "<=", 25, "ms")),
        cpu=figure(median_of(stored, lambda run: run.client_us)),
        load=load(),
    )
    bare, again = bench.in_turn(
        "W: bare inserts", lambda n: inserted(url, bench.seconds, n),
        lambda n: measure(url, bench.seconds, store=True, run=100 + n),
    )  # fmt: skip
    yield Result(
        "W",
        f"the same, against {BATCH} of its rows in one commit without an application",
        f"rows {figure(median_of(bare, lambda run: run.rate))}/s",
        f"{figure(median_of(again, lambda run: run.rate))}/s",
        rate_ratio(again, bare),
        load=load(),
    )


def measure(url: str, seconds: float, *, store: bool, run: int) -> Run:
    """One receiver in a process of its own, and a client in this one."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(url, store, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(60):
            raise RuntimeError("the receiver does not start")
        port = int(ours.recv())
        asyncio.run(_ask(port, WARM_UP_S, f"w{run}{store}"))
        before = _cpu_s(process.pid)
        taken = asyncio.run(_ask(port, seconds, f"r{run}{store}"))
        used = _cpu_s(process.pid) - before
    finally:
        process.terminate()
        process.join(30)
        ours.close()
    rate = len(taken) / seconds
    return Run(
        rate, percentile(taken, 0.5) * 1e3, percentile(taken, 0.99) * 1e3,
        used / max(len(taken), 1) * 1e6, None, load(),
    )  # fmt: skip


def inserted(url: str, seconds: float, run: int) -> Run:
    """Rows through the one statement that stores them."""
    db = Database(url)
    app = App(_profile(), db)
    clock = SystemClock()
    made = [
        app.reception.check("box", body, {"Sandbox-Signature": sign(body, _SECRET, clock.now())})
        for body in (body_of(f"bare{run}-{number}") for number in range(BATCH))
    ]
    rows, took, began = 0, [], time.perf_counter()
    while (at := time.perf_counter()) - began < seconds:
        batch = [_renamed(each, f"b{run}-{rows + place}", db) for place, each in enumerate(made)]
        assert len(app.reception.store(batch, keep=True)) == BATCH
        rows += BATCH
        took.append(time.perf_counter() - at)
    app.close()
    return Run(rows / seconds, percentile(took, 0.5) * 1e3, percentile(took, 0.99) * 1e3, 0, None,
               load())  # fmt: skip


def _renamed(incoming: Incoming, name: str, db: Database) -> Incoming:
    return Incoming(
        {**incoming.values, "id": db.ids.new(), "event_id": name, "dedupe": name}, incoming.cards
    )


# -- the receiver ---------------------------------------------------------------------------------


class _NotStored(Writer):
    """Says that everything is stored."""

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    def put(self, incoming: Incoming) -> asyncio.Future[bool]:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        future.set_result(True)
        return future


def _profile() -> Any:
    folder = Path(mkdtemp(prefix="payctl-bench-"))
    file = folder / "payctl.toml"
    file.write_text(_PROFILE)
    file.chmod(0o600)
    return load_config(environ={"HOME": str(folder), "SECRET": _SECRET}, path=file)


def _serve(url: str, store: bool, told: Connection) -> None:
    import sys

    sys.setswitchinterval(server.SWITCH_S)
    app = App(_profile(), Database(url))
    receiver = Receiver(app, writer=None if store else _NotStored(app.reception.store))
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    told.send(listener.getsockname()[1])
    uvicorn.Server(server._config(receiver)).run(sockets=[listener])


# -- the client -----------------------------------------------------------------------------------


@dataclass
class _Load:
    """What the connections share: until when, what is sent, and how long it took."""

    until: float
    name: str
    numbers: Iterator[int]
    taken: list[float]

    def request(self) -> bytes:
        body = body_of(f"{self.name}-{next(self.numbers)}")
        signature = sign(body, _SECRET, SystemClock().now())
        return (
            b"POST /webhooks/box HTTP/1.1\r\nHost: pay.example\r\nUser-Agent: Stripe/1.0\r\n"
            b"Content-Type: application/json; charset=utf-8\r\nAccept: */*\r\n"
            b"Sandbox-Signature: " + signature.encode() + b"\r\n"
            b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        )


class _Client(asyncio.Protocol):
    """One connection: the next request goes out when the answer is there."""

    def __init__(self, shared: _Load) -> None:
        self._shared = shared
        self._got = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, _, body = self._got.partition(b"\r\n\r\n")
        if not body.endswith(b"}"):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(f"the receiver says {head[:80]!r} {body[:200]!r}"))
            self._transport.abort()
            return
        self._shared.taken.append(time.perf_counter() - self._sent_at)
        self._got = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def _next(self) -> None:
        if time.perf_counter() >= self._shared.until:
            self._transport.close()
            return
        asked = self._shared.request()
        self._sent_at = time.perf_counter()
        self._transport.write(asked)


async def _ask(port: int, seconds: float, name: str) -> list[float]:
    shared = _Load(time.perf_counter() + seconds, name, count(), [])
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: _Client(shared), "127.0.0.1", port))[1]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.gather(*(client.done for client in clients))
    return shared.taken


def body_of(name: str) -> bytes:
    """An event of about two thousand bytes."""
    about = {"kind": "payment", "id": f"sb-{name}", "our_reference": f"ref-{name}"}
    event = {"id": f"evt-{name}", "type": "payment.succeeded", "object": about,
             "created": "2026-11-02T09:00:00+00:00"}  # fmt: skip
    text = json.dumps({**event, "note": "n " * 900})
    return text.encode().ljust(BODY_BYTES)


def _cpu_s(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
