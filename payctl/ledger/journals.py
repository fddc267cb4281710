"""Journals read back as they were stored, and the notes added to them later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.errors import NotFound
from payctl.ids import encode
from payctl.ledger.content import plain
from payctl.ledger.model import Journal, PostedEntry
from payctl.ledger.tables import account, entry, journal, journal_meta

#: A journal and one of its entries a row, in the order of the entries.
_ROWS = (
    sa.select(
        journal,
        entry.c.leg,
        entry.c.stripe,
        entry.c.currency,
        entry.c.amount_minor,
        entry.c.balance_after_minor,
        entry.c.version,
        account.c.code,
    )
    .join(entry, entry.c.journal_id == journal.c.id)
    .join(account, account.c.id == entry.c.account_id)
    .order_by(journal.c.id, entry.c.leg)
)


def get(tx: sa.Connection, journal_id: UUID) -> Journal:
    """A journal with its entries.

    Raises:
        NotFound: ``ledger.journal_not_found``.
    """
    rows = tx.execute(_ROWS.where(journal.c.id == journal_id)).all()
    if not rows:
        raise NotFound("ledger.journal_not_found", id=encode("journal", journal_id))
    return _journal(rows)


def annotate(
    db: Database, tx: sa.Connection, journal_id: UUID, meta: Mapping[str, Any], actor: Actor
) -> int:
    """Add a note to a journal; what it said before stays. Return the note's number.

    Raises:
        NotFound: ``ledger.journal_not_found``.
    """
    get(tx, journal_id)
    last = sa.select(sa.func.coalesce(sa.func.max(journal_meta.c.rev), 0))
    rev = int(tx.scalar(last.where(journal_meta.c.journal_id == journal_id)) or 0) + 1
    tx.execute(
        sa.insert(journal_meta).values(
            journal_id=journal_id, rev=rev, meta=plain(meta), actor=actor.name, at=db.clock.now()
        )
    )
    return rev


def stream(
    tx: sa.Connection, *conditions: sa.ColumnElement[bool], chunk: int = 1000
) -> Iterator[Journal]:
    """Journals that meet all *conditions* (on ``journal``), by id, without holding them all."""
    rows = tx.execute(_ROWS.where(*conditions), execution_options={"yield_per": chunk})
    for _, group in groupby(rows, key=lambda row: row.id):
        yield _journal(list(group))


def _journal(rows: Sequence[Any]) -> Journal:
    first = rows[0]
    entries = tuple(
        PostedEntry(
            row.leg, row.code, row.currency, row.amount_minor, row.balance_after_minor,
            row.version, row.stripe,
        )
        for row in rows
    )  # fmt: skip
    return Journal(
        first.id, first.kind, first.posting_key, first.posted_at, first.effective_at,
        first.period, first.actor, first.reason, first.payment_id, first.reverses_id, first.meta,
        first.content_hash, entries,
    )  # fmt: skip
