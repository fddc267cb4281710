"""Care of a whole book: upgrade it, back it up, prove a backup, restore one."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

from payctl.db import backup as backups
from payctl.db import migrate
from payctl.db.actor import Actor
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.operators import user_name
from payctl.db.permissions import require
from payctl.errors import CheckFailed, Conflict
from payctl.ledger import check, partitions


class Upkeep:
    """The acts that concern a book as a whole.

    Those that come before there are operators (upgrade, restore) are recorded under the name of the
    operating system's user: whoever may do them holds the database's password anyway.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def upgrade(self, command: str = "") -> migrate.Status:
        """Bring the book to this program's revision.

        Raises:
            NotConfigured: ``database.newer``. Unavailable: the database's errors.
        """
        before = migrate.status(self._db)
        after = migrate.upgrade(self._db)
        # A fresh book has its first months before its first journal, which could not move there.
        with self._db.transaction() as tx:
            partitions.ensure(tx, self._db.clock.now())
        if before != after:
            self._record(command, "database.upgraded", {"from": before.revision, "to": after.head})
        return after

    def backup(self, actor: Actor, file: Path) -> backups.Manifest:
        """Copy the book to *file* with its manifest.

        Raises:
            Forbidden: ``operator.not_allowed``. Conflict: ``backup.exists``.
            Unavailable: ``backup.failed``. NotConfigured: ``backup.no_tool``.
        """
        require(actor, "database.manage")
        manifest = backups.backup(self._db, file)
        with self._db.transaction() as tx:
            about = {"file": file.name, "sha256": manifest.sha256}
            record(self._db, tx, actor, "database.backed_up", "book", None, about)
        return manifest

    def verify(self, file: Path, scratch: Database | None = None) -> backups.Verified:
        """Read a backup again and check the ledger inside it, on a copy.

        Args:
            scratch: an empty PostgreSQL book that a dump is restored into; it stays there.

        Raises:
            CheckFailed: ``backup.damaged``, ``backup.ledger_broken``.
            NotFound: ``backup.not_found``.
        """
        found = backups.verify(file, scratch=scratch)
        if scratch is not None and found.contents:
            self._check_ledger(scratch, file)
        elif found.contents:
            with tempfile.TemporaryDirectory(prefix="payctl-verify-") as folder:
                copy = Path(folder) / "book.sqlite3"
                shutil.copyfile(file, copy)
                inside = Database(f"sqlite:///{copy}", clock=self._db.clock)
                try:
                    migrate.upgrade(inside)
                    self._check_ledger(inside, file)
                finally:
                    inside.dispose()
        return found

    def restore(
        self, command: str, file: Path, into: Path | None = None, *, dry_run: bool = False
    ) -> backups.Manifest:
        """Fill an empty book (or the new file *into*) from a backup, and bring it up to date.

        Raises:
            Conflict: ``backup.book_in_use``, ``backup.other_kind``, ``backup.exists``.
            CheckFailed: ``backup.damaged``. NotFound: ``backup.not_found``.
        """
        if into is not None and into.exists():
            raise Conflict("backup.exists", field="into", path=str(into))
        if dry_run:
            backups.check_restorable(self._db, file, new_file=into is not None)
            return backups.read_manifest(file)
        target = Database(f"sqlite:///{into}", clock=self._db.clock) if into else self._db
        try:
            manifest = backups.restore(target, file)
            migrate.upgrade(target)
            about = {"file": file.name, "sha256": manifest.sha256}
            Upkeep(target)._record(command, "database.restored", about)
        finally:
            if into is not None:
                target.dispose()
        return manifest

    def _check_ledger(self, db: Database, file: Path) -> None:
        with db.read() as tx:
            report = check.run(tx)
        if not report.ok:
            broken = [result.name for result in report.results if not result.ok]
            raise CheckFailed("backup.ledger_broken", path=str(file), checks=", ".join(broken))

    def _record(self, command: str, action: str, data: Mapping[str, str | None]) -> None:
        actor = Actor(user_name(), frozenset(), host=socket.gethostname(), command=command)
        with self._db.transaction() as tx:
            record(self._db, tx, actor, action, "book", None, data)
