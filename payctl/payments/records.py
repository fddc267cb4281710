"""Rows of the payment tables as frozen dataclasses; field names are the column names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from payctl.payments.model import AttemptState, Operation, PaymentStatus, RefundState, Seen, Way

if TYPE_CHECKING:
    from payctl.gateways.base import Destination, Reference


# The two below have no slots: the fields in their ``__dict__`` are their rows, see ``row_of``.
@dataclass(frozen=True, kw_only=True)
class Payment:
    """A payment. Amounts in minor units of ``currency``; the defaults are those of a new one."""

    id: UUID
    status: PaymentStatus
    version: int = 0
    amount_minor: int
    currency: str
    method: str
    country: str | None
    sale_type: str
    manual_capture: bool
    order_ref: str | None
    event_ref: str | None
    organiser: str
    user_ref: str | None
    email: str | None
    phone: str | None
    description: str
    metadata: Mapping[str, str]
    return_url: str | None = None
    cancel_url: str | None = None
    preferred: list[str]
    payment_token: str | None = None
    expires_at: datetime | None = None
    gateway_account: str | None = None
    attempt_id: UUID | None = None
    failure_code: str | None = None
    needs_review: bool = False
    late: bool = False
    route: Mapping[str, Any] | None = None
    authorized_minor: int = 0
    captured_minor: int = 0
    refund_reserved_minor: int = 0
    refunded_minor: int = 0
    rate: Mapping[str, Any] | None = None
    commission_minor: int = 0
    vat_minor: int = 0
    pending_minor: int = 0
    commission_returned_minor: int = 0
    vat_returned_minor: int = 0
    created_by: str
    created_at: datetime
    updated_at: datetime
    next_check_at: datetime | None = None

    @property
    def refundable_minor(self) -> int:
        """What may still be given back."""
        return self.captured_minor - self.refunded_minor - self.refund_reserved_minor

    @property
    def capturable_minor(self) -> int:
        """What is authorised and not taken yet."""
        return self.authorized_minor - self.captured_minor

    @property
    def imported(self) -> Mapping[str, Any] | None:
        """Where it comes from when it was captured elsewhere, else ``None``."""
        return (self.route or {}).get("imported")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One request to one provider; the defaults are those of a new one."""

    id: UUID
    payment_id: UUID
    operation: Operation
    subject_id: UUID
    refund_id: UUID | None = None
    capture_id: UUID | None = None
    no: int
    gateway_account: str
    our_reference: str
    idempotency_key: str
    request_hash: bytes
    amount_minor: int
    currency: str
    state: AttemptState
    version: int = 0
    provider_reference: str | None = None
    lease_owner: str | None = None
    lease_until: datetime | None = None
    next_check_at: datetime | None = None
    checks: int = 0
    not_found: int = 0
    quarantine_until: datetime
    exposed_at: datetime | None = None
    expires_at: datetime | None = None
    code: str | None = None
    provider_code: str | None = None
    message: str | None = None
    next_action: Mapping[str, Any] | None = None
    received_minor: int | None = None
    received_currency: str | None = None
    receipt: str | None = None
    created_at: datetime
    updated_at: datetime
    provider_data: Mapping[str, str] | None = field(default=None, repr=False)
    payer: Mapping[str, Any] | None = field(default=None, repr=False)
    completion_key: str | None = field(default=None, repr=False)
    completion_at: datetime | None = None

    def seen(self, manual_capture: bool) -> Seen:
        """The part of it that decides what an answer means."""
        return Seen(
            self.state, self.operation, self.amount_minor, self.currency, self.checks,
            self.not_found, self.quarantine_until,
            manual_capture or self.operation is not Operation.COLLECT,
            completing=self.completion_at is not None,
        )  # fmt: skip

    def reference(self) -> Reference:
        """How to ask the provider about it."""
        from payctl.gateways.base import Reference

        return Reference(
            our_reference=self.our_reference,
            provider_reference=self.provider_reference,
            amount_minor=self.amount_minor,
            currency=self.currency,
            created_at=self.created_at,
            provider_data=self.provider_data or {},
        )

    def paid_by(self) -> Destination | None:
        """Whom the provider names as the one who paid, if it does."""
        from payctl.gateways.base import Destination

        return Destination(**self.payer) if self.payer else None


@dataclass(frozen=True, slots=True)
class Capture:
    """One capture of an authorised payment."""

    id: UUID
    payment_id: UUID
    no: int
    amount_minor: int
    final: bool
    state: str
    captured_before_minor: int
    created_by: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Refund:
    """One refund of one receipt."""

    id: UUID
    payment_id: UUID
    receipt_attempt_id: UUID
    gateway_account: str
    source: str
    amount_minor: int
    currency: str
    state: RefundState
    version: int
    reason: str
    keep_commission: bool
    failure_code: str | None
    approval_id: UUID | None
    pending_minor: int
    commission_minor: int
    vat_minor: int
    reserve_journal_id: UUID | None
    requested_by: str
    created_at: datetime
    updated_at: datetime
    next_check_at: datetime | None
    way: Way
    destination: Mapping[str, Any] | None = field(repr=False)

    def payee(self) -> Destination | None:
        """Where a payout of it goes."""
        from payctl.gateways.base import Destination

        return Destination(**self.destination) if self.destination else None


#: A payment or an attempt.
Record = TypeVar("Record", Payment, Attempt)


def payment_of(row: Mapping[str, Any]) -> Payment:
    return Payment(**{**row, "status": PaymentStatus(row["status"])})


def attempt_of(row: Mapping[str, Any]) -> Attempt:
    return Attempt(
        **{**row, "state": AttemptState(row["state"]), "operation": Operation(row["operation"])}
    )


def capture_of(row: Mapping[str, Any]) -> Capture:
    return Capture(**row)


def refund_of(row: Mapping[str, Any]) -> Refund:
    return Refund(**{**row, "state": RefundState(row["state"]), "way": Way(row["way"])})


def changed(what: Record, **values: Any) -> Record:
    """*what* with other *values*: ``dataclasses.replace`` for records of many fields."""
    fields = what.__dict__
    if not values.keys() <= fields.keys():
        raise TypeError(f"no such fields: {sorted(values.keys() - fields.keys())}")
    new = object.__new__(type(what))
    new.__dict__.update(fields, **values)
    return new


def row_of(what: Payment | Attempt) -> Mapping[str, Any]:
    """A record as the row of its table: the fields are the columns."""
    return what.__dict__
