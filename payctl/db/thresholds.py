"""Thresholds: from which amount on an act needs a second person. Data with a history, never edited.

Changing one is itself an act that needs a second person.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from payctl.db.tables import approval_threshold

ANY_CURRENCY = "*"


@dataclass(frozen=True, slots=True)
class Threshold:
    """One rule as stored. ``limit_minor`` is for one act, ``daily_limit_minor`` for all of an
    operator's acts of this kind in 24 hours; ``currency`` is ``*`` for acts that need a second
    person whatever the amount (limit 0).
    """

    kind: str
    currency: str
    version: int
    limit_minor: int
    daily_limit_minor: int
    set_at: datetime
    set_by: str
    reason: str


def current(tx: sa.Connection, kind: str, currency: str) -> Threshold | None:
    """The rule in force for *kind* and *currency*."""
    found = every(tx, kind=kind, currency=currency)
    return found[0] if found else None


def every(
    tx: sa.Connection, *, kind: str | None = None, currency: str | None = None
) -> list[Threshold]:
    """All versions, the newest of each kind and currency first."""
    columns = approval_threshold.c
    query = sa.select(approval_threshold).order_by(
        columns.kind, columns.currency, columns.version.desc()
    )
    if kind is not None:
        query = query.where(columns.kind == kind)
    if currency is not None:
        query = query.where(columns.currency == currency)
    return [_threshold(row) for row in tx.execute(query)]


def newest(rules: list[Threshold]) -> list[Threshold]:
    """Of each kind and currency the first of *rules*, which come newest first."""
    out: dict[tuple[str, str], Threshold] = {}
    for rule in rules:
        out.setdefault((rule.kind, rule.currency), rule)
    return list(out.values())


def _threshold(row: sa.Row[Any]) -> Threshold:
    return Threshold(**{name: getattr(row, name) for name in Threshold.__dataclass_fields__})
