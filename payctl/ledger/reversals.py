"""How much of a journal is still there to be reversed.

A journal and the journals that reverse it form a tree: a reversal can itself be reversed, which
gives back what it had taken. ``reversal_cap`` keeps, per journal and currency, its size and how
much of it is reversed at present; its CHECK lets the database refuse to reverse anything twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from uuid import UUID

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.db.upsert import insert_into
from payctl.errors import Conflict, InvalidInput, NotFound
from payctl.ids import encode
from payctl.ledger.model import Draft, Leg, Refusal
from payctl.ledger.tables import account, entry, journal, reversal_cap
from payctl.money import check_amount_minor, format_money


def lock(db: Database, tx: sa.Connection, journal_id: UUID) -> dict[str, int]:
    """Lock the caps of a journal, made on first use; return what is left per currency.

    Raises:
        NotFound: ``ledger.journal_not_found``.
    """
    sizes = tx.execute(
        sa.select(entry.c.currency, sa.func.sum(entry.c.amount_minor).label("size"))
        .where(entry.c.journal_id == journal_id, entry.c.amount_minor > 0)
        .group_by(entry.c.currency)
    ).all()
    if not sizes:
        raise NotFound("ledger.journal_not_found", id=encode("journal", journal_id))
    rows = [
        {
            "journal_id": journal_id,
            "currency": row.currency,
            "amount_minor": int(row.size),
            "reversed_minor": 0,
        }
        for row in sizes
    ]
    insert = insert_into(reversal_cap, is_sqlite=db.is_sqlite)
    tx.execute(insert.values(rows).on_conflict_do_nothing())
    caps = tx.execute(
        sa.select(reversal_cap)
        .where(reversal_cap.c.journal_id == journal_id)
        .order_by(reversal_cap.c.currency)
        .with_for_update()
    )
    return {cap.currency: cap.amount_minor - cap.reversed_minor for cap in caps}


def refusal(db: Database, tx: sa.Connection, draft: Draft) -> Refusal | None:
    """Why *draft* may not reverse the journal it names, or ``None``. Leaves the caps locked."""
    sizes = sizes_of(draft)
    for target, sign in _upwards(tx, draft.reverses_id):
        left = lock(db, tx, target)
        for currency, asked in sorted(sizes.items()):
            if sign > 0 and asked > left.get(currency, 0):
                return Refusal(
                    "ledger.reversal_exceeds",
                    {
                        "id": encode("journal", target),
                        "asked": format_money(asked, currency),
                        "left": format_money(left.get(currency, 0), currency),
                    },
                )
    return None


def apply(tx: sa.Connection, draft: Draft) -> None:
    """Count the reversal *draft* on the caps that :func:`refusal` locked."""
    for target, sign in _upwards(tx, draft.reverses_id):
        for currency, size in sorted(sizes_of(draft).items()):
            tx.execute(
                sa.update(reversal_cap)
                .where(reversal_cap.c.journal_id == target, reversal_cap.c.currency == currency)
                .values(reversed_minor=reversal_cap.c.reversed_minor + sign * size)
            )


def _upwards(tx: sa.Connection, reverses_id: UUID | None) -> Iterator[tuple[UUID, int]]:
    """The journals a reversal counts on: the one it reverses with +1; if that is itself a
    reversal, the one it had reversed with -1, for that is valid again; and so on.
    """
    sign = 1
    while reverses_id is not None:
        yield reverses_id, sign
        reverses_id = tx.scalar(sa.select(journal.c.reverses_id).where(journal.c.id == reverses_id))
        sign = -sign


def sizes_of(draft: Draft) -> dict[str, int]:
    """The size of a draft per currency: the sum of its debits, minor units."""
    sizes: dict[str, int] = defaultdict(int)
    for leg in draft.legs:
        if leg.amount_minor > 0:
            sizes[leg.currency] += leg.amount_minor
    return dict(sizes)


def left_of(tx: sa.Connection, journal_id: UUID) -> list[Leg]:
    """What a journal and all that reverses it leave on each account, in the journal's order."""
    tree = sa.select(journal.c.id).where(journal.c.id == journal_id).cte("tree", recursive=True)
    tree = tree.union_all(sa.select(journal.c.id).join(tree, journal.c.reverses_id == tree.c.id))
    rows = tx.execute(
        sa.select(
            account.c.code,
            entry.c.currency,
            sa.func.sum(entry.c.amount_minor).label("amount_minor"),
            sa.func.min(entry.c.leg).label("first"),
        )
        .join(tree, tree.c.id == entry.c.journal_id)
        .join(account, account.c.id == entry.c.account_id)
        .group_by(account.c.code, entry.c.currency)
        .order_by("first", account.c.code, entry.c.currency)
    )
    return [Leg(row.code, int(row.amount_minor), row.currency) for row in rows if row.amount_minor]


def part_of(
    legs: list[Leg], amount_minor: int, left: Mapping[str, int], journal_id: UUID
) -> list[Leg]:
    """*amount_minor* of the *legs* of a one-currency journal: each side shared out in proportion.

    Shares are rounded down and the units left over go to the largest remainders, so each side sums
    to the amount, no share passes its leg, and the last part takes exactly the rest.

    Raises:
        InvalidInput: ``ledger.part_needs_one_currency``, ``amount.not_positive``.
        Conflict: ``ledger.reversal_exceeds``.
    """
    if len(left) != 1:
        raise InvalidInput("ledger.part_needs_one_currency", field="amount")
    ((currency, capped),) = left.items()
    check_amount_minor(amount_minor, currency)
    rest = min(capped, sum(leg.amount_minor for leg in legs if leg.amount_minor > 0))
    if amount_minor > rest:
        raise Conflict(
            "ledger.reversal_exceeds",
            id=encode("journal", journal_id),
            asked=format_money(amount_minor, currency),
            left=format_money(rest, currency),
        )
    return [
        *_share_out([leg for leg in legs if leg.amount_minor > 0], amount_minor),
        *_share_out([leg for leg in legs if leg.amount_minor < 0], amount_minor),
    ]


def _share_out(legs: list[Leg], amount_minor: int) -> list[Leg]:
    total = sum(abs(leg.amount_minor) for leg in legs)
    shares = [divmod(abs(leg.amount_minor) * amount_minor, total) for leg in legs]
    units = amount_minor - sum(whole for whole, _ in shares)
    largest = sorted(range(len(legs)), key=lambda index: (-shares[index][1], index))[:units]
    return [
        Leg(
            leg.account,
            (whole + (index in largest)) * (1 if leg.amount_minor > 0 else -1),
            leg.currency,
        )
        for index, (leg, (whole, _)) in enumerate(zip(legs, shares, strict=True))
    ]
