"""PostgreSQL checks the journals of one statement together: one that is wrong is found among sound
ones, also where errors of two of them make up for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from payctl.db.engine import Database
from payctl.ledger import partitions
from payctl.ledger.book import Book
from payctl.ledger.model import cr, dr
from payctl.ledger.tables import account, entry, journal
from tests.ledger import kit

pytestmark = [pytest.mark.integration, pytest.mark.parametrize("engine_name", ["postgresql"])]

#: An entry: journal (by number), leg, amount, and whether it is in a second currency.
Row = tuple[int, int, int, bool]
SOUND: dict[int, list[Row]] = {
    number: [(number, 1, 500, False), (number, 2, -500, False)] for number in range(3)
}


@pytest.fixture
def insert(db: Database) -> Iterator[Callable[[dict[int, int], list[Row]], None]]:
    """Inserts journals (legs by number) and entries in one statement, as a superuser might."""
    with db.transaction() as tx:
        partitions.ensure(tx, db.clock.now(), months_ahead=0)
        for currency in ("EUR", "XOF"):
            kit.fund(Book(db), tx, "wallet:o:available", 10_000, currency)
        found = tx.execute(sa.select(account).where(account.c.code == "wallet:o:available")).all()
    accounts = {row.currency: row.id for row in found}
    ids = [db.ids.new() for _ in range(10)]

    def run(legs: dict[int, int], rows: list[Row]) -> None:
        with db.transaction() as tx:
            tx.execute(_statement(db, ids, accounts, legs, rows))

    yield run
    with db.engine.begin() as tx:
        tx.exec_driver_sql("DROP TABLE journal_202611, entry_202611")


def _statement(
    db: Database, ids: list[UUID], accounts: dict[str, UUID], legs: dict[int, int], rows: list[Row]
) -> sa.Insert:
    now = db.clock.now()
    into_journal = sa.insert(journal).values(
        [
            dict(id=ids[number], kind="raw", posting_key="raw", posted_at=now, effective_at=now,
                 period=202611, legs=n, actor="x", meta={}, content_hash=bytes(32))
            for number, n in legs.items()
        ]
    )  # fmt: skip
    currencies = ["XOF" if second else "EUR" for *_, second in rows]
    into_entry = sa.insert(entry).values(
        [
            dict(journal_id=ids[number], leg=leg, account_id=accounts[currency], stripe=0,
                 currency=currency, amount_minor=amount, balance_after_minor=0, version=99)
            for (number, leg, amount, _), currency in zip(rows, currencies, strict=True)
        ]
    )  # fmt: skip
    return into_entry.add_cte(into_journal.cte("journals")) if legs else into_entry


def _sound(*but: int) -> list[Row]:
    return [row for number, rows in SOUND.items() if number not in but for row in rows]


Insert = Callable[[dict[int, int], list[Row]], None]
ALL = {0: 2, 1: 2, 2: 2}


def test_sound_ones_are_let_in(db: Database, insert: Insert) -> None:
    two = [(3, 1, 5, False), (3, 2, -5, False), (3, 3, 7, True), (3, 4, -7, True)]
    insert({**ALL, 3: 4}, _sound() + two)
    with db.read() as tx:
        assert tx.scalar(sa.text("SELECT count(*) FROM entry_202611")) == 4 + 6 + 4


WRONG: dict[str, tuple[dict[int, int], list[Row], str]] = {
    "unbalanced, and another as much the other way": (
        ALL,
        [*_sound(0, 1), (0, 1, 500, False), (0, 2, -499, False), (1, 1, 500, False),
         (1, 2, -501, False)],
        "unbalanced",
    ),
    "balanced only across currencies": (
        ALL, [*_sound(1), (1, 1, 500, False), (1, 2, -500, True)], "unbalanced",
    ),
    "one leg too many, and another one too few": (
        {0: 3, 1: 3, 2: 2},
        [*_sound(0, 1), (0, 1, 500, False), (0, 2, -500, False), (1, 1, 5, False),
         (1, 2, 5, False), (1, 3, -5, False), (1, 4, -5, False)],
        "as many as it has legs",
    ),
    "a leg 0": (ALL, [*_sound(1), (1, 0, 500, False), (1, 2, -500, False)], "violates check"),
    "a gap": (ALL, [*_sound(1), (1, 1, 500, False), (1, 3, -500, False)], "as it has legs"),
    "entries of no journal": ({0: 2, 2: 2}, _sound(), "without journal"),
    "a journal without entries": (ALL, _sound(1), "journal without entries"),
    "no journal at all": ({}, _sound(), "without journal"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_one_among_sound_ones(db: Database, insert: Insert, what: str) -> None:
    legs, rows, words = WRONG[what]
    with pytest.raises(DBAPIError) as caught:
        insert(legs, rows)
    assert words in str(caught.value.orig)
    assert kit.problems(db) == []


def test_late_entries_of_one_of_several_journals(db: Database, insert: Insert) -> None:
    insert({0: 2}, SOUND[0])
    late = [(0, 3, 500, False), (0, 4, -500, False)]
    with pytest.raises(DBAPIError) as caught:
        insert({1: 2, 2: 2}, _sound(0) + late)
    assert "as many as it has legs" in str(caught.value.orig)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM account",
        "TRUNCATE account CASCADE",
        "UPDATE account SET currency = 'XOF'",
        "UPDATE account SET id = gen_random_uuid()",
    ],
)
def test_the_account_of_entries_stays(db: Database, insert: Insert, statement: str) -> None:
    with pytest.raises(DBAPIError) as caught, db.transaction() as tx:
        tx.exec_driver_sql(statement)
    assert "append-only" in str(caught.value.orig)


def test_plans_made_on_empty_tables_do_not_read_whole_tables_later(db: Database) -> None:
    """A connection keeps the plans of its first postings: they must go by index already then."""
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as tx:
        tx.exec_driver_sql("ANALYZE")
    names = ("account", "balance", "idempotency", "journal_default", "entry_default", "period")
    scans = sa.text(
        "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY (:names)"
        " AND schemaname = current_schema() ORDER BY relname"
    )
    book, legs = Book(db), (dr("bank:b", 5, "EUR"), cr("wallet:o:pending", 5, "EUR"))
    with db.engine.connect() as tx:
        counted = []
        for number in range(16):
            with tx.begin():
                book.post(tx, kit.draft(f"k{number}", *legs))
            if number >= 8:
                tx.exec_driver_sql("SELECT pg_stat_force_next_flush()")
                tx.commit()
                counted.append(tx.execute(scans, {"names": list(names)}).all())
                tx.commit()
    assert len(counted[0]) == len(names)
    assert counted[0] == counted[-1]
