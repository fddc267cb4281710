"""The batch doors: one long-lived process, a JSON request a line in, a JSON answer a line out.

Answers come in any order, each with the ``key`` of its request and the number of its line, and each
is durable when it is printed. A line that is wrong gets an answer of its own and stops nothing.
Reading waits while too much is on its way. At the end of the input, on SIGTERM and on Ctrl-C no
more is read, what was read is finished and answered, and the process ends.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from payctl import log
from payctl.cli import batch_input
from payctl.cli.batch_input import key_of
from payctl.cli.batch_lines import Lines
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
    ExitCode.NOT_FOUND, ExitCode.CHECK_FAILED, ExitCode.DECLINED, ExitCode.NOT_SENT,
    ExitCode.LOCKED, ExitCode.APPROVAL,
)  # fmt: skip
MAX_WORKERS = 512
#: Is given a line's number and its object, and answers it sooner or later.
Take = Callable[[int, Mapping[str, Any]], None]
#: The object a request gets as its answer, and its exit code.
Handle = Callable[[Mapping[str, Any]], tuple[dict[str, Any], int]]


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
        self._reading: Lines | None = None
        self.workers = workers
        self.counts: Counter[int] = Counter()

    def serve(self, take: Take, drain: Callable[[], None]) -> None:
        """Read lines until the end, hand each to *take*, then let *drain* finish what is left."""
        with self._opened() as lines, lines.listening():
            try:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        self._hand(number, line, take)
            finally:
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
            except (OSError, ValueError):
                # Nobody listens any more: what is on its way is finished, nothing new is read.
                if self._reading is not None:
                    self._reading.stop()

    def _put(self, answer: dict[str, Any], code: int) -> None:
        # Half a surrogate pair, which JSON can say and UTF-8 cannot, is escaped as it came.
        text = to_json(answer).encode("utf-8", "backslashreplace").decode()
        with self._lock:
            self._lines.append(f"{text}\n")
            self.counts[code] += 1

    def _hand(self, number: int, line: bytes, take: Take) -> None:
        asked: Mapping[str, Any] = {}
        try:
            asked = batch_input.parsed(line)
            take(number, asked)
        except Exception as error:
            self.refuse(number, key_of(asked), error)
            self.flush()

    @contextmanager
    def _opened(self) -> Iterator[Lines]:
        with self._source_of() as source:
            self._reading = Lines(source)
            try:
                yield self._reading
            finally:
                self._reading.close()

    def _source_of(self) -> AbstractContextManager[IO[bytes]]:
        if self._source == "-":
            return nullcontext(self._run.stdin.buffer)
        try:
            return Path(self._source).open("rb")
        except OSError as error:
            raise InvalidInput(
                "batch.no_file", field="batch", path=self._source[:200], detail=error.strerror
            ) from None


def serve_each(source: str, workers: int, name: str, handle: Handle) -> None:
    """Answer each line by itself, *workers* at a time.

    Args:
        name: of the object in the answers.
        handle: answers one request.
    """
    door = Door(session(), source, workers)
    room = threading.Semaphore(workers * 4)

    def work(number: int, asked: Mapping[str, Any]) -> None:
        try:
            shown, code = handle(asked)
            door.answer(number, key_of(asked), name, shown, code)
        except Exception as error:
            door.refuse(number, key_of(asked), error)
        finally:
            room.release()
        door.flush()

    with ThreadPoolExecutor(workers, "payctl-batch") as pool:

        def take(number: int, asked: Mapping[str, Any]) -> None:
            room.acquire()
            pool.submit(work, number, asked)

        door.serve(take, lambda: pool.shutdown(wait=True))
