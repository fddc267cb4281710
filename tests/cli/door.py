"""A batch door as its callers have it: a process of its own that is written to and read from."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from payctl.app import App
from payctl.config import load
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.operators import Operators
from payctl.db.permissions import SETUP_ROLE
from tests import books
from tests.cli.schemas import check, validator

ROOT = Path(__file__).parents[2]
#: Longer than anything takes on a busy machine.
PATIENCE_S = 60.0
PROCESS = ("payments", "process", "--yes")
STATUS = ("payments", "status")
REFUND = ("refunds", "create", "--yes")

_PROFILE = """
[profiles.default]
database.url = "{url}"
timezone = "UTC"
"""


class Home:
    """A profile of a test's own: its folder, its book, its sandbox gateways ``cards`` and
    ``other``.

    Args:
        terms: settings of both gateways.
    """

    def __init__(self, url: str, folder: Path, **terms: Any) -> None:
        self.folder, self.url = folder, url
        text = _PROFILE.format(url=url)
        for name in ("cards", "other"):
            settings = {"type": "sandbox", "book": str(folder / f"{name}.sqlite3"),
                        "methods": ["card"], "fee_ppm": 14_000, **terms}  # fmt: skip
            text += "".join(
                f"gateways.{name}.{key} = {json.dumps(value)}\n" for key, value in settings.items()
            )
        (folder / "payctl.toml").write_text(text)
        self.environ = {
            "HOME": str(folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        db = Database(url)
        books.stamp(db)
        setup = Actor("setup", frozenset({SETUP_ROLE}))
        _, token = Operators(db).add(setup, "core", ["admin", "finance"])
        db.dispose()
        self.environ["PAYCTL_OPERATOR_TOKEN"] = str(token)

    def services(self, **options: Any) -> App:
        """The services on the same book and the same providers, in this process."""
        config = load(environ=self.environ, folder=self.folder)
        return App(config, Database(self.url, **options))

    def door(
        self, *words: str, module: str = "payctl", workers: int = 8, heard: bool = True
    ) -> Door:
        line = [sys.executable, "-m", module, *words, "--batch", "-", "--workers", str(workers)]
        return Door(line, self, heard)

    def everywhere(self) -> str:
        """All that was written anywhere below this home, as text."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return "".join(path.read_bytes().decode("utf-8", "replace") for path in files)


class Door:
    """A running door. Its answers are read as they come, whether or not anybody asks for them.

    Args:
        heard: false for a caller who reads the answers by itself.
    """

    def __init__(self, line: list[str], home: Home, heard: bool) -> None:
        self.process = subprocess.Popen(
            line, cwd=home.folder, env=home.environ, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.errors = b""
        self.raw: list[str] = []
        self._answers: SimpleQueue[str | None] = SimpleQueue()
        readers = (self._read, self._listen) if heard else (self._listen,)
        self._readers = [threading.Thread(target=each) for each in readers]
        for each in self._readers:
            each.start()

    def send(self, *requests: Mapping[str, Any] | bytes) -> None:
        """Write requests, a line each."""
        lines = [each if isinstance(each, bytes) else json.dumps(each).encode()
                 for each in requests]  # fmt: skip
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(b"".join(line + b"\n" for line in lines))
            self.process.stdin.flush()
        except BrokenPipeError:
            self.process.wait(PATIENCE_S)
            self._readers[-1].join(PATIENCE_S)
            raise AssertionError(f"it had ended: {self.errors.decode()}") from None

    def answer(self) -> dict[str, Any]:
        """The next answer, held against its schema."""
        line = self._answers.get(timeout=PATIENCE_S)
        assert line is not None, self.errors.decode()
        return checked(json.loads(line))

    def answers(self, count: int) -> list[dict[str, Any]]:
        return [self.answer() for _ in range(count)]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def end(self, *, close: bool = True) -> int:
        """Close the input, wait for the end; the exit code. Answers that are left can be read."""
        assert self.process.stdin is not None
        if close:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        code = self.process.wait(PATIENCE_S)
        for each in self._readers:
            each.join(PATIENCE_S)
        if not close:
            self.process.stdin.close()
        return code

    def rest(self) -> list[dict[str, Any]]:
        """The answers nobody has asked for yet, after the end; a last line cut short is none."""
        found = []
        while True:
            try:
                line = self._answers.get(timeout=0)
            except Empty:
                return found
            if line is not None and line.endswith("\n"):
                found.append(checked(json.loads(line)))

    def everything(self, requests: Iterable[Mapping[str, Any] | bytes]) -> list[dict[str, Any]]:
        """Send, end, and have all answers."""
        self.send(*requests)
        self.code = self.end()
        return self.rest()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as out:
            for line in out:
                self.raw.append(line.decode())
                self._answers.put(line.decode())
        self._answers.put(None)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as err:
            self.errors = err.read()


def checked(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer that is sound, and whose object is: the single command's without its schema."""
    check(answer)
    for name in ("payment", "refund"):
        if name in answer:
            validator(f"payctl.{name}/1").validate({"schema": f"payctl.{name}/1", **answer[name]})
    return answer


def request(key: str, token: str | None = None, **other: Any) -> dict[str, Any]:
    return {
        "key": key, "amount_minor": 2500, "currency": "EUR", "method": "card",
        "organiser": "org-1", "preferred": ["cards"],
        **({"payment_token": token} if token else {}), **other,
    }  # fmt: skip
