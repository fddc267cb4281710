"""Global flags, taken from any position before anything heavy is imported.

``payctl payments list --json --profile live`` and ``payctl --profile live payments list --json``
are the same line. Everything after a lone ``--`` belongs to the command. A global flag is
recognised only as a word of its own, so ``--description=--json`` keeps its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from payctl.errors import InvalidInput

FORMATS = ("table", "plain", "json", "jsonl", "csv")
LANGUAGES = ("en", "fr")
DIALECTS = ("std", "fr")

#: flag -> name of the field it fills; those in ``_SWITCHES`` take no value.
VALUED = {
    "--profile": "profile",
    "--output": "output",
    "-o": "output",
    "--fields": "fields",
    "--lang": "lang",
    "--tz": "tz",
    "--config": "config",
    "--csv-dialect": "csv_dialect",
}
_SWITCHES = {
    "--json": "json",
    "--quiet": "quiet",
    "-q": "quiet",
    "--verbose": "verbose",
    "-v": "verbose",
    "--debug": "debug",
    "--no-color": "no_color",
    "--no-input": "no_input",
}
#: No command may declare one of these for itself; a test holds them to it.
NAMES = frozenset(VALUED) | frozenset(_SWITCHES)


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line said globally; ``None`` where it said nothing."""

    profile: str | None = None
    output: str | None = None
    fields: tuple[str, ...] = ()
    quiet: bool = False
    verbose: int = 0
    debug: bool = False
    no_color: bool = False
    no_input: bool = False
    lang: str | None = None
    tz: str | None = None
    config: str | None = None
    csv_dialect: str = "std"


def hoist(argv: Sequence[str]) -> tuple[Flags, list[str]]:
    """Split *argv* into the global flags and the rest, whose order is kept.

    Raises:
        InvalidInput: ``flag.needs_value``, ``flag.bad_choice``.
    """
    flags = Flags()
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            return flags, [*rest, word, *words]
        name, equals, value = word.partition("=")
        if word in _SWITCHES:
            flags = _switch(flags, _SWITCHES[word])
        elif name in VALUED:
            given = value if equals else next(words, None)
            flags = _valued(flags, name, given)
        elif word.startswith("-o") and word[2:] in FORMATS:
            flags = _valued(flags, "-o", word[2:])
        elif len(word) > 2 and word[0] == "-" and set(word[1:]) <= {"q", "v"}:
            for letter in word[1:]:
                flags = _switch(flags, _SWITCHES[f"-{letter}"])
        else:
            rest.append(word)
    return flags, rest


def _switch(flags: Flags, name: str) -> Flags:
    if name == "json":
        return replace(flags, output="json")
    if name == "verbose":
        return replace(flags, verbose=flags.verbose + 1)
    return replace(flags, **{name: True})  # type: ignore[arg-type]


def _valued(flags: Flags, flag: str, value: str | None) -> Flags:
    if value is None or value == "":
        raise InvalidInput("flag.needs_value", field=flag.lstrip("-"), flag=flag)
    name = VALUED[flag]
    choices = {"output": FORMATS, "lang": LANGUAGES, "csv_dialect": DIALECTS}.get(name)
    if choices and value not in choices:
        raise InvalidInput(
            "flag.bad_choice", field=name, flag=flag, value=value[:40], choices=", ".join(choices)
        )
    if name == "fields":
        return replace(
            flags, fields=tuple(part.strip() for part in value.split(",") if part.strip())
        )
    return replace(flags, **{name: value})  # type: ignore[arg-type]
