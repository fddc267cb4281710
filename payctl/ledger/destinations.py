"""Places outside the database where the hashes of blocks are kept.

    path:FOLDER        one file a day in FOLDER, appended and flushed to the disk
    git:REPOSITORY     the same file in a local repository, committed
    cmd:PROGRAM ARGS   the lines on a program's standard input

Files are never rewritten, only appended to, so they may lie on storage that allows nothing else. A
line that was cut by a crash stays, and the whole line follows it.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

#: A program or a repository that hangs must not hang the job.
TIMEOUT_S = 60
#: Identity of our commits: the repository's owner need not have set one.
_GIT = ("git", "-c", "user.name=payctl", "-c", "user.email=payctl@localhost",
        "-c", "commit.gpgsign=false")  # fmt: skip


class NotWritten(Exception):
    """A destination could not be written or read; the text says why, in the system's words."""


class Destination(Protocol):
    """One place."""

    @property
    def name(self) -> str:
        """What it is called in reports and in the book; never an argument of a program."""

    def write(self, files: Mapping[str, Sequence[str]]) -> None:
        """Keep lines (without line ends) by the name of their file, those that are there already
        only once.

        Raises:
            NotWritten: they may have been kept in part; writing them again does no harm.
        """

    def read(self, pattern: str) -> Iterator[str] | None:
        """All lines of the files whose names match, or ``None`` when it cannot be read back.

        Raises:
            NotWritten: it is there and cannot be read.
        """


class Folder:
    """Files in a folder, which is made when it is missing."""

    def __init__(self, folder: Path, scheme: str = "path") -> None:
        self._folder = folder
        self.name = f"{scheme}:{folder}"

    def write(self, files: Mapping[str, Sequence[str]]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, lines in files.items():
                _append(self._folder / name, lines)
            _flush_folder(self._folder)
        except OSError as error:
            raise NotWritten(_reason(error)) from error

    def read(self, pattern: str) -> Iterator[str]:
        return _lines(sorted(self._folder.glob(pattern)))


class Repository(Folder):
    """The same files in a git repository; each run that adds lines is a commit."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "git")

    def write(self, files: Mapping[str, Sequence[str]]) -> None:
        super().write(files)
        names = sorted(files)
        self._git("add", "--", *names)
        # Lines of a run that died before its commit are committed by the next one.
        if self._git("status", "--porcelain", "--", *names):
            self._git("commit", "--quiet", "--message", "Anchor the ledger", "--", *names)

    def _git(self, *words: str) -> str:
        return _run([*_GIT, "-C", str(self._folder), *words], "")


class Program:
    """A program that takes lines: to a notary, a mailbox, a write-once store."""

    def __init__(self, command: str) -> None:
        self._words = shlex.split(command)
        digest = hashlib.sha256(command.encode()).hexdigest()[:8]
        self.name = f"cmd:{self._words[0]} ({digest})"

    def write(self, files: Mapping[str, Sequence[str]]) -> None:
        _run(self._words, "".join(f"{line}\n" for lines in files.values() for line in lines))

    def read(self, pattern: str) -> None:
        return None


def parse(text: str) -> Destination:
    """The destination that a setting names; its form was checked when the setting was read."""
    scheme, _, rest = text.partition(":")
    if scheme == "cmd":
        return Program(rest)
    return Repository(Path(rest)) if scheme == "git" else Folder(Path(rest))


def _append(file: Path, lines: Sequence[str]) -> None:
    known = set(_lines([file])) if file.exists() else set()
    new = [line for line in lines if line not in known]
    if not new:
        return
    made = not file.exists()
    with file.open("ab") as out:
        if not made and not _ends_with_line(file):
            out.write(b"\n")
        out.write("".join(f"{line}\n" for line in new).encode())
        out.flush()
        os.fsync(out.fileno())


def _ends_with_line(file: Path) -> bool:
    with file.open("rb") as found:
        found.seek(0, os.SEEK_END)
        if not found.tell():
            return True
        found.seek(-1, os.SEEK_END)
        return found.read(1) == b"\n"


def _flush_folder(folder: Path) -> None:
    """A new file's name is safe only when its folder has been flushed too."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _lines(files: Iterable[Path]) -> Iterator[str]:
    try:
        for file in files:
            with file.open(encoding="utf-8", errors="replace") as found:
                for line in found:
                    yield line.rstrip("\n")
    except OSError as error:
        raise NotWritten(_reason(error)) from error


def _run(words: Sequence[str], given: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own configuration names the program
            words, input=given, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotWritten(_reason(error)) from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [""])[0][:200]
        raise NotWritten(f"exit status {done.returncode} {said}".strip())
    return done.stdout


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else type(error).__name__
