"""Migrations: bring a book to this program's revision, or say that it is not there.

Alembic and its scripts are loaded only when something is to be migrated; to see whether a book is
ready takes one SELECT.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.db.metadata import execute_all
from payctl.errors import NotConfigured

if TYPE_CHECKING:
    from alembic.config import Config as AlembicConfig

#: The revision this program works with: the newest in ``alembic/versions``.
HEAD = "0013_comparisons"
#: Between two statements of a frozen file.
SEPARATOR = "\n-- next\n"
VERSION_TABLE = "alembic_version"
#: Two upgrades at once wait for each other on this key (of the server, not of the book).
_LOCK = 0x7061_7963_746C_0001


@dataclass(frozen=True, slots=True)
class Status:
    """Where a book stands. ``revision`` is ``None`` when there is no book yet."""

    revision: str | None
    head: str

    @property
    def ready(self) -> bool:
        return self.revision == self.head


def status(db: Database) -> Status:
    """The book's revision and the program's.

    Raises:
        Unavailable: the database cannot be reached.
    """
    return Status(_revision(db), HEAD)


def ensure_ready(db: Database) -> None:
    """Let pass a complete book; create an embedded one that does not exist yet.

    Raises:
        NotConfigured: ``database.not_upgraded`` (with the command to run), ``database.newer`` when
            a later version of this program has upgraded the book.
    """
    found = status(db)
    if found.ready:
        return
    if found.revision is None and db.is_sqlite:
        upgrade(db)
    elif found.revision is None or found.revision in revisions():
        raise NotConfigured(
            "database.not_upgraded", place=db.describe(), revision=found.revision or "-", head=HEAD
        )
    else:
        raise NotConfigured(
            "database.newer", place=db.describe(), revision=found.revision, head=HEAD
        )


def upgrade(db: Database, revision: str = "head") -> Status:
    """Bring the book to *revision*, creating it when there is none; all of it or nothing.

    Raises:
        Unavailable: the database cannot be reached, is full or read-only.
        NotConfigured: ``database.newer``.
    """
    before = _revision(db)
    if before is not None and before not in revisions():
        raise NotConfigured("database.newer", place=db.describe(), revision=before, head=HEAD)
    _migrate(db, "upgrade", revision)
    return status(db)


def downgrade(db: Database, revision: str = "base") -> Status:
    """Take the book back to *revision*. ``base`` removes every table: for tests and first steps."""
    _migrate(db, "downgrade", revision)
    return status(db)


def revisions() -> tuple[str, ...]:
    """Every revision this program knows, oldest first."""
    versions = scripts() / "versions"
    return tuple(sorted(each.stem for each in versions.glob("[0-9]*.py")))


def scripts() -> Path:
    """The folder of the migration scripts: inside the installed package, or the checkout's."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_migrations" / "alembic"
    return installed if installed.is_dir() else package.parent / "alembic"


def frozen(dialect: sa.Dialect, revision: str, direction: str) -> list[str]:
    """The statements of a migration (*direction* ``up`` or ``down``), from the file that holds them
    frozen for each database: triggers and functions are half of them. A revision that concerns one
    database only has no file for the other.
    """
    file = scripts() / "versions" / f"{revision}.{dialect.name}.{direction}.sql"
    if not file.exists():
        return []
    return file.read_text(encoding="utf-8").removesuffix("\n").split(SEPARATOR)


def run_frozen(connection: sa.Connection, revision: str, direction: str) -> None:
    """Run a migration exactly as it is written in its file."""
    execute_all(connection, frozen(connection.dialect, revision, direction))


def alembic_config() -> AlembicConfig:
    """Alembic's configuration for our scripts, without any file of settings."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    return config


def _migrate(db: Database, direction: str, revision: str) -> None:
    from alembic import command

    config = alembic_config()
    with db.transaction() as tx:
        if not db.is_sqlite:
            tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            tx.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {db.book}")
        config.attributes["connection"] = tx
        if direction == "upgrade":
            command.upgrade(config, revision)
        else:
            command.downgrade(config, revision)


def _revision(db: Database) -> str | None:
    """``None`` when there is no version table or it is empty."""
    if db.is_sqlite and not Path(str(db.url.database)).exists():
        return None
    with db.read() as tx:
        if not sa.inspect(tx).has_table(VERSION_TABLE):
            return None
        return tx.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
