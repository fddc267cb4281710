"""Everything the book knows of one payment, read in one snapshot: what ``trace`` tells from.

A receipt nobody ordered has no payment; its dossier holds the event, the case and the journal that
booked it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.cases import store as case_store
from payctl.cases.model import Case, CaseEvent
from payctl.cases.tables import case_record
from payctl.db.approvals import Approval
from payctl.db.tables import approval
from payctl.insight.whereabouts import Booked, Live, Whereabouts, locate
from payctl.ledger import journals
from payctl.ledger.model import Journal
from payctl.ledger.tables import journal
from payctl.notifications.lag import CORE
from payctl.notifications.tables import notification, notification_delivery
from payctl.payments.details import PaymentDetail
from payctl.payments.model import AttemptState, Operation
from payctl.payments.provider_tokens import tokens_of
from payctl.payments.queries import detail
from payctl.payments.records import Attempt
from payctl.payments.tables import provider_call
from payctl.webhooks.tables import webhook_event

#: Webhook events and notifications read for one payment at most.
MAX_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Call:
    """One exchange with a provider. ``correlation_id`` joins it to the log."""

    attempt_id: UUID
    call: str
    source: str
    outcome: str
    http_status: int | None
    latency_ms: int
    at: datetime
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook event of the inbox."""

    id: UUID
    account: str
    type: str | None
    state: str
    reason: str | None
    received_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Told:
    """One notification to the core service. ``state`` and ``settled_at`` are those of its delivery;
    ``None`` before it was tried, and where nothing is delivered at all.
    """

    id: UUID
    type: str
    sequence: int
    created_at: datetime
    correlation_id: str | None = None
    state: str | None = None
    settled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Dossier:
    """A payment, or a receipt without one, with all that happened."""

    found: PaymentDetail | None
    journals: tuple[Journal, ...] = ()
    cases: tuple[tuple[Case, tuple[CaseEvent, ...]], ...] = ()
    approvals: tuple[Approval, ...] = ()
    calls: tuple[Call, ...] = ()
    hooks: tuple[Hook, ...] = ()
    told: tuple[Told, ...] = ()

    def whereabouts(self) -> Whereabouts:
        """Where the money is, by the entries and the open attempts."""
        booked = [
            Booked(each.kind, entry.account, entry.currency, entry.amount_minor)
            for each in self.journals
            for entry in each.entries
        ]
        if self.found is None:
            return locate(booked, ())
        left = self.found.payment.capturable_minor
        return locate(booked, live_of(self.found.attempts, self.found.approved), left)


def live_of(attempts: Iterable[Attempt], approved: frozenset[UUID] = frozenset()) -> list[Live]:
    """The attempts whose outcome is open; *approved* are those whose customer has agreed."""
    return [
        Live(
            each.operation,
            each.gateway_account,
            _known(each),
            each.amount_minor,
            each.currency,
            each.id in approved,
        )
        for each in attempts
        if each.state.live
    ]


def _known(attempt: Attempt) -> AttemptState:
    """A payment that waits for its customer may have been taken once we have asked for that."""
    waits = attempt.state in (AttemptState.PENDING, AttemptState.REQUIRES_ACTION)
    return AttemptState.UNKNOWN if waits and attempt.completion_at else attempt.state


def of_payment(tx: sa.Connection, payment_id: UUID, *, whole: bool = True) -> Dossier:
    """The dossier of a payment; without *whole* only what tells where the money is and what to do.

    Raises:
        NotFound: ``payment.not_found``.
    """
    found = detail(tx, payment_id)
    parts = [*(each.id for each in found.refunds), *(each.id for each in found.disputes)]
    cases = _cases(tx, case_record.c.subject_id.in_([payment_id, *parts]))
    posted = tuple(journals.stream(tx, journal.c.payment_id == payment_id))
    if not whole:
        return Dossier(found, posted, cases)
    return Dossier(
        found,
        posted,
        cases,
        _approvals(tx, [*parts, *(case.id for case, _ in cases)]),
        _calls(tx, [attempt.id for attempt in found.attempts]),
        _hooks(tx, found),
        _told(tx, [payment_id, *parts, *(case.id for case, _ in cases)]),
    )


def of_receipt(
    tx: sa.Connection,
    *,
    journal_ids: Sequence[UUID] = (),
    case_ids: Sequence[UUID] = (),
    event_ids: Sequence[UUID] = (),
) -> Dossier:
    """The dossier of something that belongs to no payment of ours."""
    cases = _cases(tx, case_record.c.id.in_(case_ids))
    posted = tuple(
        journals.stream(
            tx, sa.or_(journal.c.id.in_(journal_ids), journal.c.reverses_id.in_(journal_ids))
        )
    )
    hooks = _hook_rows(tx, webhook_event.c.id.in_(event_ids))
    told = _told(tx, case_ids)
    return Dossier(None, posted, cases, _approvals(tx, case_ids), (), hooks, told)


def _cases(
    tx: sa.Connection, condition: sa.ColumnElement[bool]
) -> tuple[tuple[Case, tuple[CaseEvent, ...]], ...]:
    rows = tx.execute(sa.select(case_record).where(condition).order_by(case_record.c.id))
    found = [Case(**row) for row in rows.mappings()]
    return tuple((case, tuple(case_store.events(tx, case.id))) for case in found)


def _approvals(tx: sa.Connection, subjects: Sequence[UUID]) -> tuple[Approval, ...]:
    query = sa.select(approval).where(approval.c.subject_id.in_(subjects)).order_by(approval.c.id)
    names = list(Approval.__dataclass_fields__)
    return tuple(Approval(**{name: row[name] for name in names}) for row in _rows(tx, query))


def _calls(tx: sa.Connection, attempts: Sequence[UUID]) -> tuple[Call, ...]:
    c = provider_call.c
    columns = (c.attempt_id, c.call, c.source, c.outcome, c.http_status, c.latency_ms, c.at)
    query = sa.select(*columns, c.exchange).where(c.attempt_id.in_(attempts)).order_by(c.id)
    return tuple(
        Call(*row[:-1], (row.exchange or {}).get("correlation_id")) for row in tx.execute(query)
    )


def _hooks(tx: sa.Connection, found: PaymentDetail) -> tuple[Hook, ...]:
    """Events about an attempt or a dispute: they name it by our reference, the provider's, or its
    secret.
    """
    followed = (Operation.CAPTURE, Operation.VOID)
    named = [each for each in found.attempts if each.operation not in followed]
    if not named:
        return ()
    c = webhook_event.c
    ours = {each.our_reference for each in named}
    theirs = {each.provider_reference for each in named if each.provider_reference}
    theirs |= {each.provider_reference for each in found.disputes}
    accounts = {each.gateway_account for each in named}
    secrets = [hashed for each in named for hashed in tokens_of(each.provider_data or {})]
    about = sa.or_(
        c.our_reference.in_(ours), c.provider_reference.in_(theirs), c.token_hash.in_(secrets)
    )
    return _hook_rows(tx, sa.and_(c.account.in_(accounts), about))


def _hook_rows(tx: sa.Connection, condition: sa.ColumnElement[bool]) -> tuple[Hook, ...]:
    c = webhook_event.c
    columns = (c.id, c.account, c.type, c.state, c.reason, c.received_at, c.settled_at)
    query = sa.select(*columns).where(condition).order_by(c.id).limit(MAX_ROWS)
    return tuple(Hook(**row) for row in _rows(tx, query))


def _told(tx: sa.Connection, objects: Sequence[UUID]) -> tuple[Told, ...]:
    c = notification.c
    # The kinds are named because the index begins with them.
    d = notification_delivery.c
    delivery = sa.and_(d.endpoint == CORE, d.notification_id == c.id)
    columns = (c.id, c.type, c.sequence, c.created_at, c.correlation_id, d.state, d.settled_at)
    query = sa.select(*columns)
    query = query.select_from(notification.outerjoin(notification_delivery, delivery)).where(
        c.object_kind.in_(("payment", "refund", "dispute", "case")), c.object_id.in_(objects)
    )
    return tuple(Told(**row) for row in _rows(tx, query.order_by(c.id).limit(MAX_ROWS)))


def _rows(tx: sa.Connection, query: sa.Select[Any]) -> Iterable[Mapping[str, Any]]:
    return [dict(row) for row in tx.execute(query).mappings()]
