"""Balances now and then, trial balance, statements, entries, cover."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.errors import NotFound
from payctl.ledger.book import Book
from payctl.ledger.model import Leg, Posted, cr, dr
from payctl.ledger.periods import Periods
from payctl.ledger.reports import TrialTotal
from tests.ledger import kit

pytestmark = pytest.mark.integration

REPORTS = kit.reports()


@pytest.fixture
def book(db: Database) -> Book:
    return Book(db)


def post(db: Database, book: Book, key: str, *legs: Leg, at: datetime | None = None) -> Posted:
    with db.transaction() as tx:
        return book.post(tx, kit.draft(key, *legs, effective_at=at))


def move(amount_minor: int, currency: str = "EUR") -> tuple[Leg, Leg]:
    return dr("bank:a", amount_minor, currency), cr("wallet:o:available", amount_minor, currency)


def amount(db: Database, as_of: datetime | None = None, by: str = "effective") -> int:
    with db.read() as tx:
        return REPORTS.balance(tx, "bank:a", "EUR", as_of=as_of, by=by).balance_minor  # type: ignore[arg-type]


def test_recorded_and_effective_time_are_kept_apart(
    db: Database, book: Book, clock: ManualClock
) -> None:
    start = clock.now()
    post(db, book, "k1", *move(100))
    clock.advance(timedelta(days=3))
    third = clock.now()
    post(db, book, "k2", *move(20), at=start - timedelta(days=10))  # learnt late
    clock.advance(timedelta(days=3))
    post(db, book, "k3", *move(3), at=clock.now() + timedelta(days=30))  # counts later

    before, just_before = start - timedelta(days=11), start - timedelta(milliseconds=1)
    assert [amount(db, at) for at in (before, start - timedelta(days=10), just_before, start)] == [
        0, 20, 20, 120,
    ]  # fmt: skip
    assert amount(db, clock.now() + timedelta(days=29)) == 120
    assert amount(db, clock.now() + timedelta(days=30)) == 123
    assert [
        amount(db, at, "recorded")
        for at in (just_before, start, third - timedelta(milliseconds=1), third, clock.now())
    ] == [0, 100, 100, 120, 123]
    assert amount(db) == 123


def test_as_of_reads_closed_months_from_their_totals(
    db: Database, book: Book, clock: ManualClock
) -> None:
    """The same answers before and after closing, and the same total of debits and credits."""
    moments = [
        datetime(2026, month, day, tzinfo=UTC) for month in (8, 9, 10, 11) for day in (1, 15, 28)
    ]
    for number, at in enumerate(moments):
        post(db, book, f"k{number}", *move(1 << number), at=at)
    post(db, book, "out", cr("bank:a", 5, "EUR"), dr("wallet:o:available", 5, "EUR"), at=moments[4])
    asked = [at + timedelta(hours=hours) for at in moments for hours in (-1, 0, 1)]

    def answers() -> list[object]:
        with db.read() as tx:
            return [REPORTS.trial_balance(tx, as_of=at) for at in asked]

    before = answers()
    for month in (202608, 202609, 202610):
        Periods(db, book).close(kit.FINANCE, month)
    assert answers() == before
    assert [amount(db, at) for at in asked[:3]] == [0, 1, 1]


def test_the_trial_balance_foots_in_each_currency(db: Database, book: Book) -> None:
    post(db, book, "k1", *move(100))
    post(db, book, "k2", *move(250, "XOF"))
    post(db, book, "k3", cr("bank:a", 40, "EUR"), dr("wallet:o:available", 40, "EUR"))
    with db.read() as tx:
        trial = REPORTS.trial_balance(tx)
    assert [
        (line.account, line.debit_minor, line.credit_minor, line.balance_minor)
        for line in trial.lines
    ] == [
        ("bank:a:EUR", 100, 40, 60),
        ("bank:a:XOF", 250, 0, 250),
        ("wallet:o:available:EUR", 40, 100, -60),
        ("wallet:o:available:XOF", 0, 250, -250),
    ]
    assert trial.totals == (TrialTotal("EUR", 140, 140), TrialTotal("XOF", 250, 250))
    assert trial.balanced


def test_a_statement_opens_runs_and_closes(db: Database, book: Book, clock: ManualClock) -> None:
    post(db, book, "k1", *move(100))
    clock.advance(timedelta(hours=1))
    since = clock.now()
    posted = post(db, book, "k2", *move(20))
    post(db, book, "k3", cr("bank:a", 5, "EUR"), dr("wallet:o:available", 5, "EUR"))
    clock.advance(timedelta(hours=1))
    until = clock.now()
    post(db, book, "k4", *move(1))
    with db.read() as tx:
        statement = REPORTS.statement(tx, "bank:a", "EUR", since=since, until=until)
        whole = REPORTS.statement(tx, "bank:a", "EUR")
    assert (statement.opening_minor, statement.closing_minor) == (100, 115)
    assert [(line.amount_minor, line.balance_minor) for line in statement.lines] == [
        (20, 120), (-5, 115),
    ]  # fmt: skip
    assert statement.lines[0].journal_id == posted.journal_id
    assert (whole.opening_minor, whole.closing_minor, len(whole.lines)) == (0, 116, 4)


def test_unknown_accounts(db: Database) -> None:
    with db.read() as tx:
        with pytest.raises(NotFound, match="account_not_found"):
            REPORTS.balance(tx, "bank:a", "EUR")
        with pytest.raises(NotFound, match="account_not_found"):
            REPORTS.statement(tx, "bank:a", "EUR")


def test_accounts_by_prefix_owner_currency_and_date(
    db: Database, book: Book, clock: ManualClock
) -> None:
    start = clock.now()
    post(db, book, "k1", *move(100))
    clock.advance(timedelta(days=1))
    post(db, book, "k2", dr("bank:ab", 7, "XOF"), cr("wallet:o_x:pending", 7, "XOF"))
    with db.read() as tx:

        def names(**filters: object) -> list[tuple[str, int]]:
            found = REPORTS.accounts(tx, **filters)  # type: ignore[arg-type]
            return [(each.account, each.own_minor) for each in found]

        assert names(prefix="bank:") == [("bank:a:EUR", 100), ("bank:ab:XOF", 7)]
        assert names(owner="o") == [("wallet:o:available:EUR", 100)]
        assert names(currency="XOF") == [("bank:ab:XOF", 7), ("wallet:o_x:pending:XOF", 7)]
        assert names(prefix="wallet:o_") == [("wallet:o_x:pending:XOF", 7)]  # _ is no wildcard
        assert names(prefix="bank:", as_of=start) == [("bank:a:EUR", 100), ("bank:ab:XOF", 0)]


def test_entries_come_newest_first_in_pages(db: Database, book: Book, clock: ManualClock) -> None:
    payment = db.ids.new()
    journals = []
    for number in range(3):
        legs = move(number + 1)
        with db.transaction() as tx:
            journals.append(
                book.post(
                    tx, kit.draft(f"k{number}", *legs, payment_id=payment if number else None)
                )
            )
        clock.advance(timedelta(minutes=1))
    with db.read() as tx:
        everything = REPORTS.entries(tx, limit=None)
        assert [(line.journal_id, line.leg) for line in everything] == [
            (each.journal_id, leg) for each in reversed(journals) for leg in (2, 1)
        ]
        paged, after = [], None
        while page := REPORTS.entries(tx, limit=2 if after else 1, after=after):
            paged += page
            after = page[-1].journal_id, page[-1].leg
        assert paged == everything
        assert len(REPORTS.entries(tx, payment_id=payment)) == 4
        assert len(REPORTS.entries(tx, owner="o")) == 3
        assert len(REPORTS.entries(tx, code="bank:a", currency="EUR")) == 3
        assert len(REPORTS.entries(tx, currency="XOF")) == 0
        assert len(REPORTS.entries(tx, kind="nothing")) == 0
        start = clock.now() - timedelta(minutes=2)
        assert len(REPORTS.entries(tx, since=start)) == 4
        assert len(REPORTS.entries(tx, until=start)) == 2
        assert [j.id for j in REPORTS.journals(tx, since=start)] == [
            each.journal_id for each in journals[1:]
        ]
        assert [j.id for j in REPORTS.journals(tx, until=start)] == [journals[0].journal_id]


def test_cover_counts_each_currency_by_itself(db: Database, book: Book) -> None:
    sale = (
        dr("gateway:stripe:collect", 10_000, "EUR"),
        cr("wallet:o:pending", 9_400, "EUR"),
        cr("income:commission:ticket_sale", 500, "EUR"),
        cr("vat:FR", 100, "EUR"),
    )
    post(db, book, "k1", *sale)
    post(db, book, "k2", dr("opening:migration", 7, "XOF"), cr("wallet:o:pending", 7, "XOF"))
    with db.read() as tx:
        found = {
            each.currency: (each.assets_minor, each.owed_minor, each.surplus_minor)
            for each in REPORTS.cover(tx)
        }
    assert found == {"EUR": (10_000, 9_500, 500), "XOF": (0, 7, -7)}
    assert kit.problems(db, but=[]) == ["cover None -7 7 XOF of other people's money are not there"]
