"""How far a break reaches: what cannot be trusted until it is explained.

Balances carry on from journal to journal and each block rests on the one before it, so everything
from the first broken block on is in doubt, and what is not sealed yet with it. What lies before is
proven by its own blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from payctl.ledger.accounts import full_code
from payctl.ledger.proof_tables import block, block_item
from payctl.ledger.tables import account, entry, journal

#: Accounts that are named; all of them are counted.
NAMED = 20


@dataclass(frozen=True, slots=True)
class Radius:
    """What is in doubt: blocks from ``from_block`` on (``None``: only what is not sealed), and the
    journals and accounts in them; ``accounts`` names the first ones.
    """

    from_block: int | None
    blocks: int
    journals: int
    accounts_total: int
    accounts: tuple[str, ...]


def radius(tx: sa.Connection, broken: Sequence[int | None]) -> Radius:
    """What is in doubt when the blocks *broken* are; ``None`` stands for no block."""
    numbers = [number for number in broken if number is not None]
    first = min(numbers) if numbers else None
    safe = sa.exists().where(block_item.c.journal_id == journal.c.id)
    if first is not None:
        safe = safe.where(block_item.c.block < first)
    doubtful = sa.select(journal.c.id).where(~safe)
    touched = sa.select(entry.c.account_id).where(entry.c.journal_id.in_(doubtful)).distinct()
    rows = tx.execute(
        sa.select(account.c.code, account.c.currency)
        .where(account.c.id.in_(touched))
        .order_by(account.c.code, account.c.currency)
    ).all()
    counted = sa.select(sa.func.count()).select_from(block)
    return Radius(
        first,
        tx.scalar(counted.where(block.c.number >= first)) or 0 if first is not None else 0,
        tx.scalar(sa.select(sa.func.count()).select_from(doubtful.subquery())) or 0,
        len(rows),
        tuple(full_code(row.code, row.currency) for row in rows[:NAMED]),
    )
