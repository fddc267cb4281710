"""How Alembic runs our migrations: on the connection payctl hands over, in its transaction.

Called by ``alembic`` itself, it takes the book from the configured profile, as payctl would.
"""

from __future__ import annotations

import os

import sqlalchemy as sa
from alembic import context


def migrate(connection: sa.Connection) -> None:
    """Run what was asked for. The version table lies in the book, which ``search_path`` names."""
    from payctl.db.metadata import load

    context.configure(
        connection=connection,
        target_metadata=load(),
        transactional_ddl=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


def from_profile() -> None:
    """The book of the profile that PAYCTL_PROFILE and the configuration files name."""
    from payctl.config import load
    from payctl.db.engine import Database

    config = load(environ=os.environ)
    db = Database(config.database_url, book=config.book)
    with db.transaction() as tx:
        if not db.is_sqlite:
            tx.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {db.book}")
        migrate(tx)
    db.dispose()


given = context.config.attributes.get("connection")
if given is None:
    from_profile()
else:
    migrate(given)
