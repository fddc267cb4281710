"""On SQLite constraints and partial indexes say by comparisons what a column may hold, not by a
list: SQLite fills a table of its own with the list each time a row is written. The index of
providers' references leaves out attempts without one.

What a constraint means stays the same, and so does every row, so the constraints are changed where
SQLite keeps their text (sqlite.org/lang_altertable.html, "making other kinds of table schema
changes"): nearly every table refers to these, and would be built anew with them.
"""

from __future__ import annotations

from alembic import op

from payctl.db.migrate import run_frozen

revision = "0013_comparisons"
down_revision = "0012_by_index"


def upgrade() -> None:
    run_frozen(op.get_bind(), revision, "up")


def downgrade() -> None:
    run_frozen(op.get_bind(), revision, "down")
