"""SQL of deliveries: take up what is new, claim what is due, write down what became of it.

Every transaction that changes deliveries locks the endpoint's row first, so relays take turns in
the database and side by side on the network. Their statements look rows up one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db.types import Moment
from payctl.db.upsert import insert_into
from payctl.ids import floor_of, time_of
from payctl.notifications.outbox import Notification
from payctl.notifications.schedule import Endpoint, Parcel, Step
from payctl.notifications.tables import (
    notification,
    notification_delivery,
    notification_endpoint,
)

FIRST = UUID(int=0)
#: Each look starts this far behind the newest notification known: processes that write at the same
#: time commit in another order than they made their ids.
NEAR = timedelta(seconds=5)
#: So often a look starts where nothing can appear any more, however long a transaction lasted.
WIDE_EVERY = timedelta(seconds=10)
#: An id is made this long at most before its transaction writes for the first time.
SLACK = timedelta(seconds=60)
#: And so often one starts that much further back: for a process that was stopped in between.
DEEP_EVERY, DEEP = timedelta(hours=1), timedelta(hours=24)

_n, _d, _e = notification.c, notification_delivery.c, notification_endpoint.c
_NOTIFICATION = [each.name for each in fields(Notification)]


def lock(tx: sa.Connection, name: str, start: UUID = FIRST) -> Endpoint:
    """The endpoint, locked until *tx* ends; made when it is not there yet.

    Args:
        start: of a new one: notifications up to here are none of its business.
    """
    if tx.dialect.name == "postgresql":
        # What is right for large tables, whatever their statistics say.
        tx.exec_driver_sql(
            "SELECT set_config('enable_seqscan', 'off', true),"
            " set_config('enable_hashjoin', 'off', true),"
            " set_config('enable_mergejoin', 'off', true)"
        )
    query = sa.select(notification_endpoint).where(_e.name == name).with_for_update()
    row = tx.execute(query).mappings().one_or_none()
    if row is None:
        insert = insert_into(notification_endpoint, is_sqlite=tx.dialect.name == "sqlite")
        made = insert.values(
            name=name, state="enabled", start=start, front=start, looked_to=start, pauses=0,
            streak=[],
        )  # fmt: skip
        tx.execute(made.on_conflict_do_nothing())
        row = tx.execute(query).mappings().one()
    return _endpoint(row)


def read(tx: sa.Connection, name: str) -> Endpoint | None:
    """The endpoint, or ``None`` before anything was sent to it."""
    row = tx.execute(
        sa.select(notification_endpoint).where(_e.name == name)
    ).mappings().one_or_none()  # fmt: skip
    return _endpoint(row) if row is not None else None


def write(tx: sa.Connection, endpoint: Endpoint, **changes: Any) -> None:
    """Change columns of a locked endpoint."""
    if "streak" in changes:
        changes["streak"] = [str(each) for each in changes["streak"]]
    tx.execute(sa.update(notification_endpoint).where(_e.name == endpoint.name).values(**changes))


# -- taking up ------------------------------------------------------------------------------------


def adopt(tx: sa.Connection, endpoint: Endpoint, now: datetime, limit: int) -> int:
    """Take up at most *limit* notifications that *endpoint* (locked) knows nothing of yet.

    Ids rise with time but become visible when their transactions commit, so no id is a border below
    which all is known, but for ``looked_to``: it follows the clock at a distance, and only when
    every transaction has ended that was open when it was there.
    """
    wide = endpoint.looked_at is None or now - endpoint.looked_at >= WIDE_EVERY
    last = endpoint.looked_deep_at
    deep = wide and last is not None and now - last >= DEEP_EVERY
    bound = max(_before(endpoint.front, NEAR), endpoint.start)
    if wide:
        bound = min(bound, endpoint.looked_to)
    if deep:
        bound = max(_before(endpoint.looked_to, DEEP), endpoint.start)
    moved = _moved(tx, endpoint, now) if wide else {}
    found = sorted(_take_up(tx, endpoint, bound, now, limit))
    changes: dict[str, Any] = {}
    if found and found[-1] > endpoint.front:
        changes["front"] = found[-1]
    if wide and len(found) < limit:
        changes |= moved | {"looked_at": now}
        if deep or last is None:
            changes["looked_deep_at"] = now
    elif wide and "looked_to" in moved:
        # A long past is taken up piece by piece: the next look need not start over.
        changes["looked_to"] = max(min(found[-1], moved["looked_to"]), endpoint.looked_to)
    else:
        changes |= moved
    if changes:
        write(tx, endpoint, **changes)
    return len(found)


def _moved(tx: sa.Connection, endpoint: Endpoint, now: datetime) -> dict[str, Any]:
    """Where ``looked_to`` may go once this look is complete. Ask before looking."""
    border = max(floor_of(now - SLACK), endpoint.looked_to)
    if tx.dialect.name == "sqlite":
        return {"looked_to": border}  # there is one writer, and it is us
    xmin, xmax = tx.exec_driver_sql(
        "SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint"
        " FROM pg_current_snapshot() AS s"
    ).one()
    marked = endpoint.mark_xmax
    # A book that was moved to another server finds lower numbers there.
    if endpoint.mark is None or marked is None or marked > xmax:
        return {"mark": border, "mark_xmax": xmax}
    if xmin < marked:
        return {}
    return {"looked_to": endpoint.mark, "mark": border, "mark_xmax": xmax}


def _take_up(
    tx: sa.Connection, endpoint: Endpoint, bound: UUID, now: datetime, limit: int
) -> Sequence[UUID]:
    due = sa.case((_n.created_at > now, sa.literal(now, Moment)), else_=_n.created_at)
    fresh = (
        sa.select(
            sa.literal(endpoint.name),
            _n.id,
            sa.literal("pending"),
            sa.literal(0),
            sa.literal(0),
            sa.case((earlier_open(endpoint, notification), None), else_=due),
        )
        .where(_n.id > bound, _of(endpoint, notification, "state").is_(None))
        .order_by(_n.id)
        .limit(limit)
    )
    columns = ["endpoint", "notification_id", "state", "tries", "waits", "next_try_at"]
    insert = sa.insert(notification_delivery).from_select(columns, fresh, include_defaults=False)
    return tx.execute(insert.returning(_d.notification_id)).scalars().all()


def earlier_open(endpoint: Endpoint, of: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether an earlier notification of the object of *of* is still to be delivered."""
    earlier = notification.alias("earlier")
    # As a CASE: an index by object is meant to be used here, none by id.
    told = sa.case((earlier.c.id > endpoint.start, sa.true()), else_=sa.false())
    return (
        sa.select(1)
        .select_from(earlier)
        .where(
            earlier.c.object_kind == of.c.object_kind,
            earlier.c.object_id == of.c.object_id,
            earlier.c.sequence < of.c.sequence,
            told,
            sa.func.coalesce(_of(endpoint, earlier, "state"), "pending") == "pending",
        )
        .correlate(of)
        .exists()
    )


def _of(endpoint: Endpoint, of: sa.FromClause, column: str) -> sa.ScalarSelect[Any]:
    """A column of the delivery of a notification of *of*, looked up by its key."""
    mine = notification_delivery.alias("mine")
    return (
        sa.select(mine.c[column])
        .where(mine.c.endpoint == endpoint.name, mine.c.notification_id == of.c.id)
        .correlate(of)
        .scalar_subquery()
    )


# -- sending --------------------------------------------------------------------------------------


def claim(
    tx: sa.Connection, name: str, worker: UUID, now: datetime, until: datetime, limit: int
) -> list[Parcel]:
    """Take what has been due longest, at most *limit*, for *worker* until *until*."""
    due = tx.scalars(
        sa.select(_d.notification_id)
        .where(_d.endpoint == name, _d.next_try_at.is_not(None), _d.next_try_at <= now)
        .order_by(_d.next_try_at, _d.notification_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not due:
        return []
    taken = tx.execute(
        sa.update(notification_delivery)
        .where(_d.endpoint == name, _d.notification_id.in_(due))
        .values(worker=worker, next_try_at=until)
        .returning(_d.notification_id, _d.tries, _d.waits, _d.tried_at)
    )
    rows = {row[0]: row for row in taken}
    found = tx.execute(sa.select(notification).where(_n.id.in_(rows)).order_by(_n.id)).mappings()
    return [Parcel(Notification(**each), *rows[each["id"]][1:]) for each in found]


def settle(
    tx: sa.Connection, endpoint: Endpoint, worker: UUID, steps: Sequence[Step], now: datetime
) -> None:
    """Write what became of parcels that *worker* still holds, and let what waited for them go."""
    groups: dict[tuple[Any, ...], list[UUID]] = {}
    for each in steps:
        groups.setdefault(tuple(each.values.items()), []).append(each.id)
    for values, ids in groups.items():
        tx.execute(
            sa.update(notification_delivery)
            .where(
                _d.endpoint == endpoint.name,
                _d.notification_id.in_(ids),
                _d.worker == worker,
            )
            .values(**dict(values), worker=None)
        )
    free(tx, endpoint, [each.id for each in steps if each.settled], now)


def free(tx: sa.Connection, endpoint: Endpoint, ids: Iterable[UUID], now: datetime) -> None:
    """Make due what waited for the notifications *ids* and for nothing else."""
    ids = list(ids)
    if not ids:
        return
    done, later = notification.alias("settled"), notification.alias("later")
    waiting = tx.scalars(
        sa.select(later.c.id)
        .join(
            done,
            sa.and_(
                later.c.object_kind == done.c.object_kind,
                later.c.object_id == done.c.object_id,
                later.c.sequence > done.c.sequence,
            ),
        )
        .where(done.c.id.in_(ids), ~earlier_open(endpoint, later))
    ).all()
    if waiting:
        make_due(tx, endpoint, waiting, now)


def make_due(
    tx: sa.Connection, endpoint: Endpoint, ids: Sequence[UUID] | sa.Select[Any], now: datetime
) -> int:
    """Let those of *ids* be sent that are pending and wait, in their place in time; how many."""
    made = sa.select(_n.created_at).where(_n.id == _d.notification_id).scalar_subquery()
    done = tx.execute(
        sa.update(notification_delivery)
        .where(
            _d.endpoint == endpoint.name,
            _d.notification_id.in_(ids),
            _d.state == "pending",
            _d.next_try_at.is_(None),
        )
        .values(next_try_at=sa.case((made > now, sa.literal(now, Moment)), else_=made))
    )
    return int(done.rowcount)


def _before(id_: UUID, by: timedelta) -> UUID:
    return floor_of(time_of(id_) - by) if id_.int >> 80 else id_


def _endpoint(row: Any) -> Endpoint:
    return Endpoint(**{**row, "streak": tuple(map(UUID, row["streak"]))})
