"""Write a migration's SQL from the tables declared in code: ``python -m payctl.db.freeze NAME``.

A revision gets the statements that no revision before it has: the first one a whole book, a later
one what is new. What it takes away (a trigger that another one replaces), what it changes of a
table that is there, and what undoes a change of an object that stays (a column), is added to the
files by hand. The files are what runs from then
on; the tests hold them against the declarations, so a change of a table without a migration is
found.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import sqlalchemy as sa

from payctl.db.metadata import load, statements
from payctl.db.migrate import SEPARATOR, frozen, revisions, scripts

_KINDS = "TABLE|VIEW|FUNCTION|PROCEDURE|SEQUENCE|TYPE"
_CREATED = re.compile(rf'\s*CREATE ({_KINDS}) (?:IF NOT EXISTS )?"?(\w+)', re.I)


def dialects() -> list[sa.Dialect]:
    """The two databases a book can live in."""
    return [sa.make_url(url).get_dialect()() for url in ("postgresql+psycopg://", "sqlite://")]


def up(dialect: sa.Dialect, revision: str) -> list[str]:
    """What a revision adds to the book."""
    before = {
        # A function that an earlier revision replaced is declared as if it were new.
        statement.replace("CREATE OR REPLACE FUNCTION", "CREATE FUNCTION", 1)
        for earlier in revisions()
        if earlier < revision
        for statement in frozen(dialect, earlier, "up")
    }
    tables = {_table(statement) for statement in before} - {None}
    added = (each.strip() for each in statements(dialect))
    return [each for each in added if each not in before and _table(each) not in tables]


def down(dialect: sa.Dialect, revision: str) -> list[str]:
    """What removes it: every object that :func:`up` creates, the last one first.

    Triggers and indexes go with their tables, partitions with their parent.
    """
    names = {table.name for table in load().sorted_tables}
    drops: list[str] = []
    for statement in up(dialect, revision):
        found = _CREATED.match(statement)
        if found is None or ("PARTITION OF" in statement and found[2] not in names):
            continue
        cascade = " CASCADE" if dialect.name == "postgresql" else ""
        drops.append(f"DROP {found[1].upper()} IF EXISTS {_quoted(found[2])}{cascade}")
    return drops[::-1]


def _table(statement: str) -> str | None:
    """The table a statement makes."""
    found = _CREATED.match(statement)
    return found[2] if found is not None and found[1].upper() == "TABLE" else None


def _quoted(name: str) -> str:
    return f'"{name}"'


def write(revision: str, folder: Path) -> list[Path]:
    """Write the files of *revision*, one for each database and direction; returns their paths."""
    written = []
    for dialect in dialects():
        for direction, sql in (("up", up(dialect, revision)), ("down", down(dialect, revision))):
            if not sql:
                continue
            path = folder / f"{revision}.{dialect.name}.{direction}.sql"
            path.write_text(SEPARATOR.join(sql) + "\n", encoding="utf-8")
            written.append(path)
    return written


def main(arguments: list[str]) -> None:
    """``python -m payctl.db.freeze NAME``, for the revision of this name."""
    [revision] = arguments
    for path in write(revision, scripts() / "versions"):
        sys.stdout.write(f"{path.name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
