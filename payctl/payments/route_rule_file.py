"""Reading routing rules a person wrote: a TOML file, or the options of one rule.

A mistake anywhere refuses the whole list and is named with its rule, its key and its line, because
half a list of rules sends payments where nobody meant them to go.

    [[rule]]
    name = "mobile money at night"
    prefer = ["mtn-ci", "orange-ci"]     # or: only = [...]   or: exclude = [...]
    countries = ["CI"]
    currencies = ["XOF"]
    methods = ["mobile_money"]
    organisers = ["org-1"]
    phone_prefixes = ["+22505"]
    amount_min = "1000"                  # as people write it; needs exactly one currency
    amount_max = "500000"
    hours = "22:00-06:00"
    weekdays = ["sat", "sun"]
    timezone = "Africa/Abidjan"
    valid_from = 2026-11-01              # a date (midnight in the zone) or a time with its offset
    valid_until = 2027-01-01
    enabled = true
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from payctl.countries import COUNTRIES
from payctl.errors import InvalidInput
from payctl.money import EXPONENTS, example, parse_amount
from payctl.payments.requests import METHODS
from payctl.payments.route_rules import EFFECTS, WEEKDAYS, Rule, read_hours

MAX_RULES = 200
MAX_BYTES = 256 * 1024
_NAME = re.compile(r"\S(.{0,78}\S)?")
_PHONE = re.compile(r"\+[1-9][0-9]{0,14}")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/+-]{0,119}")

KEYS = (
    "name", *EFFECTS, "countries", "currencies", "methods", "organisers", "phone_prefixes",
    "amount_min", "amount_max", "hours", "weekdays", "timezone", "valid_from", "valid_until",
    "enabled",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Source:
    """One rule as written, and where."""

    values: Mapping[str, Any]
    number: int
    lines: Mapping[str, int]
    file: str

    @property
    def name(self) -> str:
        name = self.values.get("name")
        return name[:80] if isinstance(name, str) else str(self.number)

    def at(self, key: str) -> dict[str, Any]:
        """Parameters that say where: the key's line, else the rule's first."""
        line = self.lines.get(key, self.lines.get("", 0))
        where = f"{self.file}:{line}" if line else self.file
        return {"field": f"rule.{key}" if key else "rule", "rule": self.name, "where": where}


def read_file(path: Path, known: Collection[str]) -> tuple[Rule, ...]:
    """The rules of a file. *known* are the accounts and families a rule may name.

    Raises:
        InvalidInput: ``route.file_unreadable``, ``route.file_syntax``, ``route.file_shape`` and
            those of :func:`read_rules`.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "UTF-8"
        raise InvalidInput(
            "route.file_unreadable", field="file", path=path.name, cause=cause
        ) from None
    if len(raw) > MAX_BYTES:
        raise InvalidInput("route.file_unreadable", field="file", path=path.name, cause="> 256 kB")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(
            "route.file_syntax", field="file", path=path.name, detail=str(error)
        ) from None
    rules = document.get("rule", [])
    extra = sorted(set(document) - {"rule"})
    if extra or not isinstance(rules, list) or not all(isinstance(each, dict) for each in rules):
        found = extra[0] if extra else "rule"
        raise InvalidInput("route.file_shape", field="file", path=path.name, found=found[:40])
    return read_rules(rules, known, file=path.name, lines=_lines(text))


def read_rules(
    written: Sequence[Mapping[str, Any]],
    known: Collection[str],
    *,
    file: str,
    lines: Sequence[Mapping[str, int]] = (),
) -> tuple[Rule, ...]:
    """Rules from mappings with the keys of the file.

    Raises:
        InvalidInput: ``route.too_many``, ``route.rule_twice`` and those of one rule
            (``route.rule_…``), each naming rule, field and place.
    """
    if len(written) > MAX_RULES:
        raise InvalidInput("route.too_many", field="rule", limit=MAX_RULES)
    rules: list[Rule] = []
    for number, values in enumerate(written, 1):
        place = lines[number - 1] if number <= len(lines) else {}
        source = _Source(values, number, place, file)
        rule = _rule(source, known)
        if any(rule.name == other.name for other in rules):
            raise InvalidInput("route.rule_twice", **source.at("name"))
        rules.append(rule)
    return tuple(rules)


def _rule(source: _Source, known: Collection[str]) -> Rule:
    for key in source.values:
        if key not in KEYS:
            near = get_close_matches(key, KEYS, 1)
            hint = near[0] if near else ", ".join(KEYS)
            raise InvalidInput("route.rule_key", key=key[:40], hint=hint, **source.at(key))
    name = _value(source, "name", '"mobile money first"', _is_name)
    if name is None:
        raise InvalidInput("route.rule_unnamed", **source.at(""))
    effects = [effect for effect in EFFECTS if effect in source.values]
    if len(effects) != 1:
        raise InvalidInput("route.rule_effect", **source.at(effects[-1] if effects else ""))
    gateways = _list(source, effects[0], '["stripe"]', lambda each: True)
    for each in gateways:
        if each not in known:
            names = ", ".join(sorted(known)) or "-"
            raise InvalidInput(
                "route.rule_gateway", gateway=each[:60], known=names, **source.at(effects[0])
            )
    if not gateways:
        raise InvalidInput("route.rule_effect", **source.at(effects[0]))
    return _conditions(source, name, effects[0], gateways)


def _conditions(source: _Source, name: str, effect: str, gateways: tuple[str, ...]) -> Rule:
    currencies = _list(source, "currencies", '["XOF"]', EXPONENTS.__contains__)
    timezone = _value(source, "timezone", '"Africa/Abidjan"', _is_zone) or "UTC"
    low, high = (_amount(source, key, currencies) for key in ("amount_min", "amount_max"))
    if low is not None and high is not None and low > high:
        raise InvalidInput("route.rule_empty_band", **source.at("amount_max"))
    start, end = (_moment(source, key, timezone) for key in ("valid_from", "valid_until"))
    if start is not None and end is not None and start >= end:
        raise InvalidInput("route.rule_empty_band", **source.at("valid_until"))
    enabled = source.values.get("enabled", True)
    if not isinstance(enabled, bool):
        raise _wrong(source, "enabled", enabled, "true")
    return Rule(
        name=name,
        effect=effect,
        gateways=gateways,
        countries=_list(source, "countries", '["CI", "SN"]', COUNTRIES.__contains__),
        currencies=currencies,
        methods=_list(source, "methods", '["mobile_money"]', METHODS.__contains__),
        organisers=_list(source, "organisers", '["org-1"]', _fits(_REFERENCE)),
        phone_prefixes=_list(source, "phone_prefixes", '["+22507"]', _fits(_PHONE)),
        min_minor=low,
        max_minor=high,
        hours=_value(source, "hours", '"22:00-06:00"', _is_hours),
        weekdays=_list(source, "weekdays", '["sat", "sun"]', WEEKDAYS.__contains__),
        timezone=timezone,
        valid_from=start,
        valid_until=end,
        enabled=enabled,
    )


# -- values ---------------------------------------------------------------------------------------


def _list(source: _Source, key: str, sample: str, good: Callable[[str], bool]) -> tuple[str, ...]:
    values = source.values.get(key, [])
    if not isinstance(values, list | tuple):
        raise _wrong(source, key, values, sample)
    for each in values:
        if not isinstance(each, str) or not each or not good(each):
            raise _wrong(source, key, each, sample)
    return tuple(dict.fromkeys(values))


def _value(source: _Source, key: str, sample: str, good: Callable[[str], bool]) -> str | None:
    value = source.values.get(key)
    if value is None or (isinstance(value, str) and good(value)):
        return value
    raise _wrong(source, key, value, sample)


def _amount(source: _Source, key: str, currencies: tuple[str, ...]) -> int | None:
    value = source.values.get(key)
    if value is None:
        return None
    if len(currencies) != 1:
        raise InvalidInput("route.rule_band", **source.at(key))
    sample = f'"{example(currencies[0])}"'
    if not isinstance(value, str):
        raise _wrong(source, key, value, sample)
    try:
        return parse_amount(value, currencies[0])
    except InvalidInput:
        raise _wrong(source, key, value, sample) from None


def _moment(source: _Source, key: str, timezone: str) -> datetime | None:
    value = source.values.get(key)
    if value is None:
        return None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time(), ZoneInfo(timezone)).astimezone(UTC)
    raise _wrong(source, key, value, "2026-11-01")


def _wrong(source: _Source, key: str, value: object, sample: str) -> InvalidInput:
    return InvalidInput(
        "route.rule_value", key=key, value=str(value)[:40], example=sample, **source.at(key)
    )


def _fits(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


def _is_name(text: str) -> bool:
    return text.isprintable() and _NAME.fullmatch(text) is not None


def _is_hours(text: str) -> bool:
    try:
        read_hours(text)
    except ValueError:
        return False
    return True


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _lines(text: str) -> list[dict[str, int]]:
    """Line of each rule ("") and of each of its keys; the parser itself does not tell them."""
    found: list[dict[str, int]] = []
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if re.match(r"\[\[\s*rule\s*\]\]", bare):
            found.append({"": number})
        elif found and (key := re.match(r"([A-Za-z0-9_-]+)\s*=", bare)):
            found[-1].setdefault(key[1], number)
    return found
