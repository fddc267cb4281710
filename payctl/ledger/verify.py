"""``payctl ledger verify``: is the book still the one that was sealed and anchored?

Everything is computed anew: the content hash of every journal from its fields and entries, the
tree of every block, the chain of blocks, and the chain against the anchors outside the database.
Running balances, versions and balances are recomputed by the ledger's own checks. One snapshot, one
block in memory at a time, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.ids import encode, floor_of
from payctl.ledger import blocks, invariants, journals, merkle
from payctl.ledger.anchors import Anchors, Line
from payctl.ledger.blocks import BEGINNING, Block
from payctl.ledger.content import content_hash
from payctl.ledger.destinations import Destination, NotWritten
from payctl.ledger.model import Journal
from payctl.ledger.proof_tables import block, block_item
from payctl.ledger.radius import Radius, radius
from payctl.ledger.tables import journal

#: One break is enough to distrust a book; a report must stay readable.
LIMIT = 100
_CHUNK = 1000

#: Gives the journals that block NUMBER of the book sealed, in any order.
Source = Callable[[sa.Connection, int], Iterator[Journal]]


@dataclass(frozen=True, slots=True)
class Break:
    """Something that is not as it was sealed: what kind, where, and in words.

    ``block`` is the first block that cannot be trusted for it; ``None`` when no block is at fault
    (a balance that is not the sum of its entries, a journal that is not sealed yet).
    """

    kind: str
    detail: str
    block: int | None = None
    journal_id: UUID | None = None
    account: str | None = None


@dataclass(frozen=True, slots=True)
class AnchorState:
    """What a destination says: its lines that were compared and the last block it names.

    ``readable`` is false for a program, whose lines only the other side can compare.
    """

    destination: str
    lines: int
    last_block: int
    readable: bool


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at and what was found, the first break first."""

    head: Block | None
    unsealed_journals: int
    anchors: tuple[AnchorState, ...]
    breaks: tuple[Break, ...]
    radius: Radius | None

    @property
    def ok(self) -> bool:
        return not self.breaks


class Verifier:
    """Verifies a book.

    Args:
        db: the book's database.
        anchors: where the hashes of its blocks are kept.
        source: where the journals of a block are read from.
    """

    def __init__(self, db: Database, anchors: Anchors, source: Source | None = None) -> None:
        self._db = db
        self._anchors = anchors
        self._source = source or sealed_journals

    def verify(
        self,
        *,
        first: int = 1,
        copies: Iterable[Destination] = (),
        tick: Callable[[], None] = lambda: None,
    ) -> Verification:
        """Verify the book; *first* leaves out the contents of the blocks before it.

        Args:
            first: the block to begin with.
            copies: further anchors to compare with, an auditor's own.
            tick: called after each block.
        """
        # Looked at before the book is: a block that is sealed meanwhile has an anchor, but no place
        # in the snapshot.
        destinations = [
            (each, self._newest(each)) for each in (*self._anchors.destinations, *copies)
        ]
        with self._db.read() as tx:
            breaks = list(islice(self._blocks(tx, first, tick), LIMIT))
            unsealed, tail = self._tail(tx)
            breaks += tail
            states = []
            for destination, newest in destinations:
                state, found = self._compare(tx, destination, range(first, newest + 1))
                states.append(state)
                breaks += found
            breaks += self._arithmetic(tx)
            breaks.sort(key=lambda each: (each.block is None, each.block or 0))
            head = blocks.head(tx)
            reach = radius(tx, [each.block for each in breaks]) if breaks else None
            return Verification(head, unsealed, tuple(states), tuple(breaks[:LIMIT]), reach)

    # -- blocks -----------------------------------------------------------------------------------

    def _blocks(self, tx: sa.Connection, first: int, tick: Callable[[], None]) -> Iterator[Break]:
        previous = blocks.get(tx, first - 1)
        if first > 1 and previous is None:
            yield Break("block.missing", f"there is no block {first - 1}", first - 1)
        number = first - 1
        for each in blocks.stream(tx, first=first):
            for kind, at, detail in blocks.faults(each, previous, number + 1):
                yield Break(kind, detail, at)
            yield from self._contents(tx, each, previous)
            previous, number = each, each.number
            tick()
        rest = sa.select(sa.func.count()).where(block_item.c.block > number)
        if left := tx.scalar(rest):
            yield Break("block.missing", f"{left} journals lie in blocks after the last", number)

    def _contents(self, tx: sa.Connection, each: Block, previous: Block | None) -> Iterator[Break]:
        """One block: its tree, and every journal in it as it is now."""
        number = each.number
        items = blocks.items(tx, number)
        if [item.position for item in items] != list(range(each.journals)):
            detail = f"block {number} sealed {each.journals} journals and names {len(items)}"
            yield Break("block.items", detail, number)
        elif merkle.root([item.content_hash for item in items]) != each.root:
            yield Break("block.root", f"the journals of block {number} are not its root", number)
        sealed = {item.journal_id: item.content_hash for item in items}
        # Ids and the promise of a block are compared as moments of one clock, the book's.
        promised = floor_of(previous.complete_until) if previous else floor_of(BEGINNING)
        for found in self._source(tx, number):
            hash_then = sealed.pop(found.id, None)
            if content_hash(found) != hash_then or found.content_hash != hash_then:
                yield _of_journal("journal.changed", found.id, number, "is not what was sealed")
            if found.id < promised:
                yield _of_journal("journal.late", found.id, number, _LATE)
        for journal_id in sealed:
            yield _of_journal("journal.missing", journal_id, number, "was sealed and is not there")

    # -- what is not sealed yet -------------------------------------------------------------------

    def _tail(self, tx: sa.Connection) -> tuple[int, list[Break]]:
        """Journals in no block: how many, and which do not fit."""
        head = blocks.head(tx)
        promised = floor_of(head.complete_until) if head else floor_of(BEGINNING)
        count = 0
        breaks: list[Break] = []
        for found in journals.stream(tx, _UNSEALED):
            count += 1
            if len(breaks) == LIMIT:
                continue
            if content_hash(found) != found.content_hash:
                breaks.append(_of_journal("journal.changed", found.id, None, "is not its own hash"))
            if found.id < promised:
                breaks.append(_of_journal("journal.late", found.id, None, _LATE))
        return count, breaks

    # -- anchors ----------------------------------------------------------------------------------

    def _newest(self, destination: Destination) -> int:
        """The last block a destination names; 0 when it names none or cannot be read."""
        try:
            return max((line.block for line in self._anchors.read(destination) or ()), default=0)
        except NotWritten:
            return 0

    def _compare(
        self, tx: sa.Connection, destination: Destination, numbers: range
    ) -> tuple[AnchorState, list[Break]]:
        """A destination's lines about blocks *numbers* against the book, and whether it has what
        was written to it.
        """
        name = destination.name
        written = self._anchors.written(tx).get(name, 0)
        breaks: list[Break] = []
        lines = last = 0
        try:
            found = self._anchors.read(destination)
            if found is None:
                return AnchorState(name, 0, written, readable=False), []
            wanted = (line for line in found if line.block in numbers)
            while len(breaks) < LIMIT and (chunk := list(islice(wanted, _CHUNK))):
                lines += len(chunk)
                last = max(last, *(line.block for line in chunk), 0)
                for line in _differing(tx, chunk):
                    detail = f"{name} has another hash of block {line.block}, or it is gone"
                    breaks.append(Break("anchor.differs", detail, line.block))
        except NotWritten as error:
            breaks.append(Break("anchor.unreadable", f"{name}: {error}"))
        if not breaks and last < written and written >= numbers.start:
            detail = f"block {written} was written to {name} and is not there"
            breaks.append(Break("anchor.missing", detail))
        return AnchorState(name, lines, last, readable=True), breaks[:LIMIT]

    # -- sums -------------------------------------------------------------------------------------

    def _arithmetic(self, tx: sa.Connection) -> list[Break]:
        return [
            Break(found.name, found.detail, account=found.account)
            for check in invariants.ARITHMETIC
            for found in check.run(tx)
        ]


def sealed_journals(tx: sa.Connection, number: int) -> Iterator[Journal]:
    """The journals of block *number* that are in the book."""
    mine = sa.select(block_item.c.journal_id).where(block_item.c.block == number)
    return journals.stream(tx, journal.c.id.in_(mine))


_LATE = (
    "is dated before a moment whose journals were all sealed: put in behind, or a clock went back"
)
_UNSEALED = ~sa.exists().where(block_item.c.journal_id == journal.c.id)


def _differing(tx: sa.Connection, lines: list[Line]) -> list[Line]:
    """Those of *lines* whose block is not in the book, or has another hash."""
    query = sa.select(block.c.number, block.c.hash)
    rows = tx.execute(query.where(block.c.number.in_({line.block for line in lines})))
    known = {row.number: row.hash for row in rows}
    return [line for line in lines if known.get(line.block) != line.hash]


def _of_journal(kind: str, journal_id: UUID, number: int | None, what: str) -> Break:
    return Break(kind, f"journal {encode('journal', journal_id)} {what}", number, journal_id)
