"""SQL of cases: statements in, dataclasses out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.cases.model import Case, CaseEvent
from payctl.cases.tables import case_event, case_record
from payctl.db.upsert import insert_into
from payctl.errors import NotFound
from payctl.ids import encode

#: The predicate of the unique index; written out, because PostgreSQL matches it as text.
_UNRESOLVED = "state <> 'resolved'"
_c = case_record.c


def insert(tx: sa.Connection, values: Mapping[str, Any], *, is_sqlite: bool) -> bool:
    """Insert the case unless one with its key is unresolved; says whether it did."""
    statement = insert_into(case_record, is_sqlite=is_sqlite).values(dict(values))
    statement = statement.on_conflict_do_nothing(
        index_elements=["dedupe_key"], index_where=sa.text(_UNRESOLVED)
    )
    return tx.execute(statement.returning(_c.id)).first() is not None


def unresolved(tx: sa.Connection, dedupe_key: str) -> UUID | None:
    """The id of the unresolved case with this key."""
    found: UUID | None = tx.execute(
        sa.select(_c.id).where(_c.dedupe_key == dedupe_key, sa.text(_UNRESOLVED))
    ).scalar_one_or_none()
    return found


def get(tx: sa.Connection, case_id: UUID) -> Case:
    """One case.

    Raises:
        NotFound: ``case.not_found``.
    """
    row = tx.execute(sa.select(case_record).where(_c.id == case_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("case.not_found", field="id", id=encode("case", case_id))
    return Case(**row)


def update(tx: sa.Connection, case_id: UUID, **values: Any) -> Case | None:
    """Change a case that is not resolved; ``None`` when it is."""
    row = (
        tx.execute(
            sa.update(case_record)
            .where(_c.id == case_id, _c.state != "resolved")
            .values(values)
            .returning(*_c)
        )
        .mappings()
        .one_or_none()
    )
    return Case(**row) if row is not None else None


def add_event(tx: sa.Connection, values: Mapping[str, Any]) -> None:
    tx.execute(sa.insert(case_event).values(dict(values)))


def events(tx: sa.Connection, case_id: UUID) -> Sequence[CaseEvent]:
    """The history of a case, oldest first."""
    columns = (case_event.c.at, case_event.c.actor, case_event.c.action, case_event.c.data)
    query = sa.select(*columns).where(case_event.c.case_id == case_id).order_by(case_event.c.id)
    return [CaseEvent(**row) for row in tx.execute(query).mappings()]


def listing(
    tx: sa.Connection, where: Sequence[sa.ColumnElement[bool]], after: Case | None, limit: int
) -> Sequence[Case]:
    """Cases by amount at risk, the largest first per currency; those without money last."""
    query = (
        sa.select(case_record)
        .where(*where)
        .order_by(_c.currency.is_(None), _c.currency, _c.amount_minor.desc(), _c.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(_behind(after))
    return [Case(**row) for row in tx.execute(query).mappings()]


def conditions(
    *,
    kind: str | None,
    state: str | None,
    assigned: str | None,
    subject_id: UUID | None,
) -> list[sa.ColumnElement[bool]]:
    """The WHERE of a listing."""
    where: list[sa.ColumnElement[bool]] = []
    if kind is not None:
        where.append(_c.kind == kind)
    if state == "unresolved":
        where.append(_c.state != "resolved")
    elif state is not None:
        where.append(_c.state == state)
    if assigned is not None:
        where.append(_c.assigned_to == assigned)
    if subject_id is not None:
        where.append(_c.subject_id == subject_id)
    return where


def _behind(case: Case) -> sa.ColumnElement[bool]:
    """What comes after *case* in the order of a listing."""
    if case.currency is None:
        return sa.and_(_c.currency.is_(None), _c.id > case.id)
    same = _c.currency == case.currency
    return sa.or_(
        _c.currency.is_(None),
        _c.currency > case.currency,
        sa.and_(same, _c.amount_minor < case.amount_minor),
        sa.and_(same, _c.amount_minor == case.amount_minor, _c.id > case.id),
    )
