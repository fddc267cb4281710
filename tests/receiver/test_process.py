"""The receiver as it is run: a real server, real connections, signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path

import pytest

from payctl.app import App
from payctl.clock import SystemClock
from payctl.config import load
from payctl.db.engine import Database
from payctl.webhooks import store
from tests import books
from tests.receiver.conftest import ENVIRON, PROFILE
from tests.receiver.kit import event, signed
from tests.receiver.process import Served, serve, until
from tests.webhooks.test_service import WORKER

pytestmark = [pytest.mark.integration, pytest.mark.webhooks]

CLOCK = SystemClock()
HEAD = b"POST /webhooks/box HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def profile(db_url: str, tmp_path: Path) -> Path:
    db = Database(db_url)
    books.stamp(db)
    db.dispose()
    file = tmp_path / "payctl.toml"
    place = f'[profiles.default]\ndatabase.url = "{db_url}"\n'
    file.write_text(PROFILE.replace("[profiles.default]\n", place, 1))
    file.chmod(0o600)
    return file


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), **ENVIRON}


def stored(db_url: str) -> dict[str, str]:
    """Provider's id of every event -> its state."""
    db = Database(db_url)
    with db.read() as tx:
        found = store.listing(
            tx, states=None, account=None, since=None, until=None, after=None, limit=5_000
        )
    db.dispose()
    return {str(each.event_id): each.state for each in found}


@pytest.fixture
def served(profile: Path, environ: dict[str, str]) -> Iterator[Served]:
    made = serve(profile, environ, ["--no-apply"])
    yield made
    made.close()


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_silent_and_slow_clients_keep_nobody_out(served: Served, db_url: str) -> None:
    """500 connections say nothing, send their headers letter by letter or half a body."""
    with ExitStack() as open_ones:
        for number in range(500):
            each = open_ones.enter_context(served.connect())
            if number % 5 == 0:
                each.sendall(HEAD + b"X-A: ")
            elif number % 5 == 1:
                each.sendall(HEAD + b"Content-Length: 9\r\n\r\nx")
        began = CLOCK.monotonic()
        for number in range(20):
            body = event(number)
            assert served.post("/webhooks/box", body, signed(body, CLOCK)) == 200
        assert CLOCK.monotonic() - began < 5
    assert len(stored(db_url)) == 20


def sent_until(served: Served, enough: int, act: Callable[[], object]) -> set[str]:
    """Send from several sides at once, and *act* when *enough* were answered; ids of all events
    that were answered 200, whenever that was.
    """
    answered: list[str] = []
    reached = threading.Event()

    def send(sender: int) -> None:
        for number in range(sender * 10_000, sender * 10_000 + 2_000):
            body = event(number)
            try:
                status = served.post("/webhooks/box", body, signed(body, CLOCK))
            except (OSError, HTTPException):
                return
            if status != 200:
                return
            answered.append(f"evt_{number}")
            if len(answered) >= enough:
                reached.set()

    senders = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for each in senders:
        each.start()
    assert reached.wait(20)
    act()
    for each in senders:
        each.join()
    return set(answered)


def test_sigterm_loses_nothing_that_was_answered(served: Served, db_url: str) -> None:
    codes: list[int] = []
    answered = sent_until(served, 40, lambda: codes.append(served.end(signal.SIGTERM)))
    assert codes == [0]
    assert answered <= set(stored(db_url))


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_receiver_that_is_killed_loses_nothing_and_the_next_worker_applies_it(
    served: Served, db_url: str, profile: Path, environ: dict[str, str]
) -> None:
    """Killed without a word between storing and applying."""
    answered = sent_until(served, 40, lambda: served.end(signal.SIGKILL))
    assert answered <= set(stored(db_url))
    app = App(load(environ=environ, path=profile))
    counts = app.inbox.apply(WORKER, limit=5_000)
    app.close()
    assert set(counts) == {"nothing_new"}
    assert set(stored(db_url).values()) == {"applied"}
    for gateway in app.gateways.values():
        gateway.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_an_event_is_applied_within_a_second_of_its_arrival(
    profile: Path, environ: dict[str, str], db_url: str
) -> None:
    served = serve(profile, environ, ["--workers", "2"])
    try:
        first = event(1)
        assert served.post("/webhooks/box", first, signed(first, CLOCK)) == 200
        # The first takes as long as that process needs to start.
        until(lambda: stored(db_url), {"evt_1": "applied"}, 30)
        began = CLOCK.monotonic()
        second = event(2)
        assert served.post("/webhooks/box", second, signed(second, CLOCK)) == 200
        until(lambda: stored(db_url)["evt_2"], "applied", 5)
        assert CLOCK.monotonic() - began < 2
        assert served.end(signal.SIGTERM) == 0
    finally:
        served.close()
    with pytest.raises(OSError):
        served.connect()
