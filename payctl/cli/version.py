"""``payctl version``."""

from __future__ import annotations

import platform
import sqlite3

from payctl import __version__
from payctl.cli.framework import Column, command, emit, session, single, write_text

app = single("version")
_VIEW = (Column("version"), Column("python"), Column("sqlite"), Column("platform"))


@command(app, "version", examples=["payctl version", "payctl version --json", "payctl --version"])
def version() -> None:
    """Print the version, and with --json or -v what payctl runs on."""
    run = session()
    if run.flags.output is None and not run.verbose and not run.fields:
        write_text(f"payctl {__version__}")
        return
    emit(
        {
            "version": __version__,
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "platform": platform.platform(terse=True),
        },
        "payctl.version/1",
        _VIEW,
        id_key="version",
    )
