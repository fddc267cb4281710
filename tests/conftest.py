"""Fixtures every test shares: an empty book on SQLite and on PostgreSQL, and a clock that stands
still.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.db.metadata import load
from payctl.ids import seeded
from tests import books, postgres

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("payctl", deadline=None)
hypothesis.settings.load_profile("payctl")

ENGINES = ("sqlite", "postgresql")
START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def pg_server() -> Iterator[postgres.Server]:
    try:
        server = postgres.start()
    except RuntimeError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "book.sqlite3"
    db = Database(f"sqlite:///{path}")
    books.create(db)
    with db.engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    db.dispose()
    return path


@pytest.fixture(scope="session")
def pg_book(pg_server: postgres.Server) -> str:
    """URL of a database with one complete book in it; emptied between tests."""
    url = books.new_pg_database(pg_server.url, "book")
    db = Database(url)
    books.create(db)
    db.dispose()
    return url


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """The engine of this run; override with ``@pytest.mark.parametrize('engine_name',
    ['sqlite'])``.
    """
    return str(request.param)


@pytest.fixture
def db_url(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty, complete book."""
    if engine_name == "sqlite":
        path = tmp_path / "book.sqlite3"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("pg_book")
    books.empty_pg(url)
    return url


@pytest.fixture
def db(db_url: str, clock: ManualClock) -> Iterator[Database]:
    """An empty, complete book with a manual clock and repeatable ids."""
    database = Database(db_url, clock=clock, ids=seeded(clock, 1), pool_size=20)
    if database.is_sqlite:
        sa.event.listen(database.engine, "connect", books.without_fsync)
    yield database
    database.dispose()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The counts of the crash explorer, added up over all workers."""
    total: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, counts in getattr(report, "user_properties", ()):
                if name == "crash explorer" and report.when == "call":
                    total.update(counts)
    if total:
        terminalreporter.section("crash explorer")
        terminalreporter.line(", ".join(f"{number} {what}" for what, number in total.items()))


load()
