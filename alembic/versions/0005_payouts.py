"""Refunds that go back as payouts; what a provider tells for later and who paid, kept with the
attempt; the key that takes what a customer approved; events that prove themselves by a token.

SQLite cannot change a constraint, so there the tables are built anew and their rows moved.
"""

from __future__ import annotations

from alembic import op

from payctl.db.migrate import run_frozen

revision = "0005_payouts"
down_revision = "0004_posting"


def upgrade() -> None:
    run_frozen(op.get_bind(), revision, "up")


def downgrade() -> None:
    run_frozen(op.get_bind(), revision, "down")
