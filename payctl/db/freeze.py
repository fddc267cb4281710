"""Write a first migration's SQL from the tables declared in code.

``python -m payctl.db.freeze REVISION`` made the files of 0001_core, which are what runs; a later
migration is written by hand. The tests hold a migrated book against the declarations, so a change
of a table without a migration is found.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import sqlalchemy as sa

from payctl.db.metadata import load, statements
from payctl.db.migrate import SEPARATOR, scripts

_KINDS = "TABLE|VIEW|FUNCTION|PROCEDURE|SEQUENCE|TYPE"
_CREATED = re.compile(rf'\s*CREATE ({_KINDS}) (?:IF NOT EXISTS )?"?(\w+)', re.I)


def dialects() -> list[sa.Dialect]:
    """The two databases a book can live in."""
    return [sa.make_url(url).get_dialect()() for url in ("postgresql+psycopg://", "sqlite://")]


def up(dialect: sa.Dialect) -> list[str]:
    """What builds a book."""
    return statements(dialect)


def down(dialect: sa.Dialect) -> list[str]:
    """What removes it: every object that :func:`up` creates, the last one first.

    Triggers and indexes go with their tables, partitions with their parent.
    """
    names = {table.name for table in load().sorted_tables}
    drops: list[str] = []
    for statement in up(dialect):
        found = _CREATED.match(statement)
        if found is None or ("PARTITION OF" in statement and found[2] not in names):
            continue
        cascade = " CASCADE" if dialect.name == "postgresql" else ""
        drops.append(f"DROP {found[1].upper()} IF EXISTS {_quoted(found[2])}{cascade}")
    return drops[::-1]


def _quoted(name: str) -> str:
    return f'"{name}"'


def write(revision: str, folder: Path) -> list[Path]:
    """Write the four files of *revision*; returns their paths."""
    written = []
    for dialect in dialects():
        for direction, sql in (("up", up(dialect)), ("down", down(dialect))):
            path = folder / f"{revision}.{dialect.name}.{direction}.sql"
            path.write_text(SEPARATOR.join(each.strip() for each in sql) + "\n", encoding="utf-8")
            written.append(path)
    return written


def main(arguments: list[str]) -> None:
    """``python -m payctl.db.freeze REVISION``"""
    [revision] = arguments
    for path in write(revision, scripts() / "versions"):
        sys.stdout.write(f"{path.name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
