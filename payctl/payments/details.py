"""What can be asked about payments and what comes back, as plain data: no SQL in it, so that a
command line can name it without importing a database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

from payctl.payments.records import Attempt, Capture, Payment, Refund

if TYPE_CHECKING:
    from payctl.payments.dispute_records import DisputeRecord

T = TypeVar("T")

#: ``--status open``: everything that has not ended.
OPEN = "open"


@dataclass(frozen=True, slots=True)
class PaymentFilter:
    """Which payments; ``None`` is any. *since* is inclusive, *until* is not."""

    status: str | None = None
    gateway: str | None = None
    currency: str | None = None
    organiser: str | None = None
    order: str | None = None
    event: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    review: bool = False


@dataclass(frozen=True, slots=True)
class RefundFilter:
    """Which refunds; ``None`` is any."""

    status: str | None = None
    payment_id: UUID | None = None
    gateway: str | None = None
    currency: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows, and the id to go on after when there are more."""

    items: Sequence[T]
    next: UUID | None = None


@dataclass(frozen=True, slots=True)
class PaymentDetail:
    """A payment with all that belongs to it."""

    payment: Payment
    attempts: tuple[Attempt, ...] = ()
    captures: tuple[Capture, ...] = ()
    refunds: tuple[Refund, ...] = ()
    lines: tuple[Mapping[str, Any], ...] = field(default=())
    disputes: tuple[DisputeRecord, ...] = ()
    #: attempts whose customer has agreed, by the provider's last word, and whose money is not taken
    approved: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class RefundDetail:
    """A refund with its attempts."""

    refund: Refund
    attempts: tuple[Attempt, ...] = ()
