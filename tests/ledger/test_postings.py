"""Every row of the postings design, posted on both engines, and the balances it leaves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from payctl.db.engine import Database
from payctl.ledger.accounts import line_of
from payctl.ledger.book import Book
from payctl.ledger.content import content_hash
from payctl.ledger.model import Leg, cr, dr
from tests.ledger import kit

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Row:
    """One line of a table of the page: what happens, debits, credits (account and amount)."""

    event: str
    legs: tuple[Leg, ...]


def _side(text: str, sign: int, currency: str) -> list[Leg]:
    legs = []
    for item in text.split(", "):
        code, amount = item.rsplit(" ", 1)
        make = dr if sign > 0 else cr
        legs.append(make(code, int(amount), currency))
    return legs


def row(event: str, debits: str, credits: str, currency: str = "EUR") -> Row:
    return Row(event, (*_side(debits, 1, currency), *_side(credits, -1, currency)))


def xof(event: str, debits: str, credits: str) -> Row:
    return row(event, debits, credits, "XOF")


def both(event: str, first: Row, second: Row) -> Row:
    """Two halves of a conversion are one journal."""
    return Row(event, (*first.legs, *second.legs))


EUR = (
    row("capture", "gateway:stripe:collect 10000",
        "wallet:o:pending 9400, income:commission:ticket_sale 500, vat:FR 100"),
    row("fee known", "expense:gateway_fee:stripe 175", "gateway:stripe:collect 175"),
    row("settlement: due, 10 % reserve", "wallet:o:pending 9400",
        "wallet:o:available 8460, wallet:o:reserve 940"),
    row("settlement when o owes 1000", "wallet:o:pending 9400",
        "owed:o 1000, wallet:o:available 7460, wallet:o:reserve 940"),
    row("reserve slice released", "wallet:o:reserve 940", "wallet:o:available 940"),
    row("refund reserved, commission given back",
        "wallet:o:pending 9400, income:commission:ticket_sale 500, vat:FR 100",
        "refund:stripe:outgoing 10000"),
    row("refund reserved, commission kept", "wallet:o:pending 9400, wallet:o:available 600",
        "refund:stripe:outgoing 10000"),
    row("refund reserved, part 1",
        "wallet:o:pending 3133, income:commission:ticket_sale 167, vat:FR 33",
        "refund:stripe:outgoing 3333"),
    row("refund reserved, part 2",
        "wallet:o:pending 6267, income:commission:ticket_sale 333, vat:FR 67",
        "refund:stripe:outgoing 6667"),
    row("refund succeeded", "refund:stripe:outgoing 10000", "gateway:stripe:collect 10000"),
    row("refund fails later", "gateway:stripe:collect 10000", "refund:stripe:outgoing 10000"),
    row("dispute opened, money taken", "dispute:stripe 10000", "gateway:stripe:collect 10000"),
    row("dispute fee", "expense:dispute_fee:stripe 2000", "gateway:stripe:collect 2000"),
    row("freeze", "wallet:o:reserve 940, wallet:o:available 5000, owed:o 3460",
        "wallet:o:disputed 9400"),
    row("dispute won, money", "gateway:stripe:collect 10000", "dispute:stripe 10000"),
    row("dispute won, unfreeze", "wallet:o:disputed 9400", "owed:o 3460, wallet:o:available 5940"),
    row("dispute lost, commission given back",
        "wallet:o:disputed 9400, income:commission:ticket_sale 500, vat:FR 100",
        "dispute:stripe 10000"),
    row("dispute lost, commission kept", "wallet:o:disputed 9400, owed:o 600",
        "dispute:stripe 10000"),
    row("provider announces payout", "transit:stripe 9825", "gateway:stripe:collect 9825"),
    row("bank statement shows it", "bank:eur 9825", "transit:stripe 9825"),
    row("bank shows 20 less", "bank:eur 9805, expense:bank_fee 20", "transit:stripe 9825"),
    row("provider payout failed", "gateway:stripe:collect 9825", "transit:stripe 9825"),
    row("second receipt for a paid order", "gateway:paypal:collect 10000",
        "unapplied:paypal 10000"),
    row("refund of it reserved", "unapplied:paypal 10000", "refund:paypal:outgoing 10000"),
    row("unknown statement line", "gateway:stripe:collect 4200", "suspense:stripe 4200"),
    row("recognised as a late success", "suspense:stripe 4200",
        "wallet:o:pending 3948, income:commission:ticket_sale 210, vat:FR 42"),
    row("write-off of a tolerated difference", "expense:write_off 3", "gateway:stripe:collect 3"),
    row("difference in our favour", "gateway:stripe:collect 2", "income:difference 2"),
    row("write-off of an owner's debt", "expense:bad_debt 3460", "owed:o 3460"),
    row("goodwill refund beyond the sale", "expense:goodwill 500", "refund:stripe:outgoing 500"),
    row("template, agent", "gateway:stripe:collect 2000",
        "wallet:d:pending 1280, income:commission:template_sale 600, vat:FR 120"),
    row("template paid from the buyer's wallet", "wallet:o:available 2000",
        "wallet:d:pending 1280, income:commission:template_sale 600, vat:FR 120"),
    row("template, platform is seller", "gateway:stripe:collect 2400",
        "income:template_sales 2000, vat:FR 400"),
    row("its designer's share", "expense:designer_share 1400", "wallet:d:pending 1400"),
)  # fmt: skip

XOF = (
    xof("capture", "gateway:cinetpay:collect 15000",
        "wallet:o:pending 14115, income:commission:ticket_sale 750, vat:CI 135"),
    xof("fee known from the statement", "expense:gateway_fee:cinetpay 525",
        "gateway:cinetpay:collect 525"),
    xof("settlement, no reserve", "wallet:o:pending 14115", "wallet:o:available 14115"),
    xof("reverse payout reserved",
        "wallet:o:available 14115, income:commission:ticket_sale 750, vat:CI 135",
        "refund:cinetpay:outgoing 15000"),
    xof("reverse payout paid", "refund:cinetpay:outgoing 15000", "gateway:cinetpay:float 15000"),
    xof("its fee", "expense:payout_fee:cinetpay 150", "gateway:cinetpay:float 150"),
    xof("reverse payout refused for good", "refund:cinetpay:outgoing 15000",
        "wallet:o:available 14115, income:commission:ticket_sale 750, vat:CI 135"),
    xof("float top-up leaves the bank", "transit:mtn 500000", "bank:xof 500000"),
    xof("float top-up arrives", "gateway:mtn:float 500000", "transit:mtn 500000"),
    xof("withdrawal requested", "wallet:o:available 50000", "wallet:o:outgoing 50000"),
    xof("withdrawal paid", "wallet:o:outgoing 50000", "gateway:mtn:float 50000"),
    xof("its fee, borne by us", "expense:payout_fee:mtn 500", "gateway:mtn:float 500"),
    xof("requested, owner pays 500 incl. VAT", "wallet:o:available 50500",
        "wallet:o:outgoing 50500"),
    xof("paid, the recharge", "wallet:o:outgoing 500", "income:fee_recharge 424, vat:CI 76"),
    xof("withdrawal failed, rejected or cancelled", "wallet:o:outgoing 50000",
        "wallet:o:available 50000"),
    xof("withdrawal returned after paid", "gateway:mtn:float 50000", "wallet:o:available 50000"),
    xof("paid by bank transfer", "wallet:o:outgoing 50000", "bank:xof 50000"),
    xof("takeover of a wallet", "opening:migration 120000", "wallet:o:available 120000"),
)  # fmt: skip

CONVERTED = (
    xof("capture, XOF", "gateway:stripe:collect 100000",
        "wallet:o:pending 94100, income:commission:ticket_sale 5000, vat:CI 900"),
    both("conversion",
         xof("", "fx 100000", "gateway:stripe:collect 100000"),
         row("", "gateway:stripe:collect 14925, expense:fx_loss 320", "fx 15245")),
    row("fee, EUR", "expense:gateway_fee:stripe 250", "gateway:stripe:collect 250"),
    both("later purchase of XOF float",
         xof("", "gateway:mtn:float 95000", "fx 95000"),
         row("", "fx 14483, expense:fx_loss 17", "bank:eur 14500")),
)  # fmt: skip

ROWS = (
    *((f"EUR {each.event}", each) for each in EUR),
    *((f"XOF {each.event}", each) for each in XOF),
    *((f"XOF-EUR {each.event}", each) for each in CONVERTED),
)


@pytest.mark.parametrize("row", [row for _, row in ROWS], ids=[name for name, _ in ROWS])
def test_the_row_posts_and_moves_exactly_what_it_says(db: Database, row: Row) -> None:
    book = Book(db)
    expected: Counter[str] = Counter()
    with db.transaction() as tx:
        for leg in row.legs:
            line = line_of(leg.account)
            taken = -line.normal_side * leg.amount_minor
            if line.guarded and taken > 0:
                # What a guarded account gives must be there before, on its own side.
                given = (
                    Leg(leg.account, line.normal_side * taken, leg.currency),
                    Leg("opening:migration", -line.normal_side * taken, leg.currency),
                )
                book.post(tx, kit.draft(f"given:{leg.account}", *given))
                for each in given:
                    expected[f"{each.account}:{each.currency}"] += each.amount_minor
    with db.transaction() as tx:
        posted = book.post(tx, kit.draft("row", *row.legs, kind=row.event or "conversion"))
    for leg in row.legs:
        expected[f"{leg.account}:{leg.currency}"] += leg.amount_minor
    with db.read() as tx:
        stored = book.get(tx, posted.journal_id)
        assert kit.balances(tx) == {name: value for name, value in expected.items() if value}
    assert [(e.account, e.amount_minor, e.currency) for e in stored.entries] == [
        (leg.account, leg.amount_minor, leg.currency) for leg in row.legs
    ]
    assert stored.content_hash == content_hash(stored)
    assert kit.problems(db) == []


def test_the_tables_are_complete() -> None:
    """A row that is dropped here would go unposted unseen."""
    assert (len(EUR), len(XOF), len(CONVERTED)) == (34, 18, 4)


def test_what_the_book_says_after_the_whole_story_of_a_sale(db: Database) -> None:
    """Rows that follow each other leave the clearing accounts at zero and the cover exact."""
    story = (EUR[0], EUR[1], EUR[5], EUR[9])
    book = Book(db)
    with db.transaction() as tx:
        for number, each in enumerate(story):
            book.post(tx, kit.draft(f"story:{number}", *each.legs, kind=each.event))
    with db.read() as tx:
        # The provider keeps its fee: that is what a refunded sale costs us.
        assert kit.balances(tx) == {
            "gateway:stripe:collect:EUR": -175,
            "expense:gateway_fee:stripe:EUR": 175,
        }
        (cover,) = kit.reports().cover(tx)
    assert (cover.currency, cover.assets_minor, cover.owed_minor) == ("EUR", -175, 0)
    assert kit.problems(db, but=[]) == []
