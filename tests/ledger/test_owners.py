"""Forced debits and credits: the order in which an owner's money is taken and given."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payctl.db.engine import Database
from payctl.ledger import owners
from payctl.ledger.book import Book
from payctl.ledger.holds import Holds
from payctl.ledger.model import Leg, cr, dr
from tests.ledger import kit

pytestmark = pytest.mark.integration


def fund(db: Database, **parts: int) -> Book:
    """Give owner ``o`` amounts in parts of the wallet, or a debt (``owed``)."""
    book = Book(db)
    with db.transaction() as tx:
        for part, amount_minor in parts.items():
            if part == "owed":
                legs = (
                    dr("owed:o", amount_minor, "EUR"),
                    cr("opening:migration", amount_minor, "EUR"),
                )
                book.post(tx, kit.draft("owed", *legs))
            else:
                kit.fund(book, tx, f"wallet:o:{part}", amount_minor)
    return book


def take(db: Database, book: Book, to: str, amount_minor: int, **limits: int) -> list[str]:
    with db.transaction() as tx:
        legs = owners.take_from_owner(
            tx, owner="o", currency="EUR", amount_minor=amount_minor, **limits
        )
        assert sum(leg.amount_minor for leg in legs) == amount_minor
        book.post(tx, kit.draft("take", *legs, cr(to, amount_minor, "EUR")))
    return written(legs)


def give(db: Database, book: Book, source: Leg, amount_minor: int, *others: Leg) -> list[str]:
    with db.transaction() as tx:
        legs = owners.give_to_owner(tx, owner="o", currency="EUR", amount_minor=amount_minor)
        assert sum(leg.amount_minor for leg in legs) == -amount_minor
        book.post(tx, kit.draft("give", source, *legs, *others))
    return written(legs)


def written(legs: tuple[Leg, ...]) -> list[str]:
    return [f"{leg.account} {leg.amount_minor}" for leg in legs]


def test_freeze_as_the_page_has_it(db: Database) -> None:
    """O has 940 reserve of this sale and 5000 available; 9400 are frozen."""
    book = fund(db, reserve=940, available=5000)
    took = take(db, book, "wallet:o:disputed", 9400, pending_minor=0, reserve_minor=940)
    assert took == ["wallet:o:reserve 940", "wallet:o:available 5000", "owed:o 3460"]
    unfrozen = give(db, book, dr("wallet:o:disputed", 9400, "EUR"), 9400)
    assert unfrozen == ["owed:o -3460", "wallet:o:available -5940"]
    assert kit.problems(db) == []


def test_refund_with_commission_kept_as_the_page_has_it(db: Database) -> None:
    book = fund(db, pending=9400, available=5000)
    took = take(db, book, "refund:stripe:outgoing", 10_000, pending_minor=9400)
    assert took == ["wallet:o:pending 9400", "wallet:o:available 600"]


def test_settlement_of_a_debtor_as_the_page_has_it(db: Database) -> None:
    book = fund(db, pending=9400, owed=1000)
    gave = give(
        db, book, dr("wallet:o:pending", 9400, "EUR"), 8460, cr("wallet:o:reserve", 940, "EUR")
    )
    assert gave == ["owed:o -1000", "wallet:o:available -7460"]


def test_other_sales_are_left_alone(db: Database) -> None:
    """Pending and reserve hold other sales too: no more than this one's part is taken."""
    book = fund(db, pending=9000, reserve=900, available=100)
    took = take(db, book, "dispute:stripe", 1000, pending_minor=300, reserve_minor=50)
    assert took == [
        "wallet:o:pending 300", "wallet:o:reserve 50", "wallet:o:available 100", "owed:o 550",
    ]  # fmt: skip


def test_what_is_held_is_left_alone(db: Database) -> None:
    book = fund(db, available=1000)
    with db.transaction() as tx:
        Holds(db, book).place(
            tx, account_code="wallet:o:available", currency="EUR", amount_minor=700, key="h",
            reason="x", actor=kit.FINANCE,
        )  # fmt: skip
    took = take(db, book, "dispute:stripe", 1000, pending_minor=0)
    assert took == ["wallet:o:available 300", "owed:o 700"]
    assert kit.problems(db) == []


def test_an_owner_nobody_has_heard_of(db: Database) -> None:
    book = Book(db)
    assert take(db, book, "dispute:stripe", 1000, pending_minor=1000) == ["owed:o 1000"]
    assert give(db, book, dr("bank:a", 1000, "EUR"), 1000) == ["owed:o -1000"]
    assert kit.problems(db) == []


AMOUNTS = st.integers(0, 500)


@pytest.mark.parametrize("engine_name", ["sqlite"])
@settings(deadline=None)
@given(
    pending=AMOUNTS, reserve=AMOUNTS, available=AMOUNTS, wanted=st.integers(1, 1500),
    own=AMOUNTS, slice_=AMOUNTS, back=st.integers(1, 1500),
)  # fmt: skip
def test_taking_and_giving_always_posts(
    sqlite_template: object, engine_name: str, tmp_path_factory: pytest.TempPathFactory,
    pending: int, reserve: int, available: int, wanted: int, own: int, slice_: int, back: int,
) -> None:  # fmt: skip
    """Whatever there is, a forced debit is never refused, and what is given first repays debt."""
    import shutil
    from pathlib import Path

    path = tmp_path_factory.mktemp("owners") / "book.sqlite3"
    shutil.copy(Path(str(sqlite_template)), path)
    db = Database(f"sqlite:///{path}")
    try:
        parts = {"pending": pending, "reserve": reserve, "available": available}
        book = fund(db, **{part: amount for part, amount in parts.items() if amount})
        take(db, book, "dispute:stripe", wanted, pending_minor=own, reserve_minor=slice_)
        with db.read() as tx:
            left = kit.balances(tx)
        debt = left.get("owed:o:EUR", 0)
        assert debt == 0 or left.get("wallet:o:available:EUR", 0) == 0
        give(db, book, dr("bank:a", back, "EUR"), back)
        with db.read() as tx:
            after = kit.balances(tx)
        assert after.get("owed:o:EUR", 0) == max(debt - back, 0)
        assert kit.problems(db) == []
    finally:
        db.dispose()
        path.unlink()
