"""Several relays side by side, so that none waits for what another one's endpoint does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from payctl import log
from payctl.db.actor import Actor
from payctl.errors import Unavailable
from payctl.notifications.relay import Relay


def run_all(
    relays: Sequence[Relay],
    actor: Actor,
    *,
    limit: int | None = None,
    check: Callable[[], None] = lambda: None,
    stop: threading.Event | None = None,
    pause_s: float = 0.0,
) -> dict[str, dict[str, int]]:
    """Run each relay in a thread of its own; returns by name how many tries ended in what.

    Args:
        check: called before each batch of each; what it raises ends that relay's run.
        stop: go on, looking for work every *pause_s* seconds, until this is set.

    Raises:
        Whatever the first of them raised, once all have ended.
    """
    if not relays:
        return {}
    with ThreadPoolExecutor(len(relays), thread_name_prefix="relay") as pool:
        runs = {
            relay.name: pool.submit(_run, relay, actor, limit, check, stop, pause_s)
            for relay in relays
        }
    return {name: run.result() for name, run in runs.items()}


class _Stopped(Exception):
    """The run was asked to end."""


def _run(
    relay: Relay,
    actor: Actor,
    limit: int | None,
    check: Callable[[], None],
    stop: threading.Event | None,
    pause_s: float,
) -> dict[str, int]:
    if stop is None:
        return relay.run(actor, limit=limit, check=check)
    counts: dict[str, int] = {}

    def count(what: str) -> None:
        counts[what] = counts.get(what, 0) + 1

    def checked() -> None:
        if stop.is_set():
            raise _Stopped
        check()

    while not stop.is_set():
        try:
            relay.run(actor, check=checked, count=count)
        except _Stopped:
            break
        except Unavailable as gone:
            # The database comes back or somebody stops us; what was sent is sent again.
            log.warning("outbox.follow", endpoint=relay.name, code=gone.code)
        stop.wait(pause_s)
    return counts
