"""Journals are posted by one call: the database's function, and a journal with its entries in one
statement, which makes the deferred check of each journal unnecessary.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0003_bulk"
down_revision = "0001_core"


def upgrade() -> None:
    run("up")


def downgrade() -> None:
    run("down")


def run(direction: str) -> None:
    connection = op.get_bind()
    file = Path(__file__).with_name(f"{revision}.{connection.dialect.name}.{direction}.sql")
    if not file.exists():
        return
    for statement in file.read_text(encoding="utf-8").split("\n-- next\n"):
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
