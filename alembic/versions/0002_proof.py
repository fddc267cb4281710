"""The proof: blocks of sealed journals, their items, how far they are anchored.

On PostgreSQL every journal also gets the number of its transaction. Those that are there already
get this migration's, which puts them before all later ones; the server keeps it as a default, so no
row is written.
"""

from __future__ import annotations

from alembic import op

from payctl.db.migrate import run_frozen

revision = "0002_proof"
down_revision = "0001_core"


def upgrade() -> None:
    run_frozen(op.get_bind(), revision, "up")


def downgrade() -> None:
    run_frozen(op.get_bind(), revision, "down")
