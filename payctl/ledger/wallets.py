"""Wallets as their owners see them: the parts of each owner's money, per currency."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from payctl.ledger.accounts import owner_of

if TYPE_CHECKING:
    from payctl.ledger.reports import AccountBalance


@dataclass(frozen=True, slots=True)
class Wallet:
    """One owner's money in one currency, in minor units.

    ``pending_minor`` is sold and not yet payable, ``available_minor`` payable now (``held_minor``
    of it is set aside), ``owed_minor`` what the owner owes us; ``total_minor`` is all of the parts
    less the debt.
    """

    owner: str
    currency: str
    pending_minor: int = 0
    available_minor: int = 0
    reserve_minor: int = 0
    disputed_minor: int = 0
    outgoing_minor: int = 0
    owed_minor: int = 0
    held_minor: int = 0

    @property
    def total_minor(self) -> int:
        parts = (self.pending_minor, self.available_minor, self.reserve_minor)
        return sum(parts) + self.disputed_minor + self.outgoing_minor - self.owed_minor


def part_of(code: str) -> str:
    """Which part of its owner's money an account is: a part of the wallet, or ``owed``."""
    return "owed" if code.startswith("owed:") else code.rpartition(":")[2]


def wallets_of(balances: Iterable[AccountBalance]) -> list[Wallet]:
    """The wallets in *balances*, by owner and currency; other accounts are passed over."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for each in balances:
        owner = owner_of(each.code)
        if owner is None:
            continue
        amounts = found.setdefault((owner, each.currency), {})
        part = part_of(each.code)
        amounts[f"{part}_minor"] = each.own_minor
        if part == "available":
            amounts["held_minor"] = each.held_minor
    return [Wallet(owner, currency, **found[owner, currency]) for owner, currency in sorted(found)]
