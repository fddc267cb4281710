"""Months of the ledger on PostgreSQL: one partition of ``journal`` and ``entry`` each.

They are made ahead of time by a job. A month nobody made is no failure: its rows go to the default
partition, which is guarded by the same triggers.
"""

from __future__ import annotations

from datetime import date, datetime

import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.permissions import require


def prepare(db: Database, actor: Actor) -> tuple[str, ...]:
    """:func:`ensure` in a transaction of its own, for the job.

    Raises:
        Forbidden: ``operator.not_allowed``.
    """
    require(actor, "ledger.months")
    with db.transaction() as tx:
        return ensure(tx, db.clock.now())


def ensure(tx: sa.Connection, now: datetime, months_ahead: int = 3) -> tuple[str, ...]:
    """Make the partitions of this month and the next *months_ahead*; return those made (yyyymm).

    Does nothing on SQLite. A month whose rows already lie in the default partition is left there.
    """
    if tx.dialect.name != "postgresql":
        return ()
    made = []
    for ahead in range(months_ahead + 1):
        year, month = divmod(now.year * 12 + now.month - 1 + ahead, 12)
        first = date(year, month + 1, 1)
        if tx.scalar(sa.select(sa.func.ledger_make_month(first))):
            made.append(f"{first:%Y%m}")
    return tuple(made)
