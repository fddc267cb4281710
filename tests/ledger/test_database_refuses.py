"""The database itself keeps the book: raw SQL, as the owner of all tables, is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from jobs import JobOptions
from payctl.app import App
from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.db.operators import job_actor
from payctl.errors import Forbidden
from payctl.insight.upkeep import Upkeep
from payctl.ledger import journals, partitions
from payctl.ledger.book import Book
from payctl.ledger.tables import account, balance, entry, hold_event, journal, journal_meta, period
from tests.ledger import kit

pytestmark = pytest.mark.integration


@pytest.fixture
def posted(db: Database) -> UUID:
    with db.transaction() as tx:
        return kit.fund(Book(db), tx, "wallet:o:available", 10_000).journal_id


@contextmanager
def refused(db: Database, words: str) -> Iterator[sa.Connection]:
    """The block, or the commit after it, is refused with *words*, and nothing of it stays."""
    with db.read() as tx:
        before = [tx.scalar(sa.select(sa.func.count()).select_from(t)) for t in (journal, entry)]
    with pytest.raises(DBAPIError) as caught, db.transaction() as tx:
        yield tx
    assert words in str(caught.value.orig)
    with db.read() as tx:
        after = [tx.scalar(sa.select(sa.func.count()).select_from(t)) for t in (journal, entry)]
    assert after == before
    assert kit.problems(db) == []


class Raw:
    """Rows as an attacker with a database client would write them."""

    def __init__(self, db: Database, tx: sa.Connection) -> None:
        self.db, self.tx = db, tx
        self.id = db.ids.new()

    def journal(self, legs: int = 2, period: int = 202611) -> None:
        self.tx.execute(sa.insert(journal), self._journal(legs, period))

    def entries(self, *amounts: int, first: int = 1, into: str | None = None) -> None:
        target = entry if into is None else entry.to_metadata(sa.MetaData(), name=into)
        self.tx.execute(sa.insert(target).values(self._entries(amounts, first)))

    def _journal(self, legs: int, period: int) -> dict[str, Any]:
        now = self.db.clock.now()
        return dict(
            id=self.id, kind="raw", posting_key="raw", posted_at=now, effective_at=now,
            period=period, legs=legs, actor="x", meta={}, content_hash=bytes(32),
        )  # fmt: skip

    def _entries(self, amounts: Sequence[int], first: int) -> list[dict[str, Any]]:
        codes = ("opening:migration", "wallet:o:available")
        ids = [self._account(codes[number % 2]) for number in range(len(amounts))]
        return [
            dict(
                journal_id=self.id, leg=first + number, account_id=ids[number], stripe=0,
                currency="EUR", amount_minor=amount, balance_after_minor=0, version=99 + number,
            )
            for number, amount in enumerate(amounts)
        ]  # fmt: skip

    def _account(self, code: str) -> UUID:
        found = self.tx.scalar(sa.select(account.c.id).where(account.c.code == code))
        assert found is not None
        return found

    def both(
        self,
        *amounts: int,
        legs: int | None = None,
        period: int = 202611,
        first: int = 1,
        change: Callable[[list[dict[str, Any]]], None] = lambda rows: None,
    ) -> None:
        """Journal and entries as the engine wants them: in one statement, or entries first."""
        rows = self._entries(amounts, first)
        change(rows)
        whole = self._journal(len(amounts) if legs is None else legs, period)
        into_entry, into_journal = sa.insert(entry).values(rows), sa.insert(journal).values(whole)
        if self.db.is_sqlite:
            self.tx.execute(into_entry)
            self.tx.execute(into_journal)
        else:
            self.tx.execute(into_entry.add_cte(into_journal.cte("journals")))


def test_raw_rows_that_are_sound_are_let_in(db: Database, posted: UUID) -> None:
    """The other tests would prove nothing if the database refused everything."""
    with db.transaction() as tx:
        Raw(db, tx).both(500, -500)
    assert kit.problems(db) != []  # the balances were not moved: that is what ledger check is for


def test_unbalanced(db: Database, posted: UUID) -> None:
    with refused(db, "unbalanced") as tx:
        Raw(db, tx).both(500, -499)


def test_unbalanced_in_one_of_two_currencies(db: Database, posted: UUID) -> None:
    with db.transaction() as tx:
        kit.fund(Book(db), tx, "wallet:o:available", 1, "XOF")
    with refused(db, "unbalanced") as tx:
        xof = tx.scalar(
            sa.select(account.c.id).where(
                account.c.code == "opening:migration", account.c.currency == "XOF"
            )
        )
        Raw(db, tx).both(5, -5, change=lambda rows: rows[1].update(account_id=xof, currency="XOF"))


@pytest.mark.parametrize("legs", [1, 3])
def test_wrong_number_of_legs(db: Database, posted: UUID, legs: int) -> None:
    with refused(db, "legs") as tx:
        Raw(db, tx).both(500, -500, legs=legs)


def test_leg_numbers_with_a_gap(db: Database, posted: UUID) -> None:
    with refused(db, "as many as it has legs") as tx:
        Raw(db, tx).both(500, -500, first=2)


def test_entries_without_a_journal(db: Database, posted: UUID) -> None:
    words = "FOREIGN KEY" if db.is_sqlite else "without journal"
    with refused(db, words) as tx:
        Raw(db, tx).entries(500, -500)


def test_a_journal_without_entries(db: Database, posted: UUID) -> None:
    words = "as many as it has legs" if db.is_sqlite else "journal without entries"
    with refused(db, words) as tx:
        Raw(db, tx).journal()


def test_entries_that_come_late(db: Database, posted: UUID) -> None:
    words = "sealed" if db.is_sqlite else "as many as it has legs"
    with refused(db, words) as tx:
        raw = Raw(db, tx)
        raw.id = posted
        raw.entries(500, -500, first=3)


def test_an_amount_of_zero(db: Database, posted: UUID) -> None:
    with refused(db, "amount") as tx:
        Raw(db, tx).both(0, 0)


def test_an_entry_in_another_currency_than_its_account(db: Database, posted: UUID) -> None:
    words = "FOREIGN KEY" if db.is_sqlite else "no account with this id and currency"
    with refused(db, words) as tx:
        Raw(db, tx).both(
            500, -500, change=lambda rows: [row.update(currency="XOF") for row in rows] and None
        )


APPEND_ONLY = ("journal", "entry", "journal_meta", "hold_event")


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("verb", ["UPDATE", "DELETE", "TRUNCATE"])
def test_append_only(db: Database, posted: UUID, table: str, verb: str) -> None:
    _one_row_each(db, posted)
    statement = {
        "UPDATE": f"UPDATE {table} SET actor = 'x'"
        if table != "entry"
        else "UPDATE entry SET leg = 7",
        "DELETE": f"DELETE FROM {table}",
        # SQLite has no TRUNCATE; a DELETE without WHERE is its form, and row triggers stop it.
        "TRUNCATE": f"DELETE FROM {table}" if db.is_sqlite else f"TRUNCATE {table} CASCADE",
    }[verb]
    with refused(db, "append-only") as tx:
        tx.exec_driver_sql(statement)


def _one_row_each(db: Database, posted: UUID) -> None:
    from payctl.ledger.holds import Holds

    book = Book(db)
    with db.transaction() as tx:
        journals.annotate(db, tx, posted, {"note": "seen"}, kit.FINANCE)
        Holds(db, book).place(
            tx, account_code="wallet:o:available", currency="EUR", amount_minor=100, key="h",
            reason="test", actor=kit.FINANCE,
        )  # fmt: skip
        assert tx.scalar(sa.select(sa.func.count()).select_from(journal_meta)) == 1
        assert tx.scalar(sa.select(sa.func.count()).select_from(hold_event)) == 1


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_replace_is_no_way_round_the_triggers(db: Database, posted: UUID) -> None:
    with refused(db, "append-only: REPLACE") as tx:
        tx.exec_driver_sql(
            "INSERT OR REPLACE INTO journal SELECT id, kind, posting_key, posted_at, effective_at,"
            " period, legs, reverses_id, payment_id, 'someone else', reason, meta, content_hash"
            " FROM journal"
        )
    with refused(db, "sealed") as tx:
        tx.exec_driver_sql("INSERT OR REPLACE INTO entry SELECT * FROM entry")


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("table", ["hold_event", "journal_meta"])
def test_replace_of_other_append_only_rows(db: Database, posted: UUID, table: str) -> None:
    _one_row_each(db, posted)
    with refused(db, "append-only: DELETE") as tx:
        tx.exec_driver_sql(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")


def test_overdraft_of_a_guarded_account(db: Database, posted: UUID) -> None:
    with refused(db, "no_overdraft") as tx:
        wallet = sa.select(account.c.id).where(account.c.code == "wallet:o:available")
        tx.execute(
            sa.update(balance)
            .where(balance.c.account_id == wallet.scalar_subquery())
            .values(posted_minor=balance.c.posted_minor - 10_001)
        )


def test_holding_more_than_there_is(db: Database, posted: UUID) -> None:
    with refused(db, "no_overdraft") as tx:
        wallet = sa.select(account.c.id).where(account.c.code == "wallet:o:available")
        tx.execute(
            sa.update(balance)
            .where(balance.c.account_id == wallet.scalar_subquery())
            .values(held_minor=10_001)
        )


@pytest.mark.parametrize("closed", [202611, 202612], ids=["that month", "a later month"])
@pytest.mark.parametrize("state", ["closing", "closed"])
def test_a_journal_in_a_closed_period(db: Database, posted: UUID, closed: int, state: str) -> None:
    row = dict(yyyymm=closed, state=state)
    if state == "closed":
        row |= dict(
            closed_by="x", closed_at=datetime(2027, 1, 1, tzinfo=UTC), totals_hash=b"x" * 32
        )
    with db.transaction() as tx:
        tx.execute(sa.insert(period).values(**row))
    with pytest.raises(IntegrityError, match="is closed"), db.transaction() as tx:
        Raw(db, tx).both(500, -500)


# -- partitions (PostgreSQL) ----------------------------------------------------------------------

PARTS = ("default", "202611")


@pytest.fixture
def months(db: Database) -> Iterator[Callable[[], tuple[str, ...]]]:
    """Makes the months of the book, and removes them afterwards: the book outlives the test."""
    yield lambda: _in_transaction(db)
    with db.engine.begin() as tx:
        for name in tx.scalars(
            sa.text("SELECT relname FROM pg_class WHERE relname ~ '^(journal|entry)_[0-9]{6}$'"
                    " AND relkind = 'r'")
        ).all():  # fmt: skip
            tx.exec_driver_sql(f"DROP TABLE {name}")


def _in_transaction(db: Database) -> tuple[str, ...]:
    with db.transaction() as tx:
        return partitions.ensure(tx, db.clock.now())


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_months_are_made_once_and_rows_go_there(
    db: Database, months: Callable[[], tuple[str, ...]]
) -> None:
    assert months() == ("202611", "202612", "202701", "202702")
    assert months() == ()
    with db.transaction() as tx:
        kit.fund(Book(db), tx, "wallet:o:available", 10_000)
        assert tx.scalar(sa.text("SELECT count(*) FROM journal_202611")) == 1
        assert tx.scalar(sa.text("SELECT count(*) FROM entry_202611")) == 2
    assert kit.problems(db) == []


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_the_job_makes_months(db: Database, months: Callable[[], tuple[str, ...]]) -> None:
    from jobs.ledger_months import JOB

    app = cast("App", SimpleNamespace(db=db))
    report = JOB.run(app, job_actor(JOB.name, JOB.role), JobOptions())
    assert report.counts == {"made": 4}
    assert months() == ()
    with pytest.raises(Forbidden):
        partitions.prepare(db, kit.FINANCE)


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_an_upgraded_book_has_its_months(db: Database, clock: ManualClock) -> None:
    fresh = Database(db.url.render_as_string(hide_password=False), book="months", clock=clock)
    try:
        Upkeep(fresh).upgrade()
        with fresh.read() as tx:
            assert tx.scalar(sa.text("SELECT to_regclass('entry_202702')")) is not None
    finally:
        with fresh.engine.begin() as tx:
            tx.exec_driver_sql("DROP SCHEMA months CASCADE")
        fresh.dispose()


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_sqlite_has_no_months(db: Database) -> None:
    assert _in_transaction(db) == ()


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_a_month_with_rows_in_the_default_partition_stays_there(
    db: Database, posted: UUID, months: Callable[[], tuple[str, ...]]
) -> None:
    assert months() == ("202612", "202701", "202702")


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize("part", PARTS)
def test_no_insert_straight_into_a_partition(
    db: Database, months: Callable[[], tuple[str, ...]], part: str
) -> None:
    months()
    with db.transaction() as tx:
        kit.fund(Book(db), tx, "wallet:o:available", 10_000)
    with refused(db, "insert straight into") as tx:
        Raw(db, tx).entries(500, -500, into=f"entry_{part}")
    with refused(db, "insert straight into") as tx:
        tx.exec_driver_sql(f"INSERT INTO journal_{part} SELECT * FROM journal")


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("table", ["journal", "entry"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET legs = 3", "DELETE FROM {}", "TRUNCATE {}"])
def test_partitions_are_append_only(
    db: Database, months: Callable[[], tuple[str, ...]], part: str, table: str, verb: str
) -> None:
    if part != "default":
        months()
    with db.transaction() as tx:
        kit.fund(Book(db), tx, "wallet:o:available", 10_000)
    name = f"{table}_{part}"
    with refused(db, "append-only") as tx:
        column = "legs" if table == "journal" else "leg"
        tx.exec_driver_sql(verb.format(name).replace("legs", column))


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize("part", PARTS)
def test_partitions_check_through_their_parent(
    db: Database, months: Callable[[], tuple[str, ...]], part: str
) -> None:
    if part != "default":
        months()
    with db.transaction() as tx:
        kit.fund(Book(db), tx, "wallet:o:available", 10_000)
    with refused(db, "unbalanced") as tx:
        Raw(db, tx).both(500, -499)
    with refused(db, "journal without entries") as tx:
        Raw(db, tx).journal()
