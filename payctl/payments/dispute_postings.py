"""The entries of a dispute, as the chart of accounts has them (postings design).

The provider's facts and the owner's share are journals of their own: what the provider took moves
``gateway`` to ``dispute``, and the owner's part of it is frozen until the dispute ends.
"""

from __future__ import annotations

from payctl.gateways.base import Fee
from payctl.ledger import accounts
from payctl.ledger.model import Draft, Leg, cr, dr
from payctl.payments.dispute_records import DisputeRecord
from payctl.payments.records import Payment
from payctl.payments.sales import Part, Sale


def money(dispute: DisputeRecord, taken_minor: int, *, actor: str) -> Draft:
    """The provider took *taken_minor* back; below zero it gave that much back to us."""
    account, currency = dispute.gateway_account, dispute.currency
    contested, held = accounts.dispute(account), accounts.collect(account)
    legs = (dr(contested, taken_minor, currency), cr(held, taken_minor, currency))
    if taken_minor < 0:
        legs = (dr(held, -taken_minor, currency), cr(contested, -taken_minor, currency))
    kind = "dispute_withdrawn" if taken_minor > 0 else "dispute_reinstated"
    return _draft(dispute, kind, f"dispute_money:{dispute.id}:{dispute.version}", legs, actor)


def fee(dispute: DisputeRecord, known: Fee, *, actor: str) -> Draft:
    """The provider's fee on the dispute; its own journal, like every fee. One below zero was given
    back.
    """
    account, amount, currency = dispute.gateway_account, known.amount_minor, known.currency
    cost, held = accounts.dispute_fee(account), accounts.collect(account)
    legs = (dr(cost, amount, currency), cr(held, amount, currency))
    if amount < 0:
        legs = (dr(held, -amount, currency), cr(cost, -amount, currency))
    return _draft(dispute, "dispute_fee", f"dispute_fee:{account}:{known.reference}", legs, actor)


def frozen(dispute: DisputeRecord, owner: str, taken: tuple[Leg, ...], *, actor: str) -> Draft:
    """The owner's part is frozen; *taken* are the debits that say where it comes from."""
    total = sum(leg.amount_minor for leg in taken)
    legs = (*taken, cr(accounts.wallet(owner, "disputed"), total, dispute.currency))
    key = f"dispute_frozen:{dispute.id}:{dispute.version}"
    return _draft(dispute, "dispute_frozen", key, legs, actor)


def unfrozen(dispute: DisputeRecord, owner: str, given: tuple[Leg, ...], *, actor: str) -> Draft:
    """The dispute is won: the owner has the frozen part again; *given* are the credits."""
    legs = (dr(accounts.wallet(owner, "disputed"), dispute.frozen_minor, dispute.currency), *given)
    key = f"dispute_unfrozen:{dispute.id}:{dispute.version}"
    return _draft(dispute, "dispute_unfrozen", key, legs, actor)


def lost(dispute: DisputeRecord, payment: Payment, sale: Sale, part: Part, *, actor: str) -> Draft:
    """The dispute is lost: the frozen part is gone, and our commission with its VAT given back."""
    disputed = accounts.wallet(payment.organiser, "disputed")
    owner = (dr(disputed, dispute.frozen_minor, dispute.currency),)
    target = accounts.dispute(dispute.gateway_account)
    legs = sale.refund_legs(payment, part, owner, target)
    return _draft(dispute, "dispute_lost", f"dispute_lost:{dispute.id}", legs, actor)


def lost_kept(dispute: DisputeRecord, owner: str, rest: tuple[Leg, ...], *, actor: str) -> Draft:
    """The dispute is lost and our commission kept: *rest* is what the owner bears beyond the frozen
    part.
    """
    currency, target = dispute.currency, accounts.dispute(dispute.gateway_account)
    legs = (
        dr(accounts.wallet(owner, "disputed"), dispute.frozen_minor, currency),
        *rest,
        cr(target, dispute.withdrawn_minor, currency),
    )
    return _draft(dispute, "dispute_lost", f"dispute_lost:{dispute.id}", legs, actor)


def lost_from(dispute: DisputeRecord, source: str, *, actor: str) -> Draft:
    """The dispute of money that belonged to no sale is lost: it leaves *source*."""
    amount, currency = dispute.withdrawn_minor, dispute.currency
    target = accounts.dispute(dispute.gateway_account)
    legs = (dr(source, amount, currency), cr(target, amount, currency))
    return _draft(dispute, "dispute_lost", f"dispute_lost:{dispute.id}", legs, actor)


def _draft(dispute: DisputeRecord, kind: str, key: str, legs: tuple[Leg, ...], actor: str) -> Draft:
    meta = {"gateway": dispute.gateway_account, "dispute": dispute.provider_reference}
    return Draft(kind, key, legs, actor, dispute.payment_id, meta=meta)
