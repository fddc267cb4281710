"""Payments as a file that can be imported into another book.

The whole export is one snapshot, read in the order the payments were made and written row by row,
so that its length costs no memory. It holds what customers gave of themselves, so it needs a right
of its own and is written down.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db import audit
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.db.tables import idempotency as keys
from payctl.db.types import canonical
from payctl.errors import InvalidInput
from payctl.ids import encode
from payctl.ledger.accounts import gateway_fee
from payctl.ledger.tables import account, entry, journal
from payctl.payments import tables as t
from payctl.payments.details import PaymentFilter
from payctl.payments.import_files import FORMATS, safe
from payctl.payments.import_rows import COLUMNS
from payctl.payments.queries import PAGE, payment_conditions
from payctl.payments.records import Payment, payment_of
from payctl.payments.requests import SCOPE

#: Every column of an import but the human forms of its amounts.
EXPORTED = tuple(name for name in COLUMNS if name not in ("amount", "fee"))


class Exports:
    """Writes payments down for another book."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def lines(self, actor: Actor, wanted: PaymentFilter, form: str) -> Iterator[str]:
        """The lines of the file, ``csv`` or ``jsonl``, oldest payment first.

        Raises:
            Forbidden: ``operator.not_allowed``.
            InvalidInput: ``choice.unknown`` for a form or a status that does not exist.
        """
        require(actor, "payment.export")
        if form not in FORMATS:
            raise InvalidInput(
                "choice.unknown", field="output", value=form[:40], allowed=", ".join(FORMATS)
            )
        conditions = payment_conditions(wanted)
        with self._db.transaction() as tx:
            chosen = {name: value for name, value in asdict(wanted).items() if value}
            audit.record(self._db, tx, actor, "payments.exported", "payment", None, chosen)
        return self._lines(conditions, form)

    def _lines(self, conditions: list[sa.ColumnElement[bool]], form: str) -> Iterator[str]:
        if form == "csv":
            yield _csv(EXPORTED)
        with self._db.read() as tx:
            found = tx.execution_options(yield_per=PAGE).execute(_query(conditions))
            for rows in found.mappings().partitions():
                fees = _fees(tx, [row["id"] for row in rows])
                for row in rows:
                    yield _line(_values(dict(row), fees), form)


def _query(conditions: list[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    """Payments with their keys. The keys are gathered once, because no index leads from a payment
    to its key, and looking for each would read all keys again.
    """
    wanted = sa.select(keys.c.subject_id, keys.c.key).where(keys.c.scope == SCOPE)
    known = wanted.cte("known").prefix_with("MATERIALIZED")
    received = t.attempt.c.id == t.payment.c.attempt_id
    return (
        sa.select(t.payment, known.c.key.label("own_key"), t.attempt.c.provider_reference)
        .select_from(t.payment)
        .outerjoin(known, known.c.subject_id == t.payment.c.id)
        .outerjoin(t.attempt, received)
        .where(*conditions)
        .order_by(t.payment.c.id)
    )


def _fees(tx: sa.Connection, payments: Sequence[UUID]) -> dict[tuple[UUID, str, str], int]:
    """The providers' fees of these payments by payment, account and currency, in minor units."""
    query = (
        sa.select(
            journal.c.payment_id, account.c.code, entry.c.currency,
            sa.func.sum(entry.c.amount_minor),
        )
        .join(entry, entry.c.journal_id == journal.c.id)
        .join(account, account.c.id == entry.c.account_id)
        .where(journal.c.payment_id.in_(payments), account.c.code.like("expense:gateway_fee:%"))
        .group_by(journal.c.payment_id, account.c.code, entry.c.currency)
    )  # fmt: skip
    return {(id_, code, currency): int(sum_) for id_, code, currency, sum_ in tx.execute(query)}


def _values(row: Mapping[str, Any], fees: Mapping[tuple[UUID, str, str], int]) -> dict[str, Any]:
    """One payment by column. ``captured_at`` is the moment its commission rate counts from."""
    columns = {name: value for name, value in row.items() if name in t.payment.c}
    payment = payment_of(columns)
    account_ = payment.gateway_account
    fee = fees.get((payment.id, gateway_fee(account_), payment.currency)) if account_ else None
    return {
        "key": row["own_key"] or encode("payment", payment.id),
        "currency": payment.currency,
        "gateway": account_,
        "captured_at": _moment(payment.created_at),
        "organiser": payment.organiser,
        "method": payment.method,
        "settled": "yes" if payment.imported and payment.imported["settled"] else "no",
        "amount_minor": payment.amount_minor,
        "provider_reference": row["provider_reference"],
        "order": payment.order_ref,
        "event": payment.event_ref,
        "user": payment.user_ref,
        "country": payment.country,
        "email": payment.email,
        "phone": payment.phone,
        "description": payment.description or None,
        "metadata": dict(payment.metadata) or None,
        "sale_type": payment.sale_type,
        "fee_minor": _fee(payment, fee),
        "status": str(payment.status),
        "captured_minor": payment.captured_minor,
        "refunded_minor": payment.refunded_minor,
    }


def _fee(payment: Payment, posted_minor: int | None) -> int | None:
    """What was posted, or the nothing an import was told of; ``None`` where it is not known."""
    told = payment.imported
    return posted_minor if posted_minor is not None or told is None else told["fee_minor"]


def _line(values: Mapping[str, Any], form: str) -> str:
    if form == "jsonl":
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n"
    return _csv([safe(name, _cell(values[name])) for name in EXPORTED])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return canonical(value) if isinstance(value, dict) else str(value)


def _csv(values: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue()


def _moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
