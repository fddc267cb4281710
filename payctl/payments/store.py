"""SQL of payments, attempts, captures and refunds: statements in, records out.

Locks: whoever changes a payment or anything below it locks the payment row first
(``lock_payment``), so a webhook, the janitor and an operator serialise per payment. Every update
is compare-and-set on ``version``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db import tally
from payctl.errors import Conflict, NotFound
from payctl.ids import encode
from payctl.payments import counted
from payctl.payments import tables as t
from payctl.payments.model import LIVE_ATTEMPT_STATES, Operation, PaymentStatus
from payctl.payments.provider_tokens import tokens_of
from payctl.payments.records import (
    Attempt,
    Capture,
    Payment,
    Refund,
    attempt_of,
    capture_of,
    payment_of,
    refund_of,
    row_of,
)

_LIVE = [str(state) for state in LIVE_ATTEMPT_STATES]


def _one(tx: sa.Connection, query: sa.Select[Any]) -> Mapping[str, Any] | None:
    row = tx.execute(query).mappings().one_or_none()
    return dict(row) if row is not None else None


# -- payments --------------------------------------------------------------------------------------


def payment(tx: sa.Connection, payment_id: UUID, *, lock: bool = False) -> Payment:
    """The payment, locked for this transaction when asked.

    Raises:
        NotFound: ``payment.not_found``.
    """
    query = sa.select(t.payment).where(t.payment.c.id == payment_id)
    row = _one(tx, query.with_for_update() if lock else query)
    if row is None:
        raise NotFound("payment.not_found", field="id", id=encode("payment", payment_id))
    return payment_of(row)


def payments_of_order(tx: sa.Connection, payment: Payment) -> list[Payment]:
    """All payments of the order that *payment* is for, itself included."""
    query = sa.select(t.payment).where(
        t.payment.c.order_ref == payment.order_ref, t.payment.c.organiser == payment.organiser
    )
    return [payment_of(dict(row)) for row in tx.execute(query).mappings()]


def change_open_payments(tx: sa.Connection, payment: Payment) -> None:
    """Count a change of every other payment of the order that has not ended, so that nothing that
    was decided about one without knowing of *payment* can still be written.
    """
    p = t.payment.c
    ended = [str(status) for status in PaymentStatus if status.terminal]
    tx.execute(
        sa.update(t.payment)
        .where(
            p.order_ref == payment.order_ref, p.organiser == payment.organiser,
            p.id != payment.id, p.status.not_in(ended),
        )
        .values(version=p.version + 1)
    )  # fmt: skip


def update_payment(tx: sa.Connection, before: Payment, at: datetime, **values: Any) -> Payment:
    """Compare-and-set on the version; the row is locked, so a miss is a bug of ours.

    Raises:
        Conflict: ``payment.changed_meanwhile``.
    """
    result = tx.execute(
        sa.update(t.payment)
        .where(t.payment.c.id == before.id, t.payment.c.version == before.version)
        .values(**values, version=before.version + 1, updated_at=at)
        .returning(*t.payment.c)
    )
    row = result.mappings().one_or_none()
    if row is None:
        raise Conflict("payment.changed_meanwhile", id=encode("payment", before.id))
    after = payment_of(dict(row))
    if after.status is not before.status:
        tally.count(tx, *counted.payment_cell(after))
    return after


def lines(tx: sa.Connection, payment_id: UUID) -> list[Mapping[str, Any]]:
    query = sa.select(t.payment_line).where(t.payment_line.c.payment_id == payment_id)
    return [dict(row) for row in tx.execute(query.order_by(t.payment_line.c.no)).mappings()]


def due_payments(tx: sa.Connection, now: datetime, limit: int) -> list[UUID]:
    """Payments that are due and have no live attempt: a process died between two steps."""
    live = sa.select(t.attempt.c.id).where(
        t.attempt.c.payment_id == t.payment.c.id, t.attempt.c.state.in_(_LIVE)
    )
    query = (
        sa.select(t.payment.c.id)
        .where(t.payment.c.next_check_at <= now, ~sa.exists(live))
        .order_by(t.payment.c.next_check_at)
        .limit(limit)
    )
    return list(tx.execute(query).scalars())


# -- attempts --------------------------------------------------------------------------------------


def insert_attempt(tx: sa.Connection, attempt: Attempt) -> None:
    tx.execute(sa.insert(t.attempt), row_of(attempt))


def attempt(tx: sa.Connection, attempt_id: UUID) -> Attempt:
    row = _one(tx, sa.select(t.attempt).where(t.attempt.c.id == attempt_id))
    if row is None:
        raise NotFound("attempt.not_found", id=encode("attempt", attempt_id))
    return attempt_of(row)


def attempts(
    tx: sa.Connection, payment_id: UUID, operation: Operation | None = None
) -> list[Attempt]:
    query = sa.select(t.attempt).where(t.attempt.c.payment_id == payment_id)
    if operation is not None:
        query = query.where(t.attempt.c.operation == operation)
    rows = tx.execute(query.order_by(t.attempt.c.created_at, t.attempt.c.id)).mappings()
    return [attempt_of(dict(row)) for row in rows]


def refund_attempts(
    tx: sa.Connection, since: datetime, states: Iterable[str]
) -> list[tuple[UUID, str]]:
    """Attempts to give back made since then that are in one of *states*, with their accounts."""
    giving_back = [str(each) for each in Operation if each.gives_back]
    query = sa.select(t.attempt.c.id, t.attempt.c.gateway_account).where(
        t.attempt.c.operation.in_(giving_back),
        t.attempt.c.created_at >= since,
        t.attempt.c.state.in_([str(state) for state in states]),
    )
    return [(row.id, row.gateway_account) for row in tx.execute(query.order_by(t.attempt.c.id))]


def accounts_since(tx: sa.Connection, since: datetime) -> list[str]:
    """Accounts that attempts have been made on since then."""
    column = t.attempt.c.gateway_account
    query = sa.select(column).where(t.attempt.c.created_at >= since).distinct().order_by(column)
    return list(tx.execute(query).scalars())


def live_attempt(tx: sa.Connection, subject_id: UUID, operation: Operation) -> Attempt | None:
    row = _one(
        tx,
        sa.select(t.attempt).where(
            t.attempt.c.subject_id == subject_id,
            t.attempt.c.operation == operation,
            t.attempt.c.state.in_(_LIVE),
        ),
    )
    return attempt_of(row) if row is not None else None


def next_attempt_no(tx: sa.Connection, subject_id: UUID, operation: Operation) -> int:
    query = sa.select(sa.func.coalesce(sa.func.max(t.attempt.c.no), 0) + 1).where(
        t.attempt.c.subject_id == subject_id, t.attempt.c.operation == operation
    )
    return int(tx.execute(query).scalar_one())


def update_attempt(tx: sa.Connection, before: Attempt, at: datetime, **values: Any) -> Attempt:
    row = (
        tx.execute(
            sa.update(t.attempt)
            .where(t.attempt.c.id == before.id, t.attempt.c.version == before.version)
            .values(**values, version=before.version + 1, updated_at=at)
            .returning(*t.attempt.c)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise Conflict("attempt.changed_meanwhile", id=encode("attempt", before.id))
    return attempt_of(dict(row))


def leaving_minor(tx: sa.Connection, account: str, currency: str) -> int:
    """What payouts whose outcome is open may take from an account's float, in minor units."""
    a = t.attempt.c
    query = sa.select(sa.func.coalesce(sa.func.sum(a.amount_minor), 0)).where(
        a.operation == Operation.PAYOUT, a.gateway_account == account, a.currency == currency,
        t.LIVE,
    )  # fmt: skip
    return int(tx.execute(query).scalar_one())


def keep_tokens(tx: sa.Connection, attempt: Attempt) -> None:
    """Let an event be found by a secret the provider gave for this attempt."""
    new = [
        {"gateway_account": attempt.gateway_account, "token_hash": each, "attempt_id": attempt.id}
        for each in tokens_of(attempt.provider_data or {})
    ]
    k = t.attempt_token.c
    kept = set(tx.execute(sa.select(k.token_hash).where(
        k.gateway_account == attempt.gateway_account, k.attempt_id == attempt.id,
        k.token_hash.in_([each["token_hash"] for each in new]),
    )).scalars())  # fmt: skip
    if missing := [each for each in new if each["token_hash"] not in kept]:
        tx.execute(sa.insert(t.attempt_token), missing)


def attempt_by_token(tx: sa.Connection, account: str, hashed: bytes) -> Attempt | None:
    """The one attempt whose provider gave this secret; ``None`` where several have it, because it
    then proves nothing.
    """
    k = t.attempt_token.c
    query = sa.select(k.attempt_id).where(k.gateway_account == account, k.token_hash == hashed)
    found = tx.execute(query.limit(2)).scalars().all()
    return attempt(tx, found[0]) if len(found) == 1 else None


def claim_attempt(
    tx: sa.Connection,
    attempt_id: UUID,
    owner: str,
    now: datetime,
    until: datetime,
    *,
    sending_only: bool = False,
) -> Attempt | None:
    """Take the lease of a live attempt if nobody holds it (or we do); one of two workers wins."""
    states = ["sending"] if sending_only else _LIVE
    row = (
        tx.execute(
            sa.update(t.attempt)
            .where(
                t.attempt.c.id == attempt_id,
                t.attempt.c.state.in_(states),
                sa.or_(t.attempt.c.lease_until.is_(None), t.attempt.c.lease_until <= now,
                       t.attempt.c.lease_owner == owner),
            )
            .values(lease_owner=owner, lease_until=until)
            .returning(*t.attempt.c)
        )
        .mappings()
        .one_or_none()
    )  # fmt: skip
    return attempt_of(dict(row)) if row is not None else None


def prolong_quarantine(tx: sa.Connection, attempt_id: UUID, until: datetime) -> None:
    """Believe no "not found" about a live attempt before *until*; never shortens it."""
    a = t.attempt.c
    tx.execute(
        sa.update(t.attempt)
        .where(a.id == attempt_id, a.state.in_(_LIVE), a.quarantine_until < until)
        .values(quarantine_until=until)
    )


def due_attempts(tx: sa.Connection, now: datetime, limit: int) -> list[UUID]:
    """Live attempts whose time has come and whose lease, if any, has run out; oldest first."""
    query = (
        sa.select(t.attempt.c.id)
        .where(
            t.LIVE,
            t.attempt.c.next_check_at <= now,
            sa.or_(t.attempt.c.lease_until.is_(None), t.attempt.c.lease_until <= now),
        )
        .order_by(t.attempt.c.next_check_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(tx.execute(query).scalars())


def attempt_by_reference(
    tx: sa.Connection,
    account: str,
    operations: Iterable[Operation],
    our_reference: str | None,
    provider_reference: str | None,
) -> Attempt | None:
    """The attempt a provider talks about, by our reference first."""
    for column, value in (
        (t.attempt.c.our_reference, our_reference),
        (t.attempt.c.provider_reference, provider_reference),
    ):
        if value is None:
            continue
        query = (
            sa.select(t.attempt)
            .where(
                t.attempt.c.gateway_account == account,
                t.attempt.c.operation.in_([str(operation) for operation in operations]),
                column == value,
            )
            .order_by(t.attempt.c.id)
            .limit(1)
        )
        row = _one(tx, query)
        if row is not None:
            return attempt_of(row)
    return None


def record_call(tx: sa.Connection, account: str, values: Mapping[str, Any]) -> None:
    tx.execute(sa.insert(t.provider_call), dict(values))
    tally.count(tx, *counted.call_cell(account, values))


def calls(tx: sa.Connection, attempt_id: UUID) -> list[Mapping[str, Any]]:
    query = sa.select(t.provider_call).where(t.provider_call.c.attempt_id == attempt_id)
    return [dict(row) for row in tx.execute(query.order_by(t.provider_call.c.id)).mappings()]


# -- captures and refunds --------------------------------------------------------------------------


def insert_capture(tx: sa.Connection, values: Mapping[str, Any]) -> Capture:
    row = tx.execute(sa.insert(t.capture).returning(*t.capture.c), dict(values)).mappings().one()
    return capture_of(dict(row))


def captures(tx: sa.Connection, payment_id: UUID) -> list[Capture]:
    query = (
        sa.select(t.capture).where(t.capture.c.payment_id == payment_id).order_by(t.capture.c.no)
    )
    return [capture_of(dict(row)) for row in tx.execute(query).mappings()]


def set_capture_state(tx: sa.Connection, capture_id: UUID, state: str, at: datetime) -> None:
    tx.execute(
        sa.update(t.capture).where(t.capture.c.id == capture_id).values(state=state, updated_at=at)
    )


def insert_refund(tx: sa.Connection, values: Mapping[str, Any]) -> Refund:
    row = tx.execute(sa.insert(t.refund).returning(*t.refund.c), dict(values)).mappings().one()
    made = refund_of(dict(row))
    tally.count(tx, *counted.refund_cell(made))
    return made


def refund(tx: sa.Connection, refund_id: UUID) -> Refund:
    row = _one(tx, sa.select(t.refund).where(t.refund.c.id == refund_id))
    if row is None:
        raise NotFound("refund.not_found", field="id", id=encode("refund", refund_id))
    return refund_of(row)


def refunds(tx: sa.Connection, payment_id: UUID) -> list[Refund]:
    query = sa.select(t.refund).where(t.refund.c.payment_id == payment_id).order_by(t.refund.c.id)
    return [refund_of(dict(row)) for row in tx.execute(query).mappings()]


def update_refund(tx: sa.Connection, before: Refund, at: datetime, **values: Any) -> Refund:
    row = (
        tx.execute(
            sa.update(t.refund)
            .where(t.refund.c.id == before.id, t.refund.c.version == before.version)
            .values(**values, version=before.version + 1, updated_at=at)
            .returning(*t.refund.c)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise Conflict("refund.changed_meanwhile", id=encode("refund", before.id))
    after = refund_of(dict(row))
    if after.state is not before.state:
        tally.count(tx, *counted.refund_cell(after))
    return after
