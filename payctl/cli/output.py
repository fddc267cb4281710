"""What a command prints: data on stdout in the format asked for, everything else on stderr.

``emit`` prints one object, ``emit_list`` many; both take plain mappings whose keys are the JSON
keys (ids already encoded, amounts as ``amount_minor`` beside ``currency``, times as aware
datetimes).
Rich is imported for a table only.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, TextIO

from payctl.cli.cells import (
    Column,
    Section,
    escaped,
    guess,
    human,
    lookup,
    machine,
    machine_columns,
    to_json,
)
from payctl.cli.messages import label, say
from payctl.cli.session import Session, session
from payctl.errors import InvalidInput
from payctl.secret import conceal

Item = Mapping[str, Any]
#: In a spreadsheet, a cell that begins with one of these is a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def emit(
    obj: Item, schema: str, view: Sequence[Column | Section] = (), *, id_key: str = "id"
) -> None:
    """Print one object.

    Args:
        obj: JSON-ready mapping without ``schema``.
        schema: its versioned name, ``payctl.payment/1``.
        view: the lines of the human form, in order; default: every top-level value.
        id_key: what ``-q`` prints.

    Raises:
        InvalidInput: ``output.unknown_field`` for a name in ``--fields`` that is not there.
    """
    run = session()
    if run.quiet:
        _line(lookup(obj, id_key) or "")
        return
    if run.is_json:
        chosen = _selected(obj, run.fields) if run.fields else {"schema": schema, **obj}
        _line(to_json(chosen, None if run.output == "jsonl" else 2))
        return
    lines = [part for part in view if isinstance(part, Column)]
    if run.fields:
        known = {column.key: column for column in lines}
        lines = [_column(name, obj, known) for name in run.fields]
    elif not lines:
        lines = [guess(key, value) for key, value in obj.items() if not _nested(value)]
    if run.output == "table":
        _object_table(run, obj, lines, () if run.fields else view)
    elif run.output == "csv":
        _csv([obj], lines, run)
    else:
        for name, column in machine_columns(lines):
            _line(f"{name}\t{escaped(machine(obj, column))}")


def emit_list(
    items: Iterable[Item],
    schema: str,
    columns: Sequence[Column],
    *,
    next_cursor: str | None = None,
    id_key: str = "id",
    hint: str = "",
    extra: Item | None = None,
) -> None:
    """Print a list.

    Args:
        items: JSON-ready mappings; an iterator is streamed in every format but table.
        schema: name of the list's schema, ``payctl.payments/1``.
        columns: what table, plain and csv show, in order.
        next_cursor: cursor of the next page when the list was cut; said on stderr.
        id_key: what ``-q`` prints, one a line.
        hint: the next useful command, shown to people under a table.
        extra: further top-level JSON keys (totals per currency).

    Raises:
        InvalidInput: ``output.unknown_field``.
    """
    run = session()
    shown = list(columns)
    if run.fields:
        items, shown = _fields(items, columns, run.fields)
    if run.quiet:
        for item in items:
            _line(lookup(item, id_key) or "")
    elif run.output == "json":
        _json_list(items, schema, next_cursor, run.fields, extra or {})
    elif run.output == "jsonl":
        for item in items:
            _line(to_json(_selected(item, run.fields) if run.fields else item))
    elif run.output == "csv":
        _csv(items, shown, run)
    elif run.output == "table":
        rows = list(items)
        _list_table(run, rows, shown)
        hint = hint if rows else ""
    else:
        named = machine_columns(shown)
        for item in items:
            _line("\t".join(escaped(machine(item, column)) for _, column in named))
    if next_cursor:
        note(say("list_cut", run.lang, cursor=next_cursor), always=True)
    elif hint and run.output == "table" and not run.quiet:
        note(say("next", run.lang, command=hint))


def note(text: str, *, always: bool = False) -> None:
    """A message for people, on stderr; ``-q`` silences it unless *always*."""
    if always or not session().quiet:
        print(conceal(text), file=sys.stderr, flush=True)


def detail(text: str) -> None:
    """A message for ``-v`` only."""
    if session().verbose:
        note(text)


def undo(command: str) -> None:
    """The last line of a change: the command that takes it back."""
    note(say("undo", session().lang, command=command))


def styled(text: str, style: str, stream: TextIO) -> str:
    """*text* in a terminal colour when *stream* may carry one; styles: red, yellow, bold."""
    codes = {"red": "1;37;41", "yellow": "33", "bold": "1"}
    return f"\x1b[{codes[style]}m{text}\x1b[0m" if session().colored(stream) else text


def write_text(text: str) -> None:
    """A whole text (a topic, a script, an export) on stdout, as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


# -- fields ---------------------------------------------------------------------------------


def _fields(
    items: Iterable[Item], columns: Sequence[Column], names: Sequence[str]
) -> tuple[Iterable[Item], list[Column]]:
    known = {column.key: column for column in columns}
    iterator = iter(items)
    first = next(iterator, None)
    if first is None:
        return (), [known.get(name, Column(name)) for name in names]
    chosen = [_column(name, first, known) for name in names]
    return chain((first,), iterator), chosen


def _column(name: str, item: Item, known: Mapping[str, Column]) -> Column:
    if name in known:
        return known[name]
    if name not in item and lookup(item, name) is None:
        available = ", ".join(item)
        raise InvalidInput("output.unknown_field", field="fields", name=name, available=available)
    return guess(name, lookup(item, name))


def _selected(item: Item, names: Sequence[str]) -> dict[str, Any]:
    return {name: lookup(item, _column(name, item, {}).key) for name in names}


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0
        and isinstance(value[0], Mapping)
    )  # fmt: skip


# -- formats --------------------------------------------------------------------------------


def _json_list(
    items: Iterable[Item], schema: str, cursor: str | None, names: Sequence[str], extra: Item
) -> None:
    out = sys.stdout
    out.write(f'{{"schema": {to_json(schema)}, "items": [')
    comma = "\n"
    for item in items:
        out.write(comma + to_json(_selected(item, names) if names else item))
        comma = ",\n"
    out.write("\n]" if comma != "\n" else "]")
    for key, value in extra.items():
        out.write(f", {to_json(key)}: {to_json(value)}")
    out.write(f', "next": {to_json(cursor)}}}\n')


def _csv(items: Iterable[Item], columns: Sequence[Column], run: Session) -> None:
    french = run.flags.csv_dialect == "fr"
    named = machine_columns(columns)
    if french:
        sys.stdout.write("\ufeff")
    writer = csv.writer(sys.stdout, delimiter=";" if french else ",", lineterminator="\r\n")
    writer.writerow([name for name, _ in named])
    decimal = "," if french else "."
    for item in items:
        writer.writerow([_cell(item, column, decimal) for _, column in named])


def _cell(item: Item, column: Column, decimal: str) -> str:
    text = machine(item, column, decimal)
    inert = column.kind in ("money", "number", "time", "rate")
    return text if inert or not text.startswith(_FORMULA) else f"'{text}"


def _list_table(run: Session, items: list[Item], columns: Sequence[Column]) -> None:
    from payctl.cli import tables

    if not items:
        note(say("nothing", run.lang))
        return
    hidden = tables.show(_grid(run, items, columns), colored=run.colored(sys.stdout))
    if any(column.kind == "time" for column in columns):
        note(say("zone", run.lang, zone=run.tz.key))
    if hidden:
        note(say("hidden_columns", run.lang, columns=", ".join(hidden)))


def _object_table(
    run: Session, obj: Item, lines: Sequence[Column], view: Sequence[Column | Section]
) -> None:
    from payctl.cli import tables

    pairs = [(_heading(column, run), human(obj, column, run.tz)) for column in lines]
    tables.show_pairs(pairs, colored=run.colored(sys.stdout))
    for part in view:
        rows = lookup(obj, part.key) if isinstance(part, Section) else None
        if isinstance(part, Section) and rows:
            print(f"\n{label(part.key, run.lang)}")
            tables.show(_grid(run, rows, part.columns), colored=run.colored(sys.stdout))


def _grid(run: Session, items: Sequence[Item], columns: Sequence[Column]) -> Any:
    from payctl.cli import tables

    return [
        tables.Strip(
            _heading(column, run),
            [human(item, column, run.tz) for item in items],
            column.kind,
            column.rank,
        )
        for column in columns
    ]


def _heading(column: Column, run: Session) -> str:
    return column.label or label(column.key.rsplit(".", 1)[-1], run.lang)


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
