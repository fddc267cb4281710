"""Backups: consistent, private, proven by reading them back, and never over a book in use."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from payctl.db import backup, migrate
from payctl.db.audit import record
from payctl.db.audit_trail import AuditTrail
from payctl.db.engine import Database
from payctl.db.idempotency import claim
from payctl.db.tables import approval_spend, idempotency
from payctl.errors import CheckFailed, Conflict, Forbidden, NotConfigured, NotFound, Unavailable
from payctl.insight.upkeep import Upkeep
from tests import books, postgres
from tests.db.people import ADMIN, SUPPORT

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client tools that belong to the server of the tests."""
    binaries = postgres._binaries()
    if binaries is not None:
        monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def book(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated book with some rows in it."""
    db = new_book(engine_name, request, tmp_path, "full")
    migrate.upgrade(db)
    fill(db, "a")
    yield db
    db.dispose()


@pytest.fixture
def other(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without a book."""
    db = new_book(engine_name, request, tmp_path, "restored")
    yield db
    db.dispose()


def new_book(engine_name: str, request: pytest.FixtureRequest, folder: Path, name: str) -> Database:
    if engine_name == "sqlite":
        return Database(f"sqlite:///{folder}/{name}.sqlite3")
    server: postgres.Server = request.getfixturevalue("pg_server")
    return Database(books.new_pg_database(server.url, name))


def fill(db: Database, key: str) -> None:
    with db.transaction() as tx:
        claim(db, tx, "test", key, bytes(32))
        record(db, tx, ADMIN, "test.act", "payment", None, {"key": key})
        for amount, currency in ((125, "EUR"), (50, "XOF"), (-25, "EUR")):
            tx.execute(
                sa.insert(approval_spend).values(
                    id=db.ids.new(), actor="a", kind="refund", currency=currency,
                    amount_minor=amount, at=db.clock.now(),
                )
            )  # fmt: skip


def test_a_backup_restores_to_the_same_book(
    book: Database, other: Database, tmp_path: Path
) -> None:
    file = tmp_path / "b1"
    manifest = backup.backup(book, file)
    assert manifest.rows["idempotency"] == 1 and manifest.revision == migrate.HEAD
    assert manifest.sums["approval_spend"] == {"EUR": (125, -25), "XOF": (50, 0)}
    fill(book, "later")
    assert backup.verify(file).manifest == backup.read_manifest(file)
    restored = backup.restore(other, file)
    assert restored.sha256 == manifest.sha256
    migrate.ensure_ready(other)
    with other.read() as tx:
        assert list(tx.execute(sa.select(idempotency.c.key)).scalars()) == ["a"]
    assert AuditTrail(other).verify(ADMIN).records == 1
    with pytest.raises(sa.exc.IntegrityError), other.transaction() as tx:
        tx.exec_driver_sql("DELETE FROM audit")
    fill(other, "and on")


def test_a_backup_is_private_and_never_overwritten(book: Database, tmp_path: Path) -> None:
    file = tmp_path / "b1"
    backup.backup(book, file)
    for path in (file, backup.manifest_path(file)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(Conflict, match=r"backup\.exists"):
        backup.backup(book, file)
    assert sorted(path.name for path in tmp_path.glob("b1*")) == ["b1", "b1.manifest.json"]


def test_a_backup_under_load_is_consistent(book: Database, other: Database, tmp_path: Path) -> None:
    """While others write, key and audit record of an act are copied together or not at all."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            fill(book, f"w{number}")
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            file = tmp_path / f"b{number}"
            rows = backup.backup(book, file).rows
            assert rows["idempotency"] == rows["audit"] == rows["approval_spend"] // 3
            backup.verify(file)
    finally:
        stop.set()
        writer.join()
    # What was counted is what was copied: a restore compares both.
    backup.restore(other, file)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped byte": lambda file: file.write_bytes(
        file.read_bytes()[:5000] + bytes([file.read_bytes()[5000] ^ 1]) + file.read_bytes()[5001:]
    ),
    "cut short": lambda file: os.truncate(file, file.stat().st_size - 100),
    "another file": lambda file: file.write_bytes(b"nothing"),
    "an emptied manifest": lambda file: backup.manifest_path(file).write_text("{}"),
    "a manifest that is no JSON": lambda file: backup.manifest_path(file).write_text("x"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_backup_is_found_and_not_restored(
    book: Database, other: Database, tmp_path: Path, what: str
) -> None:
    file = tmp_path / "b1"
    backup.backup(book, file)
    DAMAGE[what](file)
    with pytest.raises(CheckFailed, match=r"backup\.damaged"):
        backup.verify(file)
    with pytest.raises(CheckFailed, match=r"backup\.damaged"):
        backup.restore(other, file)
    assert migrate.status(other).revision is None


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM idempotency",
        "UPDATE approval_spend SET amount_minor = amount_minor + 1 WHERE currency = 'XOF'",
    ],
)
def test_rows_changed_behind_a_fitting_hash_are_found(
    book: Database, tmp_path: Path, statement: str
) -> None:
    file = tmp_path / "b1"
    backup.backup(book, file)
    with sqlite3.connect(file) as connection:
        for table in ("approval_spend", "audit"):
            connection.execute(f"DROP TRIGGER {table}_no_update")
        connection.execute(statement)
    connection.close()
    manifest = json.loads(backup.manifest_path(file).read_text())
    manifest["sha256"] = backup._sha256(file)
    backup.manifest_path(file).write_text(json.dumps(manifest))
    with pytest.raises(CheckFailed, match=r"backup\.damaged.*(rows|sums) of"):
        backup.verify(file)


def test_a_book_in_use_is_never_overwritten(
    book: Database, other: Database, tmp_path: Path
) -> None:
    file = tmp_path / "b1"
    backup.backup(book, file)
    migrate.upgrade(other)
    fill(other, "precious")
    with pytest.raises(Conflict, match=r"backup\.book_in_use"):
        backup.restore(other, file)
    with other.read() as tx:
        assert list(tx.execute(sa.select(idempotency.c.key)).scalars()) == ["precious"]


def test_a_fresh_book_may_be_filled(book: Database, other: Database, tmp_path: Path) -> None:
    file = tmp_path / "b1"
    backup.backup(book, file)
    migrate.upgrade(other)
    with other.transaction() as tx:
        record(other, tx, ADMIN, "database.upgraded", "book", None, {})
    backup.restore(other, file)
    with other.read() as tx:
        assert list(tx.execute(sa.select(idempotency.c.key)).scalars()) == ["a"]


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_a_dump_fits_only_the_book_it_came_from(
    book: Database, other: Database, tmp_path: Path
) -> None:
    file = tmp_path / "b1"
    backup.backup(book, file)
    elsewhere = Database(other.url.render_as_string(hide_password=False), book="elsewhere")
    embedded = Database(f"sqlite:///{tmp_path}/x.sqlite3")
    for target in (elsewhere, embedded):
        with pytest.raises(Conflict, match=r"backup\.other_kind"):
            backup.restore(target, file)
        target.dispose()
    assert not backup.verify(file).contents
    assert backup.verify(file, scratch=other).contents


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_without_the_tools_it_says_so(
    book: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotConfigured, match=r"backup\.no_tool"):
        backup.backup(book, tmp_path / "b1")
    assert list(tmp_path.glob("b1*")) == []


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_the_password_is_on_no_command_line(
    book: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin"
    fake.mkdir()
    tool = fake / "pg_dump"
    tool.write_text('#!/bin/sh\necho "$@ / $PGPASSWORD" >&2\nexit 3\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:/bin:/usr/bin")
    url = book.url.set(password="hunter2secret").render_as_string(hide_password=False)
    protected = Database(url)
    with pytest.raises(Unavailable, match=r"backup\.failed") as failed:
        backup.backup(protected, tmp_path / "b1")
    protected.dispose()
    arguments, _, password = str(failed.value.params["why"]).rpartition(" / ")
    assert password == "hunter2secret" and "hunter2secret" not in arguments


def test_a_place_that_cannot_be_written(book: Database, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"backup\.failed"):
        backup.backup(book, tmp_path / "no" / "such" / "folder" / "b1")


def test_no_manifest_no_backup(other: Database, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"backup\.not_found"):
        backup.verify(tmp_path / "nothing")
    (tmp_path / "lonely").write_bytes(b"x")
    with pytest.raises(NotFound, match=r"backup\.not_found"):
        backup.restore(other, tmp_path / "lonely")


# -- the acts around it -------------------------------------------------------------------------


def test_upkeep_records_what_it_did(book: Database, other: Database, tmp_path: Path) -> None:
    file = tmp_path / "b1"
    with pytest.raises(Forbidden):
        Upkeep(book).backup(SUPPORT, file)
    Upkeep(book).backup(ADMIN, file)
    care = Upkeep(other)
    care.restore("payctl db restore", file, dry_run=True)
    assert migrate.status(other).revision is None
    care.restore("payctl db restore", file)
    care.upgrade("payctl db upgrade")
    assert AuditTrail(book).list(ADMIN)[0].action == "database.backed_up"
    newest = AuditTrail(other).list(ADMIN)[0]
    assert (newest.action, newest.command) == ("database.restored", "payctl db restore")
    assert AuditTrail(other).verify(ADMIN).ok


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_backup_with_a_broken_ledger_is_found(book: Database, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    backup.backup(book, good)
    assert Upkeep(book).verify(good).contents
    with book.transaction() as tx:
        tx.exec_driver_sql(
            "INSERT INTO idempotency (scope, key, fingerprint, outcome, subject_id, created_at)"
            " VALUES ('journal', 'ghost', zeroblob(32), 'posted', zeroblob(16), 0)"
        )
    backup.backup(book, bad)
    with pytest.raises(CheckFailed, match=r"backup\.ledger_broken"):
        Upkeep(book).verify(bad)


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_restoring_into_a_new_file(book: Database, tmp_path: Path) -> None:
    file, new = tmp_path / "b1", tmp_path / "new.sqlite3"
    care = Upkeep(book)
    care.backup(ADMIN, file)
    care.restore("", file, new, dry_run=True)
    assert not new.exists()
    care.restore("", file, new)
    with pytest.raises(Conflict, match=r"backup\.exists"):
        care.restore("", file, new)
    found = Database(f"sqlite:///{new}")
    migrate.ensure_ready(found)
    assert AuditTrail(found).verify(ADMIN).ok
    found.dispose()
