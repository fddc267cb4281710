"""Anchors: the hash of every block, kept outside the database.

Whoever may rewrite the whole database can also compute all its hashes anew; what was written
elsewhere before stays and does not fit any more. One line per block, in a file per day of sealing
(UTC) named ``BOOK-YYYY-MM-DD.jsonl``:

    {"block":7,"book":"payctl","hash":"…","schema":"payctl.anchor/1",
     "sealed_at":"2026-11-02T09:00:00+00:00","total_journals":6021}

The book remembers how far each destination is written, so what could not be written once is
written by the next run, in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from itertools import groupby
from pathlib import Path

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.db.types import canonical
from payctl.db.upsert import insert_into
from payctl.ledger import blocks
from payctl.ledger.blocks import Block
from payctl.ledger.destinations import Destination, NotWritten
from payctl.ledger.proof_tables import anchor

#: Lines handed to a destination at a time.
CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Anchored:
    """How far a destination is written: the last block, and why it stopped before the newest."""

    destination: str
    block: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an anchor file: a block and the hash it had when it was sealed."""

    block: int
    hash: bytes


class Anchors:
    """Writes anchors and reads them back.

    Args:
        db: the book's database.
        destinations: where to; their order says nothing.
    """

    def __init__(self, db: Database, destinations: Sequence[Destination]) -> None:
        self._db = db
        self.destinations = tuple(destinations)
        #: A SQLite book is its file, a PostgreSQL one its schema.
        self.label = Path(str(db.url.database)).stem if db.is_sqlite else db.book

    def write(self) -> tuple[Anchored, ...]:
        """Bring every destination up to the newest block."""
        return tuple(self._write(each) for each in self.destinations)

    def written(self, tx: sa.Connection) -> dict[str, int]:
        """The last block written to each destination, by its name."""
        rows = tx.execute(sa.select(anchor.c.destination, anchor.c.block))
        return {row.destination: row.block for row in rows}

    def read(self, destination: Destination) -> Iterator[Line] | None:
        """This book's lines at *destination*, or ``None`` when it cannot be read back.

        What is no line of ours (the beginning of one that was cut) is passed over.

        Raises:
            NotWritten: it is there and cannot be read.
        """
        found = destination.read(f"{self.label}-????-??-??.jsonl")
        return None if found is None else parsed(found, self.label)

    def _write(self, destination: Destination) -> Anchored:
        with self._db.read() as tx:
            done = self.written(tx).get(destination.name, 0)
        while True:
            with self._db.read() as tx:
                found = list(blocks.stream(tx, first=done + 1, last=done + CHUNK))
            if not found:
                return Anchored(destination.name, done)
            try:
                destination.write(self._files(found))
            except NotWritten as error:
                return Anchored(destination.name, done, str(error))
            done = found[-1].number
            self._remember(destination, done)

    def _files(self, found: Sequence[Block]) -> dict[str, list[str]]:
        def file(each: Block) -> str:
            return f"{self.label}-{each.sealed_at.astimezone(UTC):%Y-%m-%d}.jsonl"

        files: dict[str, list[str]] = {}
        for name, group in groupby(found, key=file):
            files.setdefault(name, []).extend(self._line(each) for each in group)
        return files

    def _line(self, each: Block) -> str:
        return canonical(
            {
                "schema": "payctl.anchor/1",
                "book": self.label,
                "block": each.number,
                "hash": each.hash.hex(),
                "total_journals": each.total_journals,
                "sealed_at": each.sealed_at.isoformat(),
            }
        )

    def _remember(self, destination: Destination, number: int) -> None:
        insert = insert_into(anchor, is_sqlite=self._db.is_sqlite)
        values = {"block": number, "written_at": self._db.clock.now()}
        with self._db.transaction() as tx:
            tx.execute(
                insert.values(destination=destination.name, **values).on_conflict_do_update(
                    index_elements=[anchor.c.destination],
                    set_=values,
                    # Of two runs at once the one that came less far may be the last to say so.
                    where=anchor.c.block < number,
                )
            )


def parsed(lines: Iterator[str], label: str) -> Iterator[Line]:
    """The lines that are anchors of the book *label*."""
    for text in lines:
        try:
            found = json.loads(text)
            if found["schema"] == "payctl.anchor/1" and found["book"] == label:
                yield Line(int(found["block"]), bytes.fromhex(found["hash"]))
        except (ValueError, KeyError, TypeError):
            continue
