"""Sixteen writers at once on PostgreSQL: never overdrawn, never twice, never stuck."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from payctl.db.engine import Database
from payctl.errors import Conflict
from payctl.ledger import owners
from payctl.ledger.book import Book
from payctl.ledger.holds import Holds
from payctl.ledger.model import Draft, cr, dr
from tests.ledger import kit

pytestmark = [
    pytest.mark.integration,
    pytest.mark.parametrize("engine_name", ["postgresql"]),
]
THREADS = 16


def together(work: Callable[[int], Any]) -> list[Any]:
    """Run *work* in all threads from one moment on; results by thread, errors as themselves."""
    start = threading.Barrier(THREADS)
    results: list[Any] = [None] * THREADS

    def one(number: int) -> None:
        start.wait()
        try:
            results[number] = work(number)
        except Exception as error:  # every error is looked at by the test
            results[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    return results


def balance(db: Database, name: str) -> int:
    with db.read() as tx:
        return kit.balances(tx).get(name, 0)


def take(key: str, amount_minor: int) -> Draft:
    legs = dr("wallet:o:available", amount_minor, "EUR"), cr("bank:a", amount_minor, "EUR")
    return kit.draft(key, *legs)


@pytest.fixture
def book(db: Database) -> Book:
    book = Book(db)
    with db.transaction() as tx:
        kit.fund(book, tx, "wallet:o:available", 10_000)
    return book


def test_draining_one_wallet_never_overdraws_it(db: Database, book: Book) -> None:
    def drain(number: int) -> int:
        random, taken = Random(number), 0
        for turn in range(12):
            amount = random.randint(1, 200)
            try:
                with db.transaction() as tx:
                    book.post(tx, take(f"{number}:{turn}", amount))
                taken += amount
            except Conflict as refused:
                assert refused.code == "ledger.insufficient_funds"
                assert int(refused.params["available_minor"]) < amount  # type: ignore[call-overload]
        return taken

    taken = together(drain)
    assert all(isinstance(each, int) for each in taken), taken
    assert sum(taken) <= 10_000
    assert sum(taken) > 9_000  # refusals began only when it was nearly empty
    assert balance(db, "wallet:o:available:EUR") == sum(taken) - 10_000
    assert kit.problems(db) == []


def test_one_key_posts_once(db: Database, book: Book) -> None:
    def post(_: int) -> Any:
        with db.transaction() as tx:
            return book.post(tx, take("the one", 10_000))

    posted = together(post)
    assert Counter(each.replayed for each in posted) == {False: 1, True: THREADS - 1}
    assert len({each.journal_id for each in posted}) == 1
    assert balance(db, "wallet:o:available:EUR") == 0
    assert kit.problems(db) == []


def test_accounts_are_opened_once(db: Database) -> None:
    """The first sale of a new organiser, many times at once."""
    book = Book(db)

    def sell(number: int) -> Any:
        legs = (
            dr("gateway:g:collect", 100, "EUR"),
            cr("wallet:new:pending", 90, "EUR"),
            cr("income:commission:ticket_sale", 8, "EUR"),
            cr("vat:FR", 2, "EUR"),
        )
        with db.transaction() as tx:
            return book.post(tx, kit.draft(f"sale:{number}", *legs))

    sold = together(sell)
    assert not [each for each in sold if isinstance(each, Exception)]
    assert balance(db, "wallet:new:pending:EUR") == -90 * THREADS
    assert balance(db, "gateway:g:collect:EUR") == 100 * THREADS
    assert kit.problems(db) == []


def test_a_journal_is_reversed_once(db: Database, book: Book) -> None:
    with db.transaction() as tx:
        sale = book.post(tx, take("sale", 1000))

    def reverse(number: int) -> Any:
        with db.transaction() as tx:
            return book.reverse(
                tx, sale.journal_id, posting_key=f"r{number}", actor=kit.FINANCE, reason="x"
            )

    done = together(reverse)
    codes = Counter(each.code if isinstance(each, Conflict) else "reversed" for each in done)
    assert codes == {"reversed": 1, "ledger.already_reversed": THREADS - 1}
    assert balance(db, "wallet:o:available:EUR") == -10_000
    assert kit.problems(db) == []


def test_parts_reversed_at_once_never_exceed_the_journal(db: Database, book: Book) -> None:
    with db.transaction() as tx:
        sale = book.post(tx, take("sale", 1000))

    def reverse(number: int) -> Any:
        with db.transaction() as tx:
            return book.reverse(
                tx, sale.journal_id, posting_key=f"r{number}", actor=kit.FINANCE, reason="x",
                amount_minor=300,
            )  # fmt: skip

    done = together(reverse)
    codes = Counter(each.code if isinstance(each, Conflict) else "reversed" for each in done)
    assert codes == {"reversed": 3, "ledger.reversal_exceeds": THREADS - 3}
    assert kit.problems(db) == []


def test_holds_and_spending_share_one_wallet(db: Database, book: Book) -> None:
    holds = Holds(db, book)

    def work(number: int) -> tuple[int, int]:
        spent = held = 0
        for turn in range(6):
            try:
                with db.transaction() as tx:
                    if number % 2:
                        book.post(tx, take(f"{number}:{turn}", 170))
                    else:
                        holds.place(
                            tx, account_code="wallet:o:available", currency="EUR",
                            amount_minor=170, key=f"{number}:{turn}", reason="x",
                            actor=kit.FINANCE,
                        )  # fmt: skip
                spent, held = spent + 170 * (number % 2), held + 170 * (1 - number % 2)
            except Conflict as refused:
                assert refused.code == "ledger.insufficient_funds"
        return spent, held

    done = together(work)
    spent, held = (sum(column) for column in zip(*done, strict=True))
    assert spent + held == 10_000 // 170 * 170
    assert balance(db, "wallet:o:available:EUR") == spent - 10_000
    assert kit.problems(db) == []


def test_forced_debits_and_credits_of_one_owner(db: Database, book: Book) -> None:
    """Nothing is refused, and what was taken, given and is owed adds up."""

    def work(number: int) -> int:
        random, net = Random(number), 0
        for turn in range(5):
            amount = random.randint(1, 3000)
            with db.transaction() as tx:
                if number % 2:
                    legs = owners.take_from_owner(
                        tx, owner="o", currency="EUR", amount_minor=amount, pending_minor=0
                    )
                    book.post(tx, kit.draft(f"{number}:{turn}", *legs, cr("bank:a", amount, "EUR")))
                    net -= amount
                else:
                    given = owners.give_to_owner(tx, owner="o", currency="EUR", amount_minor=amount)
                    legs = (dr("bank:a", amount, "EUR"), *given)
                    book.post(tx, kit.draft(f"{number}:{turn}", *legs))
                    net += amount
        return net

    done = together(work)
    assert not [each for each in done if isinstance(each, Exception)], done
    available = -balance(db, "wallet:o:available:EUR")
    owed = balance(db, "owed:o:EUR")
    assert available - owed == 10_000 + sum(done)
    assert kit.problems(db) == []


def test_transfers_in_all_directions_do_not_wait_in_circles(db: Database) -> None:
    book = Book(db)
    names = [f"wallet:p{number}:available" for number in range(5)]
    with db.transaction() as tx:
        for name in names:
            kit.fund(book, tx, name, 1000)

    def move(number: int) -> int:
        random, moved = Random(number), 0
        for turn in range(15):
            source, target = random.sample(names, 2)
            amount = random.randint(1, 400)
            legs = dr(source, amount, "EUR"), cr(target, amount, "EUR")
            try:
                with db.transaction() as tx:
                    book.post(tx, kit.draft(f"{number}:{turn}", *legs))
                moved += 1
            except Conflict as refused:
                assert refused.code == "ledger.insufficient_funds"
        return moved

    moved = together(move)
    assert all(isinstance(each, int) for each in moved), moved
    assert sum(moved) > 50
    assert sum(balance(db, f"{name}:EUR") for name in names) == -5000
    assert kit.problems(db) == []
