"""Disputes: what customers contest, what the provider has taken back for it, and what is frozen."""

from __future__ import annotations

from alembic import op

from payctl.db.migrate import run_frozen

revision = "0006_disputes"
down_revision = "0005_payouts"


def upgrade() -> None:
    run_frozen(op.get_bind(), revision, "up")


def downgrade() -> None:
    run_frozen(op.get_bind(), revision, "down")
