"""A state machine: whatever is done to a book, on either engine, it does what the model does, and
after each step its invariants hold.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.errors import Conflict, PayctlError
from payctl.ids import seeded
from payctl.ledger import owners
from payctl.ledger.book import Book
from payctl.ledger.holds import Holds
from payctl.ledger.model import Draft, Leg, Posted, cr
from payctl.ledger.periods import Periods
from tests import books
from tests.ledger import kit
from tests.ledger.model import Key, Model, ModelHold, is_fair_part

pytestmark = pytest.mark.integration

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
CODES = (
    "bank:a",
    "gateway:g:collect",
    "wallet:o:available",
    "wallet:o:pending",
    "wallet:p:available",
)
AMOUNT = st.integers(1, 1000)
CODE = st.sampled_from(CODES)
CURRENCY = st.sampled_from(["EUR", "XOF"])
#: Which of the things made so far, counted from the latest: what just happened is what interacts.
PICK = st.integers(0, 2) | st.integers(0, 50)


def month_of(at: datetime) -> int:
    return at.year * 100 + at.month


class LedgerMachine(RuleBasedStateMachine):
    """Rules do the same to the book and to the model; a refusal must be one in both."""

    fresh: Callable[[ManualClock], Database]

    @initialize()
    def start(self) -> None:
        self.clock = ManualClock(START)
        self.db = self.fresh(self.clock)
        self.book = Book(self.db)
        self.holds = Holds(self.db, self.book)
        self.periods = Periods(self.db, self.book)
        self.model = Model()
        self.drafts: list[tuple[Draft, Posted]] = []
        self.ids: list[UUID] = []
        self.hold_ids: list[UUID] = []
        self.number = 0
        # An empty wallet refuses everything: begin with one that has something to hold and take.
        self.post([Leg("opening:migration", 3000, "EUR"), Leg("wallet:o:available", -3000, "EUR")])

    def key(self) -> str:
        self.number += 1
        return f"key:{self.number}"

    def attempt(self, expected: str | None, work: Callable[[sa.Connection], Any]) -> Any:
        """Do *work* in a transaction; it must be refused with the code *expected*, or succeed."""
        try:
            with self.db.transaction() as tx:
                done = work(tx)
        except PayctlError as error:
            assert error.code == expected
            return None
        assert expected is None
        return done

    def post(self, legs: list[Leg], at: datetime | None = None) -> None:
        draft = Draft("test", self.key(), tuple(legs), "awa", effective_at=at)
        now = self.clock.now()
        period = month_of(at or now)
        expected = self.model.refusal(legs, period, now)
        posted = self.attempt(expected, lambda tx: self.book.post(tx, draft))
        if posted is not None:
            self.booked(posted, legs, period)
            self.drafts.append((draft, posted))

    def booked(
        self, posted: Posted, legs: list[Leg], period: int, reverses: int | None = None
    ) -> None:
        self.model.post(legs, period, self.clock.now(), reverses)
        self.ids.append(posted.journal_id)

    # -- postings -------------------------------------------------------------------------------

    @rule(codes=st.tuples(CODE, CODE), amount=AMOUNT, currency=CURRENCY)
    def move(self, codes: tuple[str, str], amount: int, currency: str) -> None:
        self.post([Leg(codes[0], amount, currency), Leg(codes[1], -amount, currency)])

    @rule(code=CODE, amount=AMOUNT, currency=CURRENCY)
    def pay_in(self, code: str, amount: int, currency: str) -> None:
        self.post([Leg("opening:migration", amount, currency), Leg(code, -amount, currency)])

    @rule(
        legs=st.lists(st.tuples(CODE, st.integers(-500, 500), CURRENCY), min_size=1, max_size=6),
    )
    def many_legs(self, legs: list[tuple[str, int, str]]) -> None:
        made = [Leg(*leg) for leg in legs if leg[1]]
        for currency in ("EUR", "XOF"):
            rest = sum(leg.amount_minor for leg in made if leg.currency == currency)
            if rest:
                made.append(Leg("fx", -rest, currency))
        assume(len(made) >= 2)
        self.post(made)

    @rule(amount=AMOUNT, days=st.integers(1, 100))
    def back_date(self, amount: int, days: int) -> None:
        legs = [Leg("bank:a", amount, "EUR"), Leg("bank:b", -amount, "EUR")]
        self.post(legs, self.clock.now() - timedelta(days=days))

    @precondition(lambda self: self.drafts)
    @rule(pick=PICK)
    def replay(self, pick: int) -> None:
        draft, posted = self.drafts[-1 - pick % len(self.drafts)]
        with self.db.transaction() as tx:
            again = self.book.post(tx, draft)
        assert again == Posted(posted.journal_id, posted.kind, posted.entries, replayed=True)

    @precondition(lambda self: self.drafts)
    @rule(pick=PICK, amount=AMOUNT)
    def replay_with_another_body(self, pick: int, amount: int) -> None:
        draft, _ = self.drafts[-1 - pick % len(self.drafts)]
        legs = (*draft.legs, Leg("bank:a", amount, "EUR"), Leg("bank:b", -amount, "EUR"))
        other = Draft(draft.kind, draft.posting_key, legs, "awa", effective_at=draft.effective_at)
        self.attempt("ledger.key_reused", lambda tx: self.book.post(tx, other))

    @rule(amount=AMOUNT, owner=st.sampled_from(["o", "p", "q"]), pending=st.integers(0, 500))
    def forced_debit(self, amount: int, owner: str, pending: int) -> None:
        def work(tx: sa.Connection) -> tuple[Posted, list[Leg]]:
            taken = owners.take_from_owner(
                tx, owner=owner, currency="EUR", amount_minor=amount, pending_minor=pending
            )
            legs = [*taken, cr("dispute:g", amount, "EUR")]
            return self.book.post(tx, Draft("take", self.key(), tuple(legs), "awa")), legs

        model, now = self.model, self.clock.now()
        part = min(amount, pending, max(model.free((f"wallet:{owner}:pending", "EUR")), 0))
        rest = amount - part
        spent = min(rest, max(model.free((f"wallet:{owner}:available", "EUR")), 0))
        posted, legs = self.attempt(None, work)
        got = {leg.account: leg.amount_minor for leg in legs if leg.amount_minor > 0}
        wanted = {
            f"wallet:{owner}:pending": part,
            f"wallet:{owner}:available": spent,
            f"owed:{owner}": rest - spent,
        }
        assert got == {code: value for code, value in wanted.items() if value}
        self.booked(posted, legs, month_of(now))

    @rule(amount=AMOUNT, days=st.integers(0, 100), owner=st.sampled_from(["o", "p"]))
    def fact(self, amount: int, days: int, owner: str) -> None:
        """A provider paid out of an owner's money: always recorded, perhaps in suspense."""
        at = self.clock.now() - timedelta(days=days)
        code = f"wallet:{owner}:available"
        legs = [Leg(code, amount, "EUR"), Leg("gateway:g:float", -amount, "EUR")]
        draft = Draft("fact", self.key(), tuple(legs), "awa", effective_at=at)
        posted = self.attempt(
            None,
            lambda tx: self.book.post_fact(
                tx, draft, provider_account="gateway:g:float", gateway="g"
            ),
        )
        period = month_of(at)
        if period <= self.model.closed_until:
            period = month_of(self.clock.now())
        refused = self.model.refusal(legs, period, self.clock.now())
        assert posted.suspense_reason == refused
        if refused is not None:
            # What expired holds gave back before the refusal stays given back.
            for hold in self.model.due(self.clock.now()):
                if hold.account == (code, "EUR"):
                    hold.close("expired")
            legs = [Leg("gateway:g:float", -amount, "EUR"), Leg("suspense:g", amount, "EUR")]
        self.booked(posted, legs, period)

    # -- reversals ------------------------------------------------------------------------------

    @precondition(lambda self: self.ids)
    @rule(pick=PICK)
    def reverse(self, pick: int) -> None:
        number = len(self.ids) - 1 - pick % len(self.ids)
        left = self.model.left(number)
        legs = [Leg(code, -amount, currency) for (code, currency), amount in left.items()]
        self._reverse(number, None, legs)

    @precondition(lambda self: self.ids)
    @rule(pick=PICK, amount=AMOUNT)
    def reverse_part(self, pick: int, amount: int) -> None:
        number = len(self.ids) - 1 - pick % len(self.ids)
        currencies = self.model.journals[number].currencies
        assume(len(currencies) == 1)
        (currency,) = currencies
        left = self.model.left(number)
        assume(amount <= sum(value for value in left.values() if value > 0))
        self._reverse(number, amount, [Leg("fx", amount, currency), Leg("fx", -amount, currency)])

    def _reverse(self, number: int, amount: int | None, legs: list[Leg]) -> None:
        model, now = self.model, self.clock.now()
        journal = model.journals[number]
        sizes: dict[str, int] = {}
        for leg in legs:
            if leg.amount_minor > 0:
                sizes[leg.currency] = sizes.get(leg.currency, 0) + leg.amount_minor
        key = self.key()

        def work(tx: sa.Connection) -> Posted:
            return self.book.reverse(
                tx, self.ids[number], posting_key=key, actor=kit.FINANCE, reason="x",
                amount_minor=amount,
            )  # fmt: skip

        before = model.left(number)
        exhausted = all(journal.reversed[each] == journal.size(each) for each in journal.currencies)
        if exhausted or not before:
            self.attempt("ledger.already_reversed", work)
            return
        if model.reversal_refusal(number, sizes):
            self.attempt("ledger.reversal_exceeds", work)
            return
        try:
            with self.db.transaction() as tx:
                posted = work(tx)
        except Conflict as error:
            assert error.code == "ledger.insufficient_funds"
            if amount is None:
                assert model.refusal(legs, month_of(now), now) == error.code
            return
        done = [Leg(e.account, e.amount_minor, e.currency) for e in posted.entries]
        assert model.refusal(done, month_of(now), now) is None
        if amount is None:
            assert sorted(done, key=str) == sorted(legs, key=str)
        else:
            part: dict[Key, int] = {}
            for leg in done:
                account = leg.account, leg.currency
                part[account] = part.get(account, 0) - leg.amount_minor
            assert is_fair_part(part, before, amount, done[0].currency)
        self.booked(posted, done, month_of(now), number)

    # -- holds ----------------------------------------------------------------------------------

    @rule(amount=AMOUNT, hours=st.none() | st.sampled_from([1, 5, 24]))
    def place(self, amount: int, hours: int | None) -> None:
        account = ("wallet:o:available", "EUR")
        now = self.clock.now()
        until = None if hours is None else now + timedelta(hours=hours)
        room = self.model.free(account) + self.model.expired(account, now)
        placed = self.attempt(
            None if amount <= room else "ledger.insufficient_funds",
            lambda tx: self.holds.place(
                tx, account_code=account[0], currency=account[1], amount_minor=amount,
                key=self.key(), reason="x", actor=kit.FINANCE, expires_at=until,
            ),
        )  # fmt: skip
        if placed is not None:
            if amount > self.model.free(account):
                for hold in self.model.due(now):
                    hold.close("expired")
            self.model.holds.append(ModelHold(account, amount, until))
            self.hold_ids.append(placed)

    @precondition(lambda self: self.hold_ids)
    @rule(pick=PICK, amount=st.integers(1, 300), final=st.booleans())
    def capture(self, pick: int, amount: int, final: bool) -> None:
        number = len(self.hold_ids) - 1 - pick % len(self.hold_ids)
        hold, now = self.model.holds[number], self.clock.now()
        expected = None
        if hold.state != "open":
            expected = "ledger.hold_not_open"
        elif hold in self.model.due(now):
            expected = "ledger.hold_over"
        elif amount > hold.rest:
            expected = "ledger.hold_exceeds"
        posted = self.attempt(
            expected,
            lambda tx: self.holds.capture(
                tx, self.hold_ids[number], amount_minor=amount, to="wallet:o:disputed",
                posting_key=self.key(), actor=kit.FINANCE, final=final,
            ),
        )  # fmt: skip
        if posted is not None:
            hold.captured += amount
            if not hold.rest:
                hold.state = "captured"
            legs = [
                Leg("wallet:o:available", amount, "EUR"),
                Leg("wallet:o:disputed", -amount, "EUR"),
            ]
            self.booked(posted, legs, month_of(now))
            if final and hold.rest:
                hold.close("captured")

    @precondition(lambda self: self.hold_ids)
    @rule(pick=PICK)
    def void(self, pick: int) -> None:
        number = len(self.hold_ids) - 1 - pick % len(self.hold_ids)
        hold = self.model.holds[number]
        expected = None if hold.state == "open" else "ledger.hold_not_open"
        rest = self.attempt(
            expected,
            lambda tx: self.holds.void(tx, self.hold_ids[number], actor=kit.FINANCE, reason="x"),
        )
        if expected is None:
            assert rest == hold.rest
            hold.close("voided")

    @rule()
    def sweep(self) -> None:
        due = self.model.due(self.clock.now())
        assert self.holds.expire(kit.SWEEPER) == len(due)
        for hold in due:
            hold.close("expired")

    # -- time -----------------------------------------------------------------------------------

    @rule(hours=st.sampled_from([1, 5, 24, 24 * 20]))
    def wait(self, hours: int) -> None:
        self.clock.advance(timedelta(hours=hours))

    @rule()
    def close_month(self) -> None:
        now = self.clock.now()
        last = now.replace(day=1) - timedelta(days=1)
        month = month_of(last)
        posted = {journal.period for journal in self.model.journals}
        # Months are closed in order: every month before with journals, then this one.
        for earlier in sorted(each for each in posted if self.model.closed_until < each < month):
            self.periods.close(kit.FINANCE, earlier)
        self.periods.close(kit.FINANCE, month)
        self.model.closed_until = max(self.model.closed_until, month)

    # -- what must hold -------------------------------------------------------------------------

    @invariant()
    def same_balances_and_sound_book(self) -> None:
        with self.db.read() as tx:
            mine = {
                f"{code}:{currency}": amount
                for (code, currency), amount in self.model.balances.items()
                if amount
            }
            assert kit.balances(tx) == mine
            states = [self.holds.get(tx, each) for each in self.hold_ids]
        assert [(h.state, h.captured_minor, h.voided_minor) for h in states] == [
            (h.state, h.captured, h.voided) for h in self.model.holds
        ]
        assert kit.problems(self.db) == []

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.db.dispose()


def _run(make: Callable[[ManualClock], Database], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        type("Machine", (LedgerMachine,), {"fresh": staticmethod(make)}),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            # A failure is told at once: making it smaller takes thousands of books.
            phases=(Phase.generate,),
        ),
    )


def test_the_book_is_the_model_on_sqlite(sqlite_template: Path, tmp_path: Path) -> None:
    def fresh(clock: ManualClock) -> Database:
        path = tmp_path / "book.sqlite3"
        for stale in tmp_path.glob("book.sqlite3*"):
            stale.unlink()
        shutil.copy(sqlite_template, path)
        db = Database(f"sqlite:///{path}", clock=clock, ids=seeded(clock, 7))
        sa.event.listen(db.engine, "connect", books.without_fsync)
        return db

    _run(fresh, examples=25, steps=35)


def test_the_book_is_the_model_on_postgresql(pg_book: str) -> None:
    def fresh(clock: ManualClock) -> Database:
        books.empty_pg(pg_book)
        return Database(pg_book, clock=clock, ids=seeded(clock, 7))

    _run(fresh, examples=8, steps=25)
