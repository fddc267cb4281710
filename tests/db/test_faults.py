"""The database is gone, restarts, is full, is locked, is read-only: a clear error, nothing half
written, and work goes on when it is back."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.db import engine as engine_module
from payctl.db.audit import record
from payctl.db.audit_trail import AuditTrail
from payctl.db.engine import Database
from payctl.db.idempotency import claim, settle
from payctl.db.tables import idempotency
from payctl.errors import ExitCode, Unavailable
from tests import books, postgres
from tests.cli.runner import run
from tests.db.people import ADMIN

pytestmark = [pytest.mark.crash, pytest.mark.integration]


def write(db: Database, tx: sa.Connection, key: str) -> None:
    """What every act of payctl does: claim a key, do something, write it down."""
    claim(db, tx, "test", key, bytes(32))
    record(db, tx, ADMIN, "test.act", "payment", None, {"key": key, "pad": "x" * 3000})
    settle(tx, "test", key, "done")


def keys(db: Database) -> list[str]:
    with db.read() as tx:
        return list(tx.execute(sa.select(idempotency.c.key).order_by(idempotency.c.key)).scalars())


def assert_whole(db: Database, expected: list[str]) -> None:
    """Keys and audit tell the same story."""
    assert keys(db) == expected
    report = AuditTrail(db).verify(ADMIN)
    assert report.ok and report.records == len(expected)


@pytest.fixture
def own_server() -> Iterator[postgres.Server]:
    """A server of this test's own, to be killed."""
    server = postgres.start(durable=True)
    if server.process is None:
        pytest.skip("a server that was given to the tests must not be crashed")
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.mark.parametrize("moment", ["before commit", "at commit", "between"])
def test_a_server_that_dies_loses_nothing_it_confirmed(
    own_server: postgres.Server, moment: str
) -> None:
    armed = threading.Event()

    def probe(point: str) -> None:
        if point == "commit.before" and armed.is_set():
            own_server.crash()

    db = Database(books.new_pg_database(own_server.url, "crash"), probe=probe)
    books.create(db)
    with db.transaction() as tx:
        write(db, tx, "a")
    if moment == "between":
        own_server.crash()
    with pytest.raises(Unavailable, match=r"database\.unreachable") as gone, db.transaction() as tx:
        write(db, tx, "b")
        if moment == "before commit":
            own_server.crash()
            tx.execute(sa.select(1))
        armed.set()
    assert gone.value.exit_code == ExitCode.NOT_SENT
    armed.clear()
    with pytest.raises(Unavailable, match=r"database\.unreachable"):
        keys(db)
    own_server.restart()
    assert_whole(db, ["a"])
    with db.transaction() as tx:
        write(db, tx, "b")
    assert_whole(db, ["a", "b"])
    db.dispose()


def test_a_restart_in_mid_run_is_ridden_out(own_server: postgres.Server) -> None:
    """A long-lived process goes on with its next transaction; its pool notices dead connections."""
    db = Database(books.new_pg_database(own_server.url, "restart"))
    books.create(db)
    done: list[str] = []
    for number in range(6):
        if number == 3:
            own_server.crash()
            own_server.restart()
        with db.transaction() as tx:
            write(db, tx, f"k{number}")
        done.append(f"k{number}")
    assert_whole(db, done)
    db.dispose()


def test_a_full_disk(db: Database) -> None:
    with db.transaction() as tx:
        write(db, tx, "a")
    fill_up(db)
    with pytest.raises(Unavailable, match=r"database\.full") as full, db.transaction() as tx:
        write(db, tx, "b")
    assert full.value.exit_code == ExitCode.NOT_SENT
    assert_whole(db, ["a"])
    make_room(db)
    with db.transaction() as tx:
        write(db, tx, "b")
    assert_whole(db, ["a", "b"])


def fill_up(db: Database) -> None:
    """SQLite: a limit on the pages of the file. PostgreSQL: what it says when the disk is full."""
    if db.is_sqlite:
        db.dispose()
        sa.event.listen(db.engine, "connect", _no_more_pages)
        return
    with db.transaction() as tx:
        tx.exec_driver_sql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file: No space left on device'"
            " USING ERRCODE = '53100'; END $$"
        )
        tx.exec_driver_sql(
            "CREATE TRIGGER full_disk BEFORE INSERT ON audit EXECUTE FUNCTION full_disk()"
        )


def make_room(db: Database) -> None:
    if db.is_sqlite:
        sa.event.remove(db.engine, "connect", _no_more_pages)
        db.dispose()
        return
    with db.transaction() as tx:
        tx.exec_driver_sql("DROP FUNCTION full_disk CASCADE")


def _no_more_pages(connection: sqlite3.Connection, _record: Any) -> None:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages}")


def test_a_lock_somebody_does_not_let_go(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with db.transaction() as tx:
        write(db, tx, "a")
    monkeypatch.setattr(engine_module, "SQLITE_BUSY_S", 0.2)
    other = Database(db.url.render_as_string(hide_password=False), clock=db.clock)
    try:
        with db.transaction() as holder:
            write(db, holder, "b")
            with pytest.raises(Unavailable, match=r"database\.locked"), other.transaction() as tx:
                if not db.is_sqlite:
                    tx.exec_driver_sql("SET LOCAL lock_timeout = '200ms'")
                write(other, tx, "b")
        assert_whole(db, ["a", "b"])
    finally:
        other.dispose()


def test_a_database_that_may_only_be_read(db: Database) -> None:
    with db.transaction() as tx:
        write(db, tx, "a")
    with pytest.raises(Unavailable, match=r"database\.read_only"), db.transaction() as tx:
        if db.is_sqlite:
            tx.exec_driver_sql("PRAGMA query_only = ON")
        else:
            tx.exec_driver_sql("SET TRANSACTION READ ONLY")
        write(db, tx, "b")
    if db.is_sqlite:
        db.dispose()
    assert_whole(db, ["a"])


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://nobody@127.0.0.1:1/nothing",
        "sqlite:////proc/nowhere.sqlite3",
        "sqlite:///{folder}",
        "sqlite:///{folder}/garbage",
    ],
)
def test_a_database_that_cannot_be_reached(url: str, tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"this is no database" * 1000)
    db = Database(url.format(folder=tmp_path))
    for work in (db.transaction, db.read, db.rehearsal):
        with pytest.raises(Unavailable, match=r"database\.unreachable"), work():
            raise AssertionError("there is no database")
    result = run("operators", "list", "--json", db=db)
    assert (result.code, result.out) == (ExitCode.NOT_SENT, "")
    assert result.error["code"] == "database.unreachable"
    assert result.error["error"] == "SERVICE_UNAVAILABLE"
    db.dispose()


def test_the_password_is_in_no_message() -> None:
    db = Database("postgresql://payctl:hunter2secret@127.0.0.1:1/x")
    with pytest.raises(Unavailable) as gone, db.read():
        pass
    assert "hunter2secret" not in f"{gone.value} {gone.value.params} {db.describe()}"
    result = run("operators", "list", "--debug", db=db)
    assert "hunter2secret" not in result.err
    db.dispose()


def test_a_deadlock_is_run_again(db: Database) -> None:
    """Two transactions lock two rows crosswise: both end well, one of them at the second try."""
    with db.transaction() as tx:
        for key in ("x", "y"):
            claim(db, tx, "test", key, bytes(32))
    barrier, tries = threading.Barrier(2), []

    def cross(first: str, second: str) -> None:
        def work(tx: sa.Connection) -> None:
            tries.append(first)
            settle(tx, "test", first, "done")
            if len(tries) <= 2 and not db.is_sqlite:
                barrier.wait(10)
            settle(tx, "test", second, "done")

        db.run(work)

    threads = [threading.Thread(target=cross, args=pair) for pair in (("x", "y"), ("y", "x"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    # One of the two was the victim at least once; SQLite's writers never wait crosswise.
    assert len(tries) == 2 if db.is_sqlite else len(tries) >= 3
    with db.read() as tx:
        assert set(tx.execute(sa.select(idempotency.c.outcome)).scalars()) == {"done"}
