"""SQL of the inbox: statements in, dataclasses out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db.driver import driver_execute
from payctl.db.types import canonical, to_micros
from payctl.errors import NotFound
from payctl.ids import encode
from payctl.webhooks.model import Stored
from payctl.webhooks.tables import webhook_event

_c = webhook_event.c


#: The columns of a new event that differ from row to row, and their types on PostgreSQL.
_COLUMNS = {
    "id": "uuid", "account": "text", "dedupe": "text", "event_id": "text", "type": "text",
    "object_kind": "text", "our_reference": "text", "provider_reference": "text",
    "occurred_at": "timestamptz", "received_at": "timestamptz", "proof": "text",
    "token_hash": "bytea", "body": "bytea", "headers": "jsonb",
}  # fmt: skip
_NAMES = ", ".join(_COLUMNS)
_INTO = f"INSERT INTO webhook_event ({_NAMES}, next_try_at, state, tries, waits)"
#: Nothing proves an event that is neither signed nor listed, so one that came before its time must
#: not keep the true one, which may be the same bytes, from being heard.
_AGAIN = """ON CONFLICT (account, dedupe) DO UPDATE SET state = 'received', tries = 0, waits = 0,
  next_try_at = excluded.next_try_at, reason = NULL, settled_at = NULL, worker = NULL
WHERE webhook_event.proof IN ('none', 'token') AND webhook_event.state IN ('applied', 'orphan')
RETURNING id"""
#: Bodies and headers come as one value each, cut up by the server: in an array every byte of them
#: would have to be quoted, which costs more than everything else here.
_ARRAYS = {name: kind for name, kind in _COLUMNS.items() if name not in ("body", "headers")} | {
    "start": "int", "size": "int",
}  # fmt: skip
_MANY = (
    f"{_INTO} SELECT {', '.join(list(_ARRAYS)[:-2])},"  # noqa: S608
    f" substring(${len(_ARRAYS) + 1}::bytea FROM start FOR size),"
    f" ${len(_ARRAYS) + 2}::jsonb -> (place - 1)::int, received_at, 'received', 0, 0 FROM unnest("
    + ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(_ARRAYS.values(), 1))
    + f") WITH ORDINALITY AS new ({', '.join(_ARRAYS)}, place) {_AGAIN}"
)
_ONE = f"{_INTO} VALUES ({', '.join('?' * (len(_COLUMNS) + 1))}, 'received', 0, 0) {_AGAIN}"


def insert_many(
    tx: sa.Connection, rows: Sequence[Mapping[str, Any]], *, is_sqlite: bool
) -> set[UUID]:
    """Store new events and return the ids of those that were not there; no two of *rows* may be the
    same event.
    """
    if is_sqlite:
        new = [_insert_one(tx, row) for row in rows]
    else:
        new = [each[0] for each in driver_execute(tx, _MANY, _packed(rows)).fetchall()]
    return {row["id"] for row in rows} & {each for each in new if each is not None}


def _packed(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The values of :data:`_MANY`."""
    starts, start = [], 1
    for row in rows:
        starts.append(start)
        start += len(row["body"])
    columns: list[Any] = []
    for name, kind in list(_ARRAYS.items())[:-2]:
        column = [row[name] for row in rows]
        if kind == "timestamptz":
            # As text without a blank, which an array takes unquoted.
            column = [at.isoformat() if at is not None else None for at in column]
        columns.append(column)
    bodies = b"".join([row["body"] for row in rows])
    sizes = [len(row["body"]) for row in rows]
    return [*columns, starts, sizes, bodies, canonical([row["headers"] for row in rows])]


def _insert_one(tx: sa.Connection, row: Mapping[str, Any]) -> UUID | None:
    occurred_at = row["occurred_at"]
    values = {
        **row,
        "id": row["id"].bytes,
        "occurred_at": to_micros(occurred_at) if occurred_at is not None else None,
        "headers": canonical(row["headers"]),
        "received_at": to_micros(row["received_at"]),
    }
    given = [*(values[name] for name in _COLUMNS), values["received_at"]]
    found = driver_execute(tx, _ONE, given).fetchone()
    return UUID(bytes=found[0]) if found is not None else None


def id_of(tx: sa.Connection, account: str, dedupe: str) -> UUID:
    """The id of the event that is there already."""
    found: UUID = tx.execute(
        sa.select(_c.id).where(_c.account == account, _c.dedupe == dedupe)
    ).scalar_one()
    return found


def known(tx: sa.Connection, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of *keys* (account, dedupe) that are there."""
    query = sa.select(_c.account, _c.dedupe).where(sa.tuple_(_c.account, _c.dedupe).in_(keys))
    return {(account, dedupe) for account, dedupe in tx.execute(query)}


def get(tx: sa.Connection, event_id: UUID) -> Stored:
    """One event.

    Raises:
        NotFound: ``webhook.not_found``.
    """
    row = tx.execute(sa.select(webhook_event).where(_c.id == event_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("webhook.not_found", field="id", id=encode("event", event_id))
    return Stored(**row)


def claim(
    tx: sa.Connection, worker: UUID, now: datetime, until: datetime, only: UUID | None
) -> Stored | None:
    """Take one due event for *worker* until *until*: the one that has been due longest, or *only*.

    On PostgreSQL rows that another worker is just taking are skipped, not waited for; SQLite has
    one writer at a time.
    """
    due = sa.select(_c.id).where(_c.next_try_at.is_not(None))
    # An operator who asks for one event does not wait for its time, but does for another worker.
    free = sa.or_(_c.next_try_at <= now, _c.worker.is_(None))
    due = due.where(_c.id == only, free) if only is not None else due.where(_c.next_try_at <= now)
    due = due.order_by(_c.next_try_at, _c.id).limit(1).with_for_update(skip_locked=True)
    row = (
        tx.execute(
            sa.update(webhook_event)
            .where(_c.id == due.scalar_subquery())
            .values(worker=worker, next_try_at=until)
            .returning(*_c)
        )
        .mappings()
        .one_or_none()
    )
    return Stored(**row) if row is not None else None


def due(tx: sa.Connection, now: datetime, most: int) -> int:
    """How many events are due, counted up to *most*."""
    query = sa.select(_c.id).where(_c.next_try_at <= now).limit(most)
    return len(tx.execute(query).all())


def settle(tx: sa.Connection, stored: Stored, values: Mapping[str, Any]) -> bool:
    """Write what a try ended in, if this worker still holds the event."""
    done = tx.execute(
        sa.update(webhook_event)
        .where(_c.id == stored.id, _c.worker == stored.worker, _c.settled_at.is_(None))
        .values(**values, worker=None)
    )
    return done.rowcount == 1


def revive(tx: sa.Connection, event_id: UUID, from_states: Sequence[str], **values: Any) -> bool:
    """Change an event that is in one of *from_states*."""
    done = tx.execute(
        sa.update(webhook_event).where(_c.id == event_id, _c.state.in_(from_states)).values(values)
    )
    return done.rowcount == 1


def listing(
    tx: sa.Connection,
    *,
    states: Sequence[str] | None,
    account: str | None,
    since: datetime | None,
    until: datetime | None,
    after: UUID | None,
    limit: int,
) -> Sequence[Stored]:
    """Events, newest first."""
    query = sa.select(webhook_event).order_by(_c.id.desc()).limit(limit)
    if states is not None:
        query = query.where(_c.state.in_(states))
    if account is not None:
        query = query.where(_c.account == account)
    if since is not None:
        query = query.where(_c.received_at >= since)
    if until is not None:
        query = query.where(_c.received_at < until)
    if after is not None:
        query = query.where(_c.id < after)
    return [Stored(**row) for row in tx.execute(query).mappings()]


def counts(tx: sa.Connection) -> dict[str, int]:
    """How many events are in each state that still wants something."""
    rows = tx.execute(
        sa.select(_c.state, sa.func.count())
        .where(_c.state.in_(("received", "waiting", "dead", "orphan")))
        .group_by(_c.state)
    )
    return {state: int(count) for state, count in rows}
