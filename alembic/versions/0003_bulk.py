"""Journals are posted by one call: the database's function, and a journal with its entries in one
statement, which makes the deferred check of each journal unnecessary. Indexes for balances of the
past: entries by stripe, and only those journals by their date that count at another moment than
they were recorded.
"""

from __future__ import annotations

from alembic import op

from payctl.db.migrate import run_frozen

revision = "0003_bulk"
down_revision = "0002_proof"


def upgrade() -> None:
    run_frozen(op.get_bind(), revision, "up")


def downgrade() -> None:
    run_frozen(op.get_bind(), revision, "down")
