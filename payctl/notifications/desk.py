"""Deliveries as operators see and mend them: list, dead letters, replay, enable again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl import pan
from payctl.db.actor import Actor
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.errors import Conflict, InvalidInput, NotFound
from payctl.ids import encode, floor_of
from payctl.notifications import store
from payctl.notifications.lag import CORE, Lag, lag
from payctl.notifications.outbox import Notification
from payctl.notifications.tables import (
    notification,
    notification_delivery,
)

STATES = ("pending", "delivered", "dead", "dropped")
_n, _d = notification.c, notification_delivery.c
_HERE = sa.and_(_d.endpoint == CORE, _d.notification_id == _n.id)
_DELIVERY = (_d.tries, _d.waits, _d.next_try_at, _d.tried_at, _d.reason, _d.settled_at)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notification and how far the core service has been told of it.

    One that no relay has taken up yet is ``pending``. A pending one without ``next_try_at`` waits
    for an earlier one of its object, or to be taken up.
    """

    notification: Notification
    state: str
    tries: int
    waits: int
    next_try_at: datetime | None
    tried_at: datetime | None
    reason: str | None
    settled_at: datetime | None


class Deliveries:
    """What operators do about deliveries to the core service."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # -- looking ----------------------------------------------------------------------------------

    def get(self, notification_id: UUID) -> Delivery:
        """One notification.

        Raises:
            NotFound: ``notification.not_found``.
        """
        with self._db.read() as tx:
            return _get(tx, notification_id)

    def list(
        self,
        *,
        state: str | None = None,
        type: str | None = None,
        object_id: UUID | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Sequence[Delivery]:
        """Notifications, newest first, at most *limit*, before the id *after*.

        Raises:
            InvalidInput: ``notification.unknown_state``.
        """
        if state is not None and state not in STATES:
            raise InvalidInput(
                "notification.unknown_state",
                field="status",
                state=state[:40],
                known=", ".join(STATES),
            )
        query = _chosen(_view(), type, object_id, since, until)
        if after is not None:
            query = query.where(_n.id < after)
        if state == "pending":
            query = query.where(sa.or_(_d.state.is_(None), _d.state == "pending"))
        elif state is not None:
            query = query.where(_d.state == state)
        with self._db.read() as tx:
            if state == "pending":
                query = query.where(_n.id > _all_settled_to(tx))
            rows = tx.execute(query.order_by(_n.id.desc()).limit(limit)).mappings()
            return [_delivery(row) for row in rows]

    def due(self, limit: int = 50) -> Sequence[Delivery]:
        """What a relay would send now, the one that has been due longest first; not what no relay
        has taken up yet.
        """
        now = self._db.clock.now()
        query = (
            _view()
            .where(_d.next_try_at.is_not(None), _d.next_try_at <= now)
            .order_by(_d.next_try_at, _d.notification_id)
            .limit(limit)
        )
        with self._db.read() as tx:
            return [_delivery(row) for row in tx.execute(query).mappings()]

    def lag(self) -> Lag:
        """How far the core service is behind."""
        with self._db.read() as tx:
            return lag(tx, self._db.clock.now())

    # -- dead letters -----------------------------------------------------------------------------

    def retry(
        self, actor: Actor, notification_id: UUID, reason: str, *, dry_run: bool = False
    ) -> Delivery:
        """Make a dead letter due again, with all its tries.

        Raises:
            Forbidden: ``operator.not_allowed``. NotFound: ``notification.not_found``.
            Conflict: ``notification.not_dead``. InvalidInput: ``reason.missing``.
        """
        values = {"state": "pending", "tries": 0, "waits": 0, "settled_at": None}
        return self._dead(actor, notification_id, "outbox.retried", reason, dry_run, values)

    def drop(
        self, actor: Actor, notification_id: UUID, reason: str, *, dry_run: bool = False
    ) -> Delivery:
        """Give a dead letter up for good; it stays readable and can be replayed.

        Raises: as :meth:`retry`.
        """
        values = {"state": "dropped", "reason": f"dropped by {actor.name}: {reason}"[:400]}
        return self._dead(actor, notification_id, "outbox.dropped", reason, dry_run, values)

    def _dead(
        self,
        actor: Actor,
        notification_id: UUID,
        action: str,
        reason: str,
        dry_run: bool,
        values: Mapping[str, Any],
    ) -> Delivery:
        require(actor, "outbox.replay")
        _check(reason)
        with self._db.writing(dry_run) as tx:
            endpoint = store.lock(tx, CORE)
            before = _get(tx, notification_id)
            if before.state != "dead":
                raise Conflict(
                    "notification.not_dead",
                    id=encode("notification", notification_id),
                    state=before.state,
                )
            _update(tx, [_d.notification_id == notification_id], values)
            one = sa.select(_n.id).where(
                _n.id == notification_id, ~store.earlier_open(endpoint, notification)
            )
            store.make_due(tx, endpoint, one, self._db.clock.now())
            about = {"type": before.notification.type, "was": before.reason}
            self._record(tx, actor, action, notification_id, about, reason)
            return _get(tx, notification_id)

    # -- replay -----------------------------------------------------------------------------------

    def replay(
        self,
        actor: Actor,
        reason: str,
        *,
        since: datetime,
        until: datetime | None = None,
        type: str | None = None,
        object_id: UUID | None = None,
        dry_run: bool = False,
    ) -> int:
        """Have notifications made from *since* up to *until* sent again, whatever became of them,
        under the same ids and in order per object; returns how many.

        Those still pending are not among them: they come anyway.

        Raises:
            Forbidden: ``operator.not_allowed``. InvalidInput: ``reason.missing``.
        """
        require(actor, "outbox.replay")
        _check(reason)
        chosen = _chosen(sa.select(_n.id), type, object_id, since, until)
        bounds = [_d.notification_id >= floor_of(since)]
        if until is not None:
            bounds.append(_d.notification_id <= floor_of(until + timedelta(milliseconds=1)))
        values = {"state": "pending", "tries": 0, "waits": 0, "reason": None, "settled_at": None}
        with self._db.writing(dry_run) as tx:
            endpoint = store.lock(tx, CORE)
            count = _update(
                tx, [*bounds, _d.notification_id.in_(chosen), _d.state != "pending"], values
            )
            ready = chosen.where(~store.earlier_open(endpoint, notification))
            store.make_due(tx, endpoint, ready, self._db.clock.now())
            about = {
                "since": since,
                "until": until,
                "type": type,
                "object": object_id,
                "count": count,
            }
            self._record(tx, actor, "outbox.replayed", None, about, reason)
        return count

    # -- the endpoint -----------------------------------------------------------------------------

    def enable(self, actor: Actor, reason: str, *, dry_run: bool = False) -> Lag:
        """Send again to an endpoint that was disabled by its 410, or is left alone for a while.

        Raises:
            Forbidden: ``operator.not_allowed``. Conflict: ``notification.endpoint_up``.
            InvalidInput: ``reason.missing``.
        """
        require(actor, "outbox.replay")
        _check(reason)
        with self._db.writing(dry_run) as tx:
            endpoint = store.lock(tx, CORE)
            if endpoint.state == "enabled" and endpoint.pauses == 0:
                raise Conflict("notification.endpoint_up")
            store.write(
                tx, endpoint, state="enabled", pauses=0, paused_until=None, streak=(), reason=None
            )
            about = {"endpoint": CORE, "state": endpoint.state, "was": endpoint.reason}
            self._record(tx, actor, "outbox.enabled", None, about, reason)
            return lag(tx, self._db.clock.now())

    def _record(
        self,
        tx: sa.Connection,
        actor: Actor,
        action: str,
        subject: UUID | None,
        about: Mapping[str, Any],
        reason: str,
    ) -> None:
        kind = "notification" if subject is not None else "endpoint"
        record(self._db, tx, actor, action, kind, subject, about, pan.scrub(reason))


def _check(reason: str) -> None:
    if not reason.strip():
        raise InvalidInput("reason.missing", field="reason")


def _view() -> sa.Select[Any]:
    joined = notification.outerjoin(notification_delivery, _HERE)
    return sa.select(notification, _d.state, *_DELIVERY).select_from(joined)


def _get(tx: sa.Connection, notification_id: UUID) -> Delivery:
    row = tx.execute(_view().where(_n.id == notification_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(
            "notification.not_found", field="id", id=encode("notification", notification_id)
        )
    return _delivery(row)


def _delivery(row: sa.RowMapping) -> Delivery:
    values = dict(row)
    made = Notification(**{name: values[name] for name in Notification.__slots__})
    rest = {column.name: values[column.name] for column in _DELIVERY}
    rest |= {"tries": rest["tries"] or 0, "waits": rest["waits"] or 0}
    return Delivery(made, values["state"] or "pending", **rest)


def _chosen(
    query: sa.Select[Any],
    type: str | None,
    object_id: UUID | None,
    since: datetime | None,
    until: datetime | None,
) -> sa.Select[Any]:
    if type is not None:
        query = query.where(_n.type == type)
    if object_id is not None:
        query = query.where(_n.object_id == object_id)
    if since is not None:
        query = query.where(_n.id >= floor_of(since), _n.created_at >= since)
    if until is not None:
        edge = floor_of(until + timedelta(milliseconds=1))
        query = query.where(_n.id <= edge, _n.created_at < until)
    return query


def _all_settled_to(tx: sa.Connection) -> UUID:
    """Up to here nothing is pending: a lower bound for a list of what is."""
    first = tx.scalar(
        sa.select(sa.func.min(_d.notification_id)).where(_d.endpoint == CORE, _d.state == "pending")
    )
    endpoint = store.read(tx, CORE)
    known = endpoint.looked_to if endpoint is not None else store.FIRST
    return UUID(int=max(min(known.int, first.int - 1 if first is not None else known.int), 0))


def _update(
    tx: sa.Connection, where: Sequence[sa.ColumnElement[bool]], values: Mapping[str, Any]
) -> int:
    done = tx.execute(
        sa.update(notification_delivery)
        .where(_d.endpoint == CORE, *where)
        .values(**values, next_try_at=None, worker=None)
    )
    return int(done.rowcount)
