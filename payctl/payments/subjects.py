"""What a provider's event is about: the attempt, and what a question about it needs."""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest

import sqlalchemy as sa

from payctl.gateways.base import Event
from payctl.payments import store
from payctl.payments.model import Operation
from payctl.payments.provider_requests import Target
from payctl.payments.provider_tokens import tokens_of
from payctl.payments.records import Attempt

#: What an event is about -> the operation of its attempt.
OPERATION_OF: Mapping[str, Operation] = {
    "payment": Operation.COLLECT, "refund": Operation.REFUND, "payout": Operation.PAYOUT,
}  # fmt: skip


def attempt_of(
    tx: sa.Connection, account: str, event: Event, token_hash: bytes | None
) -> Attempt | None:
    """The attempt that *event* is about; with a token only the one the token was given for."""
    operation = OPERATION_OF.get(event.object_kind)
    if operation is None:
        return None
    reference = event.reference
    named = store.attempt_by_reference(
        tx, account, (operation,), reference.our_reference, reference.provider_reference
    )
    return named if event.proof != "token" else _proved(tx, account, named, token_hash)


def target_of(tx: sa.Connection, attempt: Attempt) -> Target:
    """The objects that a question about *attempt* names."""
    payment = store.payment(tx, attempt.payment_id)
    refund = store.refund(tx, attempt.refund_id) if attempt.refund_id else None
    parts = {part.id: part for part in store.captures(tx, payment.id)}
    held = refund.receipt_attempt_id if refund is not None else payment.attempt_id
    collected = store.attempt(tx, held) if held is not None else None
    part = parts.get(attempt.capture_id) if attempt.capture_id else None
    return Target(payment, part, refund, collected)


def _proved(
    tx: sa.Connection, account: str, named: Attempt | None, token_hash: bytes | None
) -> Attempt | None:
    """The attempt whose secret an event knows: the one it names, else the one the secret names."""
    if token_hash is None:
        return None
    attempt = named or store.attempt_by_token(tx, account, token_hash)
    secrets = tokens_of(attempt.provider_data or {}) if attempt is not None else []
    return attempt if any([compare_digest(each, token_hash) for each in secrets]) else None
