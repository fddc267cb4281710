"""Commissions as data: rates, and how a sale and its refunds are split. Pure integers.

The rules are the postings page's: commission is rounded half up, then bounded, VAT comes on top of
it, and the owner gets what is left, so the parts always sum to the amount (rule 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from payctl.db.types import from_micros, to_micros
from payctl.money import PPM, share


@dataclass(frozen=True, slots=True)
class Scope:
    """What a rate is for. An empty organiser, currency or country means "any"."""

    sale_type: str
    organiser: str = ""
    currency: str = ""
    country: str = ""

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """The most specific scope ranks highest: organiser before country before currency, so two
        different scopes that fit the same sale never tie.
        """
        return (self.organiser != "", self.country != "", self.currency != "")


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate from ``valid_from`` on.

    ``rate_ppm`` and ``vat_ppm`` are parts per million; ``minimum_minor`` and ``maximum_minor``
    bound the commission without VAT, in minor units of the scope's currency. ``vat_country`` is
    where the VAT on the commission is owed, ``None`` when there is none.
    """

    id: UUID
    scope: Scope
    valid_from: datetime
    rate_ppm: int
    vat_country: str | None
    vat_ppm: int
    minimum_minor: int | None = None
    maximum_minor: int | None = None
    withdrawn: bool = False
    set_by: str = ""
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """The rate as it is kept with a sale, so that a reversal uses the rate of the sale."""
        return {
            "id": str(self.id),
            "sale_type": self.scope.sale_type,
            "organiser": self.scope.organiser,
            "currency": self.scope.currency,
            "country": self.scope.country,
            "valid_from": to_micros(self.valid_from),
            "rate_ppm": self.rate_ppm,
            "minimum_minor": self.minimum_minor,
            "maximum_minor": self.maximum_minor,
            "vat_country": self.vat_country,
            "vat_ppm": self.vat_ppm,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rate:
        """The inverse of :meth:`as_json`; who set it and why stays in the rate table."""
        return cls(
            id=UUID(data["id"]),
            scope=Scope(data["sale_type"], data["organiser"], data["currency"], data["country"]),
            valid_from=from_micros(data["valid_from"]),
            rate_ppm=data["rate_ppm"],
            minimum_minor=data["minimum_minor"],
            maximum_minor=data["maximum_minor"],
            vat_country=data["vat_country"],
            vat_ppm=data["vat_ppm"],
        )


class Split(NamedTuple):
    """An amount in three parts, all in minor units of its currency; they sum to the amount."""

    commission_minor: int
    vat_minor: int
    owner_minor: int
    vat_country: str | None = None

    @property
    def amount_minor(self) -> int:
        return self.commission_minor + self.vat_minor + self.owner_minor

    def minus(self, other: Split) -> Split:
        """Part by part; the country stays."""
        return Split(
            self.commission_minor - other.commission_minor,
            self.vat_minor - other.vat_minor,
            self.owner_minor - other.owner_minor,
            self.vat_country,
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """Rates and roles of some organisers' sales since ever, read once to look up many sales.

    ``roles`` are sale type, moment and role, newest first.
    """

    rates: Mapping[tuple[str, str], list[Rate]]
    roles: tuple[tuple[str, datetime, str], ...]

    def rate(
        self, *, sale_type: str, organiser: str, currency: str, country: str | None, at: datetime
    ) -> Rate | None:
        """The most specific rate valid at *at*, or ``None``."""
        fitting = [
            rate
            for owner in {"", organiser}
            for rate in self.rates.get((sale_type, owner), ())
            if rate.scope.currency in ("", currency)
            and rate.scope.country in ("", country or "")
            and rate.valid_from <= at
        ]
        return choose(fitting)

    def role(self, sale_type: str, at: datetime) -> str:
        """``agent`` or ``principal`` at *at*."""
        return next(role for kind, since, role in self.roles if kind == sale_type and since <= at)


def choose(rates: list[Rate]) -> Rate | None:
    """The rate that counts among all that fit a sale and are valid at its moment: per scope the
    newest, then the most specific scope that has not been withdrawn.
    """
    newest: dict[Scope, Rate] = {}
    for rate in rates:
        known = newest.get(rate.scope)
        if known is None or known.valid_from < rate.valid_from:
            newest[rate.scope] = rate
    standing = [rate for rate in newest.values() if not rate.withdrawn]
    return max(standing, key=lambda rate: rate.scope.rank, default=None)


def split(rate: Rate, amount_minor: int, before_minor: int = 0) -> Split:
    """What of a sale's *amount_minor* is commission, VAT on it, and the owner's.

    *before_minor* is what was captured of the same sale earlier: the parts of all captures then sum
    to those of the whole sale, and a minimum is taken once. No part exceeds the sale: where a
    minimum and its VAT would, both shrink to fit.
    """
    whole = _whole(rate, before_minor + amount_minor)
    return whole.minus(_whole(rate, before_minor)) if before_minor else whole


def give_back(rate: Rate, sale_minor: int, refunded_before_minor: int, refund_minor: int) -> Split:
    """What a refund takes back from commission, VAT and the owner, when commission is given back.

    Cumulative: the reversal of everything refunded so far less the one before this refund. So any
    sequence of partial refunds ends exactly at the sale's split, and no part is ever negative.
    """
    sale = _whole(rate, sale_minor)
    done = _reversed(sale, refunded_before_minor)
    return _reversed(sale, refunded_before_minor + refund_minor).minus(done)


@dataclass(frozen=True, slots=True)
class OwnSale:
    """A sale in the platform's own name, in minor units; ``net_minor + vat_minor`` is the price.

    ``owner_minor`` is what the designer gets of the net price, an expense of the platform.
    """

    net_minor: int
    vat_minor: int
    owner_minor: int
    vat_country: str | None = None


def split_own_sale(rate: Rate, amount_minor: int) -> OwnSale:
    """A price with VAT in it, sold as principal: VAT comes out of the price, and the designer gets
    the net price less the platform's rate (bounded as for an agent).
    """
    net = _round_half_up(amount_minor * PPM, PPM + rate.vat_ppm)
    kept = min(_commission(rate, net), net)
    return OwnSale(net, amount_minor - net, net - kept, rate.vat_country)


def _whole(rate: Rate, amount_minor: int) -> Split:
    if amount_minor <= 0:
        return Split(0, 0, 0, rate.vat_country)
    commission = _commission(rate, amount_minor)
    vat = share(commission, rate.vat_ppm)
    if commission + vat > amount_minor:
        commission = _round_half_up(amount_minor * PPM, PPM + rate.vat_ppm)
        vat = amount_minor - commission
    return Split(commission, vat, amount_minor - commission - vat, rate.vat_country)


def _commission(rate: Rate, base_minor: int) -> int:
    commission = share(base_minor, rate.rate_ppm)
    if rate.minimum_minor is not None:
        commission = max(commission, rate.minimum_minor)
    if rate.maximum_minor is not None:
        commission = min(commission, rate.maximum_minor)
    return commission


def _reversed(sale: Split, refunded_minor: int) -> Split:
    """The parts of *sale* that belong to its first *refunded_minor*.

    Commission and VAT are rounded as one sum and then parted: rounded apart, a refund of one cent
    could take a cent from each and leave the owner with one too much.
    """
    amount = sale.amount_minor
    if amount == 0:
        return Split(0, 0, 0, sale.vat_country)
    ours = sale.commission_minor + sale.vat_minor
    back = _round_half_up(ours * refunded_minor, amount)
    vat = _round_half_up(sale.vat_minor * back, ours) if ours else 0
    return Split(back - vat, vat, refunded_minor - back, sale.vat_country)


def _round_half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
