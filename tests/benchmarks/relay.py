"""Goal 15: notifications relayed per second, against posting the same bodies from memory."""

from __future__ import annotations

import asyncio
import http.client
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.notifications.outbox import Notification, row
from payctl.notifications.relay import Relay
from payctl.notifications.signing import body_of
from payctl.notifications.tables import notification
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Condition, Result, figure, median_ratio
from tests.benchmarks.machine import load
from tests.notifications.kit import ACTOR, sender_to

#: Notifications of a round, two of each object; and how many are in flight.
NOTIFICATIONS, WIDTH = 8_000, 16
#: What the platform sells on its busiest evening, in notifications a second.
WANTED_PER_S = 1_000


class _Taker(asyncio.Protocol):
    """Takes whatever is posted, and as little time as it can."""

    def __init__(self) -> None:
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        while (end := self._got.find(b"\r\n\r\n")) >= 0:
            head = self._got[:end].lower()
            start = head.index(b"content-length:") + 15
            size = int(head[start:].split(b"\r\n", 1)[0])
            if len(self._got) < end + 4 + size:
                return
            self._got = self._got[end + 4 + size :]
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")  # type: ignore[attr-defined]


def _serve(told: Connection) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Taker, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await loop.run_in_executor(None, told.recv)
        server.close()

    asyncio.run(main())


@contextmanager
def taking() -> Iterator[str]:
    """A receiving end in a process of its own; its URL."""
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/"
    finally:
        ours.send(None)
        process.join(10)


def posted(url: str, bodies: Sequence[bytes]) -> float:
    """Bodies a second that go out over connections kept open, unsigned and from memory."""
    parts = urlsplit(url)

    def work(mine: Sequence[bytes]) -> None:
        client = http.client.HTTPConnection(str(parts.hostname), parts.port)
        for body in mine:
            client.request("POST", "/", body, {"Content-Type": "application/json"})
            client.getresponse().read()
        client.close()

    started = time.perf_counter()
    with ThreadPoolExecutor(WIDTH) as pool:
        list(pool.map(work, [bodies[number::WIDTH] for number in range(WIDTH)]))
    return len(bodies) / (time.perf_counter() - started)


def notified(db: Database, count: int) -> list[Notification]:
    """So many new notifications, two of each object, in the order they were made."""
    now = db.clock.now()
    objects = [db.ids.new(now) for _ in range(count // 2)]
    data = {"amount_minor": 15_000, "currency": "XOF", "method": "mobile_money"}
    made = [
        row(db.ids.new(now), now, kind, "payment", each, sequence, data)
        for sequence, kind in enumerate(("payment.created", "payment.succeeded"), 1)
        for each in objects
    ]
    with db.transaction() as tx:
        tx.execute(sa.insert(notification), made)
    return [Notification(**each) for each in made]


def relayed(db: Database, url: str, count: int) -> float:
    """Notifications a second from the outbox to the receiver and back into the book."""
    relay = Relay(db, "core", sender_to(db, url, width=WIDTH))
    started = time.perf_counter()
    done = relay.run(ACTOR, limit=count)
    taken = time.perf_counter() - started
    relay.close()
    assert done == {"delivered": count}, done
    return count / taken


def notifications(bench: Bench) -> Iterator[Result]:
    """The relay on PostgreSQL; in each round a book's whole outbox of new objects."""
    db = Database(bench.server.new_book("relay"))
    try:
        with taking() as url:
            made: list[Notification] = []

            def theirs(_round: int) -> float:
                made[:] = notified(db, NOTIFICATIONS)
                return posted(url, [body_of(each) for each in made])

            raw, ours = bench.in_turn(
                "15: relay", theirs, lambda _round: relayed(db, url, NOTIFICATIONS)
            )
    finally:
        db.dispose()
    ratio = median_ratio(ours, raw)
    rate = statistics.median(ours)
    yield Result(
        "15",
        f"relay: a notification taken up, signed, delivered and marked; one process, {WIDTH} in"
        " flight",
        f"the same bodies posted from memory {figure(statistics.median(raw))}/s",
        f"{figure(rate)}/s",
        ratio,
        (
            Condition("ratio", ratio.median, ">=", 0.15),
            Condition("rate", rate, ">=", WANTED_PER_S, "/s"),
        ),
        load=load(),
    )
