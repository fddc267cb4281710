"""The outbox: what the core service is to be told, written in the commit that made it true."""

from __future__ import annotations

import sqlalchemy as sa

from payctl.db.metadata import append_only, partial_index, table
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
    #: joins it to the log, the exchanges and the audit of whoever made the change
    sa.Column("correlation_id", Text),
    sa.UniqueConstraint("object_kind", "object_id", "sequence"),
    sa.CheckConstraint("sequence >= 1", name="sequence"),
)
append_only("notification")

#: Who is told: ``core`` (the core service, over HTTP) and ``redis``. Each has its own progress.
#: Notifications up to ``start`` are none of its business. ``front`` is the newest that was taken up
#: for it; up to ``looked_to`` none can appear any more, and ``mark`` is what that will be moved
#: to once every transaction numbered below ``mark_xmax`` has ended (PostgreSQL). While ``pauses``
#: is not zero the endpoint is down: nobody sends before ``paused_until``, and then one notification
#: alone. ``streak`` holds those that failed one after the other since the last success.
notification_endpoint = table(
    "notification_endpoint",
    sa.Column("name", Text, primary_key=True),
    sa.Column("state", Text, nullable=False),
    sa.Column("start", Id, nullable=False),
    sa.Column("front", Id, nullable=False),
    sa.Column("looked_to", Id, nullable=False),
    sa.Column("looked_at", Moment),
    sa.Column("looked_deep_at", Moment),
    sa.Column("mark", Id),
    sa.Column("mark_xmax", Int),
    sa.Column("pauses", Int, nullable=False),
    sa.Column("paused_until", Moment),
    sa.Column("streak", Json, nullable=False),
    sa.Column("succeeded_at", Moment),
    sa.Column("failed_at", Moment),
    sa.Column("reason", Text),
    sa.CheckConstraint("state IN ('enabled', 'disabled')", name="state"),
    sa.CheckConstraint("state = 'enabled' OR reason IS NOT NULL", name="reason"),
    sa.CheckConstraint("pauses >= 0", name="pauses"),
    sa.CheckConstraint("(pauses = 0) = (paused_until IS NULL)", name="paused"),
)

#: How far one endpoint has been told of one notification. A pending row without ``next_try_at``
#: waits for an earlier notification of the same object. ``tries`` counts those that speak against
#: the notification itself, ``waits`` those that the endpoint's own trouble ended. No foreign keys:
#: rows are only ever made by selecting from both tables, and the check would write to each
#: notification's row.
notification_delivery = table(
    "notification_delivery",
    sa.Column("endpoint", Text, nullable=False),
    sa.Column("notification_id", Id, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("tries", Int, nullable=False),
    sa.Column("waits", Int, nullable=False),
    sa.Column("next_try_at", Moment),
    sa.Column("worker", Id),
    sa.Column("tried_at", Moment),
    sa.Column("reason", Text),
    sa.Column("settled_at", Moment),
    sa.PrimaryKeyConstraint("endpoint", "notification_id"),
    sa.CheckConstraint("state IN ('pending', 'delivered', 'dead', 'dropped')", name="state"),
    sa.CheckConstraint("state = 'pending' OR next_try_at IS NULL", name="next_try_at"),
    sa.CheckConstraint("(state = 'pending') = (settled_at IS NULL)", name="settled_at"),
    sa.CheckConstraint("state NOT IN ('dead', 'dropped') OR reason IS NOT NULL", name="reason"),
)
_d = notification_delivery.c
partial_index(
    "ix_notification_delivery_due",
    _d.endpoint,
    _d.next_try_at,
    _d.notification_id,
    where=_d.next_try_at.is_not(None),
)
partial_index(
    "ix_notification_delivery_open",
    _d.endpoint,
    _d.state,
    _d.notification_id,
    where="state IN ('pending', 'dead')",
)
