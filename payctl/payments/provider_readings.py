"""What providers say they hold for us, asked all at once and kept for those who may not ask.

A provider that cannot be reached is an answer too: the others' are not lost for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.db.upsert import insert_into
from payctl.errors import PayctlError
from payctl.gateways.base import BalanceLine, Gateway
from payctl.payments.float_tables import gateway_balance

T = TypeVar("T")

#: Providers asked at the same time.
WORKERS = 8


@dataclass(frozen=True, slots=True)
class Answered:
    """What one provider answered: its lines, or the error that says why there are none."""

    account: str
    lines: tuple[BalanceLine, ...] = ()
    error: PayctlError | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A balance as a provider last told it, in minor units."""

    account: str
    part: str
    currency: str
    available_minor: int
    pending_minor: int
    read_at: datetime


def ask_all(
    gateways: Mapping[str, Gateway], question: Callable[[Gateway], T]
) -> list[tuple[str, T]]:
    """The answers of all gateways, in their order; at most :data:`WORKERS` are asked at once."""
    names = list(gateways)
    if not names:
        return []
    with ThreadPoolExecutor(min(WORKERS, len(names)), "ask") as pool:
        return list(zip(names, pool.map(lambda name: question(gateways[name]), names), strict=True))


def balances(gateways: Mapping[str, Gateway]) -> list[Answered]:
    """The balance of every gateway that tells one."""
    telling = {name: each for name, each in gateways.items() if each.capabilities.balance}
    return [answered for _name, answered in ask_all(telling, _balance)]


def _balance(gateway: Gateway) -> Answered:
    try:
        return Answered(gateway.account, tuple(gateway.balance()))
    except PayctlError as error:
        return Answered(gateway.account, error=error)


def keep(db: Database, answers: Sequence[Answered]) -> None:
    """Store what was told. What a provider no longer tells is forgotten."""
    told = [each for each in answers if each.error is None]
    if not told:
        return
    now, insert = db.clock.now(), insert_into(gateway_balance, is_sqlite=db.is_sqlite)
    rows = [
        {
            "account": each.account, "part": line.part, "currency": line.currency,
            "available_minor": line.available_minor, "pending_minor": line.pending_minor,
            "read_at": now,
        }
        for each in told
        for line in each.lines
    ]  # fmt: skip
    new = insert.excluded
    upsert = insert.on_conflict_do_update(
        index_elements=["account", "part", "currency"],
        set_={
            "available_minor": new.available_minor,
            "pending_minor": new.pending_minor,
            "read_at": new.read_at,
        },
        where=gateway_balance.c.read_at <= new.read_at,
    )
    c = gateway_balance.c

    def write(tx: sa.Connection) -> None:
        for row in rows:
            tx.execute(upsert.values(row))
        names = [each.account for each in told]
        tx.execute(sa.delete(gateway_balance).where(c.account.in_(names), c.read_at < now))

    db.run(write)


def kept(tx: sa.Connection) -> list[Reading]:
    """The last reading of every account, part and currency."""
    c = gateway_balance.c
    query = sa.select(
        c.account, c.part, c.currency, c.available_minor, c.pending_minor, c.read_at
    ).order_by(c.account, c.part, c.currency)
    return [Reading(*row) for row in tx.execute(query)]
