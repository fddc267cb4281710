"""A database that is locked, or dies, in the middle of a batch: each payment on its way is answered
with what happened to its money, and the next ones are taken when the database is back.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from payctl.app import App
from payctl.clock import ManualClock
from payctl.db import engine as engine_module
from payctl.db.engine import Database
from payctl.errors import OutcomeOpen, Unavailable
from payctl.ids import encode
from payctl.payments import pipeline as pipeline_module
from payctl.payments import tables as t
from payctl.payments.pipeline import Pipeline
from payctl.payments.results import PaymentResult
from tests import books, postgres
from tests.crash.worker import services
from tests.payments.kit import JANITOR, OPERATOR, Kit

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]
TERMS = {"late_horizon_s": 60}
MANY = 6
#: Long enough for six writers on a busy machine, short enough to be waited for.
WAIT_S = 1.5

End = Callable[[], None]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "SQLITE_BUSY_S", WAIT_S)
    monkeypatch.setattr(pipeline_module, "REPLAY_WAIT_S", WAIT_S)


def take(app: App, *keys: str) -> list[Any]:
    """Payments through a pipeline; their results in order."""
    results: dict[str, Any] = {}
    pipeline = Pipeline(
        app.payments, app.intake, app.first_answers, OPERATOR, app.db.clock, results.__setitem__,
        workers=MANY,
    )  # fmt: skip
    kit = Kit(app, {}, None)  # type: ignore[arg-type]
    for key in keys:
        pipeline.submit(key, kit.input(key, preferred=()))
    pipeline.close()
    return [results[key] for key in keys]


def once_all_are_sent(app: App, act: Callable[[], object]) -> None:
    """Let *act* happen when the answers to all requests have come and none is applied yet."""
    barrier = threading.Barrier(MANY, action=act)
    ask = app.payments.ask

    def asked(begun: Any) -> Any:
        answered = ask(begun)
        barrier.wait(30)
        return answered

    vars(app.payments)["ask"] = asked


def taken(app: App) -> int:
    """Payments the providers know of."""
    return sum(len(each.payments()) for each in app.gateways.values())  # type: ignore[attr-defined]


def good(results: list[Any]) -> bool:
    return all(isinstance(each, PaymentResult) and each.payment.captured_minor for each in results)


def resolved(url: str, folder: Path) -> None:
    """An hour later the janitor finds out about all of them."""
    app = services(url, folder, TERMS, clock=ManualClock(datetime.now(UTC) + timedelta(hours=1)))
    app.sync.run(JANITOR)
    with app.db.read() as tx:
        left = set(tx.scalars(sa.select(t.payment.c.status)).all())
    assert left == {"succeeded"}
    assert [line for line in app.provider_balances().complete() if line.difference_minor] == []
    assert app.check_ledger().ok
    app.close()


def lock(url: str) -> End:
    """Keep everybody else from writing until the end is asked for."""
    if url.startswith("sqlite"):
        held = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None,
                               check_same_thread=False)  # fmt: skip
        held.execute("BEGIN IMMEDIATE")
        return held.close
    connection = psycopg.connect(url.replace("+psycopg", ""), options="-c search_path=payctl")
    connection.execute("LOCK TABLE payment, idempotency IN EXCLUSIVE MODE")
    return connection.close


@pytest.fixture
def app(db_url: str, tmp_path: Path) -> Iterator[App]:
    app = services(db_url, tmp_path, TERMS)
    if not app.db.is_sqlite:
        sa.event.listen(app.db.engine, "connect", _impatient)
    yield app
    app.close()


def _impatient(connection: Any, _record: object) -> None:
    connection.execute(f"SET lock_timeout = '{round(WAIT_S * 1000)}ms'")
    connection.commit()


def test_locked_before_anything_was_sent(app: App, db_url: str) -> None:
    keys = [f"k{n}" for n in range(MANY)]
    end = lock(db_url)
    results = take(app, *keys)
    assert {each.code for each in results} == {"database.locked"}
    assert {type(each) for each in results} == {Unavailable}
    assert taken(app) == 0
    end()
    assert good(take(app, *keys))
    assert taken(app) == MANY


def test_locked_after_all_was_sent(app: App, db_url: str, tmp_path: Path) -> None:
    assert good(take(app, "before"))
    keys, ends = [f"k{n}" for n in range(MANY)], list[End]()
    once_all_are_sent(app, lambda: ends.append(lock(db_url)))
    results = take(app, *keys)
    told(app, results, keys, db_url, ends.pop())
    resolved(db_url, tmp_path)


def told(app: App, results: list[Any], keys: list[str], url: str, end: End) -> None:
    """All are told that money may have moved, each with its own payment; then it goes on."""
    assert {type(each) for each in results} == {OutcomeOpen}
    assert {each.code for each in results} == {"database.lost_after_send"}
    end()
    with app.db.read() as tx:
        stored = {encode("payment", each) for each in tx.scalars(sa.select(t.payment.c.id))}
    assert len({each.params["id"] for each in results}) == len(keys)
    assert {each.params["id"] for each in results} <= stored
    del vars(app.payments)["ask"]
    again, after = take(app, keys[0]), take(app, "after")
    assert again[0].replayed and again[0].payment.status == "processing"
    assert good(after) and taken(app) == len(keys) + 2


def test_a_lock_that_is_let_go_in_time_costs_only_time(app: App, db_url: str) -> None:
    end = lock(db_url)
    timer = threading.Timer(WAIT_S / 10, end)
    timer.start()
    assert good(take(app, *(f"k{n}" for n in range(MANY))))
    timer.join()


@pytest.fixture
def own_server() -> Iterator[postgres.Server]:
    """A server of this test's own, to be killed."""
    server = postgres.start()
    if server.process is None:
        pytest.skip("a server that was given to the tests must not be crashed")
    yield server
    if server.process.poll() is None:
        server.stop()


def test_a_server_that_dies_and_comes_back(own_server: postgres.Server, tmp_path: Path) -> None:
    url = books.new_pg_database(own_server.url, "faults")
    made = Database(url)
    books.create(made)
    made.dispose()
    app, keys = services(url, tmp_path, TERMS), [f"k{n}" for n in range(MANY)]
    assert good(take(app, "before"))
    own_server.crash()
    gone = take(app, *keys)
    assert {(type(each), each.code) for each in gone} == {(Unavailable, "database.unreachable")}
    assert taken(app) == 1
    own_server.restart()
    once_all_are_sent(app, own_server.crash)
    told(app, take(app, *keys), keys, url, own_server.restart)
    app.close()
    resolved(url, tmp_path)
