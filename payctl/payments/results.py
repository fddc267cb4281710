"""What an act on a payment returns: the payment as it is now, and what the act posted."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from payctl.db.engine import Database
from payctl.gateways.base import NextAction
from payctl.ledger.model import Posted
from payctl.payments import store
from payctl.payments.records import Attempt, Capture, Payment


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
