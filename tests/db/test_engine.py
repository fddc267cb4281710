"""Transactions: what runs last in them, what a rehearsal leaves behind, what a reader sees."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.db.idempotency import claim
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
