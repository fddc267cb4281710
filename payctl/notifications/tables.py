"""The outbox: what the core service is to be told, written in the commit that made it true."""

from __future__ import annotations

import sqlalchemy as sa

from payctl.db.metadata import append_only, table
from payctl.db.types import Id, Int, Json, Moment, Text

#: ``id`` is the ``webhook-id`` of every delivery of the row; ``sequence`` counts from 1 without
#: gaps per object, so that a receiver can tell an older notification from a newer one.
notification = table(
    "notification",
    sa.Column("id", Id, primary_key=True),
    sa.Column("type", Text, nullable=False),
    sa.Column("object_kind", Text, nullable=False),
    sa.Column("object_id", Id, nullable=False),
    sa.Column("sequence", Int, nullable=False),
    sa.Column("data", Json, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.UniqueConstraint("object_kind", "object_id", "sequence"),
    sa.CheckConstraint("sequence >= 1", name="sequence"),
)
append_only("notification")
