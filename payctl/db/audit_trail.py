"""Reading the audit trail: search it, export it, and prove that nobody changed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl import ids
from payctl.db import audit as trail
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.db.tables import audit, audit_head
from payctl.errors import NotFound

#: Rows held in memory at a time while verifying or exporting.
PAGE = 1000
#: Damages listed before the search stops: the first ones say where to look.
MAX_DAMAGES = 100


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One record as stored."""

    id: UUID
    chain: int
    seq: int
    hash: bytes
    at: datetime
    actor: str
    actor_kind: str
    host: str
    session: str
    command: str
    action: str
    subject_kind: str
    subject_id: UUID | None
    reason: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """The last record of a chain; kept outside, it proves later that the chain was not cut."""

    chain: int
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is not as it was written.

    ``what`` is ``missing``, ``edited``, ``broken_link``, ``tail_missing``, ``head_missing``,
    ``head_rewritten`` or ``anchor_differs``; ``seq`` is the first record concerned.
    """

    what: str
    chain: int
    seq: int
    detail: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The result of a verification."""

    records: int
    heads: tuple[Head, ...]
    damages: tuple[Damage, ...]

    @property
    def ok(self) -> bool:
        return not self.damages


class AuditTrail:
    """The records of a book."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def denied(self, actor: Actor, error: Any) -> None:
        """Write down that *actor* was refused an act (a ``Forbidden``)."""
        trail.denied(self._db, actor, error)

    def revealed(self, actor: Actor, subject_kind: str, subject_id: UUID | None, what: str) -> None:
        """Let *actor* see something masked (*what*: ``phone``), and write it down.

        Raises:
            Forbidden: ``operator.not_allowed``.
        """
        require(actor, "personal_data.reveal")
        trail.revealed(self._db, actor, subject_kind, subject_id, what)

    def list(
        self,
        actor: Actor,
        *,
        by: str | None = None,
        action: str | None = None,
        subject_id: UUID | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Sequence[AuditRecord]:
        """Records, newest first; *action* may be a whole name or its first part (``approval``).

        Raises:
            Forbidden: ``operator.not_allowed``.
        """
        require(actor, "audit.read")
        query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
        for column, value in ((audit.c.actor, by), (audit.c.subject_id, subject_id)):
            if value is not None:
                query = query.where(column == value)
        if action is not None:
            whole = audit.c.action == action
            query = query.where(whole | audit.c.action.startswith(f"{action}.", autoescape=True))
        if since is not None:
            query = query.where(audit.c.at >= since)
        if until is not None:
            query = query.where(audit.c.at < until)
        if after is not None:
            query = query.where(audit.c.id < after)
        with self._db.read() as tx:
            return [_record(row) for row in tx.execute(query)]

    def get(self, actor: Actor, record_id: UUID) -> AuditRecord:
        """One record.

        Raises:
            NotFound: ``audit.not_found``. Forbidden: ``operator.not_allowed``.
        """
        require(actor, "audit.read")
        with self._db.read() as tx:
            row = tx.execute(sa.select(audit).where(audit.c.id == record_id)).one_or_none()
        if row is None:
            raise NotFound("audit.not_found", field="id", id=ids.encode("audit", record_id))
        return _record(row)

    def export(self, actor: Actor) -> Iterator[AuditRecord | Head]:
        """Every record chain by chain, each chain followed by its head.

        Raises:
            Forbidden: ``operator.not_allowed``.
        """
        require(actor, "audit.read")
        with self._db.read() as tx:
            for head in _heads(tx):
                for row in _chain(tx, head.chain):
                    yield _record(row)
                yield head

    def verify(self, actor: Actor, anchors: Sequence[Head] = ()) -> AuditReport:
        """Recompute every hash and link, and hold them against *anchors* from an earlier export.

        Raises:
            Forbidden: ``operator.not_allowed``.
        """
        require(actor, "audit.read")
        damages: list[Damage] = []
        total = 0
        with self._db.read() as tx:
            heads = {head.chain: head for head in _heads(tx)}
            chains = set(tx.execute(sa.select(audit.c.chain).distinct()).scalars())
            for chain in sorted(chains | set(heads) | {anchor.chain for anchor in anchors}):
                kept = {anchor.seq: anchor.hash for anchor in anchors if anchor.chain == chain}
                total += _verify_chain(tx, chain, heads.get(chain), kept, damages)
        return AuditReport(total, tuple(heads.values()), tuple(damages))


def _verify_chain(
    tx: sa.Connection,
    chain: int,
    head: Head | None,
    anchors: dict[int, bytes],
    damages: list[Damage],
) -> int:
    def found(what: str, seq: int, detail: str) -> None:
        if len(damages) < MAX_DAMAGES:
            damages.append(Damage(what, chain, seq, detail))

    previous, expected, count = trail.ZERO, 1, 0
    for row in _chain(tx, chain):
        count += 1
        if row.seq != expected:
            found("missing", expected, f"{row.seq - expected} record(s) before {row.seq}")
        elif row.prev_hash != previous:
            found("broken_link", row.seq, "does not follow the record before it")
        content = trail.content_hash(row._asdict())
        if trail.chained(row.prev_hash, chain, row.seq, content) != row.hash:
            found("edited", row.seq, f"{row.action} by {row.actor} at {row.at.isoformat()}")
        if anchors.pop(row.seq, row.hash) != row.hash:
            found("anchor_differs", row.seq, "is not the record that was exported")
        previous, expected = row.hash, row.seq + 1
    last = expected - 1
    if head is None:
        if last:
            found("head_missing", last, "the chain has records and no head")
    elif head.seq > last:
        found("tail_missing", expected, f"the head stands at {head.seq}, the last record at {last}")
    elif head.seq < last or (last and head.hash != previous):
        found("head_rewritten", last, "the head is not the last record")
    for seq in sorted(anchors):
        found("anchor_differs", seq, "the exported record is gone")
    return count


def _chain(tx: sa.Connection, chain: int) -> Iterator[sa.Row[Any]]:
    query = sa.select(audit).where(audit.c.chain == chain).order_by(audit.c.seq)
    yield from tx.execute(query.execution_options(yield_per=PAGE))


def _heads(tx: sa.Connection) -> list[Head]:
    rows = tx.execute(sa.select(audit_head).order_by(audit_head.c.chain))
    return [Head(row.chain, row.seq, row.hash) for row in rows]


def _record(row: sa.Row[Any]) -> AuditRecord:
    return AuditRecord(**{name: getattr(row, name) for name in AuditRecord.__dataclass_fields__})
