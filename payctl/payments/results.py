"""What an act on a payment or refund returns: the object as it is now, and what the act posted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from payctl.db.engine import Database
from payctl.gateways.base import NextAction
from payctl.ids import encode
from payctl.ledger.model import Posted
from payctl.payments import store
from payctl.payments.destinations import masked
from payctl.payments.records import Attempt, Capture, Payment, Refund


@dataclass(frozen=True, slots=True)
class PaymentResult:
    """A payment after an act on it. ``next_action`` may carry a client secret, once, for the caller
    of that very act; it is nowhere stored.
    """

    payment: Payment
    attempts: tuple[Attempt, ...]
    replayed: bool = False
    next_action: NextAction | None = None
    journals: tuple[Posted, ...] = ()
    captures: tuple[Capture, ...] = ()


@dataclass(frozen=True, slots=True)
class RefundResult:
    """A refund after an act on it, and what it posted."""

    refund: Refund
    attempts: tuple[Attempt, ...]
    replayed: bool = False
    approval_id: UUID | None = None
    approval_reason: str | None = None
    journals: tuple[Posted, ...] = ()


def view(
    db: Database,
    payment_id: UUID,
    *,
    replayed: bool = False,
    journals: tuple[Posted, ...] = (),
    action: NextAction | None = None,
) -> PaymentResult:
    """The payment with its attempts and captures, read in one snapshot.

    Raises:
        NotFound: ``payment.not_found``.
    """
    with db.read() as tx:
        payment = store.payment(tx, payment_id)
        attempts = tuple(store.attempts(tx, payment_id))
        parts = tuple(store.captures(tx, payment_id))
    return PaymentResult(payment, attempts, replayed, action, journals, parts)


def content_of(refund: Refund) -> Mapping[str, Any]:
    """What a second person approves; any change of it voids the approval. A payout's destination is
    shown masked, for whoever approves may not need to call it.
    """
    payee = refund.payee()
    paid_out = {"way": "payout", "destination": masked(payee)} if payee is not None else {}
    return {
        **paid_out,
        "refund": encode("refund", refund.id),
        "payment": encode("payment", refund.payment_id),
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
        "gateway": refund.gateway_account,
        "keep_commission": refund.keep_commission,
    }
