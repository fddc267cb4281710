"""Tables of the proof: blocks of sealed journals, chained by hash, and how far they are anchored.

Blocks are append-only like the journals they cover. On PostgreSQL each journal carries the number
of the transaction that wrote it, so that the sealer can tell which ones may still be joined by an
earlier one; SQLite has one writer and needs nothing of the kind.
"""

from __future__ import annotations

import sqlalchemy as sa

from payctl.db.metadata import append_only, ddl, table
from payctl.db.types import Bytes, Id, Int, Moment, Small, Text

#: What each column means for the hash stands in :mod:`payctl.ledger.blocks`.
block = table(
    "block",
    sa.Column("number", Int, primary_key=True, autoincrement=False),
    sa.Column("prev_hash", Bytes, nullable=False),
    sa.Column("root", Bytes, nullable=False),
    sa.Column("journals", Int, nullable=False),
    sa.Column("total_journals", Int, nullable=False),
    sa.Column("watermark", Text, nullable=False),
    sa.Column("complete_until", Moment, nullable=False),
    sa.Column("sealed_at", Moment, nullable=False),
    sa.Column("hash", Bytes, nullable=False),
    sa.CheckConstraint("number >= 1", name="number"),
    sa.CheckConstraint("journals >= 1 AND total_journals >= journals", name="journals"),
    sa.CheckConstraint(
        "length(prev_hash) = 32 AND length(root) = 32 AND length(hash) = 32", name="hashes"
    ),
)

#: Which journal stands where in which block, with the content it had when it was sealed.
block_item = table(
    "block_item",
    sa.Column("journal_id", Id, primary_key=True),
    sa.Column("block", Int, sa.ForeignKey("block.number"), nullable=False),
    sa.Column("position", Small, nullable=False),
    sa.Column("content_hash", Bytes, nullable=False),
    sa.UniqueConstraint("block", "position"),
    sa.CheckConstraint("position >= 0", name="position"),
    sa.CheckConstraint("length(content_hash) = 32", name="content_hash"),
    sqlite_with_rowid=False,
)

#: The last block written to each destination outside the database.
anchor = table(
    "anchor",
    sa.Column("destination", Text, primary_key=True),
    sa.Column("block", Int, nullable=False),
    sa.Column("written_at", Moment, nullable=False),
)

for _name in ("block", "block_item"):
    append_only(_name)

ddl(
    "journal_xid",
    postgresql=(
        "ALTER TABLE journal ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id()",
        "CREATE INDEX ix_journal_xid ON journal (xid, id)",
    ),
)
