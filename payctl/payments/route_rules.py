"""Routing rules as data: what a rule matches, and what it does to the list of gateways.

A rule narrows or orders; it never forces a payment onto a gateway that cannot take it. All rules
that match apply: ``only`` and ``exclude`` drop candidates, ``prefer`` orders them, the first such
rule first. A rule names gateways by account (``stripe-eu``) or by family (``stripe``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Protocol
from zoneinfo import ZoneInfo

EFFECTS = ("prefer", "only", "exclude")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Routable(Protocol):
    """What a rule can ask about a payment."""

    @property
    def amount_minor(self) -> int: ...

    @property
    def currency(self) -> str: ...

    @property
    def country(self) -> str | None: ...

    @property
    def method(self) -> str | None: ...

    @property
    def organiser(self) -> str | None: ...

    @property
    def phone(self) -> str | None: ...

    @property
    def at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. An empty condition matches everything; a payment that does not tell its country,
    method, organiser or phone number does not match a condition on it.

    ``min_minor``/``max_minor`` are minor units of the one currency in ``currencies``. ``hours`` is
    a span of the day in ``timezone`` (end excluded; it may cross midnight), ``weekdays`` the days
    of that zone's calendar.
    """

    name: str
    effect: str
    gateways: tuple[str, ...]
    countries: tuple[str, ...] = ()
    currencies: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    organisers: tuple[str, ...] = ()
    phone_prefixes: tuple[str, ...] = ()
    min_minor: int | None = None
    max_minor: int | None = None
    hours: str | None = None
    weekdays: tuple[str, ...] = ()
    timezone: str = "UTC"
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    enabled: bool = True

    def matches(self, payment: Routable) -> bool:
        """Whether the rule speaks about this payment."""
        return (
            self.enabled
            and (self.valid_from is None or payment.at >= self.valid_from)
            and (self.valid_until is None or payment.at < self.valid_until)
            and _among(payment.country, self.countries)
            and _among(payment.currency, self.currencies)
            and _among(payment.method, self.methods)
            and _among(payment.organiser, self.organisers)
            and (not self.phone_prefixes or (payment.phone or "").startswith(self.phone_prefixes))
            and (self.min_minor is None or payment.amount_minor >= self.min_minor)
            and (self.max_minor is None or payment.amount_minor <= self.max_minor)
            and self._in_time(payment.at)
        )

    def _in_time(self, at: datetime) -> bool:
        if self.hours is None and not self.weekdays:
            return True
        local = at.astimezone(ZoneInfo(self.timezone))
        if self.weekdays and WEEKDAYS[local.weekday()] not in self.weekdays:
            return False
        if self.hours is None:
            return True
        start, end = read_hours(self.hours)
        clock = local.time().replace(tzinfo=None)
        return start <= clock < end if start < end else clock >= start or clock < end

    def as_json(self) -> dict[str, Any]:
        """The rule as stored: conditions that are not set are left out."""
        out: dict[str, Any] = {"name": self.name, "effect": self.effect}
        for name in _LISTS:
            if value := getattr(self, name):
                out[name] = list(value)
        for name in ("min_minor", "max_minor", "hours"):
            if (value := getattr(self, name)) is not None:
                out[name] = value
        if self.timezone != "UTC":
            out["timezone"] = self.timezone
        for name in ("valid_from", "valid_until"):
            if (value := getattr(self, name)) is not None:
                out[name] = value.isoformat()
        return out if self.enabled else out | {"enabled": False}


_LISTS = ("gateways", "countries", "currencies", "methods", "organisers", "phone_prefixes",
          "weekdays")  # fmt: skip


def from_json(stored: Mapping[str, Any]) -> Rule:
    """The inverse of :meth:`Rule.as_json`."""
    values = dict(stored)
    for name in _LISTS:
        if name in values:
            values[name] = tuple(values[name])
    for name in ("valid_from", "valid_until"):
        if name in values:
            values[name] = datetime.fromisoformat(values[name])
    return Rule(**values)


def read_hours(text: str) -> tuple[time, time]:
    """``22:00-06:00`` as start and end.

    Raises:
        ValueError: when it is not two different times of day.
    """
    start, dash, end = text.partition("-")
    if not dash or len(start) != 5 or len(end) != 5 or start == end:
        raise ValueError(text)
    return time.fromisoformat(start), time.fromisoformat(end)


def _among(value: str | None, allowed: tuple[str, ...]) -> bool:
    return not allowed or value in allowed
