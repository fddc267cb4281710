"""The hot functions no longer set and take back their settings at every call."""

from __future__ import annotations

from alembic import op

from payctl.db.migrate import run_frozen

revision = "0012_by_index"
down_revision = "0011_correlation"


def upgrade() -> None:
    run_frozen(op.get_bind(), revision, "up")


def downgrade() -> None:
    run_frozen(op.get_bind(), revision, "down")
