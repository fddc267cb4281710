"""Sealing: nobody waits for it, nothing is left out, and a run that dies leaves whole blocks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.errors import Forbidden
from payctl.ids import IdSource
from payctl.ledger import blocks, sealing
from payctl.ledger.model import Journal, cr, dr
from payctl.ledger.proof_tables import block_item
from payctl.ledger.tables import journal
from payctl.ledger.verify import Verifier, sealed_journals
from tests.ledger import kit
from tests.ledger.proof_kit import BLOCK_SIZE, SEALER, Proven, proven, superuser

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
ONLY_POSTGRESQL = pytest.mark.parametrize("engine_name", ["postgresql"])
ONLY_SQLITE = pytest.mark.parametrize("engine_name", ["sqlite"])


@pytest.fixture
def book(db: Database, tmp_path: Path) -> Proven:
    return proven(db, tmp_path / "anchors")


def sealed_keys(db: Database) -> list[str]:
    """Posting keys of the sealed journals, in the order of their places."""
    with db.read() as tx:
        query = (
            sa.select(journal.c.posting_key)
            .join(block_item, block_item.c.journal_id == journal.c.id)
            .order_by(block_item.c.block, block_item.c.position)
        )
        return list(tx.scalars(query))


def test_blocks_are_full_until_the_last(book: Proven, clock: ManualClock) -> None:
    for number in range(12):
        book.sale(f"s{number}")
    clock.advance(timedelta(hours=1))
    done = book.seal()
    assert (done.blocks, done.journals) == (3, 12)
    with book.db.read() as tx:
        assert [each.journals for each in blocks.stream(tx)] == [BLOCK_SIZE, BLOCK_SIZE, 2]
        assert blocks.extent(tx) == blocks.Extent(3, 12, 0, clock.now() - blocks.IN_FLIGHT)
        # Only the last one knows that nothing older is left.
        assert [each.complete_until for each in blocks.stream(tx)][:2] == [blocks.BEGINNING] * 2
    assert sealed_keys(book.db) == [f"s{number}" for number in range(12)]
    again = book.seal()
    assert (again.blocks, again.head) == (0, done.head)


def test_a_limit_leaves_the_rest_for_the_next_run(book: Proven) -> None:
    for number in range(12):
        book.sale(f"s{number}")
    assert book.sealing.seal(SEALER, limit=1).journals == BLOCK_SIZE
    assert book.seal().journals == 12 - BLOCK_SIZE
    assert book.verify().ok


def test_a_dry_run_seals_and_anchors_nothing(book: Proven) -> None:
    book.sale("s")
    done = book.sealing.seal(SEALER, dry_run=True)
    assert (done.blocks, done.journals, done.head, done.anchors) == (1, 1, None, ())
    assert sealed_keys(book.db) == []
    assert not book.folder.exists()


def test_who_may_seal(book: Proven) -> None:
    with pytest.raises(Forbidden):
        book.sealing.seal(kit.SWEEPER)


def test_ids_do_not_decide_what_is_sealed(book: Proven, db: Database, clock: ManualClock) -> None:
    """Journals whose ids are older than sealed ones, because they were made before the lock."""
    book.sale("first")
    book.seal()
    for number in range(BLOCK_SIZE + 2):
        db.ids = IdSource(ManualClock(clock.now() - timedelta(seconds=number)))
        book.sale(f"s{number}")
    assert book.seal().journals == BLOCK_SIZE + 2
    assert sealed_keys(db) == ["first", *(f"s{number}" for number in range(BLOCK_SIZE + 2))]
    assert book.verify().ok


@ONLY_SQLITE
def test_vacuum_may_renumber_what_it_likes(book: Proven, db: Database) -> None:
    for number in range(4):
        book.sale(f"s{number}")
    book.seal()
    book.sale("s4")
    with superuser(db) as tx:
        tx.exec_driver_sql("UPDATE journal SET rowid = rowid * 1000")
    with db.engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("VACUUM")
        connection.invalidate()
    book.sale("s5")
    book.seal()
    assert sealed_keys(db) == [f"s{number}" for number in range(6)]


# -- at the same time ------------------------------------------------------------------------------


@ONLY_POSTGRESQL
def test_a_fast_journal_waits_for_an_older_writer(book: Proven, db: Database) -> None:
    book.sale("before")
    with db.transaction() as slow:
        legs = dr("bank:a", 5, "EUR"), cr("opening:migration", 5, "EUR")
        book.book.post(slow, kit.draft("slow", *legs))
        book.sale("fast")
        assert book.seal().journals == 1
        assert sealed_keys(db) == ["before"]
        promised = book.seal().head
        assert promised is not None and promised.complete_until == blocks.BEGINNING
    assert book.seal().journals == 2
    assert sorted(sealed_keys(db)) == ["before", "fast", "slow"]
    assert book.verify().ok


@ONLY_POSTGRESQL
def test_a_writer_does_not_wait_for_the_sealer(
    book: Proven, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.sale("before")
    posted = []

    def during(header: blocks.Block) -> bytes:
        """The sealer is inside its transaction here and holds every lock it takes."""
        if not posted:
            posted.append(thread := threading.Thread(target=book.sale, args=("during",)))
            thread.start()
            thread.join(10)
            assert not thread.is_alive(), "the writer waits"
        return original(header)

    original = blocks.header_hash
    monkeypatch.setattr(blocks, "header_hash", during)
    assert book.seal().journals == 2 and posted
    assert sealed_keys(db) == ["before", "during"]


def _together(*works: Callable[[], object]) -> list[BaseException]:
    errors: list[BaseException] = []

    def one(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # every error is looked at by the test
            errors.append(error)

    threads = [threading.Thread(target=one, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return errors


def test_two_sealers_at_once_seal_each_journal_once(book: Proven, db: Database) -> None:
    keys = [f"s{number}" for number in range(23)]
    for key in keys:
        book.sale(key)
    assert _together(book.seal, book.seal, book.seal) == []
    assert Counter(sealed_keys(db)) == Counter(keys)
    assert book.verify().ok


def test_a_block_sealed_while_the_book_is_verified_is_no_break(book: Proven, db: Database) -> None:
    """Its anchor is newer than what the verifier sees of the book."""
    book.sale("before")
    book.seal()

    def source(tx: sa.Connection, number: int) -> Iterator[Journal]:
        book.sale("meanwhile")
        assert book.seal().journals == 1
        return sealed_journals(tx, number)

    found = Verifier(db, book.anchors, source).verify()
    assert found.breaks == () and found.head is not None and found.head.number == 1
    assert book.verify().head != found.head


def test_sealing_while_others_post_leaves_nothing_out(book: Proven, db: Database) -> None:
    def post(name: str) -> None:
        for number in range(8):
            book.sale(f"{name}{number}")

    def seal() -> None:
        for _ in range(8):
            book.seal()

    writers = [lambda name=name: post(name) for name in "abcd"]
    assert _together(*writers, seal, seal) == []
    book.seal()
    assert Counter(sealed_keys(db)) == Counter(f"{n}{i}" for n in "abcd" for i in range(8))
    assert book.verify().ok and kit.problems(db) == []


# -- on another server -----------------------------------------------------------------------------


@ONLY_POSTGRESQL
@pytest.mark.parametrize("offset", [-1_000_000, 1_000_000])
def test_a_book_restored_on_another_server_goes_on(
    book: Proven, db: Database, monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    """Its transaction numbers began elsewhere: they may be above or below what this server has."""
    for number in range(7):
        book.sale(f"old{number}")
    book.sealing.seal(SEALER, limit=1)
    with superuser(db) as tx:
        # As if they had come from a server that had counted further, or less far.
        low = "greatest(xid::text::bigint + :offset, 10)"
        tx.execute(sa.text(f"UPDATE journal SET xid = ({low})::text::xid8"), {"offset": offset})
    monkeypatch.setattr(sealing, "_SERVER", sa.text("SELECT 'another'"))
    book.sale("new0")
    assert book.seal().journals == 3
    book.sale("new1")
    assert book.seal().journals == 1
    expected = [f"old{number}" for number in range(7)] + ["new0", "new1"]
    assert sorted(sealed_keys(db)) == sorted(expected)
    assert book.verify().ok


# -- killed in the middle --------------------------------------------------------------------------


class Killed(BaseException):
    """Nothing catches it, as nothing catches a power cut."""


@pytest.mark.parametrize("at", range(1, 9))
def test_a_run_that_dies_at_any_commit_is_gone_on_with(
    book: Proven, db: Database, db_url: str, clock: ManualClock, at: int
) -> None:
    for number in range(12):
        book.sale(f"s{number}")
    points = 0

    def probe(_point: str) -> None:
        nonlocal points
        points += 1
        if points == at:
            raise Killed

    dying = Database(db_url, clock=clock, probe=probe)
    with pytest.raises(Killed):
        proven(dying, book.folder).seal()
    dying.dispose()
    assert book.verify().ok
    book.sale("after")
    head = book.seal().head
    assert len(sealed_keys(db)) == 13
    assert book.verify().breaks == ()
    [file] = book.folder.iterdir()
    lines = [json.loads(line)["block"] for line in file.read_text().splitlines()]
    assert head is not None and lines == list(range(1, head.number + 1)), "each once, in order"


KILLED_BY_ITSELF = """
import os, signal, sys
from pathlib import Path
from payctl.db.engine import Database
from tests.ledger.proof_kit import proven
points = 0
def probe(point):
    global points
    points += 1
    if points == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
proven(Database(sys.argv[1], probe=probe), Path(sys.argv[2])).seal()
"""


@pytest.mark.parametrize("at", [3, 4, 7])
def test_kill_9_leaves_whole_blocks(book: Proven, db: Database, db_url: str, at: int) -> None:
    """In the second block before and after its commit, and between an anchor and its record."""
    for number in range(12):
        book.sale(f"s{number}")
    words = [sys.executable, "-c", KILLED_BY_ITSELF, db_url, str(book.folder), str(at)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert book.verify().ok
    book.seal()
    assert len(sealed_keys(db)) == 12
    assert book.verify().breaks == ()


def test_the_lease_is_looked_at_before_each_block(book: Proven, db: Database) -> None:
    for number in range(12):
        book.sale(f"s{number}")
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Killed

    with pytest.raises(Killed):
        book.sealing.seal(SEALER, check=check)
    assert len(sealed_keys(db)) == BLOCK_SIZE


def test_the_books_database_refuses_to_change_a_block(book: Proven, db: Database) -> None:
    book.sale("s")
    book.seal()
    for statement in (
        "UPDATE block SET journals = 2", "DELETE FROM block",
        "UPDATE block_item SET position = 1", "DELETE FROM block_item",
    ):  # fmt: skip
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), db.transaction() as tx:
            tx.exec_driver_sql(statement)
