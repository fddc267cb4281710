"""Holds: set aside, captured in parts, given back, expired; counted in the exact guard."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.errors import Conflict, Forbidden, InvalidInput, NotFound
from payctl.ledger.book import Book
from payctl.ledger.holds import Holds
from payctl.ledger.model import cr, dr
from payctl.ledger.tables import hold_event
from tests.ledger import kit

pytestmark = pytest.mark.integration

WALLET = "wallet:o:available"
TO = "wallet:o:outgoing"


@pytest.fixture
def book(db: Database) -> Book:
    book = Book(db)
    with db.transaction() as tx:
        kit.fund(book, tx, WALLET, 1000)
    return book


@pytest.fixture
def holds(db: Database, book: Book) -> Holds:
    return Holds(db, book)


def place(db: Database, holds: Holds, amount_minor: int, key: str = "h", **more: Any) -> UUID:
    with db.transaction() as tx:
        return holds.place(
            tx, account_code=WALLET, currency="EUR", amount_minor=amount_minor, key=key,
            reason="dispute expected", actor=kit.FINANCE, **more,
        )  # fmt: skip


def capture(
    db: Database, holds: Holds, hold: UUID, amount_minor: int, key: str, **more: Any
) -> Any:
    with db.transaction() as tx:
        return holds.capture(
            tx, hold, amount_minor=amount_minor, to=TO, posting_key=key, actor=kit.FINANCE, **more
        )


def spend(db: Database, book: Book, amount_minor: int, key: str = "spend") -> None:
    legs = dr(WALLET, amount_minor, "EUR"), cr(TO, amount_minor, "EUR")
    with db.transaction() as tx:
        book.post(tx, kit.draft(key, *legs))


def state(db: Database, holds: Holds, hold: UUID) -> tuple[str, int, int, int]:
    with db.read() as tx:
        found = holds.get(tx, hold)
        held = kit.reports().balance(tx, WALLET, "EUR").held_minor
    return found.state, found.captured_minor, found.voided_minor, held


def test_what_is_held_cannot_be_spent(db: Database, book: Book, holds: Holds) -> None:
    hold = place(db, holds, 600)
    with pytest.raises(Conflict, match="insufficient_funds"):
        spend(db, book, 401)
    spend(db, book, 400)
    with pytest.raises(Conflict, match="insufficient_funds"):
        place(db, holds, 1, "h2")
    assert state(db, holds, hold) == ("open", 0, 0, 600)
    assert kit.problems(db) == []


def test_several_captures_and_the_rest_back(db: Database, book: Book, holds: Holds) -> None:
    hold = place(db, holds, 600)
    capture(db, holds, hold, 100, "c1")
    assert state(db, holds, hold) == ("open", 100, 0, 500)
    capture(db, holds, hold, 200, "c2", final=True)
    assert state(db, holds, hold) == ("captured", 300, 300, 0)
    with pytest.raises(Conflict, match="hold_not_open"):
        capture(db, holds, hold, 1, "c3")
    with db.read() as tx:
        assert kit.balances(tx)[f"{WALLET}:EUR"] == -700
        events = tx.execute(
            sa.select(hold_event.c.kind, hold_event.c.amount_minor).order_by(hold_event.c.id)
        ).all()
    assert [tuple(event) for event in events] == [
        ("placed", 600), ("captured", 100), ("captured", 200), ("voided", 300),
    ]  # fmt: skip
    assert kit.problems(db) == []


def test_a_capture_repeated_is_done_once(db: Database, book: Book, holds: Holds) -> None:
    hold = place(db, holds, 600)
    first = capture(db, holds, hold, 600, "c")
    again = capture(db, holds, hold, 600, "c")
    assert again.replayed and again.journal_id == first.journal_id
    assert state(db, holds, hold) == ("captured", 600, 0, 0)


def test_a_capture_beyond_the_hold(db: Database, book: Book, holds: Holds) -> None:
    hold = place(db, holds, 600)
    capture(db, holds, hold, 500, "c")
    with pytest.raises(Conflict, match="hold_exceeds"):
        capture(db, holds, hold, 101, "c2")
    assert state(db, holds, hold) == ("open", 500, 0, 100)


def test_a_refused_capture_changes_nothing(db: Database, book: Book, holds: Holds) -> None:
    hold = place(db, holds, 600)
    with db.transaction() as tx:
        book.post(tx, kit.draft("taken", dr("bank:a", 1, "EUR"), cr("bank:b", 1, "EUR")))
        with pytest.raises(Conflict, match="key_reused"):
            holds.capture(tx, hold, amount_minor=100, to=TO, posting_key="taken", actor=kit.FINANCE)
        with pytest.raises(InvalidInput, match="unknown_account"):
            holds.capture(tx, hold, amount_minor=100, to="x", posting_key="c", actor=kit.FINANCE)
    assert state(db, holds, hold) == ("open", 0, 0, 600)
    assert kit.problems(db) == []


def test_voiding_gives_everything_back(db: Database, book: Book, holds: Holds) -> None:
    hold = place(db, holds, 600)
    with db.transaction() as tx:
        assert holds.void(tx, hold, actor=kit.FINANCE, reason="settled") == 600
        with pytest.raises(Conflict, match="hold_not_open"):
            holds.void(tx, hold, actor=kit.FINANCE, reason="again")
    assert state(db, holds, hold) == ("voided", 0, 600, 0)
    spend(db, book, 1000)
    assert kit.problems(db) == []


def test_the_same_key_holds_once(db: Database, holds: Holds) -> None:
    first = place(db, holds, 600)
    assert place(db, holds, 600) == first
    with pytest.raises(Conflict, match=r"key\.reused"):
        place(db, holds, 500)
    assert state(db, holds, first) == ("open", 0, 0, 600)


def test_an_expired_hold_is_over_before_the_sweeper_comes(
    db: Database, book: Book, holds: Holds, clock: ManualClock
) -> None:
    hold = place(db, holds, 600, expires_at=clock.now() + timedelta(hours=1))
    clock.advance(timedelta(hours=1))
    with pytest.raises(Conflict, match="hold_over"):
        capture(db, holds, hold, 1, "c")
    spend(db, book, 1000)  # short of funds, so the expired hold is given back first
    assert state(db, holds, hold) == ("expired", 0, 600, 0)
    assert kit.problems(db) == []


def test_an_expired_hold_makes_room_for_another(
    db: Database, holds: Holds, clock: ManualClock
) -> None:
    first = place(db, holds, 600, expires_at=clock.now() + timedelta(hours=1))
    clock.advance(timedelta(hours=2))
    second = place(db, holds, 1000, "h2")
    assert state(db, holds, first)[0] == "expired"
    assert state(db, holds, second) == ("open", 0, 0, 1000)


def test_the_sweeper_ends_what_is_due(
    db: Database, book: Book, holds: Holds, clock: ManualClock
) -> None:
    due = [
        place(db, holds, 10, f"h{n}", expires_at=clock.now() + timedelta(hours=1)) for n in range(3)
    ]
    later = place(db, holds, 10, "later", expires_at=clock.now() + timedelta(days=1))
    clock.advance(timedelta(hours=1))
    with pytest.raises(Forbidden):
        holds.expire(kit.APPROVER)
    assert holds.expire(kit.SWEEPER, limit=2) == 2
    assert holds.expire(kit.SWEEPER) == 1
    assert holds.expire(kit.SWEEPER) == 0
    assert [state(db, holds, hold)[0] for hold in (*due, later)] == [
        "expired", "expired", "expired", "open",
    ]  # fmt: skip
    with db.read() as tx:
        assert [found.id for found in holds.list(tx, owner="o")] == [later]
        assert len(holds.list(tx, owner="o", state=None)) == 4
        assert holds.list(tx, owner="p") == []
    assert kit.problems(db) == []


def test_bad_holds(db: Database, book: Book, holds: Holds, clock: ManualClock) -> None:
    with pytest.raises(InvalidInput, match="not_positive"):
        place(db, holds, 0)
    with pytest.raises(InvalidInput, match="hold_already_over"):
        place(db, holds, 1, expires_at=clock.now())
    with db.transaction() as tx, pytest.raises(InvalidInput, match="hold_needs_guarded"):
        holds.place(
            tx, account_code="bank:a", currency="EUR", amount_minor=1, key="b", reason="x",
            actor=kit.FINANCE,
        )  # fmt: skip
    with db.transaction() as tx, pytest.raises(NotFound, match="hold_not_found"):
        holds.void(tx, db.ids.new(), actor=kit.FINANCE, reason="x")
    with db.transaction() as tx, pytest.raises(NotFound, match="hold_not_found"):
        holds.get(tx, db.ids.new())
