"""Following one payment until it has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.permissions import PERMISSIONS
from payctl.payments.details import PaymentDetail
from payctl.payments.queries import Queries
from payctl.payments.sync import Sync

#: How often the book is read.
EVERY_S = 2.0


class Watch:
    """Reads a payment again and again.

    Args:
        sync: built when the provider is first asked.
    """

    def __init__(self, db: Database, queries: Queries, sync: Callable[[], Sync]) -> None:
        self._db = db
        self._queries = queries
        self._sync = sync

    def follow(self, actor: Actor, payment_id: UUID, limit: timedelta) -> Iterator[PaymentDetail]:
        """The payment as it is, and each time its status changes, until it has ended or *limit* is
        over. When its next look is due the provider is asked, unless *actor* may only read.

        Raises:
            NotFound: ``payment.not_found``.
        """
        asks = bool(actor.roles & PERMISSIONS["payment.sync"])
        until = self._db.clock.monotonic() + limit.total_seconds()
        found = self._queries.payment(payment_id)
        yield found
        while not found.payment.status.terminal and self._db.clock.monotonic() < until:
            self._db.clock.sleep(EVERY_S)
            due = found.payment.next_check_at
            if asks and due is not None and due <= self._db.clock.now():
                self._sync().payment(actor, payment_id)
            before, found = found.payment.status, self._queries.payment(payment_id)
            if found.payment.status is not before:
                yield found
