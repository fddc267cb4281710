"""Keys: the same key with the same request is done once, whoever repeats it.

A key is claimed in the transaction that does the work. A second claim of the same key waits until
that transaction ends: if it committed, it sees the stored outcome; if it was rolled back, it is the
first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.db.tables import idempotency
from payctl.db.types import canonical
from payctl.db.upsert import insert_into
from payctl.errors import Conflict, InvalidInput

#: Longest key a caller may choose.
MAX_KEY = 200


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim found.

    ``new`` is true for the one claim that must do the work. Otherwise ``outcome``, ``subject_id``
    and ``response`` are what the first one settled; ``outcome`` is ``None`` while its work, which
    reaches beyond one transaction, is still going on.
    """

    new: bool
    outcome: str | None = None
    subject_id: UUID | None = None
    response: Any = None


def fingerprint(request: Mapping[str, Any]) -> bytes:
    """SHA-256 of the canonical JSON of *request*: equal requests have equal fingerprints."""
    return hashlib.sha256(canonical(request).encode()).digest()


def check_length(key: str) -> None:
    """
    Raises:
        InvalidInput: ``key.bad_length``.
    """
    if not 1 <= len(key) <= MAX_KEY:
        raise InvalidInput("key.bad_length", field="key", limit=MAX_KEY)


def claim(db: Database, tx: sa.Connection, scope: str, key: str, fingerprint: bytes) -> Claim:
    """Claim *key* within *scope* for the request with this *fingerprint*.

    Waits for another transaction that holds the same key.

    Raises:
        InvalidInput: ``key.bad_length``.
        Conflict: ``key.reused`` when the key belongs to a request with another fingerprint.
    """
    check_length(key)
    insert = insert_into(idempotency, is_sqlite=db.is_sqlite)
    row = {"scope": scope, "key": key, "fingerprint": fingerprint, "created_at": db.clock.now()}
    done = tx.execute(
        insert.values(row).on_conflict_do_nothing().returning(idempotency.c.key),
    )
    if done.first() is not None:
        return Claim(new=True)
    stored = tx.execute(
        sa.select(
            idempotency.c.fingerprint,
            idempotency.c.outcome,
            idempotency.c.subject_id,
            idempotency.c.response,
        ).where(idempotency.c.scope == scope, idempotency.c.key == key)
    ).one()
    if stored.fingerprint != fingerprint:
        raise Conflict("key.reused", field="key", key=key)
    return Claim(False, stored.outcome, stored.subject_id, stored.response)


def settle(
    tx: sa.Connection,
    scope: str,
    key: str,
    outcome: str,
    subject_id: UUID | None = None,
    response: Mapping[str, Any] | None = None,
) -> None:
    """Store what the work under *key* ended in, for every later claim to return."""
    tx.execute(
        sa.update(idempotency)
        .where(idempotency.c.scope == scope, idempotency.c.key == key)
        .values(outcome=outcome, subject_id=subject_id, response=response)
    )
