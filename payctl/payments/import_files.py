"""Import files: CSV and JSON lines read row by row, and the file of their rejected rows.

A file of any length costs the memory of one row: it is never held as a whole, and a line that is
longer than any sound row can be is cut, so that it is refused for its contents.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TextIO

from payctl import pan
from payctl.db.types import canonical
from payctl.errors import InvalidInput
from payctl.payments.import_rows import REMARKS, check_columns, read_amount, storable
from payctl.payments.whole_file import whole_file

FORMATS = ("csv", "jsonl")
DELIMITERS = (",", ";")
#: Characters of one line that are read; all columns at their limits together are shorter.
MAX_LINE = 65_536
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Raw:
    """One row as it stands in the file; ``line`` counts from 1 and is where the row ends.

    ``error`` is set where the row cannot even be taken apart; ``text`` is then what was read.
    """

    line: int
    cells: Mapping[str, str]
    error: InvalidInput | None = None
    text: str = ""


@dataclass(slots=True)
class Survey:
    """What a first look at a file showed: its rows, its hash, and per currency how many rows have
    a readable amount and their sum in minor units.
    """

    rows: int = 0
    sha256: str = ""
    totals: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """A file of payments.

    Attributes:
        form: ``csv`` or ``jsonl``.
        delimiter: between the cells of a CSV file.
        columns: names in the header of a CSV file; empty for JSON lines.
    """

    path: Path
    form: str
    delimiter: str = ","
    columns: tuple[str, ...] = ()

    def rows(self) -> Iterator[Raw]:
        """The rows, in the file's order; one that cannot be read carries why."""
        with _opened(self.path) as file:
            yield from self._csv(file) if self.form == "csv" else _json(file)

    def _csv(self, file: TextIO) -> Iterator[Raw]:
        reader = csv.reader(_lines(file), delimiter=self.delimiter, strict=True)
        next(reader)
        while True:
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                broken = InvalidInput("import.bad_line", detail=str(error)[:80])
                yield Raw(reader.line_num, {}, broken)
                continue
            if values:
                yield self._row(reader.line_num, values)

    def _row(self, line: int, values: Sequence[str]) -> Raw:
        cells = {
            name: _bare(name, value if name == "description" else value.strip())
            for name, value in zip(self.columns, values, strict=False)
        }
        if len(values) != len(self.columns):
            wrong = InvalidInput("import.cells", cells=len(values), columns=len(self.columns))
            return Raw(line, cells, wrong)
        return Raw(line, cells, _bad_text(cells))


def open_source(path: Path, delimiter: str | None = None) -> Source:
    """Look at a file's name and header.

    Args:
        delimiter: of a CSV file; by default whichever of comma and semicolon its header has.

    Raises:
        InvalidInput: ``import.unknown_format``, ``import.unreadable``, ``import.empty``,
            ``choice.unknown`` and those of ``import_rows.check_columns``.
    """
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise InvalidInput("import.unknown_format", field="file", path=str(path))
    if delimiter is not None and (form != "csv" or delimiter not in DELIMITERS):
        raise InvalidInput(
            "choice.unknown", field="delimiter", value=delimiter[:10], allowed=", ".join(DELIMITERS)
        )
    with _opened(path) as file:
        header = next(_lines(file), "")
    if not header.strip():
        raise InvalidInput("import.empty", field="file", path=str(path))
    if form == "jsonl":
        return Source(path, form)
    found = delimiter or (";" if ";" in header else ",")
    columns = tuple(name.strip() for name in next(csv.reader([header], delimiter=found)))
    check_columns(columns)
    return Source(path, form, found, columns)


def survey(source: Source) -> Survey:
    """Go through the file once, before anything of it is recorded.

    Raises:
        InvalidInput: ``import.unknown_column``, ``import.missing_column`` for JSON lines, whose
            names stand in each row; ``import.unreadable``.
    """
    found = Survey()
    names: dict[str, None] = {}
    for raw in source.rows():
        found.rows += 1
        names.update(dict.fromkeys(raw.cells))
        if raw.error is not None:
            continue
        try:
            amount_minor = read_amount(raw.cells)
        except InvalidInput:
            continue
        rows, total_minor = found.totals.get(raw.cells["currency"], (0, 0))
        found.totals[raw.cells["currency"]] = rows + 1, total_minor + amount_minor
    if names:
        check_columns(tuple(names))
    try:
        with source.path.open("rb") as file:
            found.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(source.path, error) from error
    return found


class Rejects:
    """Writes rejected rows in their file's own format, with where and why.

    Card numbers are taken out: the row is kept to be corrected, not the number.
    """

    def __init__(self, source: Source, file: IO[str]) -> None:
        self._source = source
        self._file = file
        self._names = (*(name for name in source.columns if name not in REMARKS), *REMARKS)
        self._writer = csv.writer(file, delimiter=source.delimiter, lineterminator="\n")
        self.count = 0

    def add(self, raw: Raw, error: str, message: str) -> None:
        """One more row; *error* is the reason's code and *message* its sentence."""
        remarks = {"line": str(raw.line), "error": error, "message": message}
        cells = {**raw.cells, **remarks}
        if self._source.form == "csv":
            if not self.count:
                self._writer.writerow(self._names)
            clean = ((name, pan.scrub(cells.get(name, ""))) for name in self._names)
            self._writer.writerow([safe(name, text) for name, text in clean])
        else:
            values: dict[str, Any] = {name: pan.scrub(value) for name, value in cells.items()}
            values["line"] = raw.line
            if raw.text:
                values["text"] = pan.scrub(raw.text[:1000])
            self._file.write(json.dumps(values) + "\n")
        self.count += 1


@contextmanager
def rejects_file(source: Source, path: Path) -> Iterator[Rejects]:
    """Write rejected rows to *path*, which is there afterwards exactly when there were any.

    Raises:
        Unavailable: ``file.not_written``.
    """
    with whole_file(path) as file:
        rejects = Rejects(source, file)
        yield rejects
    if not rejects.count:
        path.unlink()


def safe(column: str, text: str) -> str:
    """A cell no spreadsheet takes for a formula (OWASP, CSV injection); read back by importing.

    A phone number is left alone: it begins with a plus and is nothing but digits.
    """
    return f"'{text}" if column != "phone" and text.lstrip("'").startswith(_FORMULA) else text


def _bare(column: str, text: str) -> str:
    """The inverse of :func:`safe`."""
    quoted = column != "phone" and text.startswith("'") and text.lstrip("'").startswith(_FORMULA)
    return text[1:] if quoted else text


def _json(file: TextIO) -> Iterator[Raw]:
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line, parse_float=str, parse_constant=str, object_pairs_hook=_once)
            if not isinstance(found, dict):
                raise ValueError("not an object")
        except (ValueError, RecursionError) as error:
            broken = InvalidInput("import.bad_line", detail=str(error)[:80])
            yield Raw(number, {}, broken, line.strip())
            continue
        cells = {name: _text(name, value) for name, value in found.items() if value is not None}
        nested = next((name for name, value in cells.items() if value is None), None)
        kept = {name: value for name, value in cells.items() if value is not None}
        if nested is not None:
            yield Raw(number, kept, InvalidInput("import.bad_value", field=nested))
        else:
            yield Raw(number, kept, _bad_text(kept))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names stand once: of two amounts nobody knows which is meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _text(name: str, value: Any) -> str | None:
    """A JSON value as the text a CSV cell would hold; ``None`` where there is none."""
    if isinstance(value, bool):
        return ("yes" if value else "no") if name == "settled" else None
    if isinstance(value, dict):
        return canonical(value) if name == "metadata" else None
    if isinstance(value, int | str):
        text = str(value)
        return text if name == "description" else text.strip()
    return None


def _bad_text(cells: Mapping[str, str]) -> InvalidInput | None:
    for name, value in cells.items():
        if not storable(value):
            return InvalidInput("import.bad_text", field=name)
    return None


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(MAX_LINE):
        rest = line
        while len(rest) == MAX_LINE and not rest.endswith("\n"):
            rest = file.readline(MAX_LINE)
        yield line


def _opened(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InvalidInput:
    detail = error.strerror or str(error)
    return InvalidInput("import.unreadable", field="file", path=str(path), detail=detail)
