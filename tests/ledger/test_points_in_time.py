"""Balances as of any moment, by effective and by recorded time, against a sum over everything."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.ids import floor_of, seeded
from payctl.ledger import journals, sealing
from payctl.ledger.accounts import full_code
from payctl.ledger.book import Book
from payctl.ledger.model import cr, dr
from payctl.ledger.periods import Periods
from payctl.ledger.reports import Reports
from payctl.ledger.sums import By, sums_until
from payctl.ledger.tables import journal
from tests import books
from tests.conftest import START
from tests.ledger import kit
from tests.ledger.proof_kit import Proven, proven

pytestmark = pytest.mark.integration
REPORTS = Reports(UTC)
#: An account is read and a moment is asked for in both ways.
WAYS: tuple[By, ...] = ("effective", "recorded")


# -- any book, any moment --------------------------------------------------------------------------

#: What happens: wait so many hours, then post (an amount, days before now it counts from) or close
#: the months that are over.
steps = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 30, 24 * 9, 24 * 33]),
        st.one_of(
            st.none(), st.tuples(st.integers(1, 999), st.sampled_from([-40, -3, 0, 0, 8, 45]))
        ),
    ),
    min_size=4,
    max_size=18,
)


def _brute_force(tx: sa.Connection, as_of: datetime, by: By) -> dict[str, tuple[int, int]]:
    """Debits and credits by account, from every journal there is."""
    sums: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for each in journals.stream(tx):
        if by == "effective" and each.effective_at > as_of:
            continue
        if by == "recorded" and each.id >= floor_of(as_of + timedelta(milliseconds=1)):
            continue
        for line in each.entries:
            name = full_code(line.account, line.currency)
            debit, credit = sums[name]
            amount = line.amount_minor
            sums[name] = debit + max(amount, 0), credit + max(-amount, 0)
    return dict(sums)


def _play(db: Database, clock: ManualClock, plan: list[object]) -> list[datetime]:
    """Make the book of *plan*; return moments worth asking for."""
    book, moments = Book(db), [START - timedelta(days=1)]
    periods = Periods(db, book)
    for number, (hours, what) in enumerate(plan):  # type: ignore[misc]
        clock.advance(timedelta(hours=hours))
        now = clock.now()
        moments += [now, now - timedelta(milliseconds=1), now - timedelta(days=20)]
        if what is None:
            last = now.replace(day=1) - timedelta(days=1)
            with db.read() as tx:
                posted = set(tx.scalars(sa.select(journal.c.period)))
                closed = {each.yyyymm for each in Periods.list(tx) if each.state == "closed"}
            for month in sorted(posted - closed):
                if month <= last.year * 100 + last.month and month > max(closed, default=0):
                    periods.close(kit.FINANCE, month)
            continue
        amount, days = what
        legs = dr("bank:a", amount, "EUR"), cr("wallet:o:available", amount, "EUR")
        with db.transaction() as tx:
            book.post_fact(
                tx,
                kit.draft(f"k{number}", *legs, effective_at=now + timedelta(days=days)),
                provider_account="bank:a",
                gateway="stripe",
            )
    return moments


def _check(make: Callable[[ManualClock], Database], examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(plan=steps)
    def same(plan: list[object]) -> None:
        clock = ManualClock(START)
        db = make(clock)
        try:
            moments = _play(db, clock, plan)
            with db.read() as tx:
                for as_of in moments:
                    for by in WAYS:
                        trial = REPORTS.trial_balance(tx, as_of=as_of, by=by)
                        found = {
                            line.account: (line.debit_minor, line.credit_minor)
                            for line in trial.lines
                        }
                        assert found == _brute_force(tx, as_of, by), (as_of, by)
        finally:
            db.dispose()

    same()


def test_any_past_is_the_sum_of_everything_on_sqlite(sqlite_template: Path, tmp_path: Path) -> None:
    def fresh(clock: ManualClock) -> Database:
        path = tmp_path / "book.sqlite3"
        for stale in tmp_path.glob("book.sqlite3*"):
            stale.unlink()
        shutil.copy(sqlite_template, path)
        db = Database(f"sqlite:///{path}", clock=clock, ids=seeded(clock, 7))
        sa.event.listen(db.engine, "connect", books.without_fsync)
        return db

    _check(fresh, 30)


def test_any_past_is_the_sum_of_everything_on_postgresql(pg_book: str) -> None:
    def fresh(clock: ManualClock) -> Database:
        books.empty_pg(pg_book)
        return Database(pg_book, clock=clock, ids=seeded(clock, 7))

    _check(fresh, 10)


# -- without reading the past again ----------------------------------------------------------------


@pytest.fixture
def book(db: Database, clock: ManualClock, tmp_path: Path) -> Proven:
    """Forty journals in September, recorded and closed then; two in October, also closed; three in
    November.
    """
    made = proven(db, tmp_path / "anchors")
    clock.advance(datetime(2026, 9, 2, tzinfo=UTC) - clock.now())
    periods = Periods(db, made.book)
    for month, count in ((9, 40), (10, 2), (11, 3)):
        clock.advance(datetime(2026, month, 2, tzinfo=UTC) - clock.now())
        if month > 9:
            periods.close(kit.FINANCE, 202600 + month - 1)
        for number in range(count):
            made.sale(f"{month}.{number}")
    clock.advance(timedelta(days=20))
    return made


def _question(db: Database, as_of: datetime, by: By) -> tuple[str, Any]:
    """The statement that sums the entries, as the database gets it."""
    seen: list[tuple[str, Any]] = []
    with db.read() as tx:
        sa.event.listen(
            tx, "before_cursor_execute",
            lambda _c, _cursor, text, values, _context, _many: seen.append((text, values)),
        )  # fmt: skip
        sums_until(tx, None, as_of, by, UTC)
    return seen[-1]


AS_OF = [datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)]


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("as_of", AS_OF)
def test_a_past_date_reads_only_what_came_after_the_last_closed_month(
    book: Proven, by: By, as_of: datetime
) -> None:
    """Rows that the database looked at: September has 40 journals of 4 entries, after it are 5."""
    text, values = _question(book.db, as_of, by)
    with book.db.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("ANALYZE journal, entry")
        # A book this small would be read whole because that is faster still.
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explained = f"EXPLAIN (ANALYZE, FORMAT JSON) {text}"
        [[plan]] = connection.exec_driver_sql(explained, values)
    rows, waiting = 0, [plan[0]["Plan"]]
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", [])
        if str(node.get("Relation Name", "")).startswith(("journal", "entry")):
            looked_at = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            rows += looked_at * node["Actual Loops"]
    assert 0 < rows <= 5 * (1 + 4)


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("as_of", AS_OF)
def test_a_past_date_is_searched_by_index_from_the_last_closed_month_on(
    book: Proven, by: By, as_of: datetime
) -> None:
    text, values = _question(book.db, as_of, by)
    with book.db.read() as tx:
        plan = [row[3] for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
    assert not any(line.startswith("SCAN") for line in plan), plan
    assert any("ix_journal_effective (effective_at>" in line for line in plan), plan
    assert any("SEARCH entry USING PRIMARY KEY (journal_id=?" in line for line in plan), plan


# -- final or not ----------------------------------------------------------------------------------


def test_by_effective_date_a_closed_month_is_final(book: Proven, db: Database) -> None:
    with db.read() as tx:
        for day, provisional in (
            (datetime(2026, 8, 5, tzinfo=UTC), False),  # before the first month with journals
            (datetime(2026, 10, 31, 23, tzinfo=UTC), False),
            (datetime(2026, 11, 1, tzinfo=UTC), True),
        ):
            assert REPORTS.provisional(tx, day, "effective") is provisional, day


def test_by_recorded_date_what_is_sealed_is_final(
    book: Proven, db: Database, clock: ManualClock
) -> None:
    at = clock.now()
    with db.read() as tx:
        assert REPORTS.provisional(tx, at - timedelta(days=60), "recorded")
    book.seal()
    final = at - sealing.IN_FLIGHT - timedelta(milliseconds=1)
    with db.read() as tx:
        assert not REPORTS.provisional(tx, final, "recorded")
        assert REPORTS.provisional(tx, final + timedelta(milliseconds=1), "recorded")
        before = REPORTS.trial_balance(tx, as_of=final, by="recorded")
    clock.advance(timedelta(days=1))
    book.sale("later")
    with db.read() as tx:
        assert REPORTS.trial_balance(tx, as_of=final, by="recorded") == before


def test_a_month_opened_again_is_counted_from_its_entries(book: Proven, db: Database) -> None:
    as_of = datetime(2026, 11, 20, tzinfo=UTC)
    with db.read() as tx:
        before = {by: REPORTS.trial_balance(tx, as_of=as_of, by=by) for by in WAYS}
    Periods(db, book.book).open(kit.FINANCE, 202610, reason="a late invoice")
    with db.read() as tx:
        assert {by: REPORTS.trial_balance(tx, as_of=as_of, by=by) for by in WAYS} == before
        assert REPORTS.provisional(tx, datetime(2026, 10, 5, tzinfo=UTC), "effective")
