"""What an owner pays and gets, in which order: the waterfalls of forced debits and of credits.

A chargeback or an approved refund is a fact: it cannot be refused because the owner has spent the
money (postings, rule 4). It takes what there is, and the rest becomes a debt, which is the first
thing repaid when money comes in. Both functions lock the owner's balances until the end of the
transaction, so the legs they return are still right when the caller posts them.
"""

from __future__ import annotations

import sqlalchemy as sa

from payctl.ledger import store
from payctl.ledger.accounts import owed, wallet
from payctl.ledger.model import Leg, cr, dr
from payctl.ledger.store import Balance

_NOTHING = Balance(0, 0, 0)


def take_from_owner(
    tx: sa.Connection,
    *,
    owner: str,
    currency: str,
    amount_minor: int,
    pending_minor: int,
    reserve_minor: int = 0,
) -> tuple[Leg, ...]:
    """Debits of *amount_minor* in all, for a debit that may not be refused.

    In this order: the sale's own part still pending (at most *pending_minor*), its reserve slice
    (at most *reserve_minor*), what is available and not held, and the rest as a debt.
    """
    balances = _locked(tx, owner, currency)
    wanted = (
        (wallet(owner, "pending"), pending_minor),
        (wallet(owner, "reserve"), reserve_minor),
        (wallet(owner, "available"), amount_minor),
    )
    legs = []
    rest = amount_minor
    for code, limit_minor in wanted:
        part = min(rest, limit_minor, balances.get(code, _NOTHING).free_minor)
        if part > 0:
            legs.append(dr(code, part, currency))
            rest -= part
    if rest:
        legs.append(dr(owed(owner), rest, currency))
    return tuple(legs)


def give_to_owner(
    tx: sa.Connection, *, owner: str, currency: str, amount_minor: int
) -> tuple[Leg, ...]:
    """Credits of *amount_minor* in all: the owner's debt is repaid first, the rest is available."""
    debt = _locked(tx, owner, currency).get(owed(owner), _NOTHING)
    repaid = min(amount_minor, debt.posted_minor)
    legs = []
    if repaid:
        legs.append(cr(owed(owner), repaid, currency))
    if amount_minor > repaid:
        legs.append(cr(wallet(owner, "available"), amount_minor - repaid, currency))
    return tuple(legs)


def _locked(tx: sa.Connection, owner: str, currency: str) -> dict[str, Balance]:
    """The owner's balances by code, locked in the order every posting locks them."""
    codes = [wallet(owner, part) for part in ("pending", "reserve", "available")]
    found = store.find(tx, [(code, currency) for code in [*codes, owed(owner)]])
    balances = store.lock_guarded(tx, [each.id for each in found.values()])
    return {each.code: balances[each.id] for each in found.values()}
