"""The newest ids of a kind, for shell completion: quick or not at all.

A completion that makes the shell wait is worse than none, so this goes past SQLAlchemy (a quarter
of a second to import) and gives up after 100 ms. Ids are UUIDv7: the newest are the largest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

BUDGET_MS = 100
LIMIT = 20

#: kind of id -> its table
TABLES: Mapping[str, str] = {
    "payment": "payment",
    "refund": "refund",
    "case": "case_record",
    "approval": "approval",
    "journal": "journal",
    "event": "webhook_event",
    "run": "job_run",
}


def recent_ids(url: str, book: str, kind: str) -> list[UUID]:
    """Up to 20 ids, newest first; empty when there is no book or no time."""
    table = TABLES.get(kind)
    if table is None:
        return []
    if url.startswith("sqlite"):
        return _sqlite(Path(url.partition(":///")[2]), table)
    return _postgresql(url, book, table)


def _sqlite(path: Path, table: str) -> list[UUID]:
    import sqlite3

    if not path.is_file():
        return []
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUDGET_MS / 1000)
    except sqlite3.Error:
        return []
    try:
        rows = connection.execute(_query(table)).fetchall()
    except sqlite3.Error:
        return []
    finally:
        connection.close()
    return [UUID(bytes=bytes(row[0])) for row in rows]


def _postgresql(url: str, book: str, table: str) -> list[UUID]:
    import psycopg

    options = f"-c search_path={book} -c statement_timeout={BUDGET_MS}"
    try:
        with psycopg.connect(
            url.replace("+psycopg", ""), options=options, connect_timeout=1
        ) as connection:
            rows = connection.execute(_query(table).encode()).fetchall()
    except psycopg.Error:
        return []
    return [UUID(str(row[0])) for row in rows]


def _query(table: str) -> str:
    return f"SELECT id FROM {table} ORDER BY id DESC LIMIT {LIMIT}"  # noqa: S608 - names are ours
