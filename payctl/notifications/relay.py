"""The relay: takes up new notifications, sends what is due, writes down what became of it.

Intent, call, outcome, as everywhere: what is sent has been claimed in a commit before, and no
transaction is open while it is sent. A relay that dies in between leaves a lease that ends; the
notification is then sent again under the same id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from uuid import UUID

import sqlalchemy as sa

from payctl import log
from payctl.db.actor import Actor
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.ids import encode, floor_of
from payctl.notifications import store
from payctl.notifications.schedule import LEASE_S, Endpoint, Parcel, Result, judge
from payctl.notifications.senders import TIMEOUT_S, Sender

#: Taken up and claimed in one go. A batch must be sent before its lease ends, whatever happens.
ADOPT, BATCH = 2_000, 400
#: After this part of the lease nothing more of a batch is begun.
_SEND_S = LEASE_S - 2 * TIMEOUT_S - 10


@dataclass(frozen=True, slots=True)
class Batch:
    """What this relay has claimed, and under which name."""

    worker: UUID
    parcels: Sequence[Parcel]


class Relay:
    """Tells one endpoint. Several may run at once: each notification is sent by one of them.

    Args:
        name: of the endpoint: ``core`` or ``redis``.
        from_now: a new endpoint is told only what happens from now on.
    """

    def __init__(self, db: Database, name: str, sender: Sender, *, from_now: bool = False) -> None:
        self.name = name
        self._db = db
        self._sender = sender
        self._from_now = from_now
        self._dice = Random().random  # noqa: S311 - jitter

    def run(
        self,
        actor: Actor,
        *,
        limit: int | None = None,
        check: Callable[[], None] = lambda: None,
        count: Callable[[str], None] = lambda what: None,
    ) -> dict[str, int]:
        """Send everything that is due; returns how many tries ended in what, and how many of them
        made a dead letter.

        Args:
            limit: of notifications tried.
            check: called before each batch; what it raises ends the run.
            count: told what each try ended in.

        Raises:
            Forbidden: ``operator.not_allowed``.
            Unavailable: our own database is gone; what was sent is sent again later.
        """
        require(actor, "outbox.relay")
        counts: dict[str, int] = {}
        left = limit
        while left is None or left > 0:
            check()
            adopted, batch = self._next(BATCH if left is None else min(BATCH, left))
            if not batch.parcels and not adopted:
                break
            if not batch.parcels:
                continue
            results = self._sender.send(batch.parcels, self._db.clock.monotonic() + _SEND_S)
            dead = self._settle(actor, batch, results)
            self._note(results)
            tried = [each.outcome for each in results if each.outcome != "unsent"]
            for outcome in (*tried, *["dead"] * dead):
                counts[outcome] = counts.get(outcome, 0) + 1
                count(outcome)
            if left is not None:
                left -= len(tried)
            if not tried:
                break
        return counts

    def _note(self, results: Sequence[Result]) -> None:
        """One line each, under the id of whoever made the change."""
        for each in results:
            if each.outcome == "unsent":
                continue
            told = each.parcel.notification
            write = log.info if each.outcome == "delivered" else log.warning
            with log.correlated(told.correlation_id):
                write(
                    f"notification.{each.outcome}", endpoint=self.name, type=told.type,
                    notification=encode("notification", told.id), reason=each.reason,
                )  # fmt: skip

    def close(self) -> None:
        """Close the connections."""
        self._sender.close()

    def _next(self, most: int) -> tuple[int, Batch]:
        """What was taken up, and what is to be sent now."""
        worker = self._db.ids.new()

        def work(tx: sa.Connection) -> tuple[int, Batch]:
            now = self._db.clock.now()
            start = floor_of(now - store.SLACK) if self._from_now else store.FIRST
            endpoint = store.lock(tx, self.name, start)
            adopted = store.adopt(tx, endpoint, now, ADOPT)
            if not endpoint.ready(now):
                return adopted, Batch(worker, ())
            until = now + timedelta(seconds=LEASE_S)
            probe = endpoint.pauses > 0
            parcels = store.claim(tx, self.name, worker, now, until, 1 if probe else most)
            if probe and parcels:
                # The others leave it alone until this one knows.
                store.write(tx, endpoint, paused_until=until)
            return adopted, Batch(worker, parcels)

        return self._db.run(work)

    def _settle(self, actor: Actor, batch: Batch, results: Sequence[Result]) -> int:
        """Returns how many are dead letters now."""

        def work(tx: sa.Connection) -> int:
            now = self._db.clock.now()
            before = store.lock(tx, self.name)
            after, steps = judge(before, results, now, self._dice)
            store.settle(tx, before, batch.worker, steps, now)
            changed = _changes(before, after)
            if changed:
                store.write(tx, before, **changed)
            if after.state != before.state:
                about = {"endpoint": self.name, "reason": after.reason}
                record(self._db, tx, actor, "outbox.disabled", "endpoint", None, about)
            return sum(step.values["state"] == "dead" for step in steps)

        return self._db.run(work)


def _changes(before: Endpoint, after: Endpoint) -> Mapping[str, object]:
    names = ("state", "pauses", "paused_until", "streak", "succeeded_at", "failed_at", "reason")
    return {
        name: getattr(after, name)
        for name in names
        if getattr(after, name) != getattr(before, name)
    }
