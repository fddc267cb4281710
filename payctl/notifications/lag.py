"""How far the core service is behind: what ``payctl outbox lag``, the doctor and metrics ask."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from payctl.notifications.tables import (
    notification,
    notification_delivery,
    notification_endpoint,
)

CORE = "core"
#: More than this are not counted one by one: a figure of that size needs no last digit.
COUNT_MOST = 100_000

_n, _d, _e = notification.c, notification_delivery.c, notification_endpoint.c


@dataclass(frozen=True, slots=True)
class Lag:
    """What the endpoint has not been told.

    Attributes:
        count: notifications not delivered, dead or dropped; at most about ``COUNT_MOST``.
        oldest_at: when the oldest of them was made; ``None`` when there are none.
        dead: dead letters, which wait for an operator.
        disabled: the endpoint answered 410 and is left alone until ``payctl outbox enable``.
        down: the endpoint cannot be reached or refuses everything; it is probed now and then.
        next_probe_at: when it is probed next, while it is down.
        reason: what it said last, while it is down or disabled.
        succeeded_at: when it last took a notification.
        age: of the oldest; zero when there are none.
    """

    count: int
    oldest_at: datetime | None
    dead: int
    disabled: bool
    down: bool = False
    next_probe_at: datetime | None = None
    reason: str | None = None
    succeeded_at: datetime | None = None
    age: timedelta = timedelta()


def lag(tx: sa.Connection, now: datetime, endpoint: str = CORE) -> Lag:
    """How far *endpoint* is behind at *now*.

    Whether one is configured at all the database does not know: where ``notifications.url`` is not
    set nothing is ever delivered, and everything counts here. Ask the configuration first.
    """
    row = tx.execute(
        sa.select(notification_endpoint).where(_e.name == endpoint)
    ).mappings().one_or_none()  # fmt: skip
    taken = sa.select(_d.notification_id).where(_d.endpoint == endpoint, _d.state == "pending")
    unseen = sa.select(_n.id)
    if row is not None:
        known = sa.select(1).where(_d.endpoint == endpoint, _d.notification_id == _n.id)
        unseen = unseen.where(_n.id > row["looked_to"], ~known.exists())
    count = _count(tx, taken) + _count(tx, unseen)
    first = [
        tx.scalar(taken.order_by(_d.notification_id).limit(1)),
        tx.scalar(unseen.order_by(_n.id).limit(1)),
    ]
    found = [each for each in first if each is not None]
    oldest = None
    if found:
        oldest = tx.scalar(sa.select(_n.created_at).where(_n.id == min(found)))
    dead = _count(
        tx, sa.select(_d.notification_id).where(_d.endpoint == endpoint, _d.state == "dead")
    )
    age = max(now - oldest, timedelta()) if oldest is not None else timedelta()
    if row is None:
        return Lag(count, oldest, dead, False, age=age)
    down, disabled = row["pauses"] > 0, row["state"] == "disabled"
    return Lag(
        count,
        oldest,
        dead,
        disabled,
        down=down,
        next_probe_at=row["paused_until"],
        reason=row["reason"] if down or disabled else None,
        succeeded_at=row["succeeded_at"],
        age=age,
    )


def _count(tx: sa.Connection, query: sa.Select[tuple[object]]) -> int:
    return int(
        tx.scalar(sa.select(sa.func.count()).select_from(query.limit(COUNT_MOST).subquery())) or 0
    )
