"""Long work says that it goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from payctl.cli import session
from payctl.cli.flags import Flags
from payctl.cli.progress import Progress, progress
from payctl.cli.session import Session
from payctl.clock import ManualClock

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def here() -> Iterator[None]:
    session.use(Session(environ={"HOME": "/nonexistent"}))
    yield
    session.use(None)


def test_without_a_terminal_there_is_a_line_each_ten_seconds(
    clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = Progress("syncing", 100, clock)
    for _ in range(25):
        clock.sleep(1)
        bar.advance()
    assert capsys.readouterr().err.splitlines() == ["syncing: 10/100", "syncing: 20/100"]


def test_an_unknown_total_is_not_invented(
    clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = Progress("syncing", None, clock)
    clock.sleep(11)
    bar.advance(7)
    assert capsys.readouterr() == ("", "syncing: 7\n")


def test_quiet_is_quiet(clock: ManualClock, capsys: pytest.CaptureFixture[str]) -> None:
    session.use(Session(flags=Flags(quiet=True), environ={"HOME": "/nonexistent"}))
    bar = Progress("syncing", 10, clock)
    clock.sleep(11)
    bar.advance()
    assert capsys.readouterr() == ("", "")


def test_a_bar_ends_also_when_the_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with pytest.raises(ZeroDivisionError), progress("syncing", 3) as bar:
        bar.advance()
        raise ZeroDivisionError
    assert bar.done == 1
    assert bar._bar.finished is False and not bar._bar.live.is_started
