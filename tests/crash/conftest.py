from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from payctl.payments import service
from tests.conftest import START
from tests.crash.world import Stage, fast_folder


@pytest.fixture(scope="session")
def crash_folder() -> Iterator[Path]:
    folder = fast_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def stage(
    sqlite_template: Path, crash_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """A place for SQLite books in memory, a fresh one for each path."""
    # Time stands still while a repeated call waits for the first one's answer.
    monkeypatch.setattr(service, "REPLAY_WAIT_S", 0.1)
    yield Stage(f"sqlite:///{crash_folder / 'book.sqlite3'}", crash_folder, sqlite_template, START)
