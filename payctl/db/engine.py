"""One database: engine, transactions, retries. The only place that opens a connection.

A *book* is a PostgreSQL schema or a SQLite file. The connection sets ``search_path``; no SQL of
ours names a schema. ``Database`` also carries the clock and the id source, because what is written
needs a time and an id and both must be replaceable as one.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy import event, exc

from payctl.clock import AnchoredClock, Clock, SystemClock
from payctl.db.driver import RAW_CURSOR, driver_execute
from payctl.db.metadata import BY_INDEX
from payctl.db.unavailable import translated
from payctl.errors import InvalidInput, NotConfigured
from payctl.ids import IdSource

T = TypeVar("T")

#: How long a writer waits for SQLite's one write lock before it says "locked".
SQLITE_BUSY_S = 10.0
CONNECT_TIMEOUT_S = 5
#: A connection that was idle for longer is asked whether it is still there before it is used.
IDLE_S = 1.0
#: A statement is prepared when it is run for this time on one connection.
PREPARE_FROM = 3
#: Serialization and deadlock errors are repeated this often, with the same keys.
RETRIES = 3
_RETRY_STATES = {"40001", "40P01"}
_AT_COMMIT = "payctl_at_commit"


class Database:
    """A book's database.

    Args:
        url: SQLAlchemy URL; ``sqlite:////path`` or ``postgresql+psycopg://…``.
        book: name of the PostgreSQL schema; ignored for SQLite, where the file is the book.
        clock, ids: sources of time and ids.
        probe: told of every commit, before and after (``commit.before``, ``commit.after``), so that
            a test can end the process there.
        prepared: whether PostgreSQL may keep statements prepared; not behind a pgbouncer in
            transaction mode.
    """

    def __init__(
        self,
        url: str,
        *,
        book: str = "payctl",
        clock: Clock | None = None,
        ids: IdSource | None = None,
        probe: Callable[[str], None] | None = None,
        pool_size: int = 5,
        prepared: bool = True,
    ) -> None:
        self.url = _parse(url)
        self.book = book
        self._probe = probe
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.clock: Clock = clock or (SystemClock() if self.is_sqlite else AnchoredClock())
        self.ids = ids or IdSource(self.clock)
        self._own = threading.local()
        self._owned: WeakSet[sa.Connection] = WeakSet()
        self._prepared = prepared
        if self.is_sqlite:
            self.engine = self._one_by_one = self._sqlite()
        else:
            self.engine = self._postgresql(pool_size)
            # For connections that do nothing but look rows up by their keys.
            self._one_by_one = self._postgresql(pool_size, **BY_INDEX)

    # -- transactions ---------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """One writing transaction: commits at the end of the block, rolls back on any exception.

        On SQLite it begins with ``BEGIN IMMEDIATE`` and so waits here, not at its first write.

        Raises:
            Unavailable: ``database.unreachable|locked|full|read_only``.
        """
        with translated(), self.engine.connect() as connection:
            transaction = connection.begin()
            last: list[tuple[int, Callable[[sa.Connection], None]]] = []
            # Kept here because a connection that was lost has no info to ask any more.
            info = connection.info
            info[_AT_COMMIT] = last
            try:
                yield connection
                while last:
                    last.sort(key=lambda item: item[0])
                    last.pop(0)[1](connection)
                self._tell("commit.before")
                _commit(connection, transaction)
                self._tell("commit.after")
            finally:
                info.pop(_AT_COMMIT, None)
                if transaction.is_active:
                    transaction.rollback()

    @contextmanager
    def rehearsal(self) -> Iterator[sa.Connection]:
        """A writing transaction that is always rolled back: the real code of a ``--dry-run``."""
        with translated(), self.engine.connect() as connection:
            transaction = connection.begin()
            try:
                yield connection
            finally:
                transaction.rollback()

    def writing(self, dry_run: bool) -> AbstractContextManager[sa.Connection]:
        """:meth:`rehearsal` for a dry run, else :meth:`transaction`."""
        return self.rehearsal() if dry_run else self.transaction()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One consistent snapshot for reading; never waits for a writer."""
        level = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        options = {**level, "payctl_read": True}
        with translated(), self.engine.connect().execution_options(**options) as connection:
            yield connection
            connection.rollback()

    @staticmethod
    def at_commit(
        tx: sa.Connection, work: Callable[[sa.Connection], None], *, rank: int = 0
    ) -> None:
        """Run *work* inside the transaction, after everything else in it: for rows that many
        writers share (the audit chain), so that their lock is held for the shortest time and always
        comes last. A higher *rank* comes later whoever asked first, so that all transactions take
        such locks in one order. Not run by a rehearsal.
        """
        waiting: list[tuple[int, Callable[[sa.Connection], None]]] | None = tx.info.get(_AT_COMMIT)
        if waiting is not None:
            waiting.append((rank, work))

    def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Run *work* in a transaction, again (at most three times) after a deadlock or a
        serialization failure. *work* must not have effects outside the database.
        """
        random = Random()  # noqa: S311 - jitter
        for attempt in range(1, RETRIES + 1):
            try:
                with self.transaction() as tx:
                    return work(tx)
            except exc.DBAPIError as error:
                if attempt == RETRIES or getattr(error.orig, "sqlstate", None) not in _RETRY_STATES:
                    raise
                self.clock.sleep(0.01 * 2**attempt * (0.5 + random.random()))
        raise AssertionError("unreachable")

    def at_once(self, work: Callable[[sa.Connection], T]) -> T:
        """Run *work*, which must be one writing statement, as a transaction of its own.

        On PostgreSQL the statement commits itself, on a connection that the thread keeps: one round
        trip, where :meth:`transaction` needs three. On SQLite *work* may have several statements,
        for the driver (:mod:`payctl.db.driver`); they are one transaction, with
        ``BEGIN IMMEDIATE``.

        Raises:
            Unavailable: as :meth:`transaction`.
        """
        with translated():
            connection = self._own_connection()
            try:
                if self.is_sqlite:
                    driver_execute(connection, "BEGIN IMMEDIATE")
                    result = work(connection)
                    self._tell("commit.before")
                    driver_execute(connection, "COMMIT")
                else:
                    self._tell("commit.before")
                    result = work(connection)
            finally:
                self._end_own(connection)
            self._tell("commit.after")
            return result

    def _end_own(self, connection: sa.Connection) -> None:
        if connection.invalidated or connection.closed:
            del self._own.connection
        else:
            # Ends SQLAlchemy's own idea of a transaction; a server is told nothing.
            connection.rollback()
            if self.is_sqlite:
                connection.connection.rollback()
        self._own.used = self.clock.monotonic()

    def _own_connection(self) -> sa.Connection:
        """The connection this thread keeps, which begins nothing by itself; a server is asked after
        a pause whether it lives.
        """
        connection: sa.Connection | None = getattr(self._own, "connection", None)
        if (
            connection is not None
            and not self.is_sqlite
            and self.clock.monotonic() - self._own.used > IDLE_S
        ):
            try:
                connection.exec_driver_sql("SELECT 1")
            except exc.DBAPIError:
                connection.close()
                connection = None
            else:
                connection.rollback()
        if connection is None:
            options = {"payctl_own": True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
            connection = self._one_by_one.connect().execution_options(**options)
            self._own.connection = connection
            self._owned.add(connection)
        return connection

    def dispose(self) -> None:
        """Close all connections."""
        self.close_own()
        self.engine.dispose()
        self._one_by_one.dispose()

    def leave(self) -> None:
        """Give back the connection that this thread keeps: for a thread that ends before us."""
        connection: sa.Connection | None = getattr(self._own, "connection", None)
        if connection is not None:
            del self._own.connection
            self._owned.discard(connection)
            connection.close()

    def close_own(self) -> None:
        """Close the connections that threads keep."""
        for connection in list(self._owned):
            connection.close()
        self._owned.clear()
        self._own = threading.local()

    def describe(self) -> str:
        """Where the book lies, without a password."""
        if self.is_sqlite:
            return f"SQLite {self.url.database}"
        where = f"{self.url.host}:{self.url.port or 5432}/{self.url.database}"
        return f"PostgreSQL {where}, book {self.book}"

    # -- engines --------------------------------------------------------------------------------

    def _sqlite(self) -> sa.Engine:
        path = self.url.database
        if not path or path == ":memory:":
            raise NotConfigured("database.needs_file", url=self.url.render_as_string())
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(
            self.url,
            connect_args={"timeout": SQLITE_BUSY_S, "cached_statements": 256},
            poolclass=sa.pool.QueuePool,
        )

        @event.listens_for(engine, "connect")
        def connect(connection: sqlite3.Connection, _record: object) -> None:
            connection.isolation_level = None
            for pragma in (
                # Of a new file. A commit writes whole pages, and touches many with little in each:
                # smaller ones are written in more pieces, larger ones are more to sync.
                "page_size=2048",
                "journal_mode=WAL",
                "wal_autocheckpoint=4000",
                "synchronous=FULL",
                "foreign_keys=ON",
                "cache_size=-65536",
                # INSERT OR REPLACE deletes silently unless triggers may fire on its behalf.
                "recursive_triggers=ON",
            ):
                connection.execute(f"PRAGMA {pragma}")
            # The seal of every journal is a foreign key: without it entries could lie about.
            if connection.execute("PRAGMA foreign_keys").fetchone() != (1,):
                raise NotConfigured("database.no_foreign_keys")

        @event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            options = connection.get_execution_options()
            if not options.get("payctl_own", False):
                reading = options.get("payctl_read", False)
                connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

        return engine

    def _postgresql(self, pool_size: int, **settings: str) -> sa.Engine:
        if (
            not self.book.isidentifier()
            or not self.book.isascii()
            or self.book != self.book.lower()
        ):
            raise NotConfigured("config.bad_book", book=self.book)
        # Statements here are short: compiling one takes longer than running it.
        settings |= {
            "search_path": self.book, "timezone": "UTC", "lock_timeout": "20s", "jit": "off",
        }  # fmt: skip
        engine = sa.create_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=10,
            pool_pre_ping=True,
            connect_args={
                "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
                "connect_timeout": CONNECT_TIMEOUT_S,
                "application_name": "payctl",
                "prepare_threshold": PREPARE_FROM if self._prepared else None,
            },
        )

        @event.listens_for(engine, "connect")
        def connect(connection: Any, record: Any) -> None:
            from psycopg import RawCursor

            record.info[RAW_CURSOR] = RawCursor(connection)
            if isinstance(self.clock, AnchoredClock):
                self.clock.anchor(connection.execute("SELECT clock_timestamp()").fetchone()[0])
                connection.rollback()

        return engine

    def _tell(self, point: str) -> None:
        if self._probe is not None:
            self._probe(point)


def _commit(connection: sa.Connection, transaction: sa.RootTransaction) -> None:
    """Commit; when that fails, roll back in the driver too. SQLite keeps a transaction open whose
    COMMIT failed (a deferred key, a full disk), and the pool would hand it to the next caller.
    """
    try:
        transaction.commit()
    except exc.DBAPIError:
        if not connection.invalidated:
            connection.connection.rollback()
        raise


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except exc.ArgumentError:
        raise InvalidInput("database.bad_url", field="database.url") from None
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("postgresql+psycopg", "sqlite", "sqlite+pysqlite"):
        raise InvalidInput("database.unsupported", field="database.url", driver=parsed.drivername)
    return parsed
