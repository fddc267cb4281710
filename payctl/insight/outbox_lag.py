"""How far the delivery of notifications is behind, for those who keep watch."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from payctl.notifications import store
from payctl.notifications.lag import CORE, Lag, lag

if TYPE_CHECKING:
    import sqlalchemy as sa


def outbox_lag(tx: sa.Connection, now: datetime) -> Lag:
    """The lag of the core service. One that was never told anything is not behind: nobody has
    configured it, or the job that tells it has never run, which is a finding of its own.
    """
    if store.read(tx, CORE) is None:
        return Lag(0, None, 0, False)
    return lag(tx, now)
