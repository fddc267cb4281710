"""The core: people, keys, ledger, payments, cases, notifications, webhooks.

The SQL lies beside this file, frozen per database, because triggers and functions are half of it
and a migration must not change when the code does. Made by ``python -m payctl.db.freeze``.
"""

from __future__ import annotations

from alembic import op

from payctl.db.migrate import run_frozen

revision = "0001_core"
down_revision = None


def upgrade() -> None:
    run_frozen(op.get_bind(), revision, "up")


def downgrade() -> None:
    run_frozen(op.get_bind(), revision, "down")
