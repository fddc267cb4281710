"""Reading payments and refunds: lists with filters and cursors, one with all that belongs to it,
and statistics.

Lists are newest first by id: a UUIDv7 begins with the time it was made, so the primary key is also
the order of time and its range bounds a span of days without another index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.errors import InvalidInput, NotFound
from payctl.gateways.outcome import Outcome
from payctl.ids import floor_of
from payctl.payments import store
from payctl.payments import tables as t
from payctl.payments.details import (
    OPEN,
    Page,
    PaymentDetail,
    PaymentFilter,
    RefundDetail,
    RefundFilter,
)
from payctl.payments.model import (
    AttemptState,
    Operation,
    PaymentStatus,
    RefundState,
)
from payctl.payments.records import (
    Attempt,
    Capture,
    Payment,
    attempt_of,
    capture_of,
    payment_of,
    refund_of,
)

T = TypeVar("T")

PAGE = 500
#: An id may be this much older than the time written beside it: clocks of several machines differ.
_SKEW = timedelta(hours=1)
#: Answers that tell nothing about the payment.
_SAYS_NOTHING = (Outcome.NOT_SENT, Outcome.UNKNOWN, Outcome.REJECTED)


class Queries:
    """What can be asked about payments."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # -- payments -------------------------------------------------------------------------------

    def payments(
        self, wanted: PaymentFilter, *, after: UUID | None = None, limit: int = 50
    ) -> Page[PaymentDetail]:
        """A page of payments with their attempts and captures, newest first.

        Raises:
            InvalidInput: ``choice.unknown`` for a status that does not exist.
        """
        query = sa.select(t.payment).where(*payment_conditions(wanted))
        if after is not None:
            query = query.where(t.payment.c.id < after)
        query = query.order_by(t.payment.c.id.desc()).limit(limit + 1)
        with self._db.read() as tx:
            rows = [payment_of(dict(row)) for row in tx.execute(query).mappings()]
            found = _with_parts(tx, rows[:limit])
        return Page(found, rows[limit - 1].id if len(rows) > limit else None)

    def knows_token(self, account: str, token_hash: bytes) -> bool:
        """Whether a provider's secret (its hash) was given to one attempt of *account*, so that an
        event which shows it is the provider's.
        """
        with self._db.read() as tx:
            return store.attempt_by_token(tx, account, token_hash) is not None

    def all_payments(self, wanted: PaymentFilter) -> Iterator[PaymentDetail]:
        """Every payment, page by page, so that a long list costs little memory."""
        return _every(lambda after: self.payments(wanted, after=after, limit=PAGE), _payment_id)

    def payment(self, payment_id: UUID) -> PaymentDetail:
        """One payment with all that belongs to it.

        Raises:
            NotFound: ``payment.not_found``.
        """
        with self._db.read() as tx:
            return detail(tx, payment_id)

    def payment_of(self, account: str, provider_reference: str) -> UUID:
        """The payment a provider knows by this reference.

        Raises:
            NotFound: ``payment.not_found``.
        """
        c = t.attempt.c
        query = sa.select(c.payment_id).where(
            c.gateway_account == account,
            c.operation == Operation.COLLECT,
            c.provider_reference == provider_reference,
        )
        with self._db.read() as tx:
            found: UUID | None = tx.execute(query).scalar_one_or_none()
        if found is None:
            raise NotFound("payment.not_found", field="intent", id=provider_reference[:60])
        return found

    def unfinished(self, before: datetime, limit: int) -> list[UUID]:
        """Payments with a live attempt that was begun before *before*, oldest first."""
        live = sa.select(t.attempt.c.payment_id).where(t.LIVE, t.attempt.c.created_at < before)
        query = sa.select(t.payment.c.id).where(t.payment.c.id.in_(live))
        with self._db.read() as tx:
            return list(tx.execute(query.order_by(t.payment.c.id).limit(limit)).scalars())

    def due(self, limit: int) -> list[UUID]:
        """Payments that a run of ``payments sync`` would begin with now, oldest first."""
        now = self._db.clock.now()
        attempts = sa.select(t.attempt.c.payment_id).where(t.LIVE, t.attempt.c.next_check_at <= now)
        query = sa.select(t.payment.c.id).where(
            sa.or_(t.payment.c.next_check_at <= now, t.payment.c.id.in_(attempts))
        )
        with self._db.read() as tx:
            return list(tx.execute(query.order_by(t.payment.c.id).limit(limit)).scalars())

    # -- refunds --------------------------------------------------------------------------------

    def refunds(
        self, wanted: RefundFilter, *, after: UUID | None = None, limit: int = 50
    ) -> Page[RefundDetail]:
        """A page of refunds with their attempts, newest first.

        Raises:
            InvalidInput: ``choice.unknown`` for a state that does not exist.
        """
        query = sa.select(t.refund).where(*refund_conditions(wanted))
        if after is not None:
            query = query.where(t.refund.c.id < after)
        query = query.order_by(t.refund.c.id.desc()).limit(limit + 1)
        with self._db.read() as tx:
            rows = [refund_of(dict(row)) for row in tx.execute(query).mappings()]
            kept = rows[:limit]
            attempts = _attempts(tx, t.attempt.c.refund_id, [each.id for each in kept])
        found = [RefundDetail(each, tuple(attempts.get(each.id, ()))) for each in kept]
        return Page(found, rows[limit - 1].id if len(rows) > limit else None)

    def all_refunds(self, wanted: RefundFilter) -> Iterator[RefundDetail]:
        """Every refund, page by page."""
        return _every(lambda after: self.refunds(wanted, after=after, limit=PAGE), _refund_id)

    def refund(self, refund_id: UUID) -> RefundDetail:
        """One refund with its attempts.

        Raises:
            NotFound: ``refund.not_found``.
        """
        with self._db.read() as tx:
            found = store.refund(tx, refund_id)
            attempts = _attempts(tx, t.attempt.c.refund_id, [refund_id])
        return RefundDetail(found, tuple(attempts.get(refund_id, ())))


def detail(tx: sa.Connection, payment_id: UUID) -> PaymentDetail:
    """One payment with all that belongs to it, in the caller's transaction.

    Raises:
        NotFound: ``payment.not_found``.
    """
    from payctl.payments import dispute_records

    attempts = tuple(store.attempts(tx, payment_id))
    return PaymentDetail(
        store.payment(tx, payment_id),
        attempts,
        tuple(store.captures(tx, payment_id)),
        tuple(store.refunds(tx, payment_id)),
        tuple(store.lines(tx, payment_id)),
        tuple(dispute_records.of_payment(tx, payment_id)),
        frozenset(each.id for each in attempts if _approved(tx, each)),
    )


def _approved(tx: sa.Connection, attempt: Attempt) -> bool:
    """Whether the provider said last that the customer agrees. Nothing is asked for it here."""
    waits = (AttemptState.PENDING, AttemptState.REQUIRES_ACTION)
    if attempt.operation is not Operation.COLLECT or attempt.state not in waits:
        return False
    c = t.provider_call.c
    said = sa.select(c.outcome).where(c.attempt_id == attempt.id, c.outcome.not_in(_SAYS_NOTHING))
    return tx.execute(said.order_by(c.id.desc()).limit(1)).scalar() == Outcome.APPROVED


def payment_conditions(wanted: PaymentFilter) -> list[sa.ColumnElement[bool]]:
    """The filter as SQL.

    Raises:
        InvalidInput: ``choice.unknown``.
    """
    c = t.payment.c
    conditions: list[sa.ColumnElement[bool]] = [
        column == value
        for column, value in (
            (c.gateway_account, wanted.gateway),
            (c.currency, wanted.currency),
            (c.organiser, wanted.organiser),
            (c.order_ref, wanted.order),
            (c.event_ref, wanted.event),
        )
        if value is not None
    ]
    if wanted.status == OPEN:
        ended = [str(status) for status in PaymentStatus if status.terminal]
        conditions.append(c.status.not_in(ended))
    elif wanted.status is not None:
        conditions.append(c.status == _known(wanted.status, (*PaymentStatus, OPEN)))
    if wanted.review:
        conditions.append(c.needs_review == sa.true())
    return conditions + _span(c.id, c.created_at, wanted.since, wanted.until)


def refund_conditions(wanted: RefundFilter) -> list[sa.ColumnElement[bool]]:
    """The filter as SQL.

    Raises:
        InvalidInput: ``choice.unknown``.
    """
    c = t.refund.c
    conditions: list[sa.ColumnElement[bool]] = [
        column == value
        for column, value in (
            (c.payment_id, wanted.payment_id),
            (c.gateway_account, wanted.gateway),
            (c.currency, wanted.currency),
        )
        if value is not None
    ]
    if wanted.status == OPEN:
        ended = (RefundState.SUCCEEDED, RefundState.FAILED, RefundState.REJECTED)
        conditions.append(c.state.not_in([str(state) for state in ended]))
    elif wanted.status is not None:
        conditions.append(c.state == _known(wanted.status, (*RefundState, OPEN)))
    return conditions + _span(c.id, c.created_at, wanted.since, wanted.until)


def _span(
    id_column: sa.ColumnElement[Any],
    time_column: sa.ColumnElement[Any],
    since: datetime | None,
    until: datetime | None,
) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if since is not None:
        conditions += [id_column >= floor_of(since - _SKEW), time_column >= since]
    if until is not None:
        conditions += [id_column < floor_of(until + _SKEW), time_column < until]
    return conditions


def _known(status: str, known: Sequence[str]) -> str:
    if status not in [str(each) for each in known]:
        raise InvalidInput(
            "choice.unknown", field="status", value=status[:40],
            allowed=", ".join(str(each) for each in known),
        )  # fmt: skip
    return status


def _with_parts(tx: sa.Connection, rows: Sequence[Payment]) -> list[PaymentDetail]:
    keys = [row.id for row in rows]
    attempts = _attempts(tx, t.attempt.c.payment_id, keys)
    captures: dict[UUID, list[Capture]] = {}
    query = sa.select(t.capture).where(t.capture.c.payment_id.in_(keys)).order_by(t.capture.c.no)
    for row in tx.execute(query).mappings() if keys else ():
        captures.setdefault(row["payment_id"], []).append(capture_of(dict(row)))
    return [
        PaymentDetail(row, tuple(attempts.get(row.id, ())), tuple(captures.get(row.id, ())))
        for row in rows
    ]


def _attempts(
    tx: sa.Connection, column: sa.Column[Any], keys: Sequence[UUID]
) -> dict[UUID, list[Attempt]]:
    """Attempts of many payments or refunds in one statement, in the order they were made."""
    found: dict[UUID, list[Attempt]] = {}
    if keys:
        query = sa.select(t.attempt).where(column.in_(keys))
        for row in tx.execute(query.order_by(t.attempt.c.created_at, t.attempt.c.id)).mappings():
            found.setdefault(row[column.name], []).append(attempt_of(dict(row)))
    return found


def _every(page: Callable[[UUID | None], Page[T]], key: Callable[[T], UUID]) -> Iterator[T]:
    after: UUID | None = None
    while True:
        found = page(after)
        yield from found.items
        if found.next is None:
            return
        after = key(found.items[-1])


def _payment_id(found: PaymentDetail) -> UUID:
    return found.payment.id


def _refund_id(found: RefundDetail) -> UUID:
    return found.refund.id
