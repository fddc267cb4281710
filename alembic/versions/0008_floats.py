"""Payout floats: balances as providers told them, alarms below which a float is low, top-ups."""

from __future__ import annotations

from alembic import op

from payctl.db.migrate import run_frozen

revision = "0008_floats"
down_revision = "0006_disputes"


def upgrade() -> None:
    run_frozen(op.get_bind(), revision, "up")


def downgrade() -> None:
    run_frozen(op.get_bind(), revision, "down")
