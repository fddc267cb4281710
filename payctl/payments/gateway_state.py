"""What operators have set and what lately happened, as routing needs it: one reading per second."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.money import PPM
from payctl.payments.breaker_store import server_minute
from payctl.payments.gateway_tables import (
    breaker_sample,
    gateway_fee,
    gateway_limit,
    gateway_setting,
    route_rules,
)
from payctl.payments.route_rules import Rule, from_json

#: Success is counted over so many minutes, the latest counting most (linear decay).
SUCCESS_MINUTES = 30


@dataclass(frozen=True, slots=True)
class Setting:
    """Whether an account takes new payments, and who said so."""

    state: str = "enabled"
    until: datetime | None = None
    reason: str = ""
    actor: str = ""
    at: datetime | None = None

    def as_params(self) -> dict[str, Any]:
        until = self.until.isoformat() if self.until is not None else None
        return {"reason": self.reason, "by": self.actor, "until": until}


@dataclass(frozen=True, slots=True)
class Limit:
    """Smallest and largest amount in minor units; ``None``: no limit of ours."""

    min_minor: int | None = None
    max_minor: int | None = None
    valid_from: datetime | None = None
    actor: str = ""


@dataclass(frozen=True, slots=True)
class FeeRate:
    """Parts per million of the amount plus a fixed part in minor units."""

    ppm: int
    fixed_minor: int = 0
    valid_from: datetime | None = None
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Success:
    """Decayed share of payments that ended well, in parts per million, of so many that ended."""

    ppm: int
    samples: int


@dataclass(frozen=True, slots=True)
class RouteState:
    """All of it at one time."""

    settings: Mapping[str, Setting] = field(default_factory=dict)
    limits: Mapping[tuple[str, str], Limit] = field(default_factory=dict)
    fees: Mapping[tuple[str, str, str], FeeRate] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    rules_version: int = 0
    success: Mapping[str, Success] = field(default_factory=dict)

    def setting(self, account: str, at: datetime) -> Setting:
        """The setting in force: a state with an end is over at its end."""
        setting = self.settings.get(account, Setting())
        return Setting() if setting.until is not None and at >= setting.until else setting

    def limit(self, account: str, currency: str) -> Limit:
        return self.limits.get((account, currency), Limit())

    def fee(self, account: str, currency: str, method: str | None) -> FeeRate | None:
        """The rate for the method, else the one for any method."""
        own = self.fees.get((account, currency, method)) if method else None
        return own or self.fees.get((account, currency, ""))


def load(db: Database, tx: sa.Connection) -> RouteState:
    """Read everything routing needs."""
    now = db.clock.now()
    version, rules = current_rules(tx)
    return RouteState(
        settings={
            row["account"]: Setting(
                row["state"], row["until"], row["reason"], row["actor"], row["at"]
            )
            for row in _latest(tx, gateway_setting, ("account",))
        },
        limits={
            (row["account"], row["currency"]): Limit(
                row["min_minor"], row["max_minor"], row["valid_from"], row["actor"]
            )
            for row in _latest(tx, gateway_limit, ("account", "currency"), now)
        },
        fees={
            (row["account"], row["currency"], row["method"]): FeeRate(
                row["ppm"], row["fixed_minor"], row["valid_from"], row["actor"]
            )
            for row in _latest(tx, gateway_fee, ("account", "currency", "method"), now)
        },
        rules=rules,
        rules_version=version,
        success=_success(db, tx),
    )


def setting_of(tx: sa.Connection, account: str, at: datetime) -> Setting:
    """The setting of one account in force at *at*."""
    c = gateway_setting.c
    row = tx.execute(
        sa.select(c.state, c.until, c.reason, c.actor, c.at)
        .where(c.account == account)
        .order_by(c.id.desc())
        .limit(1)
    ).one_or_none()
    return RouteState({} if row is None else {account: Setting(*row)}).setting(account, at)


def current_rules(tx: sa.Connection) -> tuple[int, tuple[Rule, ...]]:
    """The rules in force and their version; version 0 is an empty list."""
    row = tx.execute(
        sa.select(route_rules.c.version, route_rules.c.rules)
        .order_by(route_rules.c.version.desc())
        .limit(1)
    ).one_or_none()
    return (0, ()) if row is None else (row.version, tuple(from_json(each) for each in row.rules))


def _latest(
    tx: sa.Connection, table: sa.Table, by: tuple[str, ...], now: datetime | None = None
) -> list[sa.RowMapping]:
    """The row in force of each group: the last one, or the last that is valid already."""
    newest = [table.c.id.desc()]
    query = sa.select(table)
    if now is not None:
        newest.insert(0, table.c.valid_from.desc())
        query = query.where(table.c.valid_from <= now)
    place = sa.func.row_number().over(partition_by=[table.c[name] for name in by], order_by=newest)
    ranked = query.add_columns(place.label("place")).subquery()
    return list(tx.execute(sa.select(ranked).where(ranked.c.place == 1)).mappings())


def _success(db: Database, tx: sa.Connection) -> dict[str, Success]:
    c = breaker_sample.c
    bad = sa.func.sum(c.lost + c.tech_fail + c.not_sent).label("bad")
    minute = server_minute(db)
    rows = tx.execute(
        sa.select(c.account, (minute - c.minute).label("age"), sa.func.sum(c.won).label("won"), bad)
        .where(c.op_class == "collect", c.minute > minute - SUCCESS_MINUTES)
        .group_by(c.account, c.minute)
    ).all()
    weights: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for account, age, won, lost in rows:
        weight = max(SUCCESS_MINUTES - max(int(age), 0), 1)
        sums = weights[account]
        sums[0] += weight * int(won)
        sums[1] += weight * (int(won) + int(lost))
        sums[2] += int(won) + int(lost)
    return {
        account: Success(PPM * won // ended, samples)
        for account, (won, ended, samples) in weights.items()
        if ended
    }
