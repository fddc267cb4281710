"""Transactions: what runs last in them, what a rehearsal leaves behind, what a reader sees."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from payctl.db import audit
from payctl.db.actor import Actor
from payctl.db.engine import Database, driver_execute
from payctl.db.idempotency import claim
from payctl.db.metadata import BY_INDEX
from payctl.db.tables import idempotency
from payctl.errors import InvalidInput, NotConfigured

pytestmark = pytest.mark.integration


def count(db: Database) -> int:
    with db.read() as tx:
        return int(tx.execute(sa.select(sa.func.count()).select_from(idempotency)).scalar_one())


def test_work_at_commit_runs_by_rank_whoever_asked_first(db: Database) -> None:
    """All transactions take the rows they share in one order, so they cannot wait in a circle."""
    order: list[str] = []
    with db.transaction() as tx:
        db.at_commit(tx, lambda _: order.append("last"), rank=100)
        db.at_commit(tx, lambda _: order.append("first"))

        def asks_again(connection: sa.Connection) -> None:
            order.append("middle")
            db.at_commit(connection, lambda _: order.append("added late"), rank=60)

        db.at_commit(tx, asks_again, rank=50)
        assert order == []
    assert order == ["first", "middle", "added late", "last"]


def test_work_at_commit_is_part_of_the_transaction(db: Database) -> None:
    def fails(connection: sa.Connection) -> None:
        claim(db, connection, "test", "k2", bytes(32))
        raise KeyError

    with pytest.raises(KeyError), db.transaction() as tx:
        claim(db, tx, "test", "k1", bytes(32))
        db.at_commit(tx, fails)
    assert count(db) == 0
    with db.transaction() as tx:
        claim(db, tx, "test", "k3", bytes(32))
    assert count(db) == 1


CLAIM = "INSERT INTO idempotency (scope, key, fingerprint, created_at) VALUES ('test', {}, {}, {})"


def statement(db: Database) -> tuple[str, list[object]]:
    """One writing statement for the driver of *db*, and its values."""
    if db.is_sqlite:
        return CLAIM.format("?", "?", "0"), ["k1", bytes(32)]
    return CLAIM.format("$1", "$2", "now()"), ["k1", bytes(32)]


def test_a_statement_by_itself_commits_or_leaves_nothing(db: Database) -> None:
    sql, values = statement(db)
    db.at_once(lambda tx: driver_execute(tx, sql, values))
    assert count(db) == 1
    with pytest.raises(sa.exc.IntegrityError):
        db.at_once(lambda tx: driver_execute(tx, sql, values))
    db.at_once(lambda tx: driver_execute(tx, sql, ["k2", bytes(32)]))
    assert count(db) == 2, "the connection the thread keeps goes on"


def test_what_fails_after_a_statement_by_itself_takes_it_back_in_a_file(db: Database) -> None:
    """On PostgreSQL the one statement has committed itself by then."""
    sql, values = statement(db)

    def fails(tx: sa.Connection) -> None:
        driver_execute(tx, sql, values)
        raise KeyError

    with pytest.raises(KeyError):
        db.at_once(fails)
    assert count(db) == (0 if db.is_sqlite else 1)
    with db.transaction() as tx:
        claim(db, tx, "test", "k3", bytes(32))


def test_a_rehearsal_and_a_dry_run_leave_nothing(db: Database) -> None:
    ran: list[int] = []
    with db.rehearsal() as tx:
        claim(db, tx, "test", "k", bytes(32))
        db.at_commit(tx, lambda _: ran.append(1))
    with db.writing(dry_run=True) as tx:
        claim(db, tx, "test", "k", bytes(32))
    assert (count(db), ran) == (0, [])
    with db.writing(dry_run=False) as tx:
        claim(db, tx, "test", "k", bytes(32))
    assert count(db) == 1


def test_a_reader_sees_one_moment_and_never_waits(db: Database) -> None:
    with db.transaction() as tx:
        claim(db, tx, "test", "k1", bytes(32))
    query = sa.select(sa.func.count()).select_from(idempotency)
    with db.read() as reader:
        assert reader.execute(query).scalar_one() == 1
        with db.transaction() as tx:
            claim(db, tx, "test", "k2", bytes(32))
            assert reader.execute(query).scalar_one() == 1
        assert reader.execute(query).scalar_one() == 1
    assert count(db) == 2


@pytest.mark.unit
@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", "postgresql+asyncpg://x/y"])
def test_databases_that_cannot_hold_a_book(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"database\."):
        Database(url)


@pytest.mark.unit
@pytest.mark.parametrize("book", ["Upper", "a;b", "é", "", "a b"])
def test_book_names_that_are_no_schema(book: str) -> None:
    with pytest.raises(NotConfigured, match=r"config\.bad_book"):
        Database("postgresql://x/y", book=book)


@pytest.mark.unit
def test_a_book_in_memory_would_be_a_different_one_per_connection() -> None:
    with pytest.raises(NotConfigured, match=r"database\.needs_file"):
        Database("sqlite://")


def test_settings_for_rows_by_key_stay_where_they_belong(db: Database) -> None:
    """Whoever writes at once has them from the start; others for a transaction that writes so."""
    if db.is_sqlite:
        pytest.skip("SQLite has no such settings")

    def settings(tx: sa.Connection) -> dict[str, str]:
        asked = ", ".join(f"current_setting('{name}')" for name in BY_INDEX)
        return dict(zip(BY_INDEX, driver_execute(tx, f"SELECT {asked}").fetchone(), strict=True))

    assert db.at_once(settings) == BY_INDEX
    with db.transaction() as tx:
        usual = settings(tx)
        assert all(usual[name] != value for name, value in BY_INDEX.items())
        at, who = db.clock.now(), Actor("core", frozenset({"core"}))
        audit.append(db, tx, [audit.row(db.ids.new(), at, who, "test", "test", None, {})])
        assert settings(tx) == BY_INDEX
    with db.transaction() as tx:
        assert settings(tx) == usual
    assert db.at_once(settings) == BY_INDEX
