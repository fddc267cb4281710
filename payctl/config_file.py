"""Set one value in a configuration file and leave every other byte as its author wrote it.

The edit is by line, and believed only when the result, read again, differs from the original in
exactly that value; anything more artful (inline tables, strings over several lines) is left to the
author's own hands.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from payctl import settings
from payctl.errors import NotConfigured
from payctl.secret import is_reference

_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def with_value(text: str, profile: str, key: str, raw: str, path: Path) -> str:
    """The file's *text* with setting *key* of *profile* set to *raw*.

    Raises:
        NotConfigured: ``config.unknown_key``, ``config.secret_in_clear``, ``config.syntax``,
            ``config.not_editable``.
        InvalidInput: ``config.bad_value``.
    """
    value = _checked(key, raw, path)
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NotConfigured("config.syntax", path=path, detail=error) from None
    after = _edited(text, ("profiles", profile), key.split("."), _literal(value))
    wanted = _merged(before, ["profiles", profile, *key.split(".")], value)
    try:
        found = tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        found = None
    if wanted is None or found != wanted:
        raise NotConfigured("config.not_editable", field=key, path=path)
    return after


def read(path: Path) -> str:
    """The file's text; empty when there is none.

    Raises:
        NotConfigured: ``config.unreadable``.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        detail = os.strerror(getattr(error, "errno", None) or 0)
        raise NotConfigured("config.unreadable", path=path, detail=detail) from None


def write(path: Path, text: str) -> None:
    """Replace the file in one step; a new one can be read by its owner only.

    Raises:
        NotConfigured: ``config.unwritable``.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except OSError as error:
        detail = os.strerror(error.errno or 0)
        raise NotConfigured("config.unwritable", path=path, detail=detail) from None


def _checked(key: str, raw: str, path: Path) -> Any:
    if not settings.is_known(key):
        raise settings.unknown(key, "the command line")
    if settings.is_secret(key) and not is_reference(raw):
        raise NotConfigured("config.secret_in_clear", field=key, source="the command line")
    if key in settings.PASSWORD_URLS and settings.has_password(raw):
        raise NotConfigured("config.secret_in_clear", field=key, source="the command line")
    if key.endswith((".webhook_secrets", ".secrets")):
        raise NotConfigured("config.not_editable", field=key, path=path)
    value = settings.convert(key, raw, "the command line")
    return settings.from_text(value) if key not in settings.BY_KEY else value


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return json.dumps(str(value), ensure_ascii=False)


def _edited(text: str, root: tuple[str, ...], key: list[str], literal: str) -> str:
    """Replace the key's line, or add one at the end of the deepest table there is for it."""
    lines = text.splitlines()
    tables = _tables(lines)
    for depth in range(len(key) - 1, -1, -1):
        table = (*root, *key[:depth])
        if table not in tables:
            continue
        first, last = tables[table]
        name = ".".join(map(_quoted, key[depth:]))
        for at in range(first, last):
            found = re.match(rf"(\s*{re.escape(name)}\s*=\s*)([^#\n]*?)(\s*(?:#.*)?)$", lines[at])
            if found:
                lines[at] = f"{found[1]}{literal}{found[3]}"
                return "\n".join(lines) + "\n"
        while last > first and not lines[last - 1].strip():
            last -= 1
        lines.insert(last, f"{name} = {literal}")
        return "\n".join(lines) + "\n"
    table_name = ".".join(map(_quoted, (*root, *key[:-1])))
    blank = [""] if lines and lines[-1].strip() else []
    return "\n".join([*lines, *blank, f"[{table_name}]", f"{_quoted(key[-1])} = {literal}"]) + "\n"


def _tables(lines: list[str]) -> dict[tuple[str, ...], tuple[int, int]]:
    """Each ``[table]`` and the lines that are its own."""
    starts = [(at, match[1]) for at, line in enumerate(lines) if (match := _HEADER.match(line))]
    ends = [*(at for at, _ in starts), len(lines)][1:]
    return {
        tuple(part.strip().strip('"') for part in name.split(".")): (at + 1, end)
        for (at, name), end in zip(starts, ends, strict=True)
    }


def _quoted(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)


def _merged(document: Mapping[str, Any], path: list[str], value: Any) -> dict[str, Any] | None:
    """*document* with *value* at *path*; ``None`` when something there is no table."""
    copy = dict(document)
    if len(path) == 1:
        copy[path[0]] = value
        return copy
    inner = copy.get(path[0], {})
    below = _merged(inner, path[1:], value) if isinstance(inner, Mapping) else None
    if below is None:
        return None
    copy[path[0]] = below
    return copy
