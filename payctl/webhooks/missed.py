"""Events that never arrived, taken from a provider that lists what it has sent.

They go through the same inbox as webhooks: one that is there already is not stored again, and each
is applied by asking about its object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Protocol, runtime_checkable

from payctl.db.actor import Actor
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.errors import InvalidInput
from payctl.gateways.base import Event, Gateway
from payctl.webhooks import store
from payctl.webhooks.reception import Incoming, Reception

_BATCH = 100


@runtime_checkable
class ListsEvents(Protocol):
    """A gateway whose provider lists the events of the past."""

    def list_events(self, since: datetime) -> Iterator[tuple[Event, bytes]]:
        """Events since, each with its body as JSON.

        Raises:
            NotSent: ``gateway.unreachable``: the list broke off.
        """


@dataclass(frozen=True, slots=True)
class Fetched:
    """How many events the provider listed, and how many of them had not come."""

    listed: int
    new: int


class Missed:
    """Fetches missed events."""

    def __init__(self, db: Database, reception: Reception) -> None:
        self._db = db
        self._reception = reception

    def fetch(
        self, actor: Actor, account: str, since: datetime, *, dry_run: bool = False
    ) -> Fetched:
        """Store what the provider lists since and we have not; a dry run only counts.

        What was stored before a list broke off stays stored; asking again is safe.

        Raises:
            Forbidden: ``operator.not_allowed``. NotFound: ``gateway.not_found``.
            InvalidInput: ``webhook.not_listed`` when the provider lists none.
            NotSent: ``gateway.unreachable``.
        """
        require(actor, "webhook.replay")
        gateway = self._reception.gateway(account)
        listed = new = 0
        for batch in _batches(self._listed(gateway, account, since)):
            listed += len(batch)
            new += self._unknown(batch) if dry_run else len(self._reception.store(batch))
        if not dry_run:
            data = {"account": account, "since": since.isoformat(), "listed": listed, "new": new}
            with self._db.transaction() as tx:
                record(self._db, tx, actor, "webhook.fetched", "gateway", None, data)
        return Fetched(listed, new)

    def _listed(self, gateway: Gateway, account: str, since: datetime) -> Iterator[Incoming]:
        if not isinstance(gateway, ListsEvents):
            raise InvalidInput("webhook.not_listed", field="gateway", account=account)
        for event, body in gateway.list_events(since):
            try:
                incoming = self._reception.fetched(account, event, body)
            except InvalidInput:
                continue  # named by what is no text: it cannot be about an object of ours
            yield incoming

    def _unknown(self, batch: list[Incoming]) -> int:
        with self._db.read() as tx:
            return len({each.key for each in batch} - store.known(tx, [e.key for e in batch]))


def _batches(incoming: Iterator[Incoming]) -> Iterator[list[Incoming]]:
    while batch := list(islice(incoming, _BATCH)):
        yield batch
