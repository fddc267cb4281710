"""How far the delivery of notifications is behind. The one place that knows who delivers them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class OutboxLag:
    """What has not reached the core service yet.

    Attributes:
        count: notifications that wait for their delivery.
        oldest_at: when the oldest of them was made.
        dead: those given up after their last try.
        disabled: receivers that get nothing any more, because they refused for too long.
    """

    count: int = 0
    oldest_at: datetime | None = None
    dead: int = 0
    disabled: int = 0


def outbox_lag(tx: sa.Connection) -> OutboxLag:
    """The lag as of *tx*. Nothing delivers notifications yet, so none counts as undelivered."""
    return OutboxLag()
