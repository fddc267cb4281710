"""A sealed and anchored book to attack, and what a superuser needs for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.ledger.anchors import Anchors
from payctl.ledger.book import Book
from payctl.ledger.destinations import Folder
from payctl.ledger.model import cr, dr
from payctl.ledger.sealing import Sealed, Sealing
from payctl.ledger.verify import Verification, Verifier
from tests.ledger import kit

SEALER = Actor("job:ledger_seal", frozenset({"job.seal"}), "job")
#: Small blocks, so that a few journals make several, of all shapes.
BLOCK_SIZE = 5


@dataclass
class Proven:
    """A book with its sealer, anchors and verifier."""

    db: Database
    book: Book
    anchors: Anchors
    sealing: Sealing
    folder: Path

    def sale(self, key: str) -> None:
        legs = (
            dr("gateway:stripe:collect", 10_000, "EUR"),
            cr("wallet:o:pending", 9_400, "EUR"),
            cr("income:commission:ticket_sale", 500, "EUR"),
            cr("vat:FR", 100, "EUR"),
        )
        with self.db.transaction() as tx:
            more = {"reason": "at the door", "meta": {"provider": "x", "fee_minor": 7}}
            self.book.post(tx, kit.draft(key, *legs, **more))

    def seal(self) -> Sealed:
        return self.sealing.seal(SEALER)

    def verify(self) -> Verification:
        return Verifier(self.db, self.anchors).verify()

    def kinds(self) -> set[str]:
        return {each.kind for each in self.verify().breaks}


def proven(db: Database, folder: Path, block_size: int = BLOCK_SIZE) -> Proven:
    anchors = Anchors(db, [Folder(folder)])
    return Proven(db, Book(db), anchors, Sealing(db, anchors, block_size), folder)


def filled(db: Database, clock: ManualClock, folder: Path) -> Proven:
    """Blocks of 5, 5, 2 and 1 journals over three hours, and two journals that are not sealed."""
    made = proven(db, folder)
    for number in range(12):
        made.sale(f"s{number}")
    clock.advance(timedelta(hours=1))
    made.seal()
    clock.advance(timedelta(hours=1))
    made.sale("later")
    made.seal()
    clock.advance(timedelta(hours=1))
    made.sale("tail1")
    made.sale("tail2")
    return made


@contextmanager
def superuser(db: Database) -> Iterator[sa.Connection]:
    """A committed transaction that no trigger, key or constraint of the book looks at; afterwards
    everything that guards it is there again.
    """
    if not db.is_sqlite:
        with db.engine.begin() as tx:
            tx.exec_driver_sql("SET LOCAL session_replication_role = replica")
            yield tx
        return
    with db.engine.connect() as connection:
        cursor = connection.connection.cursor()
        for pragma in ("foreign_keys = OFF", "ignore_check_constraints = ON"):
            cursor.execute(f"PRAGMA {pragma}")
        triggers = cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        with connection.begin():
            for name, _ in triggers:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
            yield connection
            for _, sql in triggers:
                connection.exec_driver_sql(sql)
        connection.invalidate()
