"""One value, as each output format writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from payctl import money

#: From nothing to a full bar.
_BARS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
#: C0 and C1 controls and the marks that turn the direction of writing.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list, or a line of a single object.

    Args:
        key: key in the object; ``route.gateway`` looks inside a nested one.
        kind: ``text``, ``long`` (wrapped instead of cut), ``id``, ``money``, ``rate`` (parts per
            million), ``time``, ``number``, ``state`` or ``trend`` (numbers in order of time).
        label: heading; default: the key, translated.
        currency: for money, the key beside it that holds the currency code.
        rank: when a table is too wide, columns of the highest rank are left out first; 0 never is.
    """

    key: str
    kind: str = "text"
    label: str = ""
    currency: str = "currency"
    rank: int = 1


@dataclass(frozen=True, slots=True)
class Section:
    """A list inside a single object, shown as a table of its own under the object."""

    key: str
    columns: tuple[Column, ...]


def lookup(item: Mapping[str, Any], key: str) -> Any:
    """The value under *key*, dots leading into nested objects; ``None`` when absent."""
    if key in item:
        return item[key]
    value: Any = item
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def guess(key: str, value: Any) -> Column:
    """A column for a key nobody declared (chosen with ``--fields``)."""
    if key.endswith("_minor"):
        return Column(key, "money")
    if isinstance(value, (datetime, date)):
        return Column(key, "time")
    return Column(key, "number" if isinstance(value, int) else "text")


def human(item: Mapping[str, Any], column: Column, tz: ZoneInfo) -> str:
    """For a table: money grouped and with its currency, times in *tz*."""
    value = lookup(item, column.key)
    if value is None or value == "":
        return "-"
    if column.kind == "money":
        currency = lookup(item, column.currency)
        return money.format_money(int(value), currency) if currency else str(value)
    if column.kind == "rate":
        return money.format_rate(int(value))
    if column.kind == "trend":
        return sparkline(value)
    if isinstance(value, datetime):
        return f"{value.astimezone(tz):%Y-%m-%d %H:%M:%S}"
    return tame(_words(value), " ")


def machine(item: Mapping[str, Any], column: Column, decimal: str = ".") -> str:
    """For plain and csv: money as a bare decimal, times as RFC 3339 in UTC."""
    value = lookup(item, column.key)
    if value is None:
        return ""
    if column.kind == "money":
        currency = lookup(item, column.currency)
        text = money.format_amount(int(value), currency) if currency else str(value)
        return text.replace(".", decimal)
    if column.kind == "trend":
        return " ".join(map(str, value))
    if isinstance(value, datetime):
        return rfc3339(value)
    return _words(value)


def sparkline(numbers: Sequence[int]) -> str:
    """Numbers as bars, the greatest one as a full bar; nothing stays empty."""
    most = max(numbers, default=0)
    return "".join(_BARS[-(-number * 8 // most) if number else 0] for number in numbers) or "-"


def machine_columns(columns: Sequence[Column]) -> list[tuple[str, Column]]:
    """Name and column of each cell of a plain or csv line.

    A money column becomes the decimal amount, and its currency follows in a column of its own,
    once, so that a spreadsheet can add the amounts.
    """
    named: list[tuple[str, Column]] = []
    seen: set[str] = set()
    for column in columns:
        if column.key in seen:
            continue
        seen.add(column.key)
        named.append((column.key.removesuffix("_minor"), column))
        if column.kind == "money" and column.currency not in seen:
            seen.add(column.currency)
            named.append((column.currency, Column(column.currency)))
    return named


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON with times in UTC. Amounts stay the integers they are; a float is a bug."""
    if indent is None:
        return _on_one_line(_plain(value))
    return json.dumps(_plain(value), ensure_ascii=False, indent=indent, allow_nan=False)


#: A batch door writes thousands of these a second. What :func:`_plain` makes holds no circles.
_on_one_line = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False).encode


def rfc3339(at: datetime) -> str:
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return f"{utc.isoformat(timespec='milliseconds')[:23]}Z"


def tame(text: str, instead: str = "?") -> str:
    """*text* without control characters: what a customer wrote must not steer the terminal."""
    return _CONTROL.sub(instead, text)


def escaped(text: str) -> str:
    """*text* on one line of a tab-separated list; backslashes make it reversible."""
    text = text.replace("\\", "\\\\")
    for raw, written in (("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(raw, written)
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


#: Types whose values JSON takes as they are.
_PLAIN = frozenset({str, int, bool, type(None)})


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Mapping):
        return {
            str(key): item if type(item) in _PLAIN else _plain(item) for key, item in value.items()
        }
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    raise TypeError(f"{type(value).__name__} has no form in JSON; encode ids, never use floats")


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_words(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(map(_words, value))
    if isinstance(value, datetime):
        return rfc3339(value)
    return str(value)
