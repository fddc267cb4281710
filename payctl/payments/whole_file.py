"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from payctl.errors import Unavailable


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """A text to be written, which takes the place of *path* when the block ends well.

    It is written under a name of its own beside it, so two writers never mix, and only its owner
    may read it: it holds personal data.

    Raises:
        Unavailable: ``file.not_written``; whatever was there before is unchanged.
    """
    with _told(path):
        partial = NamedTemporaryFile(
            "w", encoding="utf-8", errors="surrogateescape", newline="", dir=path.parent,
            prefix=f".{path.name}.", suffix=".part", delete=False,
        )  # fmt: skip
    try:
        with _told(path):
            with partial:
                yield partial.file
                partial.flush()
                os.fsync(partial.fileno())
            Path(partial.name).replace(path)
    finally:
        Path(partial.name).unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        detail = error.strerror or str(error)
        raise Unavailable("file.not_written", path=str(path), detail=detail) from error
