"""Expired holds: given back by the sweeper, or on the spot when an account is short."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.ledger.tables import balance, hold, hold_event

#: Holds given back by one statement.
BATCH = 500


def release_expired(
    db: Database,
    tx: sa.Connection,
    *,
    actor: str,
    account_ids: Iterable[UUID] | None = None,
    limit: int = BATCH,
) -> int:
    """Give back what expired holds still keep, of all accounts or of some; return how many.

    A hold that another transaction works on is passed over: it is about to be captured or voided,
    and waiting for it here could wait in a circle.
    """
    due = (
        sa.select(hold)
        .where(hold.c.state == "open", hold.c.expires_at <= db.clock.now())
        .order_by(hold.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    if account_ids is not None:
        due = due.where(hold.c.account_id.in_(list(account_ids)))
    rows = sorted(tx.execute(due), key=lambda row: (row.account_id, row.id))
    for row in rows:
        close(db, tx, row, "expired", actor=actor)
    return len(rows)


def close(
    db: Database, tx: sa.Connection, row: Any, state: str, *, actor: str, reason: str | None = None
) -> int:
    """Give back the rest of the locked hold *row* and end it as *state*; return the rest."""
    rest = int(row.amount_minor - row.captured_minor - row.voided_minor)
    tx.execute(
        sa.update(hold)
        .where(hold.c.id == row.id)
        .values(voided_minor=hold.c.voided_minor + rest, state=state)
    )
    give_back(tx, row.account_id, rest)
    kind = "expired" if state == "expired" else "voided"
    append_event(db, tx, row.id, kind, rest, actor=actor, reason=reason)
    return rest


def give_back(tx: sa.Connection, account_id: UUID, amount_minor: int) -> None:
    """Take *amount_minor* off what is held on a guarded account."""
    tx.execute(
        sa.update(balance)
        .where(balance.c.account_id == account_id, balance.c.stripe == 0)
        .values(held_minor=balance.c.held_minor - amount_minor)
    )


def append_event(
    db: Database,
    tx: sa.Connection,
    hold_id: UUID,
    kind: str,
    amount_minor: int,
    *,
    actor: str,
    journal_id: UUID | None = None,
    reason: str | None = None,
) -> None:
    """Write down what happened to a hold."""
    tx.execute(
        sa.insert(hold_event).values(
            id=db.ids.new(), hold_id=hold_id, kind=kind, amount_minor=amount_minor,
            journal_id=journal_id, at=db.clock.now(), actor=actor, reason=reason,
        )
    )  # fmt: skip
