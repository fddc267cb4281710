"""Migrations: up, down, up on both databases, and exactly the book the code declares."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.db import freeze, migrate
from payctl.db.audit import record
from payctl.db.audit_trail import AuditTrail
from payctl.db.engine import Database
from payctl.db.metadata import execute_all, load
from payctl.errors import NotConfigured
from payctl.ledger import blocks, journals, partitions
from payctl.payments import tables as t
from payctl.webhooks.tables import webhook_event
from tests import books, postgres
from tests.conftest import START
from tests.db import catalog
from tests.db.people import ADMIN
from tests.ledger import kit, proof_kit
from tests.payments import kit as payments_kit

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


@pytest.fixture
def empty(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any book."""
    if engine_name == "sqlite":
        db = Database(f"sqlite:///{tmp_path}/new.sqlite3")
    else:
        server: postgres.Server = request.getfixturevalue("pg_server")
        db = Database(books.new_pg_database(server.url, "empty"))
    yield db
    db.dispose()


def declared(db: Database, tmp_path: Path) -> Database:
    """A book built from the declarations, on the same kind of database."""
    if db.is_sqlite:
        other = Database(f"sqlite:///{tmp_path}/declared.sqlite3")
    else:
        server = db.url.render_as_string(hide_password=False)
        other = Database(books.new_pg_database(server, "declared"))
    books.create(other)
    return other


def test_up_down_up(empty: Database) -> None:
    assert migrate.status(empty).revision is None
    assert migrate.upgrade(empty).ready
    first = catalog.of(empty)
    assert migrate.upgrade(empty).ready
    assert catalog.of(empty) == first
    assert migrate.downgrade(empty).revision is None
    left = {line for line in catalog.of(empty) if migrate.VERSION_TABLE not in line}
    assert left == set()
    assert migrate.upgrade(empty).ready
    assert catalog.of(empty) == first


def test_a_migrated_book_is_the_declared_one_to_the_last_trigger(
    empty: Database, tmp_path: Path
) -> None:
    migrate.upgrade(empty)
    other = declared(empty, tmp_path)
    try:
        migrated = {line for line in catalog.of(empty) if migrate.VERSION_TABLE not in line}
        assert sorted(migrated ^ catalog.of(other)) == []
        assert len(migrated) > 100
    finally:
        other.dispose()


#: Statements of a migration that change what there is, so that nothing of the kind is declared.
_CHANGES = r"DROP |ALTER TABLE \w+ (DROP|ADD COLUMN) |PRAGMA writable_schema |UPDATE sqlite_schema "
#: What only PostgreSQL has is declared as raw SQL.
RAW = {"xid", "ix_journal_xid"}


def test_alembic_itself_sees_no_difference(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy.dialects.postgresql import base

    # SQLAlchemy does not know the type of the column ``xid`` (xid8), which is left out below.
    monkeypatch.setitem(base.ischema_names, "xid8", sa.BigInteger)

    migrate.upgrade(empty)
    names = set(load().tables)
    with empty.read() as tx:
        context = MigrationContext.configure(
            tx,
            opts={
                "include_name": lambda name, kind, _: (
                    name not in RAW and (kind != "table" or name in names)
                )
            },
        )
        found = compare_metadata(context, load())
    # Alembic does not know that a constraint may be declared for one database only.
    elsewhere = {
        key.name for table in load().sorted_tables for key in table.constraints if key._ddl_if
    }
    assert [each for each in found if each[0] != "add_fk" or each[1].name not in elsewhere] == []


def test_the_seed_rows_are_there(empty: Database, tmp_path: Path) -> None:
    migrate.upgrade(empty)
    other = declared(empty, tmp_path)
    try:
        seeded = [table for table in load().sorted_tables if table.info.get("seeded")]
        assert len(seeded) > 1
        for table in seeded:
            with empty.read() as one, other.read() as two:
                query = sa.select(table).order_by(*table.primary_key)
                assert one.execute(query).all() == two.execute(query).all() != []
    finally:
        other.dispose()


def test_a_populated_book_survives_an_upgrade(empty: Database) -> None:
    """What a book holds is the same before and after, and it can be used on."""
    migrate.upgrade(empty)
    with empty.transaction() as tx:
        record(empty, tx, ADMIN, "test.act", "payment", None, {"amount_minor": 5})
    before = AuditTrail(empty).list(ADMIN)
    assert migrate.upgrade(empty).ready
    assert AuditTrail(empty).list(ADMIN) == before
    with empty.transaction() as tx:
        record(empty, tx, ADMIN, "test.act", "payment", None, {})
    assert AuditTrail(empty).verify(ADMIN).records == 2


def test_payments_and_events_keep_their_rows_where_tables_are_built_anew(
    empty: Database, tmp_path: Path
) -> None:
    """Before and after the revision that gave attempts, refunds and events more columns."""
    migrate.upgrade(empty)
    db = Database(empty.url.render_as_string(hide_password=False), clock=ManualClock(START))
    made = payments_kit.make_kit(db, tmp_path)
    made.pay("k1", "tok_refund_lost_answer")
    paid = made.pay("k2")
    made.app.refunds.create(payments_kit.OPERATOR, paid.payment.id, key="r1", reason="off")
    for body, headers in made.gateways["cards"].deliveries():
        made.app.inbox.receive("cards", body, headers)

    def rows() -> dict[str, list[tuple[Any, ...]]]:
        tables = (t.attempt, t.refund, t.provider_call, webhook_event)
        with db.read() as tx:
            return {
                each.name: sorted(map(tuple, tx.execute(sa.select(each))), key=str)
                for each in tables
            }

    before = rows()
    assert all(before.values())
    db.dispose()
    migrate.downgrade(empty, "0004_posting")
    migrate.upgrade(empty)
    assert rows() == before
    made.pay("k3")
    made.check()
    for gateway in made.gateways.values():
        gateway.close()
    db.dispose()


def test_a_book_of_the_first_revision_is_upgraded_with_its_journals(
    empty: Database, tmp_path: Path
) -> None:
    """Journals posted before there were blocks stay as they are, and are sealed like any other."""
    migrate.upgrade(empty)
    book = proof_kit.proven(empty, tmp_path / "anchors")
    now = empty.clock.now()
    for number in range(7):
        if number == 3:
            with empty.transaction() as tx:
                partitions.ensure(tx, now, months_ahead=0)
        book.sale(f"before{number}")
    # This program posts only to a book of its own revision; the journals are those of any other.
    migrate.downgrade(empty, "0001_core")
    migrate.upgrade(empty)
    with empty.transaction() as tx:
        made = partitions.ensure(tx, now, months_ahead=2)
    assert len(made) == (0 if empty.is_sqlite else 2)
    assert kit.problems(empty) == [] and book.verify().ok
    book.sale("after")
    assert book.seal().journals == 8
    assert kit.problems(empty) == [] and book.verify().ok
    with empty.read() as tx:
        sealed = {item.journal_id for number in (1, 2) for item in blocks.items(tx, number)}
        assert sealed == {each.id for each in journals.stream(tx)}
    migrate.downgrade(empty, "0001_core")
    migrate.upgrade(empty)
    assert book.seal().journals == 8
    assert kit.problems(empty) == []


def test_a_failing_migration_leaves_nothing(
    empty: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import shutil

    scripts = tmp_path / "scripts"
    shutil.copytree(migrate.scripts(), scripts)
    file = scripts / "versions" / f"{migrate.HEAD}.{empty.engine.dialect.name}.up.sql"
    sound = [file.read_text()] if file.exists() else []
    file.write_text(freeze.SEPARATOR.join([*sound, "CREATE TABLE audit (broken int)"]))
    monkeypatch.setattr(migrate, "scripts", lambda: scripts)
    with pytest.raises(sa.exc.DBAPIError):
        migrate.upgrade(empty)
    assert migrate.status(empty).revision is None
    assert catalog.of(empty) == set()


def test_upgrades_at_once_wait_for_each_other(empty: Database) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: migrate.upgrade(empty), range(3)))
    assert all(each.ready for each in found)


def test_only_an_embedded_book_is_made_without_being_asked(empty: Database) -> None:
    if empty.is_sqlite:
        migrate.ensure_ready(empty)
        assert migrate.status(empty).ready
    else:
        with pytest.raises(NotConfigured, match=r"database\.not_upgraded"):
            migrate.ensure_ready(empty)
        migrate.upgrade(empty)
    migrate.ensure_ready(empty)


def test_a_book_of_a_later_program_is_left_alone(empty: Database) -> None:
    migrate.upgrade(empty)
    with empty.transaction() as tx:
        tx.exec_driver_sql(f"UPDATE {migrate.VERSION_TABLE} SET version_num = '9999_future'")
    with pytest.raises(NotConfigured, match=r"database\.newer"):
        migrate.ensure_ready(empty)
    with pytest.raises(NotConfigured, match=r"database\.newer"):
        migrate.upgrade(empty)
    assert migrate.status(empty).revision == "9999_future"


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_two_books_on_one_server_know_nothing_of_each_other(empty: Database) -> None:
    url = empty.url.render_as_string(hide_password=False)
    paris, abidjan = Database(url, book="paris"), Database(url, book="abidjan")
    try:
        migrate.upgrade(paris)
        assert migrate.status(abidjan).revision is None
        migrate.upgrade(abidjan)
        with paris.transaction() as tx:
            record(paris, tx, ADMIN, "test.act", "payment", None, {})
        assert AuditTrail(paris).verify(ADMIN).records == 1
        assert AuditTrail(abidjan).verify(ADMIN).records == 0
        assert catalog.of(paris) == catalog.of(abidjan)
        migrate.downgrade(abidjan)
        assert AuditTrail(paris).verify(ADMIN).records == 1
        assert migrate.status(paris).ready
    finally:
        paris.dispose()
        abidjan.dispose()


@pytest.mark.unit
def test_the_program_names_the_newest_revision() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(migrate.alembic_config()).get_heads() == [migrate.HEAD]
    assert migrate.revisions()[-1] == migrate.HEAD


@pytest.mark.unit
def test_the_frozen_files_are_the_declarations() -> None:
    """Freezing the newest revision again gives what it adds: nothing is declared that none has."""
    for dialect in freeze.dialects():
        written = migrate.frozen(dialect, migrate.HEAD, "up")
        # A function that an earlier revision made is replaced, because its triggers stay. What
        # goes, a table's constraint too, is declared nowhere, and a new column within its table:
        # Alembic compares those.
        added = [
            each.replace("CREATE OR REPLACE FUNCTION", "CREATE FUNCTION", 1)
            for each in written
            if not re.match(_CHANGES, each)
        ]
        assert added == freeze.up(dialect, migrate.HEAD), dialect.name


@pytest.mark.unit
def test_import_alembic_is_the_library_and_not_our_folder() -> None:
    """A file __init__.py in our folder would shadow the library wherever payctl is run from it."""
    code = "import alembic, alembic.command; print(alembic.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "site-packages" in done.stdout
    assert not (ROOT / "alembic" / "__init__.py").exists()


def test_alembic_by_hand_migrates_the_profiles_book(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/by_hand.sqlite3"
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(ROOT / "alembic.ini"), "upgrade", "head"],
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path),
                           "PAYCTL_DATABASE_URL": url},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    db = Database(url)
    assert migrate.status(db).ready
    db.dispose()


def test_percent_signs_and_semicolons_in_frozen_sql_stay_what_they_are(empty: Database) -> None:
    with empty.transaction() as tx:
        if not empty.is_sqlite:
            tx.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {empty.book}")
        execute_all(
            tx, ["CREATE TABLE t (x text CHECK (x LIKE '%;%'))", "INSERT INTO t VALUES ('a;b')"]
        )
        assert tx.exec_driver_sql("SELECT x FROM t").scalar() == "a;b"


@pytest.mark.unit
def test_an_installed_payctl_finds_its_migrations_where_the_wheel_puts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tomllib

    with (ROOT / "pyproject.toml").open("rb") as file:
        wheel = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]
    installed = tmp_path / wheel["force-include"]["alembic"]
    installed.mkdir(parents=True)
    monkeypatch.setattr(migrate, "__file__", str(tmp_path / "payctl" / "db" / "migrate.py"))
    assert migrate.scripts() == installed
