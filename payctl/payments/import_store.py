"""SQL of imports: a whole batch of rows in one statement each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.tables import idempotency as keys
from payctl.db.upsert import insert_into
from payctl.payments import tables as t
from payctl.payments.import_rows import ImportRow
from payctl.payments.model import AttemptState, Operation, PaymentStatus
from payctl.payments.records import Attempt, Payment, row_of
from payctl.payments.requests import SCOPE
from payctl.payments.sales import Part, Sale


class Origin(NamedTuple):
    """Where a row stands: the file's name and the line in it."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Made:
    """A row as the payment it becomes, the attempt that received its money, and whose it is."""

    row: ImportRow
    payment: Payment
    attempt: Attempt
    sale: Sale
    part: Part


def claim(
    db: Database, tx: sa.Connection, rows: Iterable[ImportRow]
) -> tuple[dict[str, UUID], dict[str, bytes]]:
    """Claim the keys of *rows* for payments to be made: the payment id of each that is now ours,
    and the fingerprint of the request every other belongs to.

    Keys are taken in order, so two batches wait for each other in one direction only; whoever
    comes second sees what the first has committed. An id is one of the time the money came in, so
    that the payment stands among those of its day.
    """
    now = db.clock.now()
    wanted = [
        {
            "scope": SCOPE, "key": row.wanted.key, "fingerprint": row.fingerprint(),
            "outcome": "created", "subject_id": db.ids.at(row.captured_at), "created_at": now,
        }
        for row in sorted(rows, key=lambda row: row.wanted.key)
    ]  # fmt: skip
    insert = insert_into(keys, is_sqlite=db.is_sqlite)
    statement = insert.on_conflict_do_nothing().returning(keys.c.key, keys.c.subject_id)
    ours = {row.key: row.subject_id for row in tx.execute(statement, wanted)}
    others = [row["key"] for row in wanted if row["key"] not in ours]
    if not others:
        return ours, {}
    query = sa.select(keys.c.key, keys.c.fingerprint)
    stored = tx.execute(query.where(keys.c.scope == SCOPE, keys.c.key.in_(others)))
    return ours, {row.key: row.fingerprint for row in stored}


def release(tx: sa.Connection, names: Sequence[str]) -> None:
    """Give back keys that were claimed in this transaction for rows that were then refused."""
    if names:
        tx.execute(sa.delete(keys).where(keys.c.scope == SCOPE, keys.c.key.in_(names)))


def taken_references(tx: sa.Connection, rows: Iterable[ImportRow]) -> set[tuple[str, str | None]]:
    """Account and provider reference of the receipts among *rows* that the book has already."""
    wanted = {row.provider_reference for row in rows if row.provider_reference is not None}
    c = t.attempt.c
    query = sa.select(c.gateway_account, c.provider_reference).where(
        c.operation == Operation.COLLECT, c.provider_reference.in_(sorted(wanted))
    )
    return {(row.gateway_account, row.provider_reference) for row in tx.execute(query)}


def make(
    db: Database, actor: Actor, payment_id: UUID, row: ImportRow, sale: Sale, origin: Origin
) -> Made:
    """The rows of one payment."""
    payment = _payment(db, actor, payment_id, row, origin)
    part = sale.captured(payment, row.wanted.amount_minor)
    payment = replace(
        payment,
        captured_minor=row.wanted.amount_minor,
        rate=sale.as_json(),
        commission_minor=part.income_minor,
        vat_minor=part.vat_minor,
        pending_minor=0 if row.settled else part.owner_minor,
    )
    return Made(row, payment, _attempt(db, payment, row), sale, part)


def insert(tx: sa.Connection, made: Sequence[Made]) -> None:
    """Write payments and their attempts."""
    tx.execute(sa.insert(t.payment), [row_of(each.payment) for each in made])
    tx.execute(sa.insert(t.attempt), [row_of(each.attempt) for each in made])


def _payment(
    db: Database, actor: Actor, payment_id: UUID, row: ImportRow, origin: Origin
) -> Payment:
    wanted = row.wanted
    return Payment(
        id=payment_id,
        status=PaymentStatus.SUCCEEDED,
        amount_minor=wanted.amount_minor,
        currency=wanted.currency,
        method=wanted.method,
        country=wanted.country,
        sale_type=wanted.sale_type,
        manual_capture=False,
        order_ref=wanted.order,
        event_ref=wanted.event,
        organiser=wanted.organiser,
        user_ref=wanted.user,
        email=wanted.email,
        phone=wanted.phone,
        description=wanted.description,
        metadata=dict(wanted.metadata),
        preferred=[],
        gateway_account=row.gateway,
        attempt_id=db.ids.at(row.captured_at),
        route=_route(row, origin),
        created_by=actor.name,
        created_at=row.captured_at,
        updated_at=db.clock.now(),
    )


def _route(row: ImportRow, origin: Origin) -> dict[str, Any]:
    """In place of a decision: nobody chose the gateway, the file says which it was."""
    imported = {**origin._asdict(), "settled": row.settled, "fee_minor": row.fee_minor}
    return {"chosen": row.gateway, "candidates": [], "imported": imported}


def _attempt(db: Database, payment: Payment, row: ImportRow) -> Attempt:
    """The attempt somebody else made; nothing is asked or sent for it any more."""
    attempt_id = payment.attempt_id
    if attempt_id is None:
        raise AssertionError("a payment that was captured has its attempt")
    return Attempt(
        id=attempt_id,
        payment_id=payment.id,
        operation=Operation.COLLECT,
        subject_id=payment.id,
        no=1,
        gateway_account=row.gateway,
        our_reference=f"import-{attempt_id.hex}",
        idempotency_key=f"import-{attempt_id.hex}",
        request_hash=row.fingerprint(),
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        state=AttemptState.SUCCEEDED,
        provider_reference=row.provider_reference,
        quarantine_until=row.captured_at,
        received_minor=payment.amount_minor,
        received_currency=payment.currency,
        receipt="order",
        created_at=row.captured_at,
        updated_at=db.clock.now(),
    )
