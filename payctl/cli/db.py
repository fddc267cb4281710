"""``payctl db``: upgrade, back up, restore and verify the book."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl.cli.framework import (
    Column,
    ExitCode,
    command,
    confirm,
    emit,
    finish,
    note,
    noun,
    session,
)
from payctl.cli.messages import say
from payctl.config import load

if TYPE_CHECKING:
    from payctl.db import backup as backups
    from payctl.db import migrate

app = noun("db")
STATUS = (
    Column("place"),
    Column("revision"),
    Column("head"),
    Column("ready", "state"),
)
BACKUP = (
    Column("file"),
    Column("engine"),
    Column("book"),
    Column("revision"),
    Column("made_at", "time"),
    Column("bytes", "number"),
    Column("rows_total", "number"),
    Column("sha256"),
)
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


@command(app, "status", examples=["payctl db status", "payctl db status --json"],
         exits={ExitCode.CHECK_FAILED: "the book is not at this program's revision"})  # fmt: skip
def status() -> None:
    """Show where the book lies and whether it is complete."""
    from payctl.db import migrate

    services = session().unchecked_app
    found = migrate.status(services.db)
    emit(_status(services.db.describe(), found), "payctl.db_status/1", STATUS, id_key="revision")
    if not found.ready:
        finish(ExitCode.CHECK_FAILED)


@command(
    app,
    "upgrade",
    changes=True,
    examples=["payctl db upgrade", "payctl db upgrade --dry-run"],
    exits={ExitCode.CONFIG: "a later version of payctl has upgraded this book"},
)
def upgrade() -> None:
    """Bring the book to this program's revision, creating it when there is none."""
    from payctl.db import migrate

    run = session()
    services = run.unchecked_app
    before = migrate.status(services.db)
    place = services.db.describe()
    confirm([f"upgrade {place}: {before.revision or '-'} -> {before.head}"])
    after = before if run.dry_run else services.upkeep.upgrade(run.command)
    emit(_status(place, after), "payctl.db_status/1", STATUS, id_key="revision")


@command(
    app,
    "backup",
    examples=["payctl db backup book-2026-11-23.backup", "payctl db backup /srv/backup/today"],
    exits={ExitCode.CONFLICT: "the file exists"},
)
def backup(file: FileArgument) -> None:
    """Copy the whole book into one file, while others go on working.

    Beside it lies FILE.manifest.json with its hash, its rows and its sums per currency. A
    PostgreSQL book needs pg_dump on the PATH.
    """
    run = session()
    manifest = run.app.upkeep.backup(run.actor, file)
    emit(_manifest(file, manifest), "payctl.backup/1", BACKUP, id_key="file")
    note(say("verify_backup", run.lang, file=file))


@command(
    app,
    "verify",
    examples=[
        "payctl db verify book-2026-11-23.backup",
        "payctl db verify book.dump --scratch empty",
    ],
    exits={ExitCode.CHECK_FAILED: "the backup is damaged, or its ledger does not hold"},
)
def verify(
    file: FileArgument,
    scratch: Annotated[
        str | None,
        typer.Option(
            "--scratch", metavar="PROFILE", help="Empty PostgreSQL book to restore a dump into."
        ),
    ] = None,
) -> None:
    """Read a backup again: hash, structure, rows, sums, and the ledger inside.

    Of a PostgreSQL dump only hash and table of contents are read unless --scratch names a profile
    whose database is empty.
    """
    from payctl.app import App

    run = session()
    upkeep = run.unchecked_app.upkeep
    if scratch is None:
        found = upkeep.verify(file)
    else:
        path = Path(run.flags.config) if run.flags.config else None
        settings = load(environ=run.environ, profile=scratch, path=path)
        with closing(App(settings)) as other:
            found = upkeep.verify(file, other.db)
    shown = {**_manifest(file, found.manifest), "contents_verified": found.contents}
    view = (*BACKUP, Column("contents_verified", "state"))
    emit(shown, "payctl.backup/1", view, id_key="file")
    if not found.contents:
        note(say("backup_unread", run.lang), always=True)


@command(
    app,
    "restore",
    changes=True,
    examples=[
        "payctl db restore book-2026-11-23.backup --dry-run",
        "payctl db restore book-2026-11-23.backup --into /srv/restored.sqlite3",
    ],
    exits={
        ExitCode.CONFLICT: "the book is not empty, or the backup is of another kind",
        ExitCode.CHECK_FAILED: "the backup is damaged",
    },
)
def restore(
    file: FileArgument,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="FILE", help="A new SQLite file instead of the profile's."),
    ] = None,
) -> None:
    """Fill an empty book from a backup; a book in use is never overwritten."""
    from payctl.db import backup as backups

    run = session()
    services = run.unchecked_app
    manifest = backups.read_manifest(file)
    target = str(into) if into else services.db.describe()
    rows = sum(manifest.rows.values())
    word = into.name if into else run.config.book
    confirm([f"restore {file} ({rows} rows) into {target}"], severe=True, word=word)
    services.upkeep.restore(run.command, file, into, dry_run=run.dry_run)
    emit(_manifest(file, manifest), "payctl.backup/1", BACKUP, id_key="file")


def _status(place: str, found: migrate.Status) -> dict[str, Any]:
    return {"place": place, "revision": found.revision, "head": found.head, "ready": found.ready}


def _manifest(file: Path, manifest: backups.Manifest) -> dict[str, Any]:
    return {
        "file": str(file),
        "engine": manifest.engine,
        "book": manifest.book,
        "revision": manifest.revision,
        "made_at": manifest.made_at,
        "bytes": manifest.bytes,
        "sha256": manifest.sha256,
        "rows_total": sum(manifest.rows.values()),
        "rows": dict(manifest.rows),
        "sums": {
            table: {code: list(pair) for code, pair in by_currency.items()}
            for table, by_currency in manifest.sums.items()
        },
    }
