"""What the drivers say when a database is gone, full, locked or may not be written."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import exc

from payctl.errors import Unavailable


class translated:
    """Turns the drivers' words for "gone", "full", "locked" into :class:`Unavailable`."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if isinstance(error, (exc.DatabaseError, exc.InterfaceError, exc.TimeoutError)):
            code = _cause(error)
            if code is not None:
                raise Unavailable(code, detail=_first_line(error)) from error


def _cause(error: exc.SQLAlchemyError) -> str | None:
    original: Any = getattr(error, "orig", None)
    if isinstance(original, sqlite3.Error):
        return _SQLITE_CAUSES.get((original.sqlite_errorcode or 0) & 0xFF)
    if isinstance(error, exc.TimeoutError):
        return "database.unreachable"
    state = getattr(original, "sqlstate", None)
    if state is None:
        # The driver alone speaks: a lost connection, unless it complains about our own call.
        lost = isinstance(error, (exc.OperationalError, exc.InterfaceError))
        return "database.unreachable" if lost else None
    if state[:2] in ("08", "57"):
        return "database.unreachable"
    return {"53100": "database.full", "53300": "database.unreachable", "55P03": "database.locked",
            "25006": "database.read_only"}.get(state)  # fmt: skip


#: Primary result codes of SQLite (sqlite.org/rescode.html).
_SQLITE_CAUSES = {
    sqlite3.SQLITE_BUSY: "database.locked",
    sqlite3.SQLITE_LOCKED: "database.locked",
    sqlite3.SQLITE_READONLY: "database.read_only",
    sqlite3.SQLITE_IOERR: "database.unreachable",
    sqlite3.SQLITE_FULL: "database.full",
    sqlite3.SQLITE_CANTOPEN: "database.unreachable",
    sqlite3.SQLITE_NOTADB: "database.unreachable",
}


def _first_line(error: exc.SQLAlchemyError) -> str:
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
