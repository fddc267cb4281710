"""Redis publish, beside and independent of the delivery to the core service."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import redis

from payctl import ids
from payctl.app import App
from payctl.clock import ManualClock
from payctl.config import load
from payctl.db.engine import Database
from payctl.errors import NotConfigured
from payctl.notifications.redis_channel import RedisSender
from payctl.notifications.relay import Relay
from payctl.notifications.together import run_all
from tests.notifications.kit import ACTOR, SECRET, Scripted, receiving, tell

pytestmark = pytest.mark.integration


@pytest.fixture
def engine_name() -> str:
    """What differs between the databases is tested with the relay."""
    return "sqlite"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def a_redis() -> Iterator[str]:
    """The real server where there is one, else its imitation behind a real socket."""
    port, program = _free_port(), shutil.which("redis-server")
    if program is not None:
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        try:
            _answers(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(10)
        return
    from fakeredis import TcpFakeServer

    server = TcpFakeServer(("127.0.0.1", port), server_type="redis")
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answers(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise AssertionError("redis-server does not answer")


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with a_redis() as url:
        yield url


@contextmanager
def listening(url: str, *channels: str) -> Iterator[Any]:
    client = redis.Redis.from_url(url)
    subscribed = client.pubsub(ignore_subscribe_messages=True)
    subscribed.psubscribe(*channels)
    # The answer to the subscription: from here on nothing is missed.
    subscribed.get_message(timeout=5)
    try:
        yield subscribed
    finally:
        subscribed.close()
        client.close()


def heard(subscribed: Any, count: int) -> list[tuple[str, Any]]:
    found, deadline = [], time.monotonic() + 10
    while len(found) < count and time.monotonic() < deadline:
        message = subscribed.get_message(timeout=1)
        if message is not None:
            found.append((message["channel"].decode(), json.loads(message["data"])))
    return found


def relay_to(db: Database, url: str) -> Relay:
    return Relay(db, "redis", RedisSender(url, "payctl."), from_now=True)


def test_each_is_published_on_the_channel_of_its_type(db: Database, redis_url: str) -> None:
    one = db.ids.new()
    relay = relay_to(db, redis_url)
    with listening(redis_url, "payctl.payment.*") as subscribed:
        [created] = tell(db, one, type="payment.created")
        [succeeded] = tell(db, one)
        assert relay.run(ACTOR) == {"delivered": 2}
        first, second = heard(subscribed, 2)
    relay.close()
    assert [first[0], second[0]] == ["payctl.payment.created", "payctl.payment.succeeded"]
    assert first[1]["id"] == ids.encode("notification", created)
    assert second[1]["id"] == ids.encode("notification", succeeded)
    assert second[1]["data"]["sequence"] == 2
    assert second[1]["data"]["id"] == ids.encode("payment", one)


def test_a_past_is_not_published(db: Database, clock: ManualClock, redis_url: str) -> None:
    tell(db, db.ids.new())
    clock.advance(timedelta(hours=1))
    relay = relay_to(db, redis_url)
    assert relay.run(ACTOR) == {}
    tell(db, db.ids.new())
    assert relay.run(ACTOR) == {"delivered": 1}
    relay.close()


def test_neither_waits_for_the_other(db: Database, clock: ManualClock, redis_url: str) -> None:
    nowhere = f"redis://127.0.0.1:{_free_port()}/0"
    tell(db, *(db.ids.new() for _ in range(3)))
    core, gone = Relay(db, "core", Scripted()), relay_to(db, nowhere)
    assert run_all([core, gone], ACTOR) == {"core": {"delivered": 3}, "redis": {"down": 1}}
    gone.close()
    tell(db, db.ids.new())
    clock.advance(timedelta(minutes=10))
    back = relay_to(db, redis_url)
    broken = Relay(db, "core", Scripted(lambda _: "down"))
    assert run_all([broken, back], ACTOR) == {"core": {"down": 1}, "redis": {"delivered": 4}}
    back.close()


def test_both_come_from_the_configuration(db: Database, redis_url: str) -> None:
    tell(db, db.ids.new())
    with receiving() as receiver:
        environ = {
            "HOME": "/nonexistent",
            "PAYCTL_NOTIFICATIONS_URL": receiver.url,
            "PAYCTL_NOTIFICATIONS_SECRETS": SECRET,
            "PAYCTL_NOTIFICATIONS_ALLOW_PRIVATE": "true",
            "PAYCTL_NOTIFICATIONS_REDIS_URL": redis_url,
            "PAYCTL_NOTIFICATIONS_REDIS_PREFIX": "tickets.",
        }
        relays = App(load(environ=environ), db).relays()
        with listening(redis_url, "tickets.*") as subscribed:
            done = run_all(relays, ACTOR)
            assert done == {"core": {"delivered": 1}, "redis": {"delivered": 1}}
            assert [channel for channel, _ in heard(subscribed, 1)] == ["tickets.payment.succeeded"]
        for each in relays:
            each.close()
    assert len(receiver.requests) == 1
    assert App(load(environ={"HOME": "/nonexistent"}), db).relays() == []


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "127.0.0.1:6379", ""])
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(NotConfigured) as error:
        RedisSender(url, "payctl.")
    assert error.value.code == "notification.bad_redis_url"
