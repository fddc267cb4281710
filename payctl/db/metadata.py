"""The one MetaData, and SQL that SQLAlchemy cannot express (triggers, functions), by name.

A feature's ``tables.py`` calls :func:`table` for each table and :func:`ddl` for each block of raw
SQL. :func:`statements` builds a whole book from them; the migrations are frozen copies, and a test
holds both against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

_Item = TypeVar("_Item", sa.Table, sa.Index)

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: Every module that declares tables, in an order that respects nothing but reading: the metadata
#: sorts tables by their foreign keys itself.
TABLE_MODULES = (
    "payctl.db.tables",
    "payctl.db.tally",
    "payctl.ledger.tables",
    "payctl.ledger.proof_tables",
    "payctl.ledger.functions",
    "payctl.commissions.tables",
    "payctl.parties.tables",
    "payctl.cases.tables",
    "payctl.notifications.tables",
    "payctl.payments.tables",
    "payctl.payments.functions",
    "payctl.payments.gateway_tables",
    "payctl.payments.float_tables",
    "payctl.webhooks.tables",
    "payctl.insight.tables",
)


@dataclass(frozen=True)
class Block:
    """One named piece of raw SQL; each side is a list of statements run in order."""

    name: str
    postgresql: tuple[str, ...]
    sqlite: tuple[str, ...]


blocks: dict[str, Block] = {}

#: Settings under which rows are looked up one by one (:func:`by_index`).
BY_INDEX = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


def table(name: str, *items: Any, **options: Any) -> sa.Table:
    """Declare a table: STRICT in SQLite. *options* are those of one database (partitions …)."""
    return _for_later(sa.Table(name, metadata, *items, sqlite_strict=True), options)


def partial_index(
    name: str, *columns: Any, where: str | sa.ColumnElement[bool], unique: bool = False
) -> sa.Index:
    """Declare an index of the rows for which *where* holds, on both databases; the condition stays
    readable in its ``info``.
    """
    condition = sa.text(where) if isinstance(where, str) else where
    index = sa.Index(name, *columns, unique=unique, info={"where": condition})
    return _for_later(index, {"postgresql_where": condition, "sqlite_where": condition})


class one_of(sa.sql.functions.FunctionElement[bool]):
    """Whether *column* holds one of *words* (not NULL); for constraints, for indexes, and for
    queries that an index with this very condition shall answer.

    A list on PostgreSQL. SQLite would fill a table of its own with a list, each time a row is
    written, so there it is one comparison after the other.
    """

    # Without a type: SQLAlchemy would compare a boolean with 1 on SQLite.
    inherit_cache = True

    def __init__(self, column: sa.ColumnElement[str], words: Sequence[str]) -> None:
        super().__init__(column, *(sa.literal_column(f"'{word}'", sa.Text) for word in words))


@compiles(one_of)
def _list(element: one_of, compiler: sa.sql.compiler.SQLCompiler, **how: Any) -> str:
    column, *words = (compiler.process(each, **how) for each in element.clauses)
    return f"{column} IN ({', '.join(words)})"


@compiles(one_of, "sqlite")
def _comparisons(element: one_of, compiler: sa.sql.compiler.SQLCompiler, **how: Any) -> str:
    column, *words = (compiler.process(each, **how) for each in element.clauses)
    return f"({' OR '.join(f'{column} = {word}' for word in words)})"


def _for_later(item: _Item, options: Mapping[str, Any]) -> _Item:
    """Options of one database are read when a book is built: SQLAlchemy imports a whole dialect
    for each, and a command on the other database needs none of it.
    """
    item.info["options"] = dict(options)
    return item


def ddl(name: str, *, postgresql: tuple[str, ...] = (), sqlite: tuple[str, ...] = ()) -> None:
    """Declare raw SQL to run after all tables exist, in the order of declaration."""
    blocks[name] = Block(name, postgresql, sqlite)


def by_index(function: str) -> str:
    """A PostgreSQL function that looks rows up one by one, with the settings for that.

    Its statements are planned once in a connection's life, maybe while a table is small or empty,
    so nothing may be chosen that is good for small tables only; and planning them anew for each
    call takes longer than running them. A connection that does nothing else has the settings from
    its start (:data:`BY_INDEX`), any other gets them for the rest of its transaction: a function's
    own settings would be set and taken back at every call.
    """
    guard = (
        "BEGIN\n  IF current_setting('plan_cache_mode') <> 'force_generic_plan' THEN"
        " PERFORM look_up_by_index(); END IF;\n"
    )
    return function.replace("BEGIN\n", guard, 1)


def load() -> sa.MetaData:
    """Import every ``tables.py`` and return the complete metadata."""
    for module in TABLE_MODULES:
        import_module(module)
    for each in metadata.tables.values():
        items: list[sa.Table | sa.Index] = [each, *each.indexes]
        for item in items:
            item.dialect_kwargs.update(item.info.pop("options", {}))
    return metadata


def statements(dialect: sa.Dialect) -> list[str]:
    """All SQL that builds an empty book on *dialect*, tables first."""
    from sqlalchemy.schema import CreateIndex, CreateTable

    out: list[str] = []
    for each in load().sorted_tables:
        out.append(_plain(CreateTable(each), dialect))
        out.extend(
            _plain(CreateIndex(index), dialect)
            for index in sorted(each.indexes, key=lambda index: str(index.name))
        )
    for block in blocks.values():
        out.extend(block.postgresql if dialect.name == "postgresql" else block.sqlite)
    return out


def execute_all(connection: sa.Connection, sql: Iterable[str]) -> None:
    """Run statements exactly as written: a ``%`` in a function's body is no placeholder."""
    for statement in sql:
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def _plain(element: sa.schema.ExecutableDDLElement, dialect: sa.Dialect) -> str:
    text = str(element.compile(dialect=dialect)).strip()
    return text.replace("%%", "%") if dialect.paramstyle in ("format", "pyformat") else text


def append_only(name: str) -> None:
    """Let the database refuse UPDATE, DELETE and TRUNCATE on table *name* (both engines)."""
    ddl(
        f"append_only_{name}",
        postgresql=(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {name}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()",
            f"CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {name}"
            " EXECUTE FUNCTION refuse_change()",
        ),
        sqlite=tuple(
            f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name}"
            f" BEGIN SELECT RAISE(ABORT, 'append-only: {verb} on {name}'); END"
            for verb in ("UPDATE", "DELETE")
        ),
    )


ddl(
    "refuse_change",
    postgresql=(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION 'append-only: % on %', TG_OP, TG_TABLE_NAME"
        " USING ERRCODE = '23514'; END $$",
    ),
)

_SETTINGS = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in BY_INDEX.items())
ddl(
    "look_up_by_index",
    postgresql=(
        "CREATE FUNCTION look_up_by_index() RETURNS void LANGUAGE plpgsql AS $$"
        f" BEGIN PERFORM {_SETTINGS}; END $$",
    ),
)
