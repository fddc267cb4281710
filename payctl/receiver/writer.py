"""One thread that stores what the requests bring: those that wait at the same time share a commit.

A request is answered when the commit that holds its webhook has come back. While one is under way
others queue up and become the next one, so the batches are as large as the load is heavy, and a
single webhook waits for nobody.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from uuid import UUID

from payctl import log
from payctl.errors import PayctlError, Unavailable
from payctl.webhooks.reception import Incoming

#: Webhooks in one commit at most; a statement with more gains nothing.
MAX_BATCH = 200
#: What may wait: more says that the database has stopped, and memory must not fill up meanwhile.
MAX_WAITING = 20_000
MAX_WAITING_BYTES = 64 * 1024 * 1024

Store = Callable[[Sequence[Incoming]], set[UUID]]
Waiting = tuple[Incoming, "asyncio.Future[bool]"]


class Busy(Exception):
    """Too much is waiting."""


class Writer:
    """Stores webhooks for one event loop.

    Args:
        store: stores a batch in one commit and returns the ids that are new; safe to repeat.
        leave: called by the thread when it ends.
    """

    def __init__(self, store: Store, leave: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._leave = leave
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0
        self._wanted = threading.Condition()
        self._ending = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="webhook-writer", daemon=True)
        self.commits = 0

    def start(self) -> None:
        """Begin; called in the event loop whose requests it serves."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def put(self, incoming: Incoming) -> asyncio.Future[bool]:
        """Have it stored; the future ends after the commit, with whether it was new.

        Raises:
            Busy: too much is waiting, or the writer has ended.
        """
        if self._loop is None:
            raise Busy
        future: asyncio.Future[bool] = self._loop.create_future()
        size = len(incoming.values["body"])
        with self._wanted:
            full = len(self._waiting) >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES
            if full or self._ending:
                raise Busy
            self._waiting.append((incoming, future))
            self._bytes += size
            self._wanted.notify()
        return future

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def stop(self, timeout_s: float = 10.0) -> None:
        """Store what waits, then end."""
        with self._wanted:
            self._ending = True
            self._wanted.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (batch := self._take()) is not None:
                self._finish(batch)
        finally:
            self._leave()

    def _take(self) -> list[Waiting] | None:
        with self._wanted:
            while not self._waiting:
                if self._ending:
                    return None
                self._wanted.wait()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
            self._bytes -= sum(len(each.values["body"]) for each, _ in batch)
            return batch

    def _finish(self, batch: list[Waiting]) -> None:
        try:
            new = self._stored([incoming for incoming, _ in batch])
        except Unavailable as gone:
            log.error("webhook.not_stored", code=gone.code, count=len(batch))
            self._tell([(future, gone) for _, future in batch])
        except Exception as error:
            if len(batch) > 1:
                # One that cannot be stored must not take the others with it.
                for each in batch:
                    self._finish([each])
                return
            log.exception(error, "webhook.not_stored")
            self._tell([(batch[0][1], error)])
        else:
            self.commits += 1
            self._tell([(future, incoming.id in new) for incoming, future in batch])

    def _stored(self, batch: list[Incoming]) -> set[UUID]:
        """Once more when the connection was lost: a server that was restarted is back, or not."""
        try:
            return self._store(batch)
        except Unavailable as gone:
            if gone.code != "database.unreachable":
                raise
            return self._store(batch)

    def _tell(self, results: list[tuple[asyncio.Future[bool], bool | Exception]]) -> None:
        if self._loop is None or self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(_resolve, results)


def _resolve(results: list[tuple[asyncio.Future[bool], bool | Exception]]) -> None:
    for future, result in results:
        if future.done():
            continue
        if isinstance(result, PayctlError):
            future.set_exception(result)
        elif isinstance(result, Exception):
            future.set_exception(Busy())
        else:
            future.set_result(result)
