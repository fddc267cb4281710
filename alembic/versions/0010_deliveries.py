"""Deliveries of notifications: how far each endpoint has been told, and whether it is up."""

from __future__ import annotations

from alembic import op

from payctl.db.migrate import run_frozen

revision = "0010_deliveries"
down_revision = "0009_metrics"


def upgrade() -> None:
    run_frozen(op.get_bind(), revision, "up")


def downgrade() -> None:
    run_frozen(op.get_bind(), revision, "down")
