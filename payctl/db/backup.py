"""Backups: a consistent copy of a book and a manifest that proves what was in it.

SQLite is copied by its own online backup while others write; PostgreSQL by ``pg_dump`` on the very
snapshot the manifest was counted from. A backup that was never read back is a hope: :func:`verify`
reads it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from payctl.db import migrate
from payctl.db.engine import Database
from payctl.db.metadata import load
from payctl.errors import CheckFailed, Conflict, NotConfigured, NotFound, Unavailable

SCHEMA = "payctl.backup/1"
#: Tables a book has rows in before anything happened in it: they do not make it "in use".
_OWN_ROOM = frozenset({"operator", "audit", "audit_head", "lease", "job_run"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. ``sums`` are minor units: table -> currency -> sums of the positive and
    of the negative amounts.
    """

    engine: str
    book: str
    revision: str
    made_at: str
    bytes: int
    sha256: str
    rows: Mapping[str, int]
    sums: Mapping[str, Mapping[str, tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Verified:
    """What reading a backup again showed. ``contents`` tells whether the rows were counted too."""

    manifest: Manifest
    contents: bool


def backup(db: Database, target: Path) -> Manifest:
    """Copy the book to *target* and write ``TARGET.manifest.json`` beside it.

    Raises:
        Conflict: ``backup.exists``. NotConfigured: ``backup.no_tool``.
        Unavailable: ``backup.failed`` (a full disk, a folder without write access).
    """
    if target.exists():
        raise Conflict("backup.exists", field="file", path=str(target))
    partial = target.with_name(f"{target.name}.part")
    with _file_errors(target), _private():
        try:
            rows, sums = _copy_sqlite(db, partial) if db.is_sqlite else _dump(db, partial)
            manifest = Manifest(
                engine=db.engine.dialect.name,
                book=db.book,
                revision=migrate.status(db).revision or "",
                made_at=db.clock.now().isoformat(),
                bytes=partial.stat().st_size,
                sha256=_sha256(partial),
                rows=rows,
                sums=sums,
            )
            text = json.dumps({"schema": SCHEMA, **asdict(manifest)}, indent=2, sort_keys=True)
            manifest_path(target).write_text(f"{text}\n", encoding="utf-8")
            _sync(partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    return manifest


def verify(file: Path, *, scratch: Database | None = None) -> Verified:
    """Read a backup again: its hash, its structure, its rows and sums.

    Args:
        scratch: an empty PostgreSQL database to restore a dump into; without one only the hash and
            the table of contents of a dump are read.

    Raises:
        CheckFailed: ``backup.damaged`` naming what differs. NotFound: ``backup.not_found``.
    """
    manifest = read_manifest(file)
    if _sha256(file) != manifest.sha256:
        raise CheckFailed("backup.damaged", path=str(file), what="sha256")
    if manifest.engine == "sqlite":
        with _opened(file) as connection:
            if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                raise CheckFailed("backup.damaged", path=str(file), what="integrity_check")
            if connection.execute("PRAGMA foreign_key_check").fetchall():
                raise CheckFailed("backup.damaged", path=str(file), what="foreign_key_check")
            engine = sa.create_engine(
                "sqlite://", creator=lambda: connection, poolclass=sa.pool.StaticPool
            )
            with engine.connect() as tx:
                _compare(file, manifest, tx)
        return Verified(manifest, contents=True)
    _tool(["pg_restore", "--list", str(file)], {})
    if scratch is None:
        return Verified(manifest, contents=False)
    restore(scratch, file)
    return Verified(manifest, contents=True)


def restore(db: Database, file: Path) -> Manifest:
    """Fill an empty book from a backup, and compare the result with the manifest.

    Raises:
        Conflict: ``backup.book_in_use`` unless the book is empty, ``backup.other_kind`` when it is
            one of the other database, or of a book with another name.
        CheckFailed: ``backup.damaged``. NotFound: ``backup.not_found``.
        Unavailable: ``backup.failed``.
    """
    manifest = check_restorable(db, file)
    with _file_errors(file):
        if db.is_sqlite:
            db.dispose()
            with _opened(file) as source:
                live = sqlite3.connect(str(db.url.database))
                source.backup(live)
                live.close()
        else:
            with db.transaction() as tx:
                tx.exec_driver_sql(f"DROP SCHEMA IF EXISTS {db.book} CASCADE")
            _tool(["pg_restore", "--single-transaction", "--exit-on-error", "--no-owner",
                   "--dbname", _database_name(db), str(file)], _environment(db))  # fmt: skip
    with db.read() as tx:
        _compare(file, manifest, tx)
    return manifest


def check_restorable(db: Database, file: Path, *, new_file: bool = False) -> Manifest:
    """Everything that can be said before a restore without changing anything.

    Args:
        new_file: the target is a SQLite file that does not exist yet, not *db*.

    Raises: as :func:`restore`.
    """
    manifest = read_manifest(file)
    if _sha256(file) != manifest.sha256:
        raise CheckFailed("backup.damaged", path=str(file), what="sha256")
    engine = "sqlite" if new_file else db.engine.dialect.name
    if manifest.engine != engine or (engine != "sqlite" and manifest.book != db.book):
        raise Conflict(
            "backup.other_kind", path=str(file), engine=manifest.engine, book=manifest.book
        )
    used = [] if new_file else tables_in_use(db)
    if used:
        raise Conflict("backup.book_in_use", place=db.describe(), tables=", ".join(used[:5]))
    return manifest


def tables_in_use(db: Database) -> list[str]:
    """Tables with rows of somebody's business, which a restore must never overwrite."""
    if migrate.status(db).revision is None:
        return []
    with db.read() as tx:
        there = set(sa.inspect(tx).get_table_names())
        return [
            table.name
            for table in load().sorted_tables
            if table.name in there and table.name not in _OWN_ROOM and _has_rows(tx, table)
        ]


def manifest_path(file: Path) -> Path:
    """Where a backup's manifest lies: beside it."""
    return file.with_name(f"{file.name}.manifest.json")


def read_manifest(file: Path) -> Manifest:
    """The manifest of a backup.

    Raises:
        NotFound: ``backup.not_found``. CheckFailed: ``backup.damaged``.
    """
    if not file.is_file() or not manifest_path(file).is_file():
        raise NotFound("backup.not_found", field="file", path=str(file))
    try:
        found = json.loads(manifest_path(file).read_text(encoding="utf-8"))
        if found.pop("schema") != SCHEMA:
            raise ValueError
        return Manifest(**found)
    except (ValueError, KeyError, TypeError):
        raise CheckFailed("backup.damaged", path=str(file), what="manifest") from None


# -- counting -----------------------------------------------------------------------------------


def figures(
    tx: sa.Connection,
) -> tuple[dict[str, int], dict[str, dict[str, tuple[int, int]]]]:
    """Rows of every table, and per currency the sums of every table that holds amounts.

    The tables are those of the database, not of this program: a backup of an older revision counts
    the same tables when it is made and when it is read.
    """
    rows: dict[str, int] = {}
    sums: dict[str, dict[str, tuple[int, int]]] = {}
    for name in sorted(sa.inspect(tx).get_table_names()):
        whole = sa.select(sa.text("*")).select_from(sa.table(name))
        columns = list(tx.execute(whole.limit(0)).keys())
        table = sa.table(name, *map(sa.column, columns))
        rows[name] = int(tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
        if not {"amount_minor", "currency"} <= set(columns):
            continue
        amount = table.c.amount_minor
        plus = sa.func.coalesce(sa.func.sum(sa.case((amount > 0, amount), else_=0)), 0)
        minus = sa.func.coalesce(sa.func.sum(sa.case((amount < 0, amount), else_=0)), 0)
        found = tx.execute(
            sa.select(table.c.currency, plus, minus)
            .where(table.c.currency.is_not(None))
            .group_by(table.c.currency)
        )
        sums[name] = {row[0]: (int(row[1]), int(row[2])) for row in found}
    return rows, sums


def _compare(file: Path, manifest: Manifest, tx: sa.Connection) -> None:
    rows, sums = figures(tx)
    for name, count in manifest.rows.items():
        if rows.get(name) != count:
            raise CheckFailed("backup.damaged", path=str(file), what=f"rows of {name}")
    for name, by_currency in manifest.sums.items():
        if {code: list(pair) for code, pair in sums.get(name, {}).items()} != {
            code: list(pair) for code, pair in by_currency.items()
        }:
            raise CheckFailed("backup.damaged", path=str(file), what=f"sums of {name}")


def _has_rows(tx: sa.Connection, table: sa.Table) -> bool:
    query = sa.select(sa.literal(1)).select_from(table).limit(1)
    seeded = table.info.get("seeded")
    if seeded:
        query = query.where(sa.text(f"NOT ({seeded})"))
    return tx.execute(query).first() is not None


# -- copying ------------------------------------------------------------------------------------


def _copy_sqlite(
    db: Database, partial: Path
) -> tuple[dict[str, int], dict[str, dict[str, tuple[int, int]]]]:
    partial.unlink(missing_ok=True)
    source = sqlite3.connect(str(db.url.database), timeout=10)
    target = sqlite3.connect(partial)
    try:
        source.backup(target, pages=4096)
        target.execute("PRAGMA journal_mode=DELETE")
    finally:
        target.close()
        source.close()
    engine = sa.create_engine(f"sqlite:///{partial}")
    try:
        with engine.connect() as tx:
            return figures(tx)
    finally:
        engine.dispose()


def _dump(
    db: Database, partial: Path
) -> tuple[dict[str, int], dict[str, dict[str, tuple[int, int]]]]:
    with db.read() as tx:
        snapshot = tx.execute(sa.text("SELECT pg_export_snapshot()")).scalar_one()
        counted = figures(tx)
        _tool(["pg_dump", "--format=custom", "--schema", db.book, "--no-owner",
               f"--snapshot={snapshot}", "--file", str(partial), _database_name(db)],
              _environment(db))  # fmt: skip
    return counted


def _tool(command: list[str], environment: Mapping[str, str]) -> None:
    """Run a PostgreSQL tool. The password goes by environment: a command line is public."""
    found = shutil.which(command[0])
    if found is None:
        raise NotConfigured("backup.no_tool", tool=command[0])
    done = subprocess.run(  # noqa: S603 - our own arguments, no shell
        [found, *command[1:]], env={**os.environ, **environment}, capture_output=True, text=True
    )
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[0][:200]
        raise Unavailable("backup.failed", path=command[-1], why=f"{command[0]}: {why}")


def _environment(db: Database) -> dict[str, str]:
    url = db.url
    known: dict[str, Any] = {
        "PGHOST": url.host, "PGPORT": url.port, "PGUSER": url.username, "PGPASSWORD": url.password,
    }  # fmt: skip
    return {name: str(value) for name, value in known.items() if value is not None}


def _database_name(db: Database) -> str:
    return str(db.url.database)


# -- files --------------------------------------------------------------------------------------


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A backup opened for reading only, as it lies there."""
    try:
        connection = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            yield connection
        finally:
            connection.close()
    except sqlite3.DatabaseError:
        raise CheckFailed("backup.damaged", path=str(file), what="structure") from None


@contextmanager
def _private() -> Iterator[None]:
    """What is written inside is readable by its owner only: it holds everybody's payments."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Unavailable("backup.failed", path=str(path), why=why) from error


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
