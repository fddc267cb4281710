"""Cover: is the money we keep for others there?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import sqlalchemy as sa

from payctl.ledger.sums import balances_now
from payctl.ledger.tables import account

#: First parts of the codes on either side (postings, "What must hold").
ASSETS = ("gateway", "transit", "bank", "dispute", "fx")
OWED = ("wallet", "refund", "unapplied", "vat")


@dataclass(frozen=True, slots=True)
class Cover:
    """Whether other people's money is there, in one currency; minor units.

    ``assets_minor``: with providers, on the way, at banks, contested, in currency positions.
    ``owed_minor``: wallets, refunds on their way, unapplied receipts, VAT.
    """

    currency: str
    assets_minor: int
    owed_minor: int

    @property
    def surplus_minor(self) -> int:
        return self.assets_minor - self.owed_minor


def cover(tx: sa.Connection) -> list[Cover]:
    """The cover in every currency of the book."""
    assets: dict[str, int] = defaultdict(int)
    owed: dict[str, int] = defaultdict(int)
    amounts = balances_now(tx)
    for row in tx.execute(sa.select(account.c.id, account.c.code, account.c.currency)):
        family = row.code.partition(":")[0]
        amount_minor, _ = amounts.get(row.id, (0, 0))
        if family in ASSETS:
            assets[row.currency] += amount_minor
        elif family in OWED:
            owed[row.currency] -= amount_minor
    return [Cover(each, assets[each], owed[each]) for each in sorted(assets.keys() | owed.keys())]
