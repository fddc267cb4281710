"""The outbox: each change of an object leaves a notification in the same commit.

So a notification exists exactly when the change it tells of does. Ids and sequence are fixed here,
once; delivery repeats a notification with the same id and the core service drops what it has seen
(Standard Webhooks, ``webhook-id``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl import log
from payctl.db.engine import Database
from payctl.db.types import Id, Json, Moment, Text, canonical
from payctl.db.upsert import insert_into
from payctl.errors import InvalidInput
from payctl.ids import PREFIXES, encode
from payctl.notifications.tables import notification

#: The standard asks for payloads below 20 kB: a notification says what changed, the core service
#: fetches the rest.
MAX_PAYLOAD_BYTES = 20_000
#: So many values of so many characters stay far below it, even where each takes six bytes.
_FEW, _SHORT = 15, 200
#: Writers of one object at one moment are few; more turns than this would be a bug.
_TURNS = 100


@dataclass(frozen=True, slots=True)
class Notification:
    """One row of the outbox. ``sequence`` counts from 1 without gaps per object."""

    id: UUID
    type: str
    object_kind: str
    object_id: UUID
    sequence: int
    data: Mapping[str, Any]
    created_at: datetime
    correlation_id: str | None = None

    def payload(self) -> dict[str, Any]:
        """The body of its delivery: ``{type, timestamp, data}`` as Standard Webhooks has it."""
        return {
            "type": self.type,
            "timestamp": self.created_at.isoformat().replace("+00:00", "Z"),
            "data": {
                **self.data,
                "object": self.object_kind,
                "id": public_id(self.object_kind, self.object_id),
                "sequence": self.sequence,
                **({"correlation_id": self.correlation_id} if self.correlation_id else {}),
            },
        }


class Outbox:
    """Appends notifications and lists them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def append(
        self,
        tx: sa.Connection,
        type: str,
        object_kind: str,
        object_id: UUID,
        data: Mapping[str, Any],
    ) -> UUID:
        """Add the object's next notification to the caller's transaction; returns its id.

        Two transactions that tell of one object at once do not fail: the second waits for the first
        and takes the number after it.

        Args:
            type: dotted name of what happened, ``payment.succeeded``.
            data: what changed, thin; amounts as ``amount_minor`` beside ``currency``.

        Raises:
            InvalidInput: ``notification.too_large``.
        """
        now = self._db.clock.now()
        id_ = self._db.ids.new(now)
        made = row(id_, now, type, object_kind, object_id, 0, data)
        statement = self._insert(Notification(**made))
        for _turn in range(_TURNS):
            if tx.execute(statement).first() is not None:
                return id_
        raise AssertionError("the sequence of one object is taken again and again")

    def append_first(
        self,
        tx: sa.Connection,
        type: str,
        object_kind: str,
        objects: Iterable[tuple[UUID, Mapping[str, Any]]],
    ) -> None:
        """The first notification of each of many objects, in one statement. They are made in this
        very transaction, so nobody else can take their first number.

        Args:
            objects: id and data of each.

        Raises:
            InvalidInput: ``notification.too_large``.
        """
        now, rows = self._db.clock.now(), []
        for id_, data in objects:
            rows.append(row(self._db.ids.new(now), now, type, object_kind, id_, 1, data))
        if rows:
            tx.execute(sa.insert(notification), rows)

    def _insert(self, row: Notification) -> sa.Executable:
        table = notification
        sequence = (
            sa.select(
                sa.literal(row.id, Id),
                sa.literal(row.type, Text),
                sa.literal(row.object_kind, Text),
                sa.literal(row.object_id, Id),
                sa.func.coalesce(sa.func.max(table.c.sequence), 0) + 1,
                sa.literal(dict(row.data), Json),
                sa.literal(row.created_at, Moment),
                sa.literal(row.correlation_id, Text),
            )
            .where(table.c.object_kind == row.object_kind, table.c.object_id == row.object_id)
            .select_from(table)
        )
        columns = [column.name for column in table.columns]
        insert = insert_into(table, is_sqlite=self._db.is_sqlite)
        statement: sa.Executable = (
            insert.from_select(columns, sequence, include_defaults=False)
            .on_conflict_do_nothing(index_elements=["object_kind", "object_id", "sequence"])
            .returning(table.c.sequence)
        )
        return statement

    def list(
        self,
        *,
        object_id: UUID | None = None,
        type: str | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> tuple[Notification, ...]:
        """Notifications in the order they were made, at most *limit*, after the id *after*."""
        query = sa.select(notification).order_by(notification.c.id).limit(limit)
        if object_id is not None:
            query = query.where(notification.c.object_id == object_id)
        if type is not None:
            query = query.where(notification.c.type == type)
        if after is not None:
            query = query.where(notification.c.id > after)
        with self._db.read() as tx:
            return tuple(Notification(**row) for row in tx.execute(query).mappings())


def row(
    id_: UUID,
    at: datetime,
    type: str,
    object_kind: str,
    object_id: UUID,
    sequence: int,
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """A notification's row, for whoever writes it together with others and knows that *sequence* is
    the object's next.

    Raises:
        InvalidInput: ``notification.too_large``.
    """
    made: dict[str, Any] = {
        "id": id_, "type": type, "object_kind": object_kind, "object_id": object_id,
        "sequence": sequence, "data": data, "created_at": at, "correlation_id": log.correlation(),
    }  # fmt: skip
    _check_size(made)
    return made


def _check_size(row: Mapping[str, Any]) -> None:
    data = row["data"]
    # Short values cannot make it too large, and nearly all are short.
    if len(data) > _FEW or max(map(len, map(str, data.values())), default=0) > _SHORT:
        size = len(canonical(Notification(**row).payload()).encode())
        if size >= MAX_PAYLOAD_BYTES:
            raise InvalidInput(
                "notification.too_large", type=row["type"], size=size, limit=MAX_PAYLOAD_BYTES
            )


def public_id(object_kind: str, object_id: UUID) -> str:
    """The id as the core service knows it; kinds without a prefix use the plain UUID."""
    return encode(object_kind, object_id) if object_kind in PREFIXES else str(object_id)
