"""Sealing: journals are put into blocks without making their writers wait.

Which journals may be sealed is the whole difficulty: a block must never be joined by a journal that
was written before it and commits after it.

PostgreSQL: a journal carries its transaction's number (``xid``). Once every transaction below
``pg_snapshot_xmin`` is over, the journals below it are all visible, and they are sealed in the
order (xid, id). The watermark ``SERVER:XID:ID`` says where to go on. Numbers of another server mean
nothing: after a restore elsewhere (the server's identifier differs) everything that is in no block
is looked for once, and a number this server has not reached yet can only be the other one's.
SQLite: there is one writer, and the order is the order of writing, which is that of ``rowid``; ids
are made before the write lock is taken and say nothing. VACUUM may renumber but keeps the order, so
the watermark is the last journal's id and not its ``rowid``.

Each block commits by itself, so a run that dies leaves whole blocks and the next one goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.db.types import Bytes, Id
from payctl.ledger import blocks, merkle
from payctl.ledger.anchors import Anchored, Anchors
from payctl.ledger.blocks import BEGINNING, IN_FLIGHT, ZERO, Block
from payctl.ledger.proof_tables import block, block_item

#: Journals in a block at most: what is held in memory, and ten hashes in an inclusion proof.
BLOCK_SIZE = 1024

_COLUMNS = {"id": Id, "content_hash": Bytes}
_POSTGRESQL = sa.text(
    "SELECT j.id, j.content_hash, j.xid::text AS xid,"
    " j.xid >= pg_snapshot_xmax(pg_current_snapshot()) AS elsewhere"
    " FROM journal j"
    " WHERE (j.xid, j.id) > (CAST(CAST(:xid AS text) AS xid8), CAST(:last AS uuid))"
    " AND (j.xid < pg_snapshot_xmin(pg_current_snapshot())"
    "  OR j.xid >= pg_snapshot_xmax(pg_current_snapshot()))"
    # Not as an anti-join: that may be planned as a hash of all items, for the few rows at the end.
    " AND (SELECT i.block FROM block_item i WHERE i.journal_id = j.id) IS NULL"
    " ORDER BY j.xid, j.id LIMIT :count"
).columns(**_COLUMNS)
_SQLITE = sa.text(
    "SELECT j.id, j.content_hash FROM journal j"
    " WHERE j.rowid > coalesce((SELECT rowid FROM journal WHERE id = :last), 0)"
    " AND NOT EXISTS (SELECT 1 FROM block_item i WHERE i.journal_id = j.id)"
    " ORDER BY j.rowid LIMIT :count"
).columns(**_COLUMNS)

_SERVER = sa.text("SELECT system_identifier::text FROM pg_control_system()")
_NEXT_XID = sa.text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
_ALL_OVER = sa.text(
    "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= CAST(CAST(:xid AS text) AS xid8)"
)
_NIL = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a run did: blocks and journals sealed, the newest block, and the anchors written."""

    blocks: int
    journals: int
    head: Block | None
    anchors: tuple[Anchored, ...]

    @property
    def failed(self) -> tuple[Anchored, ...]:
        """Destinations that could not be written; the next run writes what they miss."""
        return tuple(each for each in self.anchors if each.error is not None)


@dataclass(frozen=True, slots=True)
class _Start:
    """When a run began, and the first transaction number not given out then (PostgreSQL)."""

    at: datetime
    xid: str


class Sealing:
    """Seals journals into blocks and writes the anchors of the blocks.

    Args:
        db: the book's database.
        anchors: where the hashes of the blocks are kept outside of it.
        block_size: journals in a block at most.
    """

    def __init__(self, db: Database, anchors: Anchors, block_size: int = BLOCK_SIZE) -> None:
        self._db = db
        self._anchors = anchors
        self._block_size = block_size

    def seal(
        self,
        actor: Actor,
        *,
        limit: int = 1000,
        dry_run: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> Sealed:
        """Seal what can be sealed, at most *limit* blocks, then write the anchors that miss.

        An anchor that cannot be written is reported, not raised: the blocks stay sealed. *check* is
        called before each block and raises to stop.

        Raises:
            Forbidden: ``operator.not_allowed``.
        """
        require(actor, "ledger.seal")
        start = self._start()
        made: list[Block] = []
        if dry_run:
            with self._db.rehearsal() as tx:
                while len(made) < limit and (sealed := self._next(tx, start)) is not None:
                    made.append(sealed)
            return Sealed(len(made), sum(each.journals for each in made), self._head(), ())
        while len(made) < limit:
            check()
            sealed = self._db.run(lambda tx: self._next(tx, start))
            if sealed is None:
                break
            made.append(sealed)
        written = self._anchors.write()
        return Sealed(len(made), sum(each.journals for each in made), self._head(), written)

    def _head(self) -> Block | None:
        with self._db.read() as tx:
            return blocks.head(tx)

    def _start(self) -> _Start:
        at = self._db.clock.now()
        if self._db.is_sqlite:
            return _Start(at, "")
        with self._db.read() as tx:
            return _Start(at, str(tx.scalar(_NEXT_XID)))

    def _next(self, tx: sa.Connection, start: _Start) -> Block | None:
        """Seal one block, or nothing when there is nothing to seal."""
        _lock_blocks(tx)
        last = blocks.head(tx)
        # Asked before the journals are read: what was over then is among those that are read.
        over = self._db.is_sqlite or bool(tx.scalar(_ALL_OVER, {"xid": start.xid}))
        found = self._sealable(tx, last)
        rows = found[: self._block_size]
        if not rows:
            return None
        complete_until = last.complete_until if last else BEGINNING
        if over and len(rows) == len(found):
            complete_until = max(complete_until, start.at - IN_FLIGHT)
        sealed = Block(
            number=last.number + 1 if last else 1,
            prev_hash=last.hash if last else ZERO,
            root=merkle.root([row.content_hash for row in rows]),
            journals=len(rows),
            total_journals=(last.total_journals if last else 0) + len(rows),
            watermark=self._watermark(tx, rows[-1]),
            complete_until=complete_until,
            sealed_at=self._db.clock.now(),
        ).hashed()
        tx.execute(
            sa.insert(block),
            {name: getattr(sealed, name) for name in Block.__dataclass_fields__},
        )
        tx.execute(
            sa.insert(block_item),
            [
                {
                    "journal_id": row.id,
                    "block": sealed.number,
                    "position": position,
                    "content_hash": row.content_hash,
                }
                for position, row in enumerate(rows)
            ],
        )
        return sealed

    def _sealable(self, tx: sa.Connection, last: Block | None) -> list[Any]:
        """The next journals to seal, in their order, and one more when there is one."""
        count = self._block_size + 1
        if self._db.is_sqlite:
            at = bytes.fromhex(last.watermark) if last else b""
            return list(tx.execute(_SQLITE, {"last": at, "count": count}))
        server, xid, at_id = last.watermark.split(":") if last else ("", "0", str(_NIL))
        if server != tx.scalar(_SERVER):
            xid, at_id = "0", str(_NIL)
        return list(tx.execute(_POSTGRESQL, {"xid": xid, "last": at_id, "count": count}))

    def _watermark(self, tx: sa.Connection, row: Any) -> str:
        """Where the next block begins. After journals of another server it is the beginning, for
        their numbers say nothing about what comes.
        """
        if self._db.is_sqlite:
            return bytes(row.id.bytes).hex()
        xid, at_id = ("0", _NIL) if row.elsewhere else (row.xid, row.id)
        return f"{tx.scalar(_SERVER)}:{xid}:{at_id}"


def _lock_blocks(tx: sa.Connection) -> None:
    """One sealer at a time; whoever posts or reads does not notice."""
    if tx.dialect.name == "postgresql":
        tx.execute(sa.text("LOCK TABLE block IN SHARE ROW EXCLUSIVE MODE"))
