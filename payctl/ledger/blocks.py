"""Blocks of sealed journals: their header, its bytes, and reading them back.

The hash of a block is SHA-256 over its header in the format ``payctl.block/1``. Every field is
written as a length (4 bytes, big-endian) and its bytes, in this order; numbers are decimal ASCII,
moments whole microseconds since 1970 UTC:

    "payctl.block/1", number (from 1), previous block's hash (32 zero bytes before the first),
    root of the tree over its journals (see ``merkle``), number of journals in it, number of
    journals in it and all blocks before it, watermark, complete until, sealed at

``complete until`` is a promise: every journal recorded before that moment is in this block or in
one before it. The watermark tells the sealer where to go on (see ``sealing``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from payctl.db.types import to_micros
from payctl.ledger.content import digest, framed
from payctl.ledger.proof_tables import block, block_item
from payctl.ledger.tables import journal

ZERO = bytes(32)
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
#: An id is made a little before its transaction's first write, on a clock that may be a little off.
IN_FLIGHT = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a book is sealed: up to which block, how many journals, and how many are in none.

    ``complete_until``: every journal recorded before it is sealed; ``None`` before the first block.
    """

    block: int
    sealed_journals: int
    unsealed_journals: int
    complete_until: datetime | None


@dataclass(frozen=True, slots=True)
class Block:
    """A block as stored; the module says what each field means."""

    number: int
    prev_hash: bytes
    root: bytes
    journals: int
    total_journals: int
    watermark: str
    complete_until: datetime
    sealed_at: datetime
    hash: bytes = b""

    def hashed(self) -> Block:
        """The same block with the hash its header has."""
        return replace(self, hash=header_hash(self))


def header_hash(header: Block) -> bytes:
    """SHA-256 of a block's header, in the format above."""
    fields: list[bytes | None] = [
        b"payctl.block/1",
        b"%d" % header.number,
        header.prev_hash,
        header.root,
        b"%d" % header.journals,
        b"%d" % header.total_journals,
        header.watermark.encode(),
        b"%d" % to_micros(header.complete_until),
        b"%d" % to_micros(header.sealed_at),
    ]
    return digest(framed(fields))


def head(tx: sa.Connection) -> Block | None:
    """The newest block, or ``None`` while nothing is sealed."""
    row = tx.execute(sa.select(block).order_by(block.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else _block(row)


def extent(tx: sa.Connection) -> Extent:
    """How far the book is sealed. Counts its journals, so it is for reports that read them all."""
    last = head(tx)
    recorded = tx.scalar(sa.select(sa.func.count()).select_from(journal)) or 0
    if last is None:
        return Extent(0, 0, recorded, None)
    sealed = last.total_journals
    return Extent(last.number, sealed, max(recorded - sealed, 0), last.complete_until)


def get(tx: sa.Connection, number: int) -> Block | None:
    """The block of this number, or ``None``."""
    row = tx.execute(sa.select(block).where(block.c.number == number)).one_or_none()
    return None if row is None else _block(row)


def stream(tx: sa.Connection, *, first: int = 1, last: int | None = None) -> Iterator[Block]:
    """Blocks by number from *first* to *last*, without holding them all."""
    query = sa.select(block).where(block.c.number >= first).order_by(block.c.number)
    if last is not None:
        query = query.where(block.c.number <= last)
    for row in tx.execute(query, execution_options={"yield_per": 1000}):
        yield _block(row)


def items(tx: sa.Connection, number: int) -> list[Any]:
    """What a block holds: ``journal_id``, ``position`` and ``content_hash``, by position."""
    query = sa.select(block_item.c.journal_id, block_item.c.position, block_item.c.content_hash)
    rows = tx.execute(query.where(block_item.c.block == number).order_by(block_item.c.position))
    return list(rows)


def faults(each: Block, previous: Block | None, expected: int) -> Iterator[tuple[str, int, str]]:
    """What is wrong with a header by itself and after the one before it: kind, block, words.

    *previous* is the block read before, *expected* the number that should come now.
    """
    number = each.number
    if number != expected:
        gone = f"{expected}" if expected == number - 1 else f"{expected} to {number - 1}"
        yield "block.missing", expected, f"block {gone} is not there"
    if header_hash(each) != each.hash:
        yield "block.header", number, f"the hash of block {number} is not that of its header"
    if number != expected:
        return
    if each.prev_hash != (previous.hash if previous else ZERO):
        yield "block.link", number, f"block {number} does not follow the one before it"
    if each.total_journals != (previous.total_journals if previous else 0) + each.journals:
        yield "block.count", number, f"block {number} counts its journals wrongly"


def _block(row: Any) -> Block:
    return Block(
        row.number, row.prev_hash, row.root, row.journals, row.total_journals, row.watermark,
        row.complete_until, row.sealed_at, row.hash,
    )  # fmt: skip
