"""Leases: one worker at a time, by the database's clock.

A lease ends by itself when its holder dies. On PostgreSQL its times are the server's, so machines
whose clocks differ agree about them; a SQLite book has one machine and takes the clock of the book.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.db.tables import lease
from payctl.db.upsert import insert_into
from payctl.errors import InvalidInput, LockHeld, NotFound


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as stored. ``token`` rises with each holder."""

    name: str
    token: int
    holder: str
    acquired_at: datetime
    expires_at: datetime


class Leases:
    """The leases of a book."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def acquire(self, name: str, holder: str, ttl: timedelta) -> Lease:
        """Take *name* for *ttl*, unless somebody holds it.

        Raises:
            LockHeld: ``lease.held``.
        """
        now = self._now()
        insert = insert_into(lease, is_sqlite=self._db.is_sqlite)
        insert = insert.values(
            name=name, token=1, holder=holder, acquired_at=now, expires_at=self._later(ttl)
        )
        taken = insert.on_conflict_do_update(
            index_elements=[lease.c.name],
            set_={
                "token": lease.c.token + 1,
                "holder": insert.excluded.holder,
                "acquired_at": insert.excluded.acquired_at,
                "expires_at": insert.excluded.expires_at,
            },
            where=lease.c.expires_at <= now,
        ).returning(lease)
        with self._db.transaction() as tx:
            row = tx.execute(taken).one_or_none()
            if row is not None:
                return _lease(row)
            held = _lease(tx.execute(sa.select(lease).where(lease.c.name == name)).one())
        raise LockHeld(
            "lease.held", name=name, holder=held.holder, until=held.expires_at.isoformat()
        )

    def renew(self, held: Lease, ttl: timedelta) -> bool:
        """Hold on for another *ttl*; false when the lease went to somebody else meanwhile."""
        with self._db.transaction() as tx:
            done = tx.execute(
                sa.update(lease)
                .where(lease.c.name == held.name, lease.c.token == held.token)
                .values(expires_at=self._later(ttl))
            )
        return bool(done.rowcount)

    def release(self, held: Lease) -> None:
        """Give the lease back; nothing happens when it was lost before."""
        self._end(held.name, held.token)

    def list(self) -> Sequence[Lease]:
        """Leases that are held now."""
        with self._db.read() as tx:
            rows = tx.execute(
                sa.select(lease).where(lease.c.expires_at > self._now()).order_by(lease.c.name)
            )
            return [_lease(row) for row in rows]

    def unlock(self, actor: Actor, name: str, reason: str, *, dry_run: bool = False) -> Lease:
        """Take a lease from a holder that is known to be dead.

        Raises:
            Forbidden: ``operator.not_allowed``. NotFound: ``lease.not_held``.
            InvalidInput: ``reason.missing``.
        """
        require(actor, "job.unlock")
        if not reason.strip():
            raise InvalidInput("reason.missing", field="reason")
        found = [each for each in self.list() if each.name == name]
        if not found:
            raise NotFound("lease.not_held", field="name", name=name[:80])
        with self._db.writing(dry_run) as tx:
            about = {"name": name, "holder": found[0].holder}
            record(self._db, tx, actor, "lease.unlocked", "lease", None, about, reason)
            _expire(tx, name, found[0].token, self._now())
        return found[0]

    def _end(self, name: str, token: int) -> None:
        with self._db.transaction() as tx:
            _expire(tx, name, token, self._now())

    def _now(self) -> Any:
        if self._db.is_sqlite:
            return sa.literal(self._db.clock.now(), lease.c.expires_at.type)
        return sa.func.clock_timestamp()

    def _later(self, ttl: timedelta) -> Any:
        if self._db.is_sqlite:
            return sa.literal(self._db.clock.now() + ttl, lease.c.expires_at.type)
        return sa.func.clock_timestamp() + sa.cast(ttl, sa.Interval())


def _expire(tx: sa.Connection, name: str, token: int, now: Any) -> None:
    """Keep the row: its token must go on rising."""
    tx.execute(
        sa.update(lease)
        .where(lease.c.name == name, lease.c.token == token)
        .values(expires_at=now, token=lease.c.token + 1)
    )


def _lease(row: sa.Row[Any]) -> Lease:
    return Lease(row.name, row.token, row.holder, row.acquired_at, row.expires_at)
