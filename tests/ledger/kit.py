"""What the ledger's tests share: actors, drafts, raw rows, balances of a whole book."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.ledger import check
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, Leg, Posted, cr, dr
from payctl.ledger.reports import Reports
from payctl.ledger.tables import account, balance

FINANCE = Actor("awa", frozenset({"finance"}))
APPROVER = Actor("kofi", frozenset({"approver"}))
SWEEPER = Actor("job:holds_expire", frozenset({"job.expire"}), "job")


def draft(key: str, *legs: Leg, kind: str = "test", **more: Any) -> Draft:
    return Draft(kind, key, legs, "awa", **more)


def fund(
    book: Book,
    tx: sa.Connection,
    code: str,
    amount_minor: int,
    currency: str = "EUR",
    key: str = "",
) -> Posted:
    """Put money on a credit account, from the opening balance."""
    return book.post(
        tx,
        draft(
            key or f"fund:{code}:{currency}",
            dr("opening:migration", amount_minor, currency),
            cr(code, amount_minor, currency),
            kind="opening",
        ),
    )


def balances(tx: sa.Connection) -> dict[str, int]:
    """Signed balance of every account that has one, by full code."""
    rows = tx.execute(
        sa.select(
            (account.c.code + ":" + account.c.currency).label("name"),
            sa.func.sum(balance.c.posted_minor * account.c.normal_side).label("amount"),
        )
        .join(balance, balance.c.account_id == account.c.id)
        .group_by("name")
    )
    return {row.name: int(row.amount) for row in rows if row.amount}


def problems(db: Database, *, but: Iterable[str] = ("cover",)) -> list[str]:
    """What ``ledger check`` finds, except for the checks named in *but*.

    Money that tests take from the opening balance is nowhere, so the cover is left out.
    """
    with db.read() as tx:
        report = check.run(tx)
    return [
        f"{found.name} {found.account} {found.amount_minor} {found.detail}"
        for found in report.violations
        if found.name not in but
    ]


def reports() -> Reports:
    from datetime import UTC

    return Reports(UTC)
