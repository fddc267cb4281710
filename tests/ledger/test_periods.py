"""Months: closed in order, after their end, with totals that stay provable."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.db.tables import audit
from payctl.errors import Conflict, Forbidden, InvalidInput
from payctl.ledger.book import Book
from payctl.ledger.model import cr, dr
from payctl.ledger.periods import Periods
from payctl.ledger.tables import period, period_balance
from tests.ledger import kit

pytestmark = pytest.mark.integration


@pytest.fixture
def book(db: Database) -> Book:
    """Entries in September and October, and today (2 November)."""
    book = Book(db)
    with db.transaction() as tx:
        for month, amount_minor in ((9, 100), (10, 30), (11, 7)):
            at = datetime(2026, month, 1, 12, tzinfo=UTC)
            legs = dr("bank:a", amount_minor, "EUR"), cr("wallet:o:available", amount_minor, "EUR")
            book.post(tx, kit.draft(f"m{month}", *legs, effective_at=at))
        legs = dr("wallet:o:available", 5, "EUR"), cr("bank:a", 5, "EUR")
        book.post(tx, kit.draft("back", *legs, effective_at=datetime(2026, 10, 9, tzinfo=UTC)))
    return book


@pytest.fixture
def periods(db: Database, book: Book) -> Periods:
    return Periods(db, book)


def stored(db: Database, yyyymm: int) -> dict[str, tuple[int, int, int]]:
    from payctl.ledger.tables import account

    with db.read() as tx:
        rows = tx.execute(
            sa.select(account.c.code, period_balance)
            .join(account, account.c.id == period_balance.c.account_id)
            .where(period_balance.c.yyyymm == yyyymm)
        )
        return {row.code: (row.debit_minor, row.credit_minor, row.closing_minor) for row in rows}


def test_closing_writes_the_totals(db: Database, periods: Periods) -> None:
    periods.close(kit.FINANCE, 202609)
    october = periods.close(kit.FINANCE, 202610)
    assert stored(db, 202609) == {"bank:a": (100, 0, 100), "wallet:o:available": (0, 100, -100)}
    assert stored(db, 202610) == {"bank:a": (30, 5, 125), "wallet:o:available": (5, 30, -125)}
    assert (october.state, october.closed_by, october.closed_at) == (
        "closed", "awa", db.clock.now(),
    )  # fmt: skip
    assert periods.close(kit.FINANCE, 202610) == october
    with db.read() as tx:
        assert [each.yyyymm for each in periods.list(tx)] == [202609, 202610]
        actions = tx.scalars(sa.select(audit.c.action).order_by(audit.c.seq)).all()
    assert actions == ["ledger.period_close"] * 2
    assert kit.problems(db) == []


def test_closing_out_of_order_or_too_early(periods: Periods) -> None:
    with pytest.raises(Conflict) as caught:
        periods.close(kit.FINANCE, 202610)
    assert (caught.value.code, caught.value.params["earlier"]) == ("ledger.period_order", 202609)
    for month in (202611, 202612):
        with pytest.raises(Conflict, match="period_not_over"):
            periods.close(kit.FINANCE, month)
    for month in (202600, 202613, 12):
        with pytest.raises(InvalidInput, match="bad_period"):
            periods.close(kit.FINANCE, month)
    with pytest.raises(Forbidden):
        periods.close(kit.APPROVER, 202609)


def test_a_closing_that_was_cut_off_is_finished_by_the_next(
    db: Database, book: Book, periods: Periods
) -> None:
    with db.transaction() as tx:
        periods._begin(tx, 202609)
    late = kit.draft(
        "late", dr("bank:a", 1, "EUR"), cr("bank:b", 1, "EUR"),
        effective_at=datetime(2026, 9, 2, tzinfo=UTC),
    )  # fmt: skip
    with db.transaction() as tx, pytest.raises(Conflict, match="period_closed"):
        book.post(tx, late)
    assert periods.close(kit.FINANCE, 202609).state == "closed"
    assert stored(db, 202609)["bank:a"] == (100, 0, 100)


def test_only_the_last_closed_month_opens_again(db: Database, book: Book, periods: Periods) -> None:
    periods.close(kit.FINANCE, 202609)
    first = periods.close(kit.FINANCE, 202610)
    with pytest.raises(Conflict, match="period_not_last"):
        periods.open(kit.FINANCE, 202609, reason="late invoice")
    with pytest.raises(InvalidInput, match=r"reason\.missing"):
        periods.open(kit.FINANCE, 202610, reason=" ")
    periods.open(kit.FINANCE, 202610, reason="late invoice")
    assert stored(db, 202610) == {}
    with db.transaction() as tx:
        legs = dr("bank:a", 1, "EUR"), cr("bank:b", 1, "EUR")
        at = datetime(2026, 10, 31, tzinfo=UTC)
        book.post(tx, kit.draft("late", *legs, effective_at=at))
    again = periods.close(kit.FINANCE, 202610)
    assert stored(db, 202610)["bank:a"] == (31, 5, 126)
    assert again.totals_hash != first.totals_hash
    assert kit.problems(db) == []


def test_a_month_without_entries_closes_too(db: Database) -> None:
    assert Periods(db, Book(db)).close(kit.FINANCE, 202610).state == "closed"
    assert stored(db, 202610) == {}
    assert kit.problems(db) == []


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_closing_waits_for_the_journal_that_is_being_written(
    db: Database, book: Book, periods: Periods
) -> None:
    """A posting that saw the month open must be in its totals."""
    done: list[str] = []
    late = kit.draft(
        "late", dr("bank:a", 1, "EUR"), cr("bank:b", 1, "EUR"),
        effective_at=datetime(2026, 9, 2, tzinfo=UTC),
    )  # fmt: skip

    def close() -> None:
        periods.close(kit.FINANCE, 202609)
        done.append("closed")

    with db.transaction() as tx:
        book.post(tx, late)
        closer = threading.Thread(target=close)
        closer.start()
        closer.join(0.5)
        assert done == []
    closer.join(30)
    assert done == ["closed"]
    assert stored(db, 202609)["bank:a"] == (101, 0, 101)
    assert kit.problems(db) == []


def test_tampering_with_a_closed_month_is_found(db: Database, periods: Periods) -> None:
    periods.close(kit.FINANCE, 202609)
    found = (
        "I11.closed_periods None None closed month 202609 no longer has the totals it was closed"
        " with"
    )
    debit = period_balance.c.debit_minor
    with db.transaction() as tx:
        tx.execute(sa.update(period_balance).values(debit_minor=debit + 1))
    assert kit.problems(db) == [found]
    with db.transaction() as tx:
        tx.execute(sa.update(period_balance).values(debit_minor=debit - 1))
    assert kit.problems(db) == []
    with db.transaction() as tx:
        tx.execute(sa.update(period).values(totals_hash=bytes(32)))
    assert kit.problems(db) == [found]
