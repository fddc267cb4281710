"""Anchors: written in order, each once, and caught up with when a destination was out of reach."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.ledger.anchors import Anchors
from payctl.ledger.destinations import parse
from payctl.ledger.sealing import Sealing
from tests.ledger.proof_kit import BLOCK_SIZE, SEALER, Proven, proven

pytestmark = pytest.mark.integration


@pytest.fixture
def book(db: Database, tmp_path: Path) -> Proven:
    return proven(db, tmp_path / "anchors")


def with_anchors(book: Proven, *places: str) -> Proven:
    anchors = Anchors(book.db, [parse(each) for each in places])
    sealing = Sealing(book.db, anchors, BLOCK_SIZE)
    return Proven(book.db, book.book, anchors, sealing, book.folder)


def blocks_in(*files: Path) -> list[int]:
    return [json.loads(line)["block"] for file in files for line in file.read_text().splitlines()]


def test_one_file_a_day_one_line_a_block(book: Proven, clock: ManualClock) -> None:
    for day in range(3):
        for number in range(BLOCK_SIZE + 1):
            book.sale(f"{day}.{number}")
        book.seal()
        clock.advance(timedelta(days=1))
    files = sorted(book.folder.iterdir())
    label = book.anchors.label
    assert [each.name for each in files] == [f"{label}-2026-11-0{day}.jsonl" for day in (2, 3, 4)]
    assert [blocks_in(each) for each in files] == [[1, 2], [3, 4], [5, 6]]
    with book.db.read() as tx:
        assert book.anchors.written(tx) == {f"path:{book.folder}": 6}
    assert book.verify().ok


def test_what_could_not_be_written_is_written_later(
    book: Proven, db: Database, tmp_path: Path
) -> None:
    """The blocks stay sealed, the other destination is written, and nothing is lost."""
    out_of_reach, other = tmp_path / "mount", tmp_path / "other"
    out_of_reach.write_text("a file where a folder should be")
    book = with_anchors(book, f"path:{out_of_reach}", f"path:{other}")
    for run in range(2):
        book.sale(f"s{run}")
        done = book.seal()
        assert done.blocks == 1
        assert [(each.destination, each.block) for each in done.failed] == [
            (f"path:{out_of_reach}", 0)
        ]
        assert done.failed[0].error
    out_of_reach.unlink()
    done = book.seal()
    assert (done.blocks, done.failed) == (0, ())
    assert blocks_in(*out_of_reach.iterdir()) == blocks_in(*other.iterdir()) == [1, 2]
    assert book.verify().ok


def test_a_full_device_is_said_and_nothing_is_taken_for_written(book: Proven) -> None:
    book = with_anchors(book, "cmd:sh -c 'cat > /dev/full'")
    book.sale("s")
    [failed] = book.seal().failed
    assert failed.block == 0 and failed.error and failed.error.startswith("exit status")
    assert failed.destination.startswith("cmd:sh (") and "full" not in failed.destination


def test_a_program_takes_the_lines(book: Proven, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    book = with_anchors(book, f"cmd:sh -c 'cat >> {taken}'")
    for number in range(BLOCK_SIZE + 1):
        book.sale(f"s{number}")
    book.seal()
    book.sale("more")
    book.seal()
    assert blocks_in(taken) == [1, 2, 3]
    found = book.verify()
    assert found.ok and not found.anchors[0].readable and found.anchors[0].last_block == 3
    assert with_anchors(book, "cmd:/no/such/program").seal().failed[0].error


def test_a_repository_has_a_commit_for_each_run(book: Proven, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    book = with_anchors(book, f"git:{folder}")
    book.sale("s1")
    assert [each.error is None for each in book.seal().anchors] == [False], "no repository yet"
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    book.sale("s2")
    assert book.seal().failed == ()
    book.sale("s3")
    book.seal()
    assert book.seal().failed == ()
    log = subprocess.run(
        ["git", "-C", str(folder), "log", "--format=%an %s"], capture_output=True, text=True
    )
    assert log.stdout.splitlines() == ["payctl Anchor the ledger"] * 2
    clean = subprocess.run(
        ["git", "-C", str(folder), "status", "--porcelain"], capture_output=True, text=True
    )
    assert clean.stdout == ""
    assert blocks_in(*folder.glob("*.jsonl")) == [1, 2, 3]
    assert book.verify().ok


def test_a_line_cut_by_a_crash_is_passed_over_and_written_again(book: Proven) -> None:
    book.sale("s1")
    book.seal()
    [file] = book.folder.iterdir()
    book.sale("s2")
    with file.open("a") as out:
        out.write('{"block":2,"book":"pay')
    book.seal()
    lines = file.read_text().splitlines()
    assert len(lines) == 3 and json.loads(lines[2])["block"] == 2
    assert book.verify().ok


def test_a_run_that_died_before_it_took_note_writes_no_line_twice(
    book: Proven, db: Database
) -> None:
    from payctl.ledger.proof_tables import anchor

    book.sale("s1")
    book.seal()
    with db.transaction() as tx:
        tx.execute(anchor.delete())
    book.seal()
    assert blocks_in(*book.folder.iterdir()) == [1]


def test_lines_of_another_book_in_the_same_folder_say_nothing(book: Proven) -> None:
    book.sale("s1")
    book.seal()
    [file] = book.folder.iterdir()
    line = json.loads(file.read_text())
    other = {**line, "book": "another", "hash": "00" * 32}
    with file.open("a") as out:
        out.write(json.dumps(other) + "\n")
    assert book.verify().ok


def test_an_auditors_copy_is_compared_too(book: Proven, db: Database, tmp_path: Path) -> None:
    from payctl.ledger.destinations import Folder
    from payctl.ledger.verify import Verifier

    book.sale("s1")
    book.seal()
    [file] = book.folder.iterdir()
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / file.name).write_text(file.read_text())
    verifier = Verifier(db, Anchors(db, []))
    assert verifier.verify(copies=[Folder(copy)]).ok
    (copy / file.name).write_text(file.read_text().replace('"hash":"', '"hash":"00'))
    assert not verifier.verify(copies=[Folder(copy)]).ok


def test_sealer_needs_no_destination(db: Database, book: Proven) -> None:
    book = with_anchors(book)
    book.sale("s")
    assert book.sealing.seal(SEALER).anchors == ()
    assert book.verify().ok
