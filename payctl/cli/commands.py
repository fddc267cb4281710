"""``payctl commands``: the whole command tree."""

from __future__ import annotations

from typing import Annotated

import typer

from payctl.cli.framework import Column, command, emit_list, single
from payctl.cli.nouns import NOUNS
from payctl.cli.tree import leaves, parameters
from payctl.errors import NotFound

app = single("commands")
_COLUMNS = (
    Column("command", "id", rank=0),
    Column("summary", rank=0),
    Column("changes", rank=1),
)


@command(
    app,
    "commands",
    examples=["payctl commands", "payctl commands payments", "payctl commands --json"],
)
def commands(
    noun: Annotated[str | None, typer.Argument(metavar="NOUN", help="Only this noun's.")] = None,
) -> None:
    """List every command; with --json also arguments, options, examples and exit codes."""
    if noun is not None and noun not in NOUNS:
        raise NotFound("usage.no_such_noun", field="noun", noun=noun[:40])
    items = []
    for leaf in leaves(noun):
        spec = leaf.spec
        items.append(
            {
                "command": leaf.path,
                "summary": spec.summary if spec else "",
                "changes": bool(spec and spec.changes),
                "parameters": parameters(leaf.command),
                "examples": list(spec.examples) if spec else [],
                "exits": {str(int(code)): text for code, text in spec.exits.items()}
                if spec
                else {},
            }
        )
    emit_list(items, "payctl.commands/1", _COLUMNS, id_key="command")
