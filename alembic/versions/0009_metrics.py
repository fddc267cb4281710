"""Counters of payments, refunds, exchanges and job runs, kept in the commits they count; what has
been alerted about; dead events found without a look at every event.
"""

from __future__ import annotations

from alembic import op

from payctl.db.migrate import run_frozen

revision = "0009_metrics"
down_revision = "0008_floats"


def upgrade() -> None:
    run_frozen(op.get_bind(), revision, "up")


def downgrade() -> None:
    run_frozen(op.get_bind(), revision, "down")
