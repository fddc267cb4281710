"""The inbox: provider webhooks as they came, and how far each has been applied."""

from __future__ import annotations

import sqlalchemy as sa

from payctl.db.metadata import partial_index, table
from payctl.db.types import Bytes, Id, Int, Json, Moment, Text

#: ``dedupe`` is the provider's event id, or ``sha256:`` and the hash of the body where there is
#: none. ``event_id`` to ``occurred_at`` are what the adapter understood when the event came in: a
#: signature with a time in it can only be checked then. ``body`` is raw but for card numbers.
webhook_event = table(
    "webhook_event",
    sa.Column("id", Id, primary_key=True),
    sa.Column("account", Text, nullable=False),
    sa.Column("dedupe", Text, nullable=False),
    sa.Column("event_id", Text),
    sa.Column("type", Text),
    sa.Column("object_kind", Text),
    sa.Column("our_reference", Text),
    sa.Column("provider_reference", Text),
    sa.Column("occurred_at", Moment),
    sa.Column("body", Bytes, nullable=False),
    sa.Column("headers", Json, nullable=False),
    sa.Column("received_at", Moment, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("tries", Int, nullable=False),
    sa.Column("waits", Int, nullable=False),
    sa.Column("next_try_at", Moment),
    sa.Column("worker", Id),
    sa.Column("reason", Text),
    sa.Column("settled_at", Moment),
    #: what speaks for it: signature | token | none; a token is kept as its SHA-256 only
    sa.Column("proof", Text, nullable=False, server_default="signature"),
    sa.Column("token_hash", Bytes),
    sa.UniqueConstraint("account", "dedupe"),
    sa.CheckConstraint(
        "state IN ('received', 'waiting', 'applied', 'orphan', 'dead', 'dropped')", name="state"
    ),
    # An event that is not settled has a time at which it is looked at next: none is ever forgotten.
    sa.CheckConstraint(
        "(state IN ('received', 'waiting')) = (next_try_at IS NOT NULL)", name="next_try_at"
    ),
    sa.CheckConstraint(
        "(state IN ('received', 'waiting')) = (settled_at IS NULL)", name="settled_at"
    ),
    sa.CheckConstraint("state IN ('received', 'applied') OR reason IS NOT NULL", name="reason"),
    sa.CheckConstraint("length(body) <= 262144", name="body"),
)
partial_index(
    "ix_webhook_event_due",
    webhook_event.c.next_try_at,
    where=webhook_event.c.next_try_at.is_not(None),
)
#: Few, and counted whenever the installation is looked at.
partial_index(
    "ix_webhook_event_dead",
    webhook_event.c.account,
    where=webhook_event.c.state.in_(("dead", "orphan")),
)
#: When an account's provider last wrote, and how long it usually pauses.
sa.Index("ix_webhook_event_account", webhook_event.c.account, webhook_event.c.received_at)
sa.Index("ix_webhook_event_provider_reference", webhook_event.c.provider_reference)
partial_index(
    "ix_webhook_event_token_hash",
    webhook_event.c.token_hash,
    where=webhook_event.c.token_hash.is_not(None),
)
sa.Index("ix_webhook_event_our_reference", webhook_event.c.our_reference)
