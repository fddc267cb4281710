"""The process that applies what the receiver stores.

It is one of its own, so that an answer to a webhook never waits for a provider or for a posting,
and it ends with the process that started it, however that ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

from payctl import log
from payctl.errors import Unavailable

if TYPE_CHECKING:
    from payctl.app import App

#: How long a stopping process has to finish what it has in hand.
GRACE_S = 15


def open_app() -> App:
    """The services; a database that is gone now may be back when the first webhook comes."""
    from payctl.app import App
    from payctl.config import load
    from payctl.db.migrate import ensure_ready
    from payctl.log_settings import open_log

    config = load(environ=os.environ)
    open_log(lambda: config, os.environ, service=True)
    app = App(config)
    try:
        ensure_ready(app.db)
    except Unavailable as gone:
        log.error("receiver.database", code=gone.code)
    return app


class Applier:
    """The process that applies events, started again when it dies."""

    _PAUSE_S = 5.0

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._process: Any = None
        self._thread = threading.Thread(target=self._keep, name="applier", daemon=True)

    def start(self) -> None:
        self._begin()
        self._thread.start()

    def stop(self) -> None:
        """End it; the event it has in hand is finished, or tried again later by another."""
        self._ending.set()
        with self._lock:
            process = self._process
            process.terminate()
        process.join(GRACE_S)
        if process.is_alive():
            process.kill()
            process.join()

    def _begin(self) -> None:
        with self._lock:
            if self._ending.is_set():
                return
            context = multiprocessing.get_context("spawn")
            self._process = context.Process(target=apply_events, name="payctl-apply", daemon=True)
            self._process.start()

    def _keep(self) -> None:
        while not self._ending.is_set():
            self._process.join()
            if self._ending.wait(self._PAUSE_S):
                return
            log.error("applier.died", exit_code=self._process.exitcode)
            self._begin()


def apply_events() -> None:
    """What the process that applies runs: until it is told to end, or has lost who started it."""
    app = open_app()
    follow(app)
    app.close()


def follow(app: App, *, threads: int | None = None) -> None:
    """Apply events as they come, until SIGTERM or SIGINT."""
    from payctl.db.operators import job_actor
    from payctl.webhooks.follow import THREADS, Follower

    actor = job_actor("webhook_apply", "job.webhooks", host=socket.gethostname(),
                      session=f"pid {os.getpid()}")  # fmt: skip
    follower = Follower(app.inbox, actor, threads=threads or THREADS)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: follower.stop())
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            follower.stop()

        threading.Thread(target=watch, name="parent", daemon=True).start()
    follower.run()
