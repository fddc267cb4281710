"""Applies events as they arrive, for as long as it is let.

A separate process from whoever receives: asking providers and posting to the ledger is work, and
an answer to a webhook must not wait for it. It looks several times a second whether something is
due, which is one indexed question to the database. PostgreSQL could call out instead, but only on a
connection of its own, not through a pool that shares connections by transaction, and every commit
that calls takes a lock of the whole server; a book on SQLite could not at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from payctl import log
from payctl.db.actor import Actor
from payctl.errors import PayctlError, Unavailable
from payctl.webhooks.service import Inbox

#: How often it looks. An event is begun within it, so well within a second of its arrival.
LOOK_S = 0.2
#: While the database is gone it looks less often.
GONE_S = 2.0
#: Events at once: a provider that answers slowly must not hold up the others' events.
THREADS = 4
_BATCH = 20


class Follower:
    """Several threads on one inbox. One of them looks; the others work when there is much to do.

    Args:
        count: told what each event ended in.
    """

    def __init__(
        self,
        inbox: Inbox,
        actor: Actor,
        *,
        threads: int = THREADS,
        look_s: float = LOOK_S,
        count: Callable[[str], None] = lambda what: None,
    ) -> None:
        self._inbox = inbox
        self._actor = actor
        self._look_s = look_s
        self._count = count
        self._stop = threading.Event()
        self._more = threading.Event()
        self._helpers = [
            threading.Thread(target=self._help, name=f"webhook-apply-{n}", daemon=True)
            for n in range(1, threads)
        ]

    def run(self) -> None:
        """Apply until :meth:`stop`; what is in hand then is finished."""
        for helper in self._helpers:
            helper.start()
        while not self._stop.is_set():
            self._stop.wait(self._turn())
        self._more.set()
        for helper in self._helpers:
            helper.join()

    def stop(self) -> None:
        """End; may be called from a signal handler."""
        self._stop.set()

    def _turn(self) -> float:
        """One look; how long to wait for the next."""
        try:
            due = self._inbox.due(2)
            if due > 1:
                self._more.set()
            return 0.0 if due and self._apply() else self._look_s
        except Unavailable as gone:
            log.warning("webhook.follow", code=gone.code)
            return GONE_S

    def _help(self) -> None:
        while not self._stop.is_set():
            self._more.wait()
            try:
                while self._apply():
                    pass
            except Unavailable as gone:
                log.warning("webhook.follow", code=gone.code)
            if not self._stop.is_set():
                self._more.clear()

    def _apply(self) -> bool:
        """Apply some; whether there were any. A fault of ours is logged and does not end us."""
        try:
            done = self._inbox.apply(
                self._actor, limit=_BATCH, check=self._check, count=self._count
            )
        except _Stopped:
            return False
        except Unavailable:
            raise
        except PayctlError as error:
            log.error("webhook.follow", code=error.code)
            return False
        except Exception as error:
            log.exception(error, "webhook.follow")
            return False
        return bool(done)

    def _check(self) -> None:
        if self._stop.is_set():
            raise _Stopped


class _Stopped(Exception):
    """Between two events: no more."""
