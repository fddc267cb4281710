"""Every error code the source raises, found by reading it: for the reference and a test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from payctl import errors
from payctl.errors import PayctlError

_CLASSES: dict[str, type[PayctlError]] = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, PayctlError)
}


@dataclass(frozen=True, slots=True)
class Use:
    """One place that makes an error. ``code`` is ``None`` where it is not written out."""

    code: str | None
    kind: str
    file: str
    line: int

    @property
    def exit_code(self) -> int:
        # The classes of a single module (a refused confirmation) end like an interruption.
        known = _CLASSES.get(self.kind)
        return int(known.exit_code if known else errors.ExitCode.INTERRUPTED)


def uses(folder: Path) -> Iterator[Use]:
    """All constructor calls of our error classes below *folder*, in the order of files."""
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py"))
    }
    kinds = set(_CLASSES)
    for tree in trees.values():
        kinds |= {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            and any(isinstance(base, ast.Name) and base.id in _CLASSES for base in node.bases)
        }
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _name(node.func) in kinds and node.args:
                for code in _codes(node.args[0]):
                    yield Use(
                        code, _name(node.func), path.relative_to(folder).as_posix(), node.lineno
                    )


def _codes(argument: ast.expr) -> list[str | None]:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return [argument.value]
    if isinstance(argument, ast.IfExp):
        return [*_codes(argument.body), *_codes(argument.orelse)]
    return [None]


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""
