"""Disputes as they are stored: rows in, records out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.errors import Conflict, NotFound
from payctl.gateways.disputes import DisputeStatus
from payctl.ids import encode
from payctl.money import format_money
from payctl.payments.records import Payment
from payctl.payments.tables import dispute as table

#: Statuses nothing follows.
ENDED = frozenset({DisputeStatus.WON, DisputeStatus.LOST, DisputeStatus.CLOSED})


@dataclass(frozen=True, slots=True)
class DisputeRecord:
    """One dispute of one receipt. Amounts in minor units of ``currency``."""

    id: UUID
    payment_id: UUID
    attempt_id: UUID
    gateway_account: str
    provider_reference: str
    amount_minor: int
    currency: str
    status: DisputeStatus
    reason: str
    respond_by: datetime | None
    version: int
    withdrawn_minor: int
    frozen_minor: int
    commission_minor: int
    vat_minor: int
    lost_minor: int
    settled: bool
    response: str | None
    response_key: str | None
    responded_by: str | None
    responded_at: datetime | None
    created_at: datetime
    updated_at: datetime
    next_check_at: datetime | None

    @property
    def contested_minor(self) -> int:
        """What of the payment it keeps from being refunded: nothing once it is won or dropped, what
        was taken once it is lost.
        """
        if self.status is DisputeStatus.LOST:
            return self.lost_minor
        return 0 if self.status in ENDED else self.amount_minor

    @property
    def commission_given_back(self) -> bool:
        """Whether what was lost took our commission with it, in proportion."""
        return bool(self.lost_minor and (self.commission_minor or self.vat_minor))


def _record(row: Mapping[str, Any]) -> DisputeRecord:
    return DisputeRecord(**{**row, "status": DisputeStatus(row["status"])})


def get(tx: sa.Connection, dispute_id: UUID) -> DisputeRecord:
    """One dispute.

    Raises:
        NotFound: ``dispute.not_found``.
    """
    row = tx.execute(sa.select(table).where(table.c.id == dispute_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("dispute.not_found", field="id", id=encode("dispute", dispute_id))
    return _record(dict(row))


def find(tx: sa.Connection, account: str, reference: str) -> DisputeRecord | None:
    """The dispute the provider calls *reference*."""
    query = sa.select(table).where(
        table.c.gateway_account == account, table.c.provider_reference == reference
    )
    row = tx.execute(query).mappings().one_or_none()
    return _record(dict(row)) if row is not None else None


def of_payment(tx: sa.Connection, payment_id: UUID) -> list[DisputeRecord]:
    query = sa.select(table).where(table.c.payment_id == payment_id).order_by(table.c.id)
    return [_record(dict(row)) for row in tx.execute(query).mappings()]


def insert(tx: sa.Connection, values: Mapping[str, Any]) -> DisputeRecord:
    row = tx.execute(sa.insert(table).returning(*table.c), dict(values)).mappings().one()
    return _record(dict(row))


def update(tx: sa.Connection, before: DisputeRecord, at: datetime, **values: Any) -> DisputeRecord:
    """Compare-and-set on the version.

    Raises:
        Conflict: ``dispute.changed_meanwhile``.
    """
    row = (
        tx.execute(
            sa.update(table)
            .where(table.c.id == before.id, table.c.version == before.version)
            .values(**values, version=before.version + 1, updated_at=at)
            .returning(*table.c)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise Conflict("dispute.changed_meanwhile", id=encode("dispute", before.id))
    return _record(dict(row))


def due(tx: sa.Connection, now: datetime, limit: int) -> list[DisputeRecord]:
    """Disputes whose time to be looked at has come, the most urgent first."""
    query = sa.select(table).where(table.c.next_check_at <= now)
    query = query.order_by(table.c.next_check_at).limit(limit)
    return [_record(dict(row)) for row in tx.execute(query).mappings()]


@dataclass(frozen=True, slots=True)
class DisputeFilter:
    """Which disputes to list; ``None`` leaves a field open."""

    status: str | None = None
    gateway: str | None = None
    payment_id: UUID | None = None
    #: only those we must answer before this time
    respond_before: datetime | None = None


def page(
    tx: sa.Connection, wanted: DisputeFilter, after: UUID | None, limit: int
) -> list[DisputeRecord]:
    """Newest first; by urgency where only those to be answered are wanted."""
    c = table.c
    query = sa.select(table)
    if wanted.status == "open":
        query = query.where(c.status.not_in([str(each) for each in ENDED]))
    elif wanted.status is not None:
        query = query.where(c.status == wanted.status)
    if wanted.gateway is not None:
        query = query.where(c.gateway_account == wanted.gateway)
    if wanted.payment_id is not None:
        query = query.where(c.payment_id == wanted.payment_id)
    if wanted.respond_before is not None:
        answerable = [str(DisputeStatus.INQUIRY), str(DisputeStatus.NEEDS_RESPONSE)]
        query = query.where(c.status.in_(answerable), c.respond_by <= wanted.respond_before)
        query = query.order_by(c.respond_by, c.id)
    else:
        query = query.order_by(c.id.desc())
    if after is not None:
        query = query.where(c.id < after)
    return [_record(dict(row)) for row in tx.execute(query.limit(limit)).mappings()]


def refuse_contested(tx: sa.Connection, payment: Payment, amount_minor: int) -> None:
    """What a customer contests is decided there; a refund beside it would pay twice.

    Raises:
        Conflict: ``refund.disputed``.
    """
    disputes = of_payment(tx, payment.id)
    contested = sum(each.contested_minor for each in disputes)
    left = max(payment.refundable_minor - contested, 0)
    if contested and amount_minor > left:
        raise Conflict(
            "refund.disputed",
            field="amount",
            id=encode("payment", payment.id),
            dispute=encode("dispute", disputes[-1].id),
            left=format_money(left, payment.currency),
        )
