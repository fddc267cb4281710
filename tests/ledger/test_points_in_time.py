"""Balances as of any moment, by effective and by recorded time, against a sum over everything."""

from __future__ import annotations

import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.ids import floor_of, seeded
from payctl.ledger import blocks, journals, posting, store
from payctl.ledger.accounts import full_code
from payctl.ledger.book import Book
from payctl.ledger.model import cr, dr
from payctl.ledger.periods import Periods
from payctl.ledger.posting import Decided
from payctl.ledger.reports import Reports
from payctl.ledger.sums import By, sums_until
from payctl.ledger.tables import account, entry, journal
from tests import books
from tests.conftest import START
from tests.ledger import kit
from tests.ledger.proof_kit import Proven, proven

pytestmark = pytest.mark.integration
REPORTS = Reports(UTC)
#: An account is read and a moment is asked for in both ways.
WAYS: tuple[By, ...] = ("effective", "recorded")


# -- any book, any moment --------------------------------------------------------------------------

#: Waits between steps. The short ones leave postings in flight, the long ones end months.
WAITS = (
    timedelta(0), timedelta(microseconds=700), timedelta(seconds=17), timedelta(hours=1),
    timedelta(hours=30), timedelta(days=9), timedelta(days=33),
)  # fmt: skip
#: The stripe of the connection that posts; SQLite has one.
STRIPES = (0, 5, 15)
#: How long a posting may be overtaken by others after it got its id.
OVERTAKEN = blocks.IN_FLIGHT - timedelta(seconds=18)


@dataclass(frozen=True)
class Step:
    """Wait, then post an amount that counts *days* from now, or close the months that are over.

    A posting that is *overtaken* has its id, and gets to the database after later ones.
    """

    wait: timedelta
    amount: int | None
    days: int
    stripe: int
    overtaken: bool


steps = st.lists(
    st.builds(
        Step,
        wait=st.sampled_from([*WAITS, *WAITS[:3]]),
        amount=st.one_of(st.none(), *[st.integers(1, 999)] * 4),
        days=st.sampled_from([-40, -3, 0, 0, 0, 8, 45]),
        stripe=st.sampled_from(STRIPES),
        overtaken=st.booleans(),
    ),
    min_size=4,
    max_size=24,
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


class _Player:
    """Makes the book of a plan, and remembers moments worth asking for."""

    def __init__(self, db: Database, clock: ManualClock) -> None:
        self.db, self.clock = db, clock
        self.book, self.moments = Book(db), [START - timedelta(days=1)]
        self._flying: list[tuple[datetime, int, list[Decided]]] = []

    def play(self, plan: Sequence[Step]) -> None:
        for number, step in enumerate(plan):
            until = self.clock.now() + step.wait
            self._land(before=until - OVERTAKEN)
            self.clock.advance(step.wait)
            now = self.clock.now()
            millisecond = timedelta(milliseconds=1)
            self.moments += [now, now - millisecond, now + millisecond, now - timedelta(days=20)]
            if step.amount is None:
                self._land()
                self._close()
            else:
                self._post(f"k{number}", step.amount, step)
        self._land()

    def _post(self, key: str, amount: int, step: Step) -> None:
        """Post, or only decide and leave it in flight."""
        now = self.clock.now()
        at = now + timedelta(days=step.days) if step.days else None
        legs = dr("bank:a", amount, "EUR"), cr("wallet:o:available", amount, "EUR")
        draft = kit.draft(key, *legs, effective_at=at)
        with self.db.transaction() as tx:
            tx.info[store._STRIPE] = step.stripe
            # A book of its own, which knows the months that were closed meanwhile.
            decided = Book(self.db).facts(tx, [draft]) if step.overtaken else None
            if decided is not None:
                self._flying.append((now, step.stripe, decided))
                return
            self.book.post_fact(tx, draft, provider_account="bank:a", gateway="stripe")

    def _land(self, before: datetime | None = None) -> None:
        """Write the postings decided before a moment, or all, the last one first."""
        landing = [each for each in self._flying if before is None or each[0] < before]
        self._flying = [each for each in self._flying if each not in landing]
        for _, stripe, decided in reversed(landing):
            with self.db.transaction() as tx:
                tx.info[store._STRIPE] = stripe
                assert not isinstance(posting.write(tx, decided), posting.Unwritten)

    def _close(self) -> None:
        last = self.clock.now().replace(day=1) - timedelta(days=1)
        with self.db.read() as tx:
            posted = set(tx.scalars(sa.select(journal.c.period)))
            closed = {each.yyyymm for each in Periods.list(tx) if each.state == "closed"}
        for month in sorted(posted - closed):
            if month <= last.year * 100 + last.month and month > max(closed, default=0):
                Periods(self.db, self.book).close(kit.FINANCE, month)


def _compare(tx: sa.Connection, as_of: datetime, by: By) -> None:
    """All that is told of a moment is what the journals say."""
    expected = _brute_force(tx, as_of, by)
    trial = REPORTS.trial_balance(tx, as_of=as_of, by=by)
    found = {line.account: (line.debit_minor, line.credit_minor) for line in trial.lines}
    assert found == expected, (as_of, by)
    for row in tx.execute(sa.select(account)).all():
        debit, credit = expected.get(full_code(row.code, row.currency), (0, 0))
        told = REPORTS.balance(tx, row.code, row.currency, as_of=as_of, by=by)
        assert told.balance_minor == debit - credit, (as_of, by, row.code)
        if by == "recorded":
            since = as_of + timedelta(milliseconds=1)
            statement = REPORTS.statement(tx, row.code, row.currency, since=since)
            assert statement.opening_minor == debit - credit, (as_of, row.code)


def _check(make: Callable[[ManualClock], Database], examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(plan=steps)
    def same(plan: list[Step]) -> None:
        clock = ManualClock(START)
        db = make(clock)
        try:
            player = _Player(db, clock)
            player.play(plan)
            with db.read() as tx:
                for as_of in player.moments:
                    for by in WAYS:
                        _compare(tx, as_of, by)
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


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_many_connections_leave_a_past_that_adds_up(db: Database, clock: ManualClock) -> None:
    """Eight writers with a stripe each or shared, whose ids and locks are in different orders."""
    book, legs = Book(db), (dr("bank:a", 7, "EUR"), cr("wallet:o:available", 7, "EUR"))
    start = threading.Barrier(8)
    moments: list[datetime] = []

    def write(writer: int) -> None:
        dice = Random(writer)
        start.wait()
        for number in range(12):
            clock.advance(timedelta(milliseconds=dice.randrange(200)))
            moments.append(clock.now())
            with db.transaction() as tx:
                tx.info[store._STRIPE] = writer % 5
                decided = book.facts(tx, [kit.draft(f"{writer}.{number}", *legs)])
            time.sleep(dice.random() / 100)
            with db.transaction() as tx:
                tx.info[store._STRIPE] = writer % 5
                assert decided and posting.write(tx, decided)

    with db.transaction() as tx:
        book.post(tx, kit.draft("first", *legs))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    with db.read() as tx:
        orders = tx.execute(sa.select(entry).order_by(entry.c.stripe, entry.c.version)).all()
        assert any(
            one.journal_id > two.journal_id and one.stripe == two.stripe
            for one, two in pairwise(orders)
            if one.account_id == two.account_id
        )
        for as_of in (moments[0], *moments[5::10], moments[-1]):
            for by in WAYS:
                _compare(tx, as_of, by)


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


def _questions(db: Database, ask: Callable[[sa.Connection], object]) -> list[tuple[str, Any]]:
    """The statements of an answer, as the database gets them."""
    seen: list[tuple[str, Any]] = []
    with db.read() as tx:
        sa.event.listen(
            tx, "before_cursor_execute",
            lambda _c, _cursor, text, values, _context, _many: seen.append((text, values)),
        )  # fmt: skip
        ask(tx)
    return seen


def _rows_read(db: Database, questions: list[tuple[str, Any]]) -> int:
    """Rows of journals and entries that PostgreSQL looks at to answer."""
    rows = 0
    with db.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("ANALYZE journal, entry")
        # A book this small would be read whole because that is faster still.
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for text, values in questions:
            explained = f"EXPLAIN (ANALYZE, FORMAT JSON) {text}"
            [[plan]] = connection.exec_driver_sql(explained, values)
            waiting = [plan[0]["Plan"]]
            while waiting:
                node = waiting.pop()
                waiting += node.get("Plans", [])
                if str(node.get("Relation Name", "")).startswith(("journal", "entry")):
                    looked_at = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                    rows += looked_at * node["Actual Loops"]
    return rows


def _plan(db: Database, questions: list[tuple[str, Any]]) -> list[str]:
    """How SQLite answers."""
    with db.read() as tx:
        return [
            row[3]
            for text, values in questions
            for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)
        ]


HOT = ("income:commission:ticket_sale", "EUR")
AS_OF = [datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)]


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("as_of", AS_OF)
def test_a_past_date_reads_only_what_came_after_the_last_closed_month(
    book: Proven, by: By, as_of: datetime
) -> None:
    """September has 40 journals of 4 entries, after it are 5."""
    sums = _questions(book.db, lambda tx: sums_until(tx, as_of, by, UTC))[-1:]
    assert 0 < _rows_read(book.db, sums) <= 5 * (1 + 4)


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("as_of", AS_OF)
def test_a_past_date_is_searched_by_index_from_the_last_closed_month_on(
    book: Proven, by: By, as_of: datetime
) -> None:
    plan = _plan(book.db, _questions(book.db, lambda tx: sums_until(tx, as_of, by, UTC))[-1:])
    assert not any(line.startswith("SCAN") for line in plan if line != "SCAN chosen"), plan
    ids = "SEARCH journal USING INDEX sqlite_autoindex_journal_1 (id>?"
    assert any(ids in line for line in plan), plan
    assert any("SEARCH entry USING PRIMARY KEY (journal_id=?" in line for line in plan), plan


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("as_of", AS_OF)
def test_one_balance_reads_the_last_entries_before_its_date(
    book: Proven, by: By, as_of: datetime
) -> None:
    """Of up to 45 journals, those of the last minute before it, which are three in November: once
    each to find the last one, to read it, and to add what came after it.
    """
    asked = _questions(book.db, lambda tx: REPORTS.balance(tx, *HOT, as_of=as_of, by=by))
    with book.db.read() as tx:
        assert REPORTS.balance(tx, *HOT).balance_minor
    assert 0 < _rows_read(book.db, asked) <= 3 * 3


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("by", WAYS)
def test_one_balance_is_searched_by_stripe(book: Proven, by: By) -> None:
    asked = _questions(book.db, lambda tx: REPORTS.balance(tx, *HOT, as_of=AS_OF[1], by=by))
    plan = [line for line in _plan(book.db, asked) if " journal " in line or " entry " in line]
    stripe = "INDEX ix_entry_stripe (account_id=? AND stripe=? AND journal_id"
    dated = ("INDEX ix_journal_late (effective_at>", "INDEX ix_journal_early (effective_at>")
    for found in (stripe, *dated) if by == "effective" else (stripe,):
        assert any(found in line for line in plan), plan
    assert not any(line.startswith("SCAN") for line in plan), plan


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
    final = at - blocks.IN_FLIGHT - timedelta(milliseconds=1)
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
