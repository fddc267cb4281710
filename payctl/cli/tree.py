"""The whole command tree as data: for ``payctl commands``, the reference and the completion."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from payctl.cli.framework import CommandSpec, spec_of
from payctl.cli.main import build
from payctl.cli.nouns import NOUNS


@dataclass(frozen=True, slots=True)
class Leaf:
    """One command: its words after ``payctl`` and its built Typer command."""

    words: tuple[str, ...]
    command: Any

    @property
    def path(self) -> str:
        return " ".join(self.words)

    @property
    def spec(self) -> CommandSpec | None:
        return spec_of(self.command)

    @property
    def text(self) -> str:
        """The function's whole docstring."""
        return inspect.cleandoc(self.command.help or "")


def leaves(noun: str | None = None) -> Iterator[Leaf]:
    """Every command that is not hidden, in the order of the help; of one noun when given."""
    for name in NOUNS if noun is None else (noun,):
        yield from below((name,), build(name))


def below(words: tuple[str, ...], command: Any) -> Iterator[Leaf]:
    children = getattr(command, "commands", None)
    if children is None:
        yield Leaf(words, command)
        return
    for name, child in children.items():
        if not child.hidden:
            yield from below((*words, name), child)


def parameters(command: Any) -> list[dict[str, Any]]:
    """Arguments and options as JSON-ready mappings."""
    return [
        {
            "name": parameter.name,
            "kind": parameter.param_type_name,
            "flags": [] if parameter.param_type_name == "argument" else list(parameter.opts),
            "value": None if getattr(parameter, "is_flag", False) else _metavar(parameter),
            "required": bool(parameter.required),
            "repeatable": bool(getattr(parameter, "multiple", False) or parameter.nargs == -1),
            "help": getattr(parameter, "help", None) or "",
        }
        for parameter in command.params
        if not getattr(parameter, "hidden", False)
    ]


def _metavar(parameter: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    choices = getattr(parameter.type, "choices", None)
    return "|".join(map(str, choices)) if choices else str(parameter.name).upper()
