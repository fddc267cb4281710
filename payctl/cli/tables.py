"""Tables for people, drawn by Rich, never wider than the terminal (80 columns when unknown)."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

_RIGHT = frozenset({"money", "number", "rate"})
#: These are never cut: half an id or half an amount is worse than none.
_WHOLE = frozenset({"money", "number", "rate", "id", "time", "trend"})
_MIN_TEXT = 12
_GAP = 2
_STATE_STYLES = {
    "succeeded": "green", "ok": "green", "enabled": "green", "closed": "green", "active": "green",
    "failed": "red", "open": "red", "unknown": "red", "dead": "red", "disabled": "red",
    "pending": "yellow", "processing": "yellow", "requires_action": "yellow", "draining": "yellow",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Strip:
    """One column with its heading and its cells, already in words."""

    heading: str
    cells: list[str]
    kind: str
    rank: int

    @property
    def natural(self) -> int:
        return max(map(len, (self.heading, *self.cells)))

    @property
    def least(self) -> int:
        if self.kind in _WHOLE:
            return self.natural
        return min(self.natural, max(_MIN_TEXT, len(self.heading)))


def show(strips: Sequence[Strip], *, colored: bool) -> list[str]:
    """Print a table that fits; returns the headings of the columns left out."""
    width = _width()
    kept = fitted(strips, width)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for strip, size in zip(kept, widths(kept, width), strict=True):
        long = strip.kind == "long"
        table.add_column(
            strip.heading,
            justify="right" if strip.kind in _RIGHT else "left",
            no_wrap=not long,
            overflow="fold" if long else "ellipsis",
            width=size,
        )
    for row in zip(*(strip.cells for strip in kept), strict=True):
        table.add_row(
            *(_text(cell, strip.kind) for cell, strip in zip(row, kept, strict=True)),
        )
    _console(width, colored).print(table)
    return [strip.heading for strip in strips if strip not in kept]


def show_pairs(pairs: Sequence[tuple[str, str]], *, colored: bool) -> None:
    """Print ``label  value`` lines; long values wrap under themselves."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for heading, value in pairs:
        table.add_row(heading, Text(value))
    _console(_width(), colored).print(table)


def fitted(strips: Sequence[Strip], width: int) -> list[Strip]:
    """The columns that fit into *width*; the highest rank goes first, from the right."""
    kept = list(strips)
    while sum(strip.least + _GAP for strip in kept) - _GAP > width:
        droppable = [strip for strip in kept if strip.rank > 0]
        if not droppable:
            break
        worst = max(strip.rank for strip in droppable)
        kept.remove([strip for strip in droppable if strip.rank == worst][-1])
    return kept


def widths(strips: Sequence[Strip], width: int) -> list[int]:
    """What each column gets: its least, then the room that is left, from the left."""
    sizes = [strip.least for strip in strips]
    room = width - sum(sizes) - _GAP * (len(strips) - 1)
    for at, strip in enumerate(strips):
        more = min(max(room, 0), strip.natural - sizes[at])
        sizes[at] += more
        room -= more
    return sizes


def _text(cell: str, kind: str) -> Text:
    # Text, not str: what customers wrote must not be read as markup.
    style = _STATE_STYLES.get(cell, "") if kind == "state" else ""
    return Text(cell, style=style)


def _width() -> int:
    return shutil.get_terminal_size((80, 24)).columns


def _console(width: int, colored: bool) -> Console:
    return Console(
        file=sys.stdout,
        width=width,
        force_terminal=colored,
        no_color=not colored,
        color_system="auto" if colored else None,
        highlight=False,
        emoji=False,
        markup=False,
    )
