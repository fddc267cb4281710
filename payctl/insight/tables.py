"""Tables of keeping watch: what somebody has been told of."""

from __future__ import annotations

import sqlalchemy as sa

from payctl.db.metadata import table
from payctl.db.types import Flag, Id, Json, Moment, Text

#: A finding that fails, or has recovered and nobody knows yet. ``told``: whether the alert command
#: has taken the news that it fails; news that was not taken is told again, under the same id.
alert = table(
    "alert",
    sa.Column("finding", Text, primary_key=True),
    sa.Column("id", Id, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("since", Moment, nullable=False),
    sa.Column("told", Flag, nullable=False),
    sa.Column("content", Json, nullable=False),
    sa.CheckConstraint("state IN ('failing', 'recovered')", name="state"),
)
