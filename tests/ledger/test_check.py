"""``ledger check``: each invariant, broken by hand as a superuser could, is found and named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.db.tables import idempotency
from payctl.ledger import check, invariants
from payctl.ledger.book import Book
from payctl.ledger.check import Check, Violation
from payctl.ledger.holds import Holds
from payctl.ledger.model import cr, dr
from payctl.ledger.tables import account, balance, entry, hold, journal, reversal_cap
from tests.ledger import kit

pytestmark = pytest.mark.integration


@pytest.fixture
def book(db: Database) -> Book:
    """A sale, half of it reversed, and a hold."""
    book = Book(db)
    sale = (
        dr("gateway:stripe:collect", 10_000, "EUR"),
        cr("wallet:o:pending", 9_400, "EUR"),
        cr("income:commission:ticket_sale", 500, "EUR"),
        cr("vat:FR", 100, "EUR"),
    )
    with db.transaction() as tx:
        posted = book.post(tx, kit.draft("sale", *sale, payment_id=db.ids.new()))
        book.reverse(
            tx, posted.journal_id, posting_key="r", actor=kit.FINANCE, reason="x", amount_minor=5000
        )
        Holds(db, book).place(
            tx, account_code="wallet:o:pending", currency="EUR", amount_minor=100, key="h",
            reason="x", actor=kit.FINANCE,
        )  # fmt: skip
    return book


@contextmanager
def unguarded(db: Database) -> Iterator[sa.Connection]:
    """A superuser's transaction, rolled back: no trigger, no key and no floor is looked at."""
    with db.engine.connect() as connection:
        if db.is_sqlite:
            for pragma in ("foreign_keys = OFF", "ignore_check_constraints = ON"):
                connection.connection.cursor().execute(f"PRAGMA {pragma}")
            triggers = sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            for name in connection.scalars(triggers).all():
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            for table, name in (("balance", "no_overdraft"), ("reversal_cap", "at_most_once")):
                connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{name}")
        yield connection
        connection.rollback()
        connection.invalidate()


def _first_entry() -> sa.ColumnElement[bool]:
    return sa.and_(entry.c.leg == 2, entry.c.amount_minor == -9400)


ATTACKS: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "edit an amount": (
        lambda: sa.update(entry).where(_first_entry()).values(amount_minor=-9500),
        {"I1.balanced", "I2.balance_is_sum", "I4.running_balance"},
    ),
    "delete an entry": (
        lambda: sa.delete(entry).where(_first_entry()),
        {"I1.balanced", "I1.complete", "I2.balance_is_sum", "I3.versions", "I4.running_balance"},
    ),
    "delete a journal's row": (
        lambda: sa.delete(journal).where(journal.c.kind == "test"),
        {"I1.complete", "I8.keys"},
    ),
    "delete all entries of a journal": (
        lambda: sa.delete(entry).where(
            entry.c.journal_id == sa.select(journal.c.id).where(journal.c.kind == "test")
            .scalar_subquery()
        ),
        {"I1.complete", "I2.balance_is_sum", "I3.versions", "I4.running_balance"},
    ),
    "change an entry's currency": (
        lambda: sa.update(entry).where(_first_entry()).values(currency="XOF"),
        {"I1.accounts", "I1.balanced"},
    ),
    "delete an account": (
        lambda: sa.delete(account).where(account.c.code == "wallet:o:pending"),
        {"I1.accounts"},
    ),
    "renumber": (
        lambda: sa.update(entry).where(_first_entry()).values(version=7),
        {"I3.versions", "I4.running_balance"},
    ),
    "number twice": (
        lambda: sa.update(entry).where(entry.c.version == 1).values(version=2),
        {"I3.versions"},
    ),
    "edit a running balance": (
        lambda: sa.update(entry).where(_first_entry()).values(balance_after_minor=0),
        {"I4.running_balance"},
    ),
    "edit a balance": (
        lambda: sa.update(balance).where(balance.c.floor_minor == 0).values(posted_minor=99_000),
        {"I2.balance_is_sum", "I9.zero"},
    ),
    "overdraw": (
        lambda: sa.update(balance).where(balance.c.floor_minor == 0).values(held_minor=99_000),
        {"I5.floor", "I6.held"},
    ),
    "lift the floor": (
        lambda: sa.update(balance).where(balance.c.floor_minor == 0).values(floor_minor=None),
        {"I5.floor"},
    ),
    "delete a balance": (
        lambda: sa.delete(balance).where(balance.c.floor_minor == 0),
        {"I3.balance_exists", "I9.zero"},
    ),
    "free a hold": (
        lambda: sa.update(balance).where(balance.c.held_minor > 0).values(held_minor=0),
        {"I6.held"},
    ),
    "grow a hold": (
        lambda: sa.update(hold).values(amount_minor=200),
        {"I6.held", "I7.holds"},
    ),
    "forget a reversal": (
        lambda: sa.update(reversal_cap).values(reversed_minor=0),
        {"I7.reversals"},
    ),
    "shrink a cap": (
        lambda: sa.update(reversal_cap).values(amount_minor=4000),
        {"I7.reversals"},
    ),
    "delete a key": (
        lambda: sa.delete(idempotency).where(idempotency.c.key == "sale"),
        {"I8.keyed"},
    ),
    "invent a key": (
        lambda: sa.update(idempotency).where(idempotency.c.key == "sale").values(key="other"),
        {"I8.keys", "I8.keyed"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_broken_is_found(db: Database, book: Book, attack: str) -> None:
    assert kit.problems(db, but=[]) == []
    statement, expected = ATTACKS[attack]
    with unguarded(db) as tx:
        assert tx.execute(statement()).rowcount > 0
        report = check.run(tx)
    found = {violation.name for violation in report.violations}
    assert expected <= found, report.violations
    assert not report.ok


def test_reversing_more_commission_than_was_earned_is_found(db: Database, book: Book) -> None:
    payment = db.ids.new()
    legs = dr("income:commission:ticket_sale", 1, "EUR"), cr("bank:a", 1, "EUR")
    with db.transaction() as tx:
        book.post(tx, kit.draft("more", *legs, payment_id=payment))
    with db.read() as tx:
        (found,) = check.run(tx).violations
    assert (found.name, found.account, found.amount_minor, found.currency) == (
        "commission.reversed", "income:commission:ticket_sale:EUR", 1, "EUR",
    )  # fmt: skip


def test_features_add_their_own_checks(db: Database) -> None:
    found = Violation("refunds.open", "refund:stripe:outgoing:EUR", 5, "EUR", "no open refund")
    extra = Check("refunds.open", "every reserved refund is open", lambda tx: [found])
    with db.read() as tx:
        report = check.run(tx, [extra])
        assert check.run(tx).ok
    assert report.violations == (found,)
    assert [result.ok for result in report.results].count(False) == 1


def test_ageing_is_first_in_first_out(db: Database, clock: ManualClock) -> None:
    """The oldest part of what is left counts, not the account's first entry."""
    book = Book(db)

    def move(key: str, amount_minor: int) -> None:
        legs = dr("transit:stripe", amount_minor, "EUR"), dr("bank:a", -amount_minor, "EUR")
        with db.transaction() as tx:
            book.post(tx, kit.draft(key, *legs))

    def old() -> list[tuple[str | None, int | None, str]]:
        with db.read() as tx:
            report = check.run(tx, [invariants.ageing(clock.now())])
        return [(each.account, each.amount_minor, each.detail) for each in report.violations]

    move("in", 100)
    clock.advance(timedelta(days=9))
    move("in2", 50)
    assert old() == []
    clock.advance(timedelta(days=2))
    assert old() == [
        ("transit:stripe:EUR", 150, "there since 2026-11-02, allowed 10 days")
    ]  # fmt: skip
    move("out", -100)
    assert old() == []
    clock.advance(timedelta(days=9))
    assert old() == [("transit:stripe:EUR", 50, "there since 2026-11-11, allowed 10 days")]
    move("out2", -60)
    assert old() == []
    clock.advance(timedelta(days=11))
    assert old() == [("transit:stripe:EUR", -10, "there since 2026-11-22, allowed 10 days")]
