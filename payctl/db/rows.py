"""Many rows of several tables in one go: a JSON document for PostgreSQL's functions, driver rows
for SQLite. Values are the ones the tables' columns take in Python (``payctl.db.types``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa

from payctl.db.driver import driver_executemany
from payctl.db.tables import idempotency
from payctl.db.types import Flag, Id, Json, Moment, canonical, to_micros

Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]


def document(rows: Rows) -> str:
    """*rows*, by table, as the JSON that ``jsonb_populate_recordset`` reads: what is missing there
    is NULL, so that is left out.
    """
    tables = {
        name: [
            {key: value for key, value in each.items() if value is not None} for each in of_table
        ]
        for name, of_table in rows.items()
    }
    try:
        return orjson.dumps(tables, default=_plain).decode()
    except TypeError:
        # A provider's number of more than 64 bits: JSON has room for it, and so has PostgreSQL.
        return json.dumps(tables, default=_plain, ensure_ascii=False)


def insert_sqlite(
    tx: sa.Connection, table: sa.Table, rows: Sequence[Row], conflict: str = ""
) -> int:
    """Insert complete rows (a value for every column); returns how many went in.

    Args:
        conflict: SQL that says what to do with rows that are there already.
    """
    if not rows:
        return 0
    sql, columns = _insertion(table)
    values = [
        [row[name] if convert is None else convert(row[name]) for name, convert in columns]
        for row in rows
    ]
    return driver_executemany(tx, f"{sql} {conflict}", values)


def claim_sqlite(tx: sa.Connection, claims: Sequence[Row]) -> bool:
    """Insert rows of ``idempotency``, or none of them when one of the keys is taken."""
    done = insert_sqlite(tx, idempotency, claims, "ON CONFLICT DO NOTHING")
    if done != len(claims):
        mine = [(each["scope"], each["key"], each["subject_id"].bytes) for each in claims]
        driver_executemany(
            tx, "DELETE FROM idempotency WHERE scope = ? AND key = ? AND subject_id = ?", mine
        )
    return done == len(claims)


def update_sqlite(
    tx: sa.Connection, table: sa.Table, rows: Sequence[Row], where: str = "TRUE"
) -> int:
    """Set columns of rows by their ``id``, each row naming the same ones; ``version`` is compared
    and raised by one. Returns how many matched.

    Args:
        where: a further condition, SQL without parameters.
    """
    if not rows:
        return 0
    sql, columns = _change(table, tuple(rows[0]), where)
    values = [
        [row[name] if convert is None else convert(row[name]) for name, convert in columns]
        for row in rows
    ]
    return driver_executemany(tx, sql, values)


#: A column and how its values go to the driver; ``None``: as they are.
_Columns = list[tuple[str, "Callable[[Any], Any] | None"]]


@cache
def _insertion(table: sa.Table) -> tuple[str, _Columns]:
    names = [column.name for column in table.columns]
    places = ", ".join("?" * len(names))
    sql = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})"  # noqa: S608
    return sql, [(name, _converter(table.c[name].type)) for name in names]


@cache
def _change(table: sa.Table, given: tuple[str, ...], where: str) -> tuple[str, _Columns]:
    names = [name for name in given if name not in ("id", "version")]
    sets = ", ".join(f"{name} = ?" for name in names)
    sql = (
        f"UPDATE {table.name} SET {sets}, version = version + 1"  # noqa: S608 - names of columns
        f" WHERE id = ? AND version = ? AND {where}"
    )
    return sql, [(name, _converter(table.c[name].type)) for name in (*names, "id", "version")]


def _converter(type_: sa.types.TypeEngine[Any]) -> Callable[[Any], Any] | None:
    if isinstance(type_, Id):
        return lambda value: None if value is None else value.bytes
    if isinstance(type_, Moment):
        return lambda value: None if value is None else to_micros(value)
    if isinstance(type_, Json):
        return lambda value: None if value is None else canonical(value)
    if isinstance(type_, Flag):
        return lambda value: None if value is None else int(value)
    return None


def _plain(value: Any) -> Any:
    """How a value that JSON has no word for is written."""
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a row holds a {type(value).__name__}")
