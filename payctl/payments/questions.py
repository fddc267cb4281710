"""What a provider is asked about an open attempt, and whether sending it again is better."""

from __future__ import annotations

from datetime import datetime, timedelta

from payctl.gateways.base import Answer, Gateway, Outcome
from payctl.payments.model import CANNOT_BE_ASKED, Operation
from payctl.payments.provider_requests import Target
from payctl.payments.records import Attempt, Payment

_MUTE = Answer(Outcome.UNKNOWN, code=CANNOT_BE_ASKED)


def ask(gateway: Gateway | None, attempt: Attempt, target: Target) -> tuple[str, Answer]:
    """Ask the provider about an attempt; returns the call's name and the answer.

    A gateway that cannot be asked (``query_by`` empty, or its account is no longer configured:
    ``None``) answers "unknown" without a call.
    """
    if attempt.operation is Operation.REFUND:
        if gateway is None or not gateway.capabilities.query_refunds:
            return "query_refund", _MUTE
        return "query_refund", gateway.query_refund(attempt.reference())
    if attempt.operation is Operation.PAYOUT:
        if gateway is None or not gateway.capabilities.payouts:
            return "query_payout", _MUTE
        return "query_payout", gateway.query_payout(attempt.reference())
    about = attempt if attempt.operation is Operation.COLLECT else target.collected
    if gateway is None or about is None or not gateway.capabilities.query_by:
        return "query", _MUTE
    return "query", gateway.query_payment(about.reference())


def may_resend(gateway: Gateway, attempt: Attempt, payment: Payment, now: datetime) -> bool:
    """Whether sending the same key again is the better question (the fence, design 2.5): the
    provider still answers it with the first effect, and the effect is still wanted.
    """
    window = gateway.capabilities.resend_window_s
    if window is None or now >= attempt.created_at + timedelta(seconds=window * 0.9):
        return False
    if attempt.operation is Operation.COLLECT:
        return payment.expires_at is not None and now < payment.expires_at
    return True
