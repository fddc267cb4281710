"""The parties money is taken for. Payments name them by ``ref``, the core service's own id."""

from __future__ import annotations

import sqlalchemy as sa

from payctl.db.metadata import table
from payctl.db.types import Id, Moment, Text

KINDS = ("organiser", "designer")
STATUSES = ("active", "blocked")

party = table(
    "party",
    sa.Column("id", Id, primary_key=True),
    sa.Column("kind", Text, nullable=False),
    sa.Column("ref", Text, nullable=False, unique=True),
    sa.Column("name", Text, nullable=False),
    sa.Column("country", Text, nullable=False),
    sa.Column("status", Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.CheckConstraint("kind IN ('organiser', 'designer')", name="kind"),
    sa.CheckConstraint("status IN ('active', 'blocked')", name="status"),
    sa.CheckConstraint("ref <> ''", name="ref"),
    sa.CheckConstraint("length(country) = 2", name="country"),
)
