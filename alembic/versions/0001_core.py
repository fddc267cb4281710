"""The core: people, keys, ledger, payments, cases, notifications, webhooks.

The SQL lies beside this file, frozen per database, because triggers and functions are half of it
and a migration must not change when the code does. Made by ``python -m payctl.db.freeze``.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001_core"
down_revision = None


def upgrade() -> None:
    run("up")


def downgrade() -> None:
    run("down")


def run(direction: str) -> None:
    """Run each statement of ``0001_core.DATABASE.DIRECTION.sql`` exactly as written."""
    connection = op.get_bind()
    file = Path(__file__).with_name(f"{revision}.{connection.dialect.name}.{direction}.sql")
    for statement in file.read_text(encoding="utf-8").split("\n-- next\n"):
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
