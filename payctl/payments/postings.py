"""The entries of every payment event, as the chart of accounts has them (postings design).

Pure: amounts in, journal drafts out. Posting keys are made of the attempt, capture or refund they
record, so that the same fact can never be posted twice whichever door it comes through.
"""

from __future__ import annotations

from typing import Any

from payctl.gateways.base import Fee
from payctl.ids import encode
from payctl.ledger import accounts
from payctl.ledger.model import Draft, Leg, cr, dr
from payctl.payments.model import Operation
from payctl.payments.records import Attempt, Payment, Refund
from payctl.payments.sales import Part, Sale


def capture(
    payment: Payment, attempt: Attempt, sale: Sale, part: Part, *, key: str, actor: str
) -> Draft:
    """Money captured: whose it is, as the sale's terms say."""
    legs = sale.capture_legs(payment, part, accounts.collect(attempt.gateway_account))
    return Draft("capture", key, legs, actor, payment.id, meta=_meta(attempt))


def settled_capture(
    payment: Payment, attempt: Attempt, sale: Sale, part: Part, *, key: str, actor: str
) -> Draft:
    """A sale that was paid out before it came into this book: income and VAT as for any other, but
    neither does its provider hold anything nor is its owner owed anything. Both sides of that, what
    came in and what the owner has had, are the former service's and stand on its account.
    """
    taken_over, pending = accounts.OPENING_MIGRATION, accounts.wallet(payment.organiser, "pending")
    legs = tuple(
        leg._replace(account=taken_over) if leg.account == pending else leg
        for leg in sale.capture_legs(payment, part, taken_over)
    )
    return Draft("capture_settled", key, legs, actor, payment.id, meta=_meta(attempt))


def suspended_capture(
    payment: Payment, attempt: Attempt, amount_minor: int, *, key: str, actor: str
) -> Draft:
    """Money captured that cannot be shared out yet (no commission rate): kept in suspense."""
    account = attempt.gateway_account
    legs = (
        dr(accounts.collect(account), amount_minor, payment.currency),
        cr(accounts.suspense(account), amount_minor, payment.currency),
    )
    return Draft("capture_suspended", key, legs, actor, payment.id, meta=_meta(attempt))


def suspense_applied(
    payment: Payment, attempt: Attempt, sale: Sale, part: Part, *, actor: str, reason: str
) -> Draft:
    """A sale that waited in suspense is shared out after all."""
    legs = sale.capture_legs(payment, part, accounts.suspense(attempt.gateway_account))
    return Draft(
        "suspense_applied", f"suspense_applied:{payment.id}", legs, actor, payment.id, reason
    )


def unapplied(attempt: Attempt, amount_minor: int, currency: str, *, actor: str) -> Draft:
    """A receipt that belongs to no open order: posted in full, without commission (rule 8)."""
    account = attempt.gateway_account
    legs = (
        dr(accounts.collect(account), amount_minor, currency),
        cr(accounts.unapplied(account), amount_minor, currency),
    )
    return Draft(
        "unapplied_receipt",
        f"unapplied:{attempt.id}",
        legs,
        actor,
        attempt.payment_id,
        meta=_meta(attempt),
    )


def fee(attempt: Attempt, known: Fee, *, actor: str, source: str | None = None) -> Draft:
    """The provider's fee, its own journal when it is known (rule 5); taken from where the attempt's
    money moved unless *source* names another account.
    """
    account, payout = attempt.gateway_account, attempt.operation is Operation.PAYOUT
    expense = accounts.payout_fee if payout else accounts.gateway_fee
    legs = (
        dr(expense(account), known.amount_minor, known.currency),
        cr(source or holder(attempt), known.amount_minor, known.currency),
    )
    return Draft(
        "payout_fee" if payout else "gateway_fee", f"fee:{account}:{known.reference}", legs,
        actor, attempt.payment_id,
        meta={"fee_reference": known.reference},
    )  # fmt: skip


def refund_reserved(
    payment: Payment,
    refund: Refund,
    sale: Sale,
    part: Part,
    owner_legs: tuple[Leg, ...],
    *,
    actor: str,
) -> Draft:
    """Money set aside for a refund before the provider is asked: the owner's part by the forced
    debit's waterfall, our income and its VAT given back as the sale's terms say.
    """
    target = accounts.refund_outgoing(refund.gateway_account)
    legs = sale.refund_legs(payment, part, owner_legs, target)
    return Draft("refund_reserved", _reservation(refund), legs, actor, payment.id, refund.reason)


def refund_reserved_from(source: str, refund: Refund, *, actor: str) -> Draft:
    """Set aside from ``unapplied`` or ``suspense``: no organiser and no commission took part."""
    legs = (
        dr(source, refund.amount_minor, refund.currency),
        cr(accounts.refund_outgoing(refund.gateway_account), refund.amount_minor, refund.currency),
    )
    return Draft(
        "refund_reserved",
        _reservation(refund),
        legs,
        actor,
        refund.payment_id,
        refund.reason,
    )


def _reservation(refund: Refund) -> str:
    """Posting key of a refund's reservation. It is reserved a second time only where the provider
    pays after the first reservation was given back.
    """
    again = ":again" if refund.reserve_journal_id is not None else ""
    return f"refund_reserved:{refund.id}{again}"


def holder(attempt: Attempt) -> str:
    """The account an attempt moves money into or out of: a payout leaves the float."""
    payout = attempt.operation is Operation.PAYOUT
    return (accounts.float_ if payout else accounts.collect)(attempt.gateway_account)


def refunded_twice(refund: Refund, attempt: Attempt, *, actor: str) -> Draft:
    """The provider has paid a refund whose amount another refund has given back already."""
    legs = (
        dr(accounts.suspense(refund.gateway_account), refund.amount_minor, refund.currency),
        cr(holder(attempt), refund.amount_minor, refund.currency),
    )
    return Draft(
        "refunded_twice", f"refund_paid:{attempt.id}", legs, actor, refund.payment_id,
        meta=_meta(attempt),
    )  # fmt: skip


def refund_paid(refund: Refund, attempt: Attempt, *, actor: str) -> Draft:
    """The provider has sent the money back to the customer."""
    account = refund.gateway_account
    legs = (
        dr(accounts.refund_outgoing(account), refund.amount_minor, refund.currency),
        cr(holder(attempt), refund.amount_minor, refund.currency),
    )
    return Draft(
        "refund_paid",
        f"refund_paid:{attempt.id}",
        legs,
        actor,
        refund.payment_id,
        meta=_meta(attempt),
    )


def refund_returned(refund: Refund, attempt: Attempt, *, actor: str) -> Draft:
    """A refund that had succeeded came back: the money is with us, the customer is not paid."""
    account = refund.gateway_account
    legs = (
        dr(holder(attempt), refund.amount_minor, refund.currency),
        cr(accounts.refund_outgoing(account), refund.amount_minor, refund.currency),
    )
    return Draft(
        "refund_returned", f"refund_returned:{attempt.id}", legs, actor, refund.payment_id,
        meta=_meta(attempt),
    )  # fmt: skip


def _meta(attempt: Attempt) -> dict[str, Any]:
    named = {
        "gateway": attempt.gateway_account,
        "our_reference": attempt.our_reference,
        "provider_reference": attempt.provider_reference,
    }
    if attempt.operation is Operation.PAYOUT:
        # Its provider knows of no payment: only our books say which one goes back.
        named |= {"operation": "payout", "payment": encode("payment", attempt.payment_id)}
    return named
