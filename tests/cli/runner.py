"""Run a command line in this process and look at what came out."""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, finalize

from payctl.cli.main import run as run_line
from payctl.config import load

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.db.engine import Database


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What stdout holds, as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The JSON error: the last line of stderr."""
        return json.loads(self.err.strip().splitlines()[-1])


class Keyboard(io.StringIO):
    """A stdin that claims to be a terminal, with what somebody types."""

    def isatty(self) -> bool:
        return True


_homes: WeakKeyDictionary[Database, str] = WeakKeyDictionary()
_homeless = mkdtemp(prefix="payctl-test-")
atexit.register(shutil.rmtree, _homeless, True)


def _home(db: Database | None) -> str:
    if db is None:
        return _homeless
    if db not in _homes:
        _homes[db] = mkdtemp(prefix="payctl-test-")
        finalize(db, shutil.rmtree, _homes[db], True)
    return _homes[db]


def run(
    *words: str,
    db: Database | None = None,
    app: App | None = None,
    environ: Mapping[str, str] | None = None,
    typed: str | None = None,
) -> Result:
    """Run ``payctl WORDS``.

    Args:
        db: the book to use; the services are those of a default profile on it.
        app: services to use as they are.
        environ: the whole environment; default: none but a HOME of this book's own, so that what
            the sandbox gateways keep there lives and ends with the book.
        typed: lines somebody types at a terminal; default: nobody is there.
    """
    environ = {"HOME": _home(db or (app.db if app else None)), "LANG": "C", **(environ or {})}
    if app is None and db is not None:
        from payctl.app import App

        app = App(load(environ=environ), db)
    stdin = Keyboard(typed) if typed is not None else io.StringIO()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_line(words, environ=environ, stdin=stdin, app=app)
    return Result(code, out.getvalue(), err.getvalue())
