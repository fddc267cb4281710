"""The log's file: one line a write, a file a day, and none older than it may get.

Each line is written to a file opened for it, so lines of several processes do not mix and logrotate
may take the file away at any moment. Where nobody rotates it, the first line of a day puts away the
file of the days before.
"""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

#: A file that has grown past this is put away within its day.
MAX_BYTES = 100_000_000


def append(path: Path, line: str, now: datetime, keep_days: int) -> None:
    """Append *line* to the file of today.

    Args:
        keep_days: for how many days files that were put away stay; 0 puts nothing away and leaves
            that to logrotate.

    Raises:
        OSError: it could not be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if keep_days and _finished(path, now):
        _put_away(path, now, keep_days)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def _finished(path: Path, now: datetime) -> bool:
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    last = datetime.fromtimestamp(status.st_mtime, UTC)
    return last.date() < now.astimezone(UTC).date() or status.st_size > MAX_BYTES


def _put_away(path: Path, now: datetime, keep_days: int) -> None:
    """Give the file the date of its last line, and remove those that are too old."""
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Another process may have done it while this one waited.
        if _finished(path, now):
            path.rename(_free_name(path))
        oldest = now - timedelta(days=keep_days)
        for old in path.parent.glob(f"{path.name}.2*"):
            if old.stat().st_mtime < oldest.timestamp():
                old.unlink(missing_ok=True)


def _free_name(path: Path) -> Path:
    day = f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%d}"
    number, free = 0, path.with_name(f"{path.name}.{day}")
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{day}.{number}")
    return free
