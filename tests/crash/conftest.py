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
    engine_name: str,
    crash_folder: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    """A place for books, empty for each path; SQLite's lie in memory."""
    # Time stands still while a repeated call waits for the first one's answer.
    monkeypatch.setattr(service, "REPLAY_WAIT_S", 0.1)
    if engine_name == "sqlite":
        template = request.getfixturevalue("sqlite_template")
        return Stage(f"sqlite:///{crash_folder / 'book.sqlite3'}", crash_folder, template, START)
    return Stage(request.getfixturevalue("pg_book"), crash_folder, None, START)
