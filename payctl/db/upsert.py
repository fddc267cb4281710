"""INSERT with ON CONFLICT, which SQLAlchemy has once for each database.

Only the dialect of this book is imported: PostgreSQL's costs an embedded book a quarter of the time
of a short command.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.dialects.postgresql import Insert


def insert_into(table: sa.Table, *, is_sqlite: bool) -> Insert:
    """An INSERT that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    dialect = import_module(f"sqlalchemy.dialects.{'sqlite' if is_sqlite else 'postgresql'}")
    return cast("Insert", dialect.insert(table))
