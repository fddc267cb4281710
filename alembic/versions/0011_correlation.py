"""Notifications name the correlation id of whoever made the change."""

from __future__ import annotations

from alembic import op

from payctl.db.migrate import run_frozen

revision = "0011_correlation"
down_revision = "0010_deliveries"


def upgrade() -> None:
    run_frozen(op.get_bind(), revision, "up")


def downgrade() -> None:
    run_frozen(op.get_bind(), revision, "down")
