"""Parties: organisers and designers, known here by the core service's own reference.

A party is opened by its first sale, because a payment must never wait for someone to register an
organiser first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.countries import COUNTRIES
from payctl.db.actor import Actor
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.db.upsert import insert_into
from payctl.errors import InvalidInput, NotFound
from payctl.parties.tables import KINDS, STATUSES, party

MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Party:
    """A party. ``country`` decides where its sales are at home (ISO 3166-1 alpha-2)."""

    id: UUID
    kind: str
    ref: str
    name: str
    country: str
    status: str
    created_at: datetime


class Parties:
    """Opens, finds and changes parties.

    Args:
        default_country: country of a party that is opened by its first sale; the book's own.
    """

    def __init__(self, db: Database, default_country: str) -> None:
        self._db = db
        self._default_country = default_country

    def open(self, tx: sa.Connection, ref: str, *, kind: str = "organiser") -> Party:
        """The party *ref*, made with the book's country when this is its first use.

        Raises:
            InvalidInput: ``party.bad_ref``, ``party.unknown_kind``, ``country.unknown`` when the
                configured country is none.
        """
        found = self._find(tx, ref)
        if found is not None:
            return found
        insert = insert_into(party, is_sqlite=self._db.is_sqlite)
        values = self.fresh(ref, kind=kind)
        tx.execute(insert.values(values).on_conflict_do_nothing(index_elements=["ref"]))
        return self.get(tx, ref)

    def fresh(self, ref: str, *, kind: str = "organiser") -> dict[str, Any]:
        """The row of a party at its first use.

        Raises:
            InvalidInput: as :meth:`open`.
        """
        if not ref.strip() or len(ref) > MAX_TEXT:
            raise InvalidInput("party.bad_ref", field="organiser", limit=MAX_TEXT)
        if kind not in KINDS:
            raise InvalidInput("party.unknown_kind", field="kind", kind=kind[:40])
        _checked(None, self._default_country, None)
        return {
            "id": self._db.ids.new(),
            "kind": kind,
            "ref": ref,
            "name": ref,
            "country": self._default_country,
            "status": "active",
            "created_at": self._db.clock.now(),
        }

    def open_all(self, tx: sa.Connection, refs: Iterable[str]) -> None:
        """Make the organisers among *refs* that are new, in one statement and in their order, so
        that two transactions wait for each other in one direction only.
        """
        insert = insert_into(party, is_sqlite=self._db.is_sqlite)
        rows = [self.fresh(ref) for ref in sorted(set(refs))]
        if rows:
            tx.execute(insert.on_conflict_do_nothing(index_elements=["ref"]), rows)

    def get(self, tx: sa.Connection, ref: str) -> Party:
        """The party with this reference.

        Raises:
            NotFound: ``party.not_found``.
        """
        found = self._find(tx, ref)
        if found is None:
            raise NotFound("party.not_found", field="organiser", ref=ref[:60])
        return found

    def list(self, *, after: str | None = None, limit: int = 50) -> Sequence[Party]:
        """Parties by reference, at most *limit*, after the reference *after*."""
        query = sa.select(party).order_by(party.c.ref).limit(limit)
        if after is not None:
            query = query.where(party.c.ref > after)
        with self._db.read() as tx:
            return [Party(**row) for row in tx.execute(query).mappings()]

    def set(
        self,
        actor: Actor,
        ref: str,
        reason: str,
        *,
        name: str | None = None,
        country: str | None = None,
        status: str | None = None,
    ) -> Party:
        """Change what is given of a party; it is opened first when unknown.

        Raises:
            Forbidden: ``operator.not_allowed``.
            InvalidInput: ``country.unknown``, ``party.unknown_status``, ``party.bad_name``,
                ``reason.missing``.
        """
        require(actor, "party.manage")
        if not reason.strip():
            raise InvalidInput("reason.missing", field="reason")
        changes = _checked(name, country, status)
        with self._db.transaction() as tx:
            before = self.open(tx, ref)
            if changes:
                tx.execute(sa.update(party).where(party.c.id == before.id).values(changes))
            was = {key: getattr(before, key) for key in changes}
            data = {"ref": ref, "before": was, "after": changes}
            record(self._db, tx, actor, "party.set", "party", before.id, data, reason)
            return self.get(tx, ref)

    def _find(self, tx: sa.Connection, ref: str) -> Party | None:
        row = tx.execute(sa.select(party).where(party.c.ref == ref)).mappings().one_or_none()
        return Party(**row) if row is not None else None


def _checked(name: str | None, country: str | None, status: str | None) -> dict[str, Any]:
    if name is not None and (not name.strip() or len(name) > MAX_TEXT):
        raise InvalidInput("party.bad_name", field="name", limit=MAX_TEXT)
    if country is not None and country not in COUNTRIES:
        raise InvalidInput("country.unknown", field="country", country=country[:40])
    if status is not None and status not in STATUSES:
        raise InvalidInput("party.unknown_status", field="status", status=status[:40])
    given = {"name": name, "country": country, "status": status}
    return {key: value for key, value in given.items() if value is not None}
