"""Statements straight to the driver, inside SQLAlchemy's transaction.

For the hottest statements only: SQLAlchemy's statement objects cost more there than the database's
work. Errors are SQLAlchemy's, as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

#: In a connection's ``info``: the cursor that takes ``$1``, where the driver's own would not.
RAW_CURSOR = "payctl_raw_cursor"


def driver_execute(tx: sa.Connection, sql: str, values: Sequence[Any] = ()) -> Any:
    """Run one statement on the driver's own connection, inside *tx*; returns the driver's cursor.

    The cursor is the connection's only one: take its rows before the next statement.

    Args:
        sql: with parameters as the server has them: ``$1`` on PostgreSQL, ``?`` on SQLite.
    """
    try:
        driver: Any = tx.info.get(RAW_CURSOR) or tx.connection.driver_connection
        return driver.execute(sql, values)
    except tx.dialect.loaded_dbapi.Error as error:
        raise _as_sqlalchemy(tx, sql, error) from error


def driver_executemany(tx: sa.Connection, sql: str, rows: Sequence[Sequence[Any]]) -> int:
    """The same for many rows; returns how many rows were changed."""
    cursor = tx.connection.driver_connection.cursor()  # type: ignore[union-attr]
    try:
        cursor.executemany(sql, rows)
        return int(cursor.rowcount)
    except tx.dialect.loaded_dbapi.Error as error:
        raise _as_sqlalchemy(tx, sql, error) from error
    finally:
        cursor.close()


def _as_sqlalchemy(tx: sa.Connection, sql: str, error: Exception) -> Exception:
    dialect, lost = tx.dialect, False
    if dialect.is_disconnect(error, tx.connection.dbapi_connection, None):  # type: ignore[arg-type]
        lost = True
        tx.invalidate(error)
    return exc.DBAPIError.instance(
        sql, None, error, dialect.loaded_dbapi.Error, connection_invalidated=lost, dialect=dialect,
        hide_parameters=True,
    )  # fmt: skip
