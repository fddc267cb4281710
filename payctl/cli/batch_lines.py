"""Reading the lines of a batch, until their end or until no more are wanted.

A stop is heard at once, also while nothing comes in, and from whatever side: a signal, or a thread
that finds nobody left to answer. It interrupts nothing: it comes through a pipe of its own, which
is waited on together with the source.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from payctl.cli.batch_input import MAX_LINE

_CHUNK = 64 * 1024


class Lines:
    """The lines of a file or pipe, without their ends. Of one that is too long just so much comes
    that this shows; the rest is passed over.
    """

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source.fileno()
        self._stopped = False
        self._heard, self._bell = os.pipe()

    def __iter__(self) -> Iterator[bytes]:
        line = bytearray()
        while (chunk := self._next()) is not None:
            *ended, rest = chunk.split(b"\n")
            for each in ended:
                yield bytes(_more(line, each))
                line.clear()
                if self._stopped:
                    return
            _more(line, rest)
            if not chunk:
                break
        if line and not self._stopped:
            yield bytes(line)

    def stop(self) -> None:
        """Read no more lines."""
        if not self._stopped:
            self._stopped = True
            os.write(self._bell, b"!")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop the reading (in the main thread, the only one they reach)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(each, lambda *_: self.stop()) for each in signals]
        try:
            yield
        finally:
            for each, handler in zip(signals, before, strict=True):
                signal.signal(each, handler)

    def close(self) -> None:
        """Close the pipe of stops, when nobody can ask for one any more."""
        os.close(self._heard)
        os.close(self._bell)

    def _next(self) -> bytes | None:
        """What comes in next, empty at the end; ``None`` when no more is wanted."""
        select.select([self._source, self._heard], [], [])
        return None if self._stopped else os.read(self._source, _CHUNK)


def _more(line: bytearray, text: bytes) -> bytearray:
    line += text[: MAX_LINE + 1 - len(line)]
    return line
