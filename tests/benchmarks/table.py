"""The results as a Markdown table, which is also what the terminal shows."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.figures import Ratio, Result, figure

HEAD = (
    "#", "what", "reference", "measured", "ratio (lowest-highest, n)", "goal", "met",
    "µs ours + server", "load",
)  # fmt: skip


def render(results: Sequence[Result]) -> str:
    """The table, its columns padded to one width each."""
    rows = [HEAD, *(_cells(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _cells(result: Result) -> tuple[str, ...]:
    return tuple(
        text.replace("|", "/")
        for text in (
            result.number,
            result.what,
            result.reference or "-",
            result.reason or result.measured,
            _ratio(result.ratio),
            ", ".join(map(str, result.conditions)) or "-",
            result.verdict,
            result.cpu or "-",
            "-" if result.load is None else f"{result.load:.1f}",
        )
    )


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return "-"
    span = f"{figure(ratio.low)}-{figure(ratio.high)}"
    return f"{figure(ratio.median)} ({span}, n={ratio.rounds})"
