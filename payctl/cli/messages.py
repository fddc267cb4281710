"""Sentences, from the catalogue: one TOML file per language, read when a sentence is needed.

An error carries a code and parameters; what happened to the money and what to do next stand here,
so that no service ever words anything and both languages stay complete.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

from payctl import pan
from payctl.errors import PayctlError
from payctl.secret import conceal


@dataclass(frozen=True, slots=True)
class Message:
    """An error in words."""

    text: str
    money: str
    next: str


@cache
def catalogue(lang: str) -> dict[str, dict[str, str]]:
    """All entries of one language, by code."""

    path = Path(__file__).parent / "catalogue" / f"{lang}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def placeholders(text: str) -> frozenset[str]:
    """Names of the ``{param}`` places in a sentence."""
    return frozenset(name for _, name, _, _ in Formatter().parse(text) if name)


def render(error: PayctlError, lang: str) -> Message:
    """*error* in words; a code without entry still says its code and parameters."""
    entry = catalogue(lang).get(error.code) or {"text": str(error)}
    params = {"field": error.field or "-", **error.params}
    return Message(
        *(_filled(entry.get(part, ""), params) for part in ("text", "money", "next")),
    )


def sentence(code: str, params: Mapping[str, object], lang: str) -> str:
    """The text of entry *code*; a code without entry is shown itself."""
    entry = catalogue(lang).get(code) or {"text": code}
    return _filled(entry["text"], dict(params))


def say(key: str, lang: str, /, **params: object) -> str:
    """A sentence that is no error: entry ``ui.KEY``."""
    return _filled(catalogue(lang)[f"ui.{key}"]["text"], params)


def label(key: str, lang: str) -> str:
    """The heading of a column or field. English headings are the keys themselves."""
    plain = key.removesuffix("_minor").replace("_", " ")
    if lang == "en":
        return plain
    entry = catalogue(lang).get(f"label.{plain}")
    return entry["text"] if entry else plain


class _Blank(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "-"


def _filled(text: str, params: dict[str, object]) -> str:
    shown = {name: _shown(value) for name, value in params.items()}
    return pan.scrub(conceal(text.format_map(_Blank(shown))))


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(map(str, value))
    return str(value)
