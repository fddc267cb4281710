"""Posting on PostgreSQL takes fewer and cheaper statements: the functions are planned once for each
connection, a batch of journals is checked as a whole, and a trigger looks at the accounts of new
entries in place of a foreign key, which looked at each entry by itself and locked its account.
"""

from __future__ import annotations

from alembic import op

from payctl.db.migrate import run_frozen

revision = "0004_posting"
down_revision = "0003_bulk"


def upgrade() -> None:
    run_frozen(op.get_bind(), revision, "up")


def downgrade() -> None:
    run_frozen(op.get_bind(), revision, "down")
