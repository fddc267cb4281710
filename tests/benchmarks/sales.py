"""The sales the benchmarks post: who sells, for how much, and the entries of one capture."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.ledger import accounts, store
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, Leg, cr, dr
from payctl.parties.tables import party

ORGANISERS = 10_000
GATEWAYS = ("noop1", "noop2", "noop3", "noop4", "noop5")
CURRENCY = "EUR"
INCOME, VAT = accounts.commission_income("ticket_sale"), accounts.vat("FR")
CORE = Actor("core", frozenset({"core"}), "core")

#: Accounts opened by one statement; SQLite takes some 32 000 parameters in one.
_CHUNK = 500


def organiser(number: int) -> str:
    """The organiser *number* (from 0)."""
    return f"org-{number:05d}"


def some_organiser(dice: Random) -> str:
    return organiser(dice.randrange(ORGANISERS))


def some_amount(dice: Random) -> int:
    """The price of a sale, in minor units."""
    return dice.randrange(1_000, 20_000)


def parts(amount_minor: int) -> tuple[int, int, int]:
    """What the organiser gets of a sale, our commission of 5 %, and the VAT of 20 % on that."""
    commission = amount_minor * 5 // 100
    vat = commission * 20 // 100
    return amount_minor - commission - vat, commission, vat


def capture_legs(seller: str, gateway: str, amount_minor: int) -> tuple[Leg, ...]:
    """The four entries of a captured sale."""
    owner, commission, vat = parts(amount_minor)
    return (
        dr(accounts.collect(gateway), amount_minor, CURRENCY),
        cr(accounts.wallet(seller, "pending"), owner, CURRENCY),
        cr(INCOME, commission, CURRENCY),
        cr(VAT, vat, CURRENCY),
    )


def open_accounts(db: Database) -> None:
    """Open every account and party the sales use, so that no benchmark measures an opening."""
    wallets = [accounts.wallet(organiser(number), "pending") for number in range(ORGANISERS)]
    codes = [INCOME, VAT, *map(accounts.collect, GATEWAYS), *wallets]
    for first in range(0, len(codes), _CHUNK):
        chunk = codes[first : first + _CHUNK]
        with db.transaction() as tx:
            store.find_or_open(db, tx, [(code, CURRENCY) for code in chunk])
    with db.transaction() as tx:
        tx.execute(sa.insert(party), list(_parties(db, map(organiser, range(ORGANISERS)))))


def remember(db: Database, book: Book) -> None:
    """Let the book read every account once, as a process that has worked for a while has."""
    legs = [
        leg
        for number in range(ORGANISERS)
        for gateway in GATEWAYS[number % len(GATEWAYS) :][:1]
        for leg in capture_legs(organiser(number), gateway, 10_000)
    ]
    with db.read() as tx:
        for first in range(0, len(legs), 400):
            book.facts(tx, [Draft("warm", "warm", tuple(legs[first : first + 400]), "core")])


def _parties(db: Database, refs: Iterable[str]) -> Iterable[dict[str, object]]:
    now = db.clock.now()
    for ref in refs:
        yield {
            "id": db.ids.new(), "kind": "organiser", "ref": ref, "name": ref, "country": "FR",
            "status": "active", "created_at": now,
        }  # fmt: skip
