"""The audit trail: who did what, append-only and hash-chained.

Each record carries the hash of the one before it in its chain, and ``audit_head`` the last of each
chain. There are several chains on PostgreSQL so that writers do not queue for one row; a connection
stays with one. All records of a transaction are written by one call at its very end, so a chain is
locked for the shortest time and never before another lock.

An attacker who may drop triggers and rewrite rows, hashes and heads together leaves no trace inside
the database; for that an export carries the heads, and a later verification holds them against it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl import pan
from payctl.db.actor import Actor
from payctl.db.driver import driver_execute
from payctl.db.engine import Database
from payctl.db.rows import document, insert_sqlite
from payctl.db.tables import audit
from payctl.db.types import canonical
from payctl.errors import PayctlError

CHAINS = 16
ZERO = bytes(32)
#: After the ledger's own shared rows, whoever asked first.
AT_COMMIT_RANK = 100
_BUFFER = "payctl_audit"
_CHAIN = "payctl_audit_chain"


@dataclass(slots=True)
class _Buffer:
    """The records of one transaction, until it commits."""

    transaction: object
    rows: list[dict[str, Any]] = field(default_factory=list)


def record(
    db: Database,
    tx: sa.Connection,
    actor: Actor,
    action: str,
    subject_kind: str,
    subject_id: UUID | None,
    data: Mapping[str, Any],
    reason: str | None = None,
) -> None:
    """Write down an act; it becomes part of the chain when *tx* commits.

    Args:
        action: dotted name of the act, ``refund.approved``.
        data: what is worth knowing later: amounts in minor units, states before and after. Card
            numbers are removed; a float is a bug and raises ``TypeError``.
    """
    transaction = tx.get_transaction()
    buffer: _Buffer | None = tx.info.get(_BUFFER)
    if buffer is None or buffer.transaction is not transaction:
        buffer = _Buffer(transaction)
        tx.info[_BUFFER] = buffer
        db.at_commit(tx, lambda connection: _flush(db, connection), rank=AT_COMMIT_RANK)
    now = db.clock.now()
    made = row(db.ids.new(now), now, actor, action, subject_kind, subject_id, data, reason)
    buffer.rows.append(made)


def row(
    id_: UUID,
    at: datetime,
    actor: Actor,
    action: str,
    subject_kind: str,
    subject_id: UUID | None,
    data: Mapping[str, Any],
    reason: str | None = None,
) -> dict[str, Any]:
    """A record that is not in a chain yet, for :func:`append`; arguments as :func:`record`."""
    return {
        "id": id_,
        "at": at,
        "actor": actor.name,
        "actor_kind": actor.kind,
        "host": actor.host,
        "session": actor.session,
        "command": _plain(actor.command),
        "action": action,
        "subject_kind": subject_kind,
        "subject_id": subject_id,
        "reason": None if reason is None else _plain(reason),
        "data": _plain(data),
    }


def denied(db: Database, actor: Actor, error: PayctlError) -> None:
    """Write down that *actor* was refused an act, in a transaction of its own."""
    with db.transaction() as tx:
        record(db, tx, actor, "denied", "permission", None, {"code": error.code, **error.params})


def revealed(
    db: Database, actor: Actor, subject_kind: str, subject_id: UUID | None, what: str
) -> None:
    """Write down that *actor* was shown something that is masked by default (*what*: ``phone``)."""
    with db.transaction() as tx:
        record(db, tx, actor, "revealed", subject_kind, subject_id, {"what": what})


# -- writing ------------------------------------------------------------------------------------


def _flush(db: Database, tx: sa.Connection) -> None:
    buffer: _Buffer = tx.info.pop(_BUFFER)
    append(db, tx, buffer.rows)


def append(db: Database, tx: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Add records to the connection's chain, as the last thing of its transaction."""
    if db.is_sqlite:
        _append_here(tx, rows)
        return
    text = document({"audit": chainable(rows)})
    driver_execute(tx, "SELECT audit_append($1, $2::jsonb->'audit')", (chain_of(db, tx), text))


def chain_of(db: Database, tx: sa.Connection) -> int:
    """The chain this connection writes to."""
    info = tx.info
    chain: int | None = info.get(_CHAIN)
    if chain is None:
        chain = info[_CHAIN] = int(db.ids.token(4), 16) % CHAINS
    return chain


def chainable(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Records as the database function ``audit_append`` takes them, in a :func:`rows.document`."""
    return [{**each, "content": content_hash(each).hex()} for each in rows]


def _append_here(tx: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    head = driver_execute(tx, "SELECT seq, hash FROM audit_head WHERE chain = 0").fetchone()
    seq, last = head or (0, ZERO)
    placed = []
    for each in rows:
        previous, seq = last, seq + 1
        last = chained(previous, 0, seq, content_hash(each))
        placed.append({**each, "chain": 0, "seq": seq, "prev_hash": previous, "hash": last})
    insert_sqlite(tx, audit, placed)
    move = (
        "UPDATE audit_head SET seq = ?, hash = ? WHERE chain = 0"
        if head is not None
        else "INSERT INTO audit_head (seq, hash, chain) VALUES (?, ?, 0)"
    )
    driver_execute(tx, move, (seq, last))


def content_hash(row: Mapping[str, Any]) -> bytes:
    """SHA-256 of a record's canonical JSON, its place in the chain apart."""
    subject_id = row["subject_id"]
    content = {
        "id": str(row["id"]), "at": _moment(row["at"]), "actor": row["actor"],
        "actor_kind": row["actor_kind"], "host": row["host"], "session": row["session"],
        "command": row["command"], "action": row["action"], "subject_kind": row["subject_kind"],
        "subject_id": None if subject_id is None else str(subject_id), "reason": row["reason"],
        "data": row["data"],
    }  # fmt: skip
    return hashlib.sha256(canonical(content).encode()).digest()


def chained(previous: bytes, chain: int, seq: int, content: bytes) -> bytes:
    """The hash of a record: the previous one's, its place and its content.

    The same as the database function ``audit_append`` computes.
    """
    place = chain.to_bytes(8, "big", signed=True) + seq.to_bytes(8, "big", signed=True)
    return hashlib.sha256(previous + place + content).digest()


def _moment(value: datetime) -> str:
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return utc.isoformat(timespec="microseconds")


def _plain(value: Any) -> Any:
    """JSON values that both databases give back unchanged, without card numbers."""
    if isinstance(value, str):
        if not value.isascii() or "\x00" in value:
            value = value.replace("\x00", "").encode("utf-8", "replace").decode()
        return pan.scrub(value)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        return [_plain(item) for item in (value if isinstance(value, Sequence) else sorted(value))]
    raise TypeError(f"audit data holds a {type(value).__name__}")
