"""A superuser changes a sealed book in every way we can think of; ``verify`` finds each of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.ledger.tables import journal
from payctl.ledger.verify import Verifier
from tests.db import catalog
from tests.ledger.attacks import ATTACKS, Attack, edit_journal, inserted_and_sealed
from tests.ledger.proof_kit import Proven, filled, superuser

pytestmark = pytest.mark.integration


@pytest.fixture
def book(db: Database, clock: ManualClock, tmp_path: Path) -> Proven:
    return filled(db, clock, tmp_path / "anchors")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_every_attack_is_found(book: Proven, attack: Attack) -> None:
    guards = _guards(book.db)
    with superuser(book.db) as tx:
        attack(tx, book)
    if attack is inserted_and_sealed:
        book.seal()
    assert _guards(book.db) == guards, "the attacker has put every trigger back"
    found = book.verify()
    assert not found.ok
    assert ATTACKS[attack] in {each.kind for each in found.breaks}, found.breaks


def test_an_untouched_book_verifies(book: Proven) -> None:
    found = book.verify()
    assert found.breaks == ()
    assert (found.head and found.head.total_journals, found.unsealed_journals) == (13, 2)
    with superuser(book.db) as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(journal)) == 15
    assert book.verify() == found
    book.seal()
    assert book.verify().breaks == ()


def test_deleted_and_edited_anchors_are_found(book: Proven) -> None:
    [file] = book.folder.iterdir()
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-1]) + "\n")
    assert book.kinds() == {"anchor.missing"}
    file.write_text("\n".join([*lines[:-1], lines[-1].replace('"hash":"', '"hash":"00')]) + "\n")
    assert book.kinds() == {"anchor.differs"}
    file.unlink()
    assert book.kinds() == {"anchor.missing"}


def test_the_break_says_how_far_it_reaches(book: Proven) -> None:
    with superuser(book.db) as tx:
        edit_journal(tx, "s7", reason="as agreed")
    found = book.verify()
    assert [(each.kind, each.block) for each in found.breaks] == [("journal.changed", 2)]
    assert found.radius is not None
    assert (found.radius.from_block, found.radius.blocks, found.radius.journals) == (2, 3, 10)
    assert found.radius.accounts_total == 4
    assert "wallet:o:pending:EUR" in found.radius.accounts


def test_from_a_later_block_the_earlier_contents_are_left_out(book: Proven) -> None:
    with superuser(book.db) as tx:
        edit_journal(tx, "s1", reason="as agreed")
    verifier = Verifier(book.db, book.anchors)
    assert not verifier.verify().ok
    assert verifier.verify(first=2).ok


def _guards(db: Database) -> set[str]:
    return {line for line in catalog.of(db) if "trigger" in line.lower()}
