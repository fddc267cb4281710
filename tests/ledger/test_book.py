"""Posting: keys, refusals that change nothing, facts that are never refused, reversals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.db.tables import idempotency
from payctl.errors import Conflict, InvalidInput, NotFound
from payctl.ledger import journals, store
from payctl.ledger.book import Book
from payctl.ledger.content import content_hash
from payctl.ledger.model import Draft, Leg, Posted, Refusal, cr, dr
from payctl.ledger.periods import Periods
from payctl.ledger.tables import account, balance
from tests.ledger import kit

pytestmark = pytest.mark.integration

SALE = (
    dr("gateway:stripe:collect", 10_000, "EUR"),
    cr("wallet:o:pending", 9_400, "EUR"),
    cr("income:commission:ticket_sale", 500, "EUR"),
    cr("vat:FR", 100, "EUR"),
)
OCTOBER = datetime(2026, 10, 20, 12, tzinfo=UTC)


@pytest.fixture
def book(db: Database) -> Book:
    return Book(db)


def post(db: Database, book: Book, draft: Draft) -> Posted:
    with db.transaction() as tx:
        return book.post(tx, draft)


def take(key: str, amount_minor: int, **more: Any) -> Draft:
    """Something that lowers what ``o`` has available."""
    return kit.draft(
        key,
        dr("wallet:o:available", amount_minor, "EUR"),
        cr("wallet:o:outgoing", amount_minor, "EUR"),
        **more,
    )


def fact(key: str, *legs: Leg, **more: Any) -> Draft:
    return kit.draft(key, *legs, kind="fact", **more)


def close_october(db: Database, book: Book) -> None:
    Periods(db, book).close(kit.FINANCE, 202610)


# -- keys -----------------------------------------------------------------------------------------


def test_the_same_key_posts_once(db: Database, book: Book) -> None:
    first = post(db, book, kit.draft("k", *SALE))
    again = post(db, book, kit.draft("k", *SALE, meta={"seen": "by the sync this time"}))
    assert not first.replayed
    assert again == Posted(first.journal_id, first.kind, first.entries, replayed=True)
    with db.read() as tx:
        assert kit.balances(tx)["gateway:stripe:collect:EUR"] == 10_000


OTHERS = {
    "amount": kit.draft("k", dr("bank:a", 2, "EUR"), cr("bank:b", 2, "EUR")),
    "account": kit.draft("k", dr("bank:a", 1, "EUR"), cr("bank:c", 1, "EUR")),
    "currency": kit.draft("k", dr("bank:a", 1, "XOF"), cr("bank:b", 1, "XOF")),
    "kind": kit.draft("k", dr("bank:a", 1, "EUR"), cr("bank:b", 1, "EUR"), kind="other"),
    "reason": kit.draft("k", dr("bank:a", 1, "EUR"), cr("bank:b", 1, "EUR"), reason="why"),
    "date": kit.draft("k", dr("bank:a", 1, "EUR"), cr("bank:b", 1, "EUR"), effective_at=OCTOBER),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_a_key_used_for_something_else_is_refused(db: Database, book: Book, other: Draft) -> None:
    post(db, book, kit.draft("k", dr("bank:a", 1, "EUR"), cr("bank:b", 1, "EUR")))
    with pytest.raises(Conflict) as caught:
        post(db, book, other)
    assert caught.value.code == "ledger.key_reused"
    with db.read() as tx:
        assert kit.balances(tx) == {"bank:a:EUR": 1, "bank:b:EUR": -1}


def test_a_fact_told_again_with_another_date_is_the_same_fact(db: Database, book: Book) -> None:
    told = fact("k", dr("bank:a", 1, "EUR"), cr("transit:stripe", 1, "EUR"), effective_at=OCTOBER)
    again = fact("k", dr("bank:a", 1, "EUR"), cr("transit:stripe", 1, "EUR"))
    with db.transaction() as tx:
        first = book.post_fact(tx, told, provider_account="transit:stripe", gateway="stripe")
    with db.transaction() as tx:
        second = book.post_fact(tx, again, provider_account="transit:stripe", gateway="stripe")
    assert second.replayed and second.journal_id == first.journal_id


def test_a_rolled_back_posting_leaves_nothing_at_all(db: Database, book: Book) -> None:
    with pytest.raises(ZeroDivisionError), db.transaction() as tx:
        book.post(tx, kit.draft("k", *SALE))
        raise ZeroDivisionError
    with db.read() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(account)) == 0
        assert book.find(tx, "k") is None
    assert not post(db, book, kit.draft("k", *SALE)).replayed


@pytest.mark.parametrize("step", range(1, 12))
def test_a_crash_between_any_two_statements_leaves_nothing(
    db: Database, book: Book, step: int
) -> None:
    """Statement number *step* of a posting fails: nothing is stored, and the key is free."""
    post(db, book, kit.draft("before", *SALE))
    with db.read() as tx:
        before = kit.balances(tx)
    seen = 0

    def fail(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == step:
            raise ZeroDivisionError

    sa.event.listen(db.engine, "before_cursor_execute", fail)
    try:
        with pytest.raises(ZeroDivisionError), db.transaction() as tx:
            seen = 0
            book.post(tx, kit.draft("k", *SALE))
            if seen < step:  # the posting has fewer statements on this engine
                raise ZeroDivisionError
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", fail)
    with db.read() as tx:
        assert kit.balances(tx) == before
        assert tx.scalars(sa.select(idempotency.c.key)).all() == ["before"]
    assert kit.problems(db) == []
    assert not post(db, book, kit.draft("k", *SALE)).replayed


# -- drafts ---------------------------------------------------------------------------------------

UNSOUND = {
    "ledger.unbalanced": kit.draft("k", dr("bank:a", 2, "EUR"), cr("bank:b", 1, "EUR")),
    "ledger.too_few_legs": kit.draft("k", dr("bank:a", 0, "EUR"), cr("bank:b", 0, "EUR")),
    "ledger.too_many_legs": kit.draft("k", *[dr("bank:a", 1, "EUR"), cr("bank:b", 1, "EUR")] * 251),
    "ledger.unknown_account": kit.draft("k", dr("bank", 1, "EUR"), cr("bank:b", 1, "EUR")),
    "currency.unknown": kit.draft("k", dr("bank:a", 1, "EURO"), cr("bank:b", 1, "EURO")),
    "ledger.amount_too_large": kit.draft(
        "k", dr("bank:a", 10**14 + 1, "EUR"), cr("bank:b", 10**14 + 1, "EUR")
    ),
    "key.bad_length": kit.draft("", dr("bank:a", 1, "EUR"), cr("bank:b", 1, "EUR")),
}


@pytest.mark.parametrize("code", UNSOUND)
def test_unsound_drafts_are_refused_before_anything_is_written(
    db: Database, book: Book, code: str
) -> None:
    with db.transaction() as tx:
        with pytest.raises(InvalidInput) as caught:
            book.post(tx, UNSOUND[code])
        assert caught.value.code == code
    with db.read() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(idempotency)) == 0


def test_legs_of_zero_are_dropped(db: Database, book: Book) -> None:
    posted = post(db, book, kit.draft("k", *SALE, dr("vat:CI", 0, "EUR")))
    assert [entry.account for entry in posted.entries] == [leg.account for leg in SALE]
    again = post(db, book, kit.draft("k", *SALE))
    assert again.replayed


def test_several_legs_on_one_account_run_on(db: Database, book: Book) -> None:
    posted = post(
        db, book,
        kit.draft("k", dr("bank:a", 5, "EUR"), cr("bank:b", 7, "EUR"), dr("bank:a", 2, "EUR")),
    )  # fmt: skip
    on_a = [(e.leg, e.balance_after_minor, e.version) for e in posted.entries if e.leg != 2]
    assert on_a == [(1, 5, 1), (3, 7, 2)]
    assert kit.problems(db) == []


def test_meta_survives_as_plain_data_and_is_hashed(db: Database, book: Book) -> None:
    meta = {"at": OCTOBER, "rate": 655.957, "list": (1, None, True), "nul": "a\x00b", "ü": "é"}
    posted = post(db, book, kit.draft("k", *SALE, meta=meta))
    with db.read() as tx:
        stored = book.get(tx, posted.journal_id)
    assert stored.meta == {
        "at": str(OCTOBER), "rate": "655.957", "list": [1, None, True], "nul": "ab", "ü": "é",
    }  # fmt: skip
    assert stored.content_hash == content_hash(stored)


# -- guarded accounts -----------------------------------------------------------------------------


def test_a_wallet_is_never_overdrawn_and_the_transaction_goes_on(db: Database, book: Book) -> None:
    with db.transaction() as tx:
        kit.fund(book, tx, "wallet:o:available", 100)
        with pytest.raises(Conflict) as caught:
            book.post(tx, take("k", 101))
        assert caught.value.code == "ledger.insufficient_funds"
        assert caught.value.params["available_minor"] == 100
        assert caught.value.params["needed_minor"] == 101
        book.post(tx, take("k", 100))
    with db.read() as tx:
        assert "wallet:o:available:EUR" not in kit.balances(tx)
        assert kit.balances(tx)["wallet:o:outgoing:EUR"] == -100
    assert kit.problems(db) == []


def test_a_debt_cannot_be_overpaid(db: Database, book: Book) -> None:
    with pytest.raises(Conflict, match="insufficient_funds"):
        post(db, book, kit.draft("k", dr("bank:a", 1, "EUR"), cr("owed:o", 1, "EUR")))


def test_in_and_out_in_one_journal_counts_together(db: Database, book: Book) -> None:
    legs = (
        cr("wallet:o:available", 100, "EUR"),
        dr("wallet:o:available", 60, "EUR"),
        dr("opening:migration", 40, "EUR"),
    )
    post(db, book, kit.draft("k", *legs))
    with db.read() as tx:
        assert kit.balances(tx)["wallet:o:available:EUR"] == -40


def test_platform_accounts_are_striped_and_wallets_are_not(db: Database, book: Book) -> None:
    post(db, book, kit.draft("k", *SALE))
    with db.read() as tx:
        rows = tx.execute(
            sa.select(account.c.code, account.c.mode, sa.func.count())
            .join(balance, balance.c.account_id == account.c.id)
            .group_by(account.c.code, account.c.mode)
        ).all()
    stripes = {code: (mode, count) for code, mode, count in rows}
    assert stripes["wallet:o:pending"] == ("guarded", 1)
    assert stripes["gateway:stripe:collect"] == ("striped", 1 if db.is_sqlite else 16)


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_two_writers_use_different_stripes(db: Database, book: Book) -> None:
    """Neither waits for the other's platform rows, though both hold theirs."""
    legs = dr("bank:a", 1, "EUR"), cr("bank:b", 1, "EUR")
    post(db, book, kit.draft("k", *legs))
    with db.transaction() as one, db.transaction() as other:
        first = book.post(one, kit.draft("k1", *legs))
        second = book.post(other, kit.draft("k2", *legs))
    assert first.entries[0].stripe != second.entries[0].stripe
    with db.read() as tx:
        assert kit.balances(tx) == {"bank:a:EUR": 3, "bank:b:EUR": -3}
    assert kit.problems(db) == []


# -- sticky refusals ------------------------------------------------------------------------------


def test_a_refusal_by_hand_sticks_to_its_key(db: Database, book: Book) -> None:
    with db.transaction() as tx:
        first = book.post_or_refuse(tx, take("k", 100))
    assert isinstance(first, Refusal) and not first.replayed
    with db.transaction() as tx:
        kit.fund(book, tx, "wallet:o:available", 1000)
        again = book.post_or_refuse(tx, take("k", 100))
    assert isinstance(again, Refusal)
    assert (again.code, dict(again.params), again.replayed) == (
        first.code, dict(first.params), True,
    )  # fmt: skip
    with db.transaction() as tx, pytest.raises(Conflict, match="insufficient_funds"):
        book.post(tx, take("k", 100))
    with db.transaction() as tx, pytest.raises(Conflict, match="key_reused"):
        book.post_or_refuse(tx, take("k", 99))
    with db.transaction() as tx:
        assert isinstance(book.post_or_refuse(tx, take("k2", 100)), Posted)
    assert kit.problems(db) == []


# -- closed accounts and periods ------------------------------------------------------------------


def test_a_closed_account_takes_nothing(db: Database, book: Book) -> None:
    post(db, book, kit.draft("k", *SALE))
    with db.transaction() as tx:
        store.find_or_open(db, tx, [("wallet:o:reserve", "EUR")])
        store.close(db, tx, kit.FINANCE, "wallet:o:reserve", "EUR", reason="left us")
        with pytest.raises(Conflict, match="account_not_empty"):
            store.close(db, tx, kit.FINANCE, "wallet:o:pending", "EUR", reason="left us")
        with pytest.raises(Conflict, match="account_not_closable"):
            store.close(db, tx, kit.FINANCE, "gateway:stripe:collect", "EUR", reason="left us")
        with pytest.raises(NotFound, match="account_not_found"):
            store.close(db, tx, kit.FINANCE, "wallet:p:pending", "EUR", reason="left us")
    move = (dr("wallet:o:pending", 1, "EUR"), cr("wallet:o:reserve", 1, "EUR"))
    with pytest.raises(Conflict, match="account_closed"):
        post(db, book, kit.draft("k2", *move))


def test_a_closed_month_takes_nothing_by_hand(db: Database, book: Book) -> None:
    post(db, book, kit.draft("k", *SALE, effective_at=OCTOBER))
    close_october(db, book)
    for at in (OCTOBER, OCTOBER - timedelta(days=60)):
        with pytest.raises(Conflict, match="period_closed"):
            post(db, book, kit.draft("k2", *SALE, effective_at=at))
    post(db, book, kit.draft("k2", *SALE))
    assert kit.problems(db) == []


def test_the_books_zone_decides_the_month(db: Database) -> None:
    late = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)
    assert Book(db).period_of(late) == 202610
    assert Book(db, ZoneInfo("Europe/Paris")).period_of(late) == 202611


# -- facts ----------------------------------------------------------------------------------------


def test_a_fact_of_a_closed_month_counts_today(
    db: Database, book: Book, clock: ManualClock
) -> None:
    post(db, book, kit.draft("k", *SALE, effective_at=OCTOBER))
    close_october(db, book)
    with db.transaction() as tx:
        posted = book.post_fact(
            tx, fact("f", *SALE, effective_at=OCTOBER),
            provider_account="gateway:stripe:collect", gateway="stripe",
        )  # fmt: skip
        stored = book.get(tx, posted.journal_id)
    assert posted.suspense_reason is None
    assert (stored.period, stored.effective_at) == (202611, clock.now())
    assert stored.meta["provider_effective_at"] == OCTOBER.isoformat()
    assert kit.problems(db) == []


def test_a_fact_is_recorded_even_when_the_clock_went_back(
    db: Database, book: Book, clock: ManualClock
) -> None:
    post(db, book, kit.draft("k", *SALE, effective_at=OCTOBER))
    close_october(db, book)
    clock.advance(timedelta(days=-20))
    with db.transaction() as tx:
        posted = book.post_fact(
            tx, fact("f", *SALE), provider_account="gateway:stripe:collect", gateway="stripe"
        )
        assert book.get(tx, posted.journal_id).effective_at == datetime(2026, 11, 1, tzinfo=UTC)


def test_a_refused_fact_goes_to_suspense(db: Database, book: Book) -> None:
    """The provider paid out more than the owner has: its money still left its account."""
    legs = (dr("wallet:o:outgoing", 500, "EUR"), cr("gateway:stripe:float", 500, "EUR"))
    with db.transaction() as tx:
        posted = book.post_fact(
            tx, fact("f", *legs), provider_account="gateway:stripe:float", gateway="stripe"
        )
        stored = book.get(tx, posted.journal_id)
        again = book.post_fact(
            tx, fact("f", *legs), provider_account="gateway:stripe:float", gateway="stripe"
        )
    assert posted.suspense_reason == "ledger.insufficient_funds"
    assert (stored.kind, stored.meta["intended_kind"]) == ("suspense", "fact")
    assert stored.meta["intended_legs"] == [
        ["wallet:o:outgoing", "EUR", 500], ["gateway:stripe:float", "EUR", -500],
    ]  # fmt: skip
    assert again.replayed and again.suspense_reason == posted.suspense_reason
    with db.read() as tx:
        assert kit.balances(tx) == {"gateway:stripe:float:EUR": -500, "suspense:stripe:EUR": 500}
    assert kit.problems(db) == []


def test_an_unsound_fact_goes_to_suspense(db: Database, book: Book) -> None:
    legs = (dr("gateway:stripe:collect", 500, "EUR"), cr("wallet:no such:pending", 499, "EUR"))
    with db.transaction() as tx:
        posted = book.post_fact(
            tx, fact("f", *legs), provider_account="gateway:stripe:collect", gateway="stripe"
        )
    assert posted.suspense_reason == "ledger.unknown_account"
    with db.read() as tx:
        assert kit.balances(tx) == {"gateway:stripe:collect:EUR": 500, "suspense:stripe:EUR": -500}


def test_a_refused_draft_without_the_providers_money_is_an_error(db: Database, book: Book) -> None:
    with db.transaction() as tx, pytest.raises(InvalidInput, match="fact_without_money"):
        book.post_fact(
            tx, fact("f", dr("wallet:o:available", 1, "EUR"), cr("wallet:o:disputed", 1, "EUR")),
            provider_account="gateway:stripe:collect", gateway="stripe",
        )  # fmt: skip


# -- reversals ------------------------------------------------------------------------------------


def reverse(
    db: Database, book: Book, journal: Any, key: str, amount_minor: int | None = None,
    reason: str = "mistake",
) -> Posted:  # fmt: skip
    with db.transaction() as tx:
        return book.reverse(
            tx, journal.journal_id, posting_key=key, actor=kit.FINANCE, reason=reason,
            amount_minor=amount_minor,
        )  # fmt: skip


def test_a_reversal_undoes_and_happens_once(db: Database, book: Book) -> None:
    sale = post(db, book, kit.draft("k", *SALE))
    undone = reverse(db, book, sale, "r")
    with db.read() as tx:
        assert kit.balances(tx) == {}
        assert book.get(tx, undone.journal_id).reverses_id == sale.journal_id
    assert reverse(db, book, sale, "r").replayed
    with pytest.raises(Conflict, match="already_reversed"):
        reverse(db, book, sale, "r2")
    with pytest.raises(Conflict, match="key_reused"):
        reverse(db, book, sale, "r", reason="another")
    assert kit.problems(db) == []


def test_parts_sum_to_the_whole(db: Database, book: Book) -> None:
    sale = post(db, book, kit.draft("k", *SALE))
    first = reverse(db, book, sale, "r1", 3333)
    assert {e.account: e.amount_minor for e in first.entries} == {
        "gateway:stripe:collect": -3333, "wallet:o:pending": 3133,
        "income:commission:ticket_sale": 167, "vat:FR": 33,
    }  # fmt: skip
    with pytest.raises(Conflict, match="reversal_exceeds"):
        reverse(db, book, sale, "r2", 6668)
    reverse(db, book, sale, "r2", 6667)
    with db.read() as tx:
        assert kit.balances(tx) == {}
    assert kit.problems(db) == []


def test_a_reversed_reversal_can_be_reversed_again(db: Database, book: Book) -> None:
    sale = post(db, book, kit.draft("k", *SALE))
    undone = reverse(db, book, sale, "r1")
    back = reverse(db, book, undone, "r2")
    with db.read() as tx:
        assert kit.balances(tx)["gateway:stripe:collect:EUR"] == 10_000
    reverse(db, book, sale, "r3")
    with pytest.raises(Conflict, match="reversal_exceeds"):
        reverse(db, book, back, "r4")  # would reverse the sale a second time
    assert kit.problems(db) == []
    with db.read() as tx:
        assert kit.balances(tx) == {}


def test_a_reversal_needs_the_funds(db: Database, book: Book) -> None:
    with db.transaction() as tx:
        opening = kit.fund(book, tx, "wallet:o:available", 100)
        book.post(tx, take("k", 1))
    with pytest.raises(Conflict, match="insufficient_funds"):
        reverse(db, book, opening, "r")
    assert kit.problems(db) == []


def test_a_part_needs_one_currency(db: Database, book: Book) -> None:
    legs = (
        dr("fx", 100, "XOF"),
        cr("bank:a", 100, "XOF"),
        dr("bank:a", 15, "EUR"),
        cr("fx", 15, "EUR"),
    )
    conversion = post(db, book, kit.draft("k", *legs))
    with pytest.raises(InvalidInput, match="part_needs_one_currency"):
        reverse(db, book, conversion, "r", 10)
    reverse(db, book, conversion, "r")
    with db.read() as tx:
        assert kit.balances(tx) == {}


def test_reversing_what_is_not_there(db: Database, book: Book) -> None:
    with db.transaction() as tx, pytest.raises(NotFound, match="journal_not_found"):
        book.reverse(
            tx, db.ids.new(), posting_key="r", actor=kit.FINANCE, reason="x", amount_minor=None
        )
    with db.transaction() as tx:
        with pytest.raises(NotFound, match="journal_not_found"):
            book.post(tx, kit.draft("k", *SALE, reverses_id=db.ids.new()))
        assert book.find(tx, "k") is None
    with db.transaction() as tx, pytest.raises(NotFound, match="journal_not_found"):
        book.get(tx, db.ids.new())


def test_notes_are_added_never_changed(db: Database, book: Book) -> None:
    sale = post(db, book, kit.draft("k", *SALE))
    with db.transaction() as tx:
        assert journals.annotate(db, tx, sale.journal_id, {"note": 1}, kit.FINANCE) == 1
        assert journals.annotate(db, tx, sale.journal_id, {"note": 2}, kit.FINANCE) == 2
        with pytest.raises(NotFound, match="journal_not_found"):
            journals.annotate(db, tx, db.ids.new(), {}, kit.FINANCE)
