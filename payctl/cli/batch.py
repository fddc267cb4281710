"""The batch doors: one long-lived process, a JSON request a line in, a JSON answer a line out.

Answers come in any order, each with the ``key`` of its request and the number of its line, and each
is durable when it is printed. A line that is wrong gets an answer of its own and stops nothing.
Reading waits while too much is on its way. At the end of the input, on SIGTERM and on Ctrl-C no
more is read, what was read is finished and answered, and the process ends.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from payctl import log
from payctl.cli import batch_input
from payctl.cli.cells import to_json
from payctl.cli.failures import error_json
from payctl.cli.framework import finish
from payctl.cli.messages import render, say
from payctl.cli.output import note
from payctl.cli.session import Session, session
from payctl.errors import ExitCode, InvalidInput, PayctlError

ANSWER = "payctl.answer/1"
#: The exit code of the whole is that of its worst answer.
_WORST_FIRST = (
    ExitCode.BUG, ExitCode.OPEN, ExitCode.CONFIG, ExitCode.CONFLICT, ExitCode.USAGE,
    ExitCode.NOT_FOUND, ExitCode.DECLINED, ExitCode.NOT_SENT, ExitCode.LOCKED, ExitCode.APPROVAL,
)  # fmt: skip
MAX_WORKERS = 512
#: Is given a line's number and its object, and answers it sooner or later.
Take = Callable[[int, Mapping[str, Any]], None]


class Door:
    """Answers lines.

    Args:
        source: a file's name, or ``-`` for the standard input.
        workers: requests that are worked on at one time.
    """

    def __init__(self, run: Session, source: str, workers: int) -> None:
        if not 1 <= workers <= MAX_WORKERS:
            raise InvalidInput("batch.bad_workers", field="workers", limit=MAX_WORKERS)
        self._run = run
        self._source = source
        self._lang = run.lang
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._stop = _Stop()
        self.workers = workers
        self.counts: Counter[int] = Counter()

    def serve(
        self, take: Callable[[int, Mapping[str, Any]], None], drain: Callable[[], None]
    ) -> None:
        """Read lines until the end, hand each to *take*, then let *drain* finish what is left."""
        with self._opened() as source, self._stop.listening():
            for number, line in self._read(source):
                try:
                    take(number, batch_input.parsed(line))
                except PayctlError as error:
                    self.refuse(number, _key(line), error)
                    self.flush()
            drain()
        self.flush()
        counts = ", ".join(
            f"{count} x {ExitCode(code).name.lower()}"
            for code, count in sorted(self.counts.items())
        )
        note(say("batch_end", self._lang, count=sum(self.counts.values()), counts=counts or "-"))
        finish(next((code for code in _WORST_FIRST if self.counts[code]), ExitCode.DONE))

    def answer(
        self, number: int, key: str | None, name: str, shown: dict[str, Any], code: int
    ) -> None:
        """Answer a line with an object (``payment``, ``refund``); printed at the next flush."""
        head = {"schema": ANSWER, "key": key, "line": number, "success": True, "exit_code": code}
        self._put({**head, name: shown}, code)

    def refuse(self, number: int, key: str | None, error: Exception) -> None:
        """Answer a line with what went wrong."""
        if not isinstance(error, PayctlError):
            log_id = log.exception(error, "batch", line=number)
            error = PayctlError(
                "bug", log_id=log_id, log=str(log.current().path), kind=type(error).__name__
            )
        shown = error_json(error, render(error, self._lang))
        self._put({"schema": ANSWER, "key": key, "line": number, **shown}, int(error.exit_code))

    def flush(self) -> None:
        """Print the answers given since the last time."""
        with self._lock:
            lines, self._lines = self._lines, []
            if not lines:
                return
            try:
                sys.stdout.write("".join(lines))
                sys.stdout.flush()
            except (BrokenPipeError, ValueError):
                # Nobody listens any more: what is on its way is finished, nothing new is read.
                self._stop.now()

    def _put(self, answer: dict[str, Any], code: int) -> None:
        text = to_json(answer)
        with self._lock:
            self._lines.append(f"{text}\n")
            self.counts[code] += 1

    def _read(self, source: IO[bytes]) -> Iterator[tuple[int, bytes]]:
        number = 0
        while (line := self._stop.read(source)) is not None:
            number += 1
            if line.strip():
                yield number, line

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if self._source == "-":
            yield self._run.stdin.buffer
            return
        try:
            file = Path(self._source).open("rb")
        except OSError as error:
            raise InvalidInput(
                "batch.no_file", field="batch", path=self._source[:200], detail=error.strerror
            ) from None
        with file:
            yield file


class _Stop:
    """Ends the reading: at once while it waits for a line, else before the next line."""

    def __init__(self) -> None:
        self._asked = False
        self._reading = False

    def now(self) -> None:
        self._asked = True

    def read(self, source: IO[bytes]) -> bytes | None:
        """The next line, or ``None`` when there is none or no more are wanted. The rest of a line
        that is too long is passed over.
        """
        if self._asked:
            return None
        try:
            self._reading = True
            line = source.readline(batch_input.MAX_LINE + 1)
            rest = line
            while len(rest) > batch_input.MAX_LINE and not rest.endswith(b"\n"):
                rest = source.readline(batch_input.MAX_LINE + 1)
        except _Interrupted:
            return None
        finally:
            self._reading = False
        return line or None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the reading (in the main thread, the only one they reach)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(each, self._heard) for each in signals]
        try:
            yield
        finally:
            for each, handler in zip(signals, before, strict=True):
                signal.signal(each, handler)

    def _heard(self, _number: int, _frame: object) -> None:
        self._asked = True
        if self._reading:
            raise _Interrupted


class _Interrupted(BaseException):
    """Reading was interrupted by a signal."""


def serve_each(
    source: str,
    workers: int,
    name: str,
    handle: Callable[[Mapping[str, Any]], tuple[dict[str, Any], int]],
) -> None:
    """Answer each line by itself, *workers* at a time.

    Args:
        name: of the object in the answers.
        handle: the object and its exit code for what a line asks.
    """
    door = Door(session(), source, workers)
    room = threading.Semaphore(workers * 4)

    def work(number: int, asked: Mapping[str, Any]) -> None:
        key = asked.get("key")
        try:
            shown, code = handle(asked)
            door.answer(number, key if isinstance(key, str) else None, name, shown, code)
        except Exception as error:
            door.refuse(number, key if isinstance(key, str) else None, error)
        finally:
            room.release()
        door.flush()

    with ThreadPoolExecutor(workers, "payctl-batch") as pool:

        def take(number: int, asked: Mapping[str, Any]) -> None:
            room.acquire()
            pool.submit(work, number, asked)

        door.serve(take, lambda: pool.shutdown(wait=True))


def _key(line: bytes) -> str | None:
    """The key of a line that was refused, where it has one."""
    try:
        key = batch_input.parsed(line).get("key")
    except InvalidInput:
        return None
    return key[:200] if isinstance(key, str) else None
