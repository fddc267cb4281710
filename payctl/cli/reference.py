"""Write ``docs/reference/cli.md`` and ``errors.md`` from the source, or check them.

``python -m payctl.cli.reference --write`` and ``--check``, run where the repository is.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from payctl.cli import codes
from payctl.cli.messages import catalogue
from payctl.cli.nouns import GLOBAL_OPTIONS, NOUNS
from payctl.cli.topics import TOPICS
from payctl.cli.tree import Leaf, leaves, parameters

FOLDER = Path("docs") / "reference"
_MADE = "<!-- Made by `make docs` from the source; edits here are lost. -->"


def pages() -> dict[str, str]:
    """File name to content; the same source always gives the same bytes."""
    return {"cli.md": _cli(), "errors.md": _errors()}


def main(arguments: Sequence[str]) -> int:
    """``--write`` or ``--check``; returns the exit code."""
    if list(arguments) not in (["--write"], ["--check"]):
        sys.stderr.write("usage: python -m payctl.cli.reference --write|--check\n")
        return 2
    stale = []
    for name, text in pages().items():
        path = FOLDER / name
        if arguments[0] == "--write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path))
    if stale:
        sys.stderr.write(f"not current: {', '.join(stale)}; run 'make docs'\n")
    return 1 if stale else 0


def _cli() -> str:
    parts = ["# Commands", _MADE, "## Global options", "They may stand anywhere on the line."]
    parts.append(_table(("option", "meaning"), GLOBAL_OPTIONS))
    panel = ""
    for noun in NOUNS.values():
        if noun.panel != panel:
            panel = noun.panel
            parts.append(f"## {panel}")
        parts.append(f"### payctl {noun.name}\n\n{noun.summary[0].upper()}{noun.summary[1:]}.")
        parts.extend(_command(leaf) for leaf in leaves(noun.name))
    for topic in TOPICS.values():
        title, _, text = topic().partition("\n")
        parts.append(f"## {title}\n\n```text\n{text.partition(chr(10))[2].strip(chr(10))}\n```")
    return "\n\n".join(parts) + "\n"


def _command(leaf: Leaf) -> str:
    spec = leaf.spec
    taken = parameters(leaf.command)
    arguments = " ".join(_argument(each) for each in taken if each["kind"] == "argument")
    lines = [f"#### payctl {leaf.path}{' ' + arguments if arguments else ''}", leaf.text]
    rows = [
        (f"`{', '.join(each['flags'])}{' ' + each['value'] if each['value'] else ''}`", _help(each))
        for each in taken
        if each["kind"] != "argument"
    ]
    if rows:
        lines.append(_table(("option", "meaning"), rows))
    if spec:
        lines.append("```console\n" + "\n".join(f"$ {each}" for each in spec.examples) + "\n```")
        if spec.exits:
            exits = [(str(int(code)), text) for code, text in spec.exits.items()]
            lines.append(_table(("exit code", "here it means"), exits))
    return "\n\n".join(lines)


def _argument(parameter: Mapping[str, Any]) -> str:
    value = str(parameter["value"])
    if parameter["repeatable"]:
        value += "..."
    return value if parameter["required"] or value.startswith("[") else f"[{value}]"


def _help(parameter: Mapping[str, Any]) -> str:
    return str(parameter["help"]) + (" Required." if parameter["required"] else "")


def _errors() -> str:
    exit_codes: dict[str, int] = {}
    for use in codes.uses(Path(__file__).parent.parent):
        if use.code:
            exit_codes.setdefault(use.code, use.exit_code)
    rows = [
        (f"`{code}`", str(exit_codes.get(code, "")), entry["text"], entry["money"], entry["next"])
        for code, entry in sorted(catalogue("en").items())
        if "money" in entry
    ]
    heading = ("code", "exit", "what is wrong", "what happened to the money", "next")
    return "\n\n".join(["# Errors", _MADE, _table(heading, rows)]) + "\n"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
