"""Inclusion proofs, checked by the program that auditors are given, and by nothing of ours."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.errors import CheckFailed, Conflict, NotFound
from payctl.ids import encode
from payctl.ledger import journals, merkle
from payctl.ledger.proofs import as_json, prove
from payctl.ledger.tables import journal
from tests.ledger.attacks import edit_journal, id_of
from tests.ledger.proof_kit import Proven, filled, superuser

pytestmark = pytest.mark.integration
PROGRAM = Path(__file__).parents[2] / "docs" / "verify_proof.py"


@pytest.fixture
def book(db: Database, clock: ManualClock, tmp_path: Path) -> Proven:
    return filled(db, clock, tmp_path / "anchors")


def accepted(proof: Any, *anchors: Path) -> bool:
    """Whether the auditors' program, alone in its own process, says that *proof* is one."""
    file = anchors[0].parent.parent / "proof.json"
    file.write_text(json.dumps(proof))
    words = [sys.executable, "-I", str(PROGRAM), str(file), *map(str, anchors)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode == 0) == done.stdout.startswith("PROVEN")
    return done.returncode == 0


def proof_of(book: Proven, key: str, until: int | None = None) -> Any:
    with book.db.read() as tx:
        return as_json(prove(tx, id_of(tx, key), until))


def test_every_sealed_journal_is_proven(book: Proven) -> None:
    """Each place of blocks of 5, 2 and 1 journals, by its own block and by the newest."""
    files = sorted(book.folder.iterdir())
    for key in ("s0", "s3", "s4", "s9", "s10", "s11", "later"):
        assert accepted(proof_of(book, key), *files), key
        assert accepted(proof_of(book, key, 4), *files), key
    shown = proof_of(book, "s3")
    assert bytes.fromhex(shown["content"]).find(b"at the door") > 0
    assert shown["journal"]["reason"] == "at the door"


def _flipped(text: str) -> str:
    return ("0" if text[0] != "0" else "1") + text[1:]


def _content(proof: Any) -> None:
    proof["content"] = proof["content"].replace(b"at the door".hex(), b"as you like".hex())


def _path(proof: Any) -> None:
    proof["path"][0] = _flipped(proof["path"][0])


def _header(name: str) -> Callable[[Any], None]:
    def change(proof: Any) -> None:
        value = proof["headers"][0][name]
        proof["headers"][0][name] = value + 1 if isinstance(value, int) else _flipped(value)

    change.__name__ = name
    return change


FORGERIES: list[Callable[[Any], None]] = [
    _content,
    _path,
    lambda proof: proof.update(position=proof["position"] + 1),
    lambda proof: proof.update(path=proof["path"][:-1]),
    lambda proof: proof.update(path=[*proof["path"], proof["path"][-1]]),
    lambda proof: proof["headers"].pop(),
    lambda proof: proof["headers"].pop(1),
    lambda proof: proof["headers"].reverse(),
    *map(
        _header,
        ("number", "prev_hash", "root", "journals", "total_journals", "watermark",
         "complete_until_us", "sealed_at_us"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("forgery", range(len(FORGERIES)))
def test_no_forged_proof_is_accepted(book: Proven, forgery: int) -> None:
    """Against an auditor who holds only the last anchor."""
    [file] = book.folder.iterdir()
    lines = file.read_text().splitlines()
    alone = book.folder / "last.jsonl"
    alone.write_text(lines[-1] + "\n")
    proof = proof_of(book, "s3", 4)
    assert accepted(proof, alone)
    forged = copy.deepcopy(proof)
    FORGERIES[forgery](forged)
    assert forged != proof
    assert not accepted(forged, alone)


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_proof_needs_its_anchor(book: Proven) -> None:
    [file] = book.folder.iterdir()
    proof = proof_of(book, "s3")
    lines = file.read_text().splitlines(keepends=True)
    other = book.folder / "other.jsonl"
    other.write_text("".join(lines[1:]) + lines[0][:40])
    assert not accepted(proof, other)
    other.write_text(lines[1] + lines[0])
    assert accepted(proof, other)


def test_what_cannot_be_proven(book: Proven, db: Database) -> None:
    with db.read() as tx:
        with pytest.raises(Conflict, match=r"ledger\.not_sealed"):
            prove(tx, id_of(tx, "tail1"))
        with pytest.raises(NotFound, match=r"ledger\.journal_not_found"):
            prove(tx, db.ids.new())
        with pytest.raises(NotFound, match=r"ledger\.block_not_found"):
            prove(tx, id_of(tx, "later"), 3)
        with pytest.raises(NotFound, match=r"ledger\.block_not_found"):
            prove(tx, id_of(tx, "s3"), 9)
    with superuser(db) as tx:
        edit_journal(tx, "s3", reason="as agreed")
    with db.read() as tx, pytest.raises(CheckFailed, match=r"ledger\.not_provable"):
        prove(tx, id_of(tx, "s3"))


@pytest.mark.unit
def test_the_program_is_short_and_needs_nothing() -> None:
    text = PROGRAM.read_text()
    assert len(text.splitlines()) <= 40
    imports = {line.split()[1] for line in text.splitlines() if line.startswith(("import", "from"))}
    assert imports == {"hashlib", "json", "sys", "pathlib"}


# -- the tree --------------------------------------------------------------------------------------


def _rfc_6962(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = _rfc_6962(leaves[:split]), _rfc_6962(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def _rfc_6962_path(position: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if position < split:
        return [*_rfc_6962_path(position, leaves[:split]), _rfc_6962(leaves[split:])]
    return [*_rfc_6962_path(position - split, leaves[split:]), _rfc_6962(leaves[:split])]


@pytest.mark.unit
@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=70), st.data())
def test_the_tree_is_that_of_rfc_6962(leaves: list[bytes], data: st.DataObject) -> None:
    assert merkle.root(leaves) == _rfc_6962(leaves)
    position = data.draw(st.integers(0, len(leaves) - 1))
    assert merkle.audit_path(leaves, position) == _rfc_6962_path(position, leaves)


@pytest.mark.unit
def test_known_roots() -> None:
    """The test vectors of the Certificate Transparency project."""
    leaves = [
        bytes.fromhex(each)
        for each in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                     "606162636465666768696a6b6c6d6e6f")
    ]  # fmt: skip
    known = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    assert {count: merkle.root(leaves[:count]).hex() for count in known} == known


def test_ids_in_a_proof_are_public_ones(book: Proven, db: Database) -> None:
    with db.read() as tx:
        found = next(journals.stream(tx, journal.c.posting_key == "s3"))
    assert proof_of(book, "s3")["id"] == encode("journal", found.id)
