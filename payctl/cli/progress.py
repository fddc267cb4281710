"""Showing that long work goes on: a bar on a terminal, else a line every ten seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from payctl.cli.output import note
from payctl.cli.session import session
from payctl.clock import Clock, SystemClock

EVERY_S = 10.0


class Progress:
    """Counts finished items and says so; ``total`` may be unknown."""

    def __init__(self, what: str, total: int | None, clock: Clock | None = None) -> None:
        self.what = what
        self.total = total
        self.done = 0
        self._clock = clock or SystemClock()
        self._last = self._clock.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def advance(self, items: int = 1) -> None:
        """*items* more are finished."""
        self.done += items
        if self._bar is not None:
            self._bar.update(self._task, advance=items)
        elif self._clock.monotonic() - self._last >= EVERY_S:
            self._last = self._clock.monotonic()
            of = f"/{self.total}" if self.total is not None else ""
            note(f"{self.what}: {self.done}{of}")

    def draw(self) -> None:
        """Use a bar from now on."""
        from rich.console import Console
        from rich.progress import Progress as Bar

        self._bar = Bar(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(self.what, total=self.total)
        self._bar.start()

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Progress]:
    """``with progress("syncing", len(items)) as bar: ... bar.advance()``."""
    shown = Progress(what, total)
    if sys.stderr.isatty() and not session().quiet:
        shown.draw()
    try:
        yield shown
    finally:
        shown.stop()
