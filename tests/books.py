"""Make and empty books for tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import psycopg

from payctl.db import migrate
from payctl.db.engine import Database
from payctl.db.metadata import execute_all, load, statements


def create(db: Database) -> None:
    """Build a complete book, as a migrated one would be."""
    if not db.is_sqlite:
        with db.engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {db.book}")
    with db.engine.begin() as connection:
        execute_all(connection, statements(db.engine.dialect))


def stamp(db: Database) -> None:
    """Note in a complete book which revision it is, for a process that asks before it works."""
    with db.transaction() as tx:
        name = migrate.VERSION_TABLE
        tx.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {name} (version_num varchar(32) NOT NULL)")
        tx.exec_driver_sql(f"DELETE FROM {name}")
        tx.exec_driver_sql(f"INSERT INTO {name} VALUES ('{migrate.HEAD}')")


def new_pg_database(server_url: str, prefix: str) -> str:
    """A fresh database of this worker's own on the server; returns its URL."""
    name = f"{prefix}_{os.getpid()}"
    with psycopg.connect(server_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')  # type: ignore[arg-type]
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
    return server_url.rsplit("/", 1)[0] + "/" + name


def empty_pg(url: str, book: str = "payctl") -> None:
    """Delete every row but the seeded ones, past the append-only triggers (a superuser may)."""
    with psycopg.connect(
        url.replace("+psycopg", ""), options=f"-c search_path={book}"
    ) as connection:
        connection.execute("DROP TABLE IF EXISTS alembic_version")
        connection.execute("SET session_replication_role = replica")
        for table in reversed(load().sorted_tables):
            keep = table.info.get("seeded")
            connection.execute(
                f"DELETE FROM {table.name}" + (f" WHERE NOT ({keep})" if keep else "")
            )  # type: ignore[arg-type]


def without_fsync(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def remove(folder: Path) -> None:
    """Delete a folder of this test's own."""
    shutil.rmtree(folder, ignore_errors=True)
