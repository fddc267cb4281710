"""Ranking gateways for a payment: a pure decision over what is known of each of them.

A decision keeps every candidate with the reasons against it, because "why did it not go through
Orange?" is asked long afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from payctl.gateways.numbering import OTHER, Number, read
from payctl.money import share
from payctl.payments.candidates import (
    DEFAULT_PRIORITY,
    Candidate,
    Dropped,
    RouteRequest,
    Standing,
    standing,
)
from payctl.payments.gateway_state import FeeRate
from payctl.payments.route_rules import Rule

#: A gateway whose success rate lies this far below the best candidate's ranks after it, whatever
#: its fee: a payment that fails costs more than a fee.
LAGGING_PPM = 100_000
#: How a gateway suits the customer's mobile network, the best first.
_FITS = ("own", "", "other")


class Ranked(NamedTuple):
    """A candidate's place. ``rank`` is 0 for a dropped one; ``fee_minor`` is an estimate;
    ``network_fit`` is ``own`` when it serves the customer's network itself, ``other`` when it
    serves only other networks, and empty when nothing is known.
    """

    account: str
    gateway: str
    rank: int
    dropped: tuple[Dropped, ...] = ()
    fee_minor: int | None = None
    success_ppm: int | None = None
    samples: int = 0
    preferred: int | None = None
    rule: str | None = None
    priority: int = DEFAULT_PRIORITY
    lagging: bool = False
    probe: bool = False
    network_fit: str = ""
    rule_place: int | None = None

    def as_json(self) -> dict[str, Any]:
        """What is kept of it; what says nothing is left out, because every payment keeps this."""
        out: dict[str, Any] = {"account": self.account, "gateway": self.gateway, "rank": self.rank}
        if self.dropped:
            out["dropped"] = [
                {"code": each.code, "params": dict(each.params)} for each in self.dropped
            ]
            return out
        told: tuple[Any, ...] = tuple(self)[_TOLD]
        if told != _NOTHING_TOLD:
            for name, value, nothing in zip(_NAMES, told, _NOTHING_TOLD, strict=True):
                if value != nothing:
                    out[name] = value
        return out


#: The fields of a candidate that may say something about its place, and what each holds otherwise.
_TOLD = slice(Ranked._fields.index("fee_minor"), Ranked._fields.index("rule_place"))
_NAMES = Ranked._fields[_TOLD]
_NOTHING_TOLD = tuple(Ranked._field_defaults[name] for name in _NAMES)


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of routing.

    Attributes:
        chosen: the account to send to, or ``None`` when no gateway can take the payment now.
        probe: token of the breaker's probe this payment is; goes back with its answer.
        candidates: all gateways, the best first, the dropped ones last.
        rules_version: the version of the rules it was made under (0: none).
        rules: names of the rules that matched.
        unknown: preferred names that are no gateway of this book.
        network: the mobile network of the customer's number by its prefix, a hint only.
    """

    chosen: str | None
    candidates: tuple[Ranked, ...]
    probe: str = ""
    rules_version: int = 0
    rules: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    network: str | None = None

    def as_json(self) -> dict[str, Any]:
        """What is stored with the payment; the probe's token stays out of it."""
        return {
            "chosen": self.chosen,
            "candidates": [each.as_json() for each in self.candidates],
            "rules_version": self.rules_version,
            "rules": list(self.rules),
            "unknown_preferred": list(self.unknown),
            "network": self.network,
        }


def rank(
    request: RouteRequest,
    candidates: Sequence[Candidate],
    rules: Sequence[Rule] = (),
    *,
    live: bool | None = None,
    rules_version: int = 0,
) -> Decision:
    """Drop who cannot or may not take the payment and order the rest.

    Order: the caller's preference, the rules' preference, the configured priority, success far
    below the best, the customer's own mobile network, the fee for this amount (unknown fees last),
    the success rate, and for equals a hash that spreads payments.
    *live* drops gateways of the other mode; ``None`` does not look.
    """
    matching = [rule for rule in rules if rule.matches(request)]
    whole = Field(request, candidates, matching, live=live, rules_version=rules_version)
    return whole.rank(request)


class Field:
    """Candidates for payments that differ in amount, number and id alone: what does not depend on
    these is decided once for all of them.

    Args:
        request: one of the payments.
        matching: the rules that match them.
    """

    def __init__(
        self,
        request: RouteRequest,
        candidates: Sequence[Candidate],
        matching: Sequence[Rule],
        *,
        live: bool | None = None,
        rules_version: int = 0,
    ) -> None:
        self._currency = request.currency
        self._rules_version = rules_version
        self._rules = tuple(rule.name for rule in matching)
        names = {each.account for each in candidates} | {each.name for each in candidates}
        self._unknown = tuple(name for name in request.preferred if name not in names)
        self._standings = [standing(request, each, matching, live) for each in candidates]

    def rank(self, request: RouteRequest) -> Decision:
        """The decision for one payment; see :func:`rank`."""
        kept: list[Standing] = []
        lost: list[Ranked] = []
        for each in self._standings:
            against = each.against(request.amount_minor, self._currency)
            if against:
                lost.append(Ranked(each.account, each.name, 0, against))
            else:
                kept.append(each)
        lost.sort(key=lambda each: each.account)
        network = network_of(request)
        best_ppm = max([each.success_ppm or 0 for each in kept], default=0)
        ordered = sorted([_order(each, best_ppm, request, network) for each in kept])
        placed = [
            Ranked(
                each.account, each.name, place, (), fee, each.success_ppm, each.samples,
                each.preferred, each.rule, each.priority, lagging, each.probe, _FITS[fit],
                None if each.rule is None else each.by_rule,
            )
            for place, (_, _, _, lagging, fit, _, _, _, _, fee, each) in enumerate(ordered, 1)
        ]  # fmt: skip
        return Decision(
            chosen=placed[0].account if placed else None,
            candidates=(*placed, *lost),
            rules_version=self._rules_version,
            rules=self._rules,
            unknown=self._unknown,
            network=network,
        )


def network_of(request: RouteRequest) -> str | None:
    """The mobile network of the customer's number by its prefix, where that may matter.

    A number can have moved to another network, so this may only order gateways, never exclude one.
    """
    if request.phone is None or request.method not in (None, "mobile_money"):
        return None
    number = read(request.phone, request.country)
    if not isinstance(number, Number) or number.operator == OTHER:
        return None
    return number.operator


def estimate_fee(rate: FeeRate | None, amount_minor: int) -> int | None:
    """What the provider is expected to charge, in minor units of the payment's currency."""
    return None if rate is None else share(amount_minor, rate.ppm) + rate.fixed_minor


# -- order ----------------------------------------------------------------------------------------


def _order(
    each: Standing, best_ppm: int, request: RouteRequest, network: str | None
) -> tuple[int, int, int, bool, int, bool, int, int, bytes, int | None, Standing]:
    """What a candidate is sorted by, and at the end what only follows from it."""
    fee = estimate_fee(each.fee, request.amount_minor)
    return (
        each.wish,
        each.by_rule,
        each.priority,
        each.success_ppm is not None and each.success_ppm + LAGGING_PPM <= best_ppm,
        _FITS.index(_fit(each.networks, network)),
        fee is None,
        fee or 0,
        -(each.success_ppm or 0),
        hashlib.sha256(f"{request.key}\x1f{each.account}".encode()).digest(),
        fee,
        each,
    )


def _fit(networks: frozenset[str], network: str | None) -> str:
    if network is None or not networks:
        return ""
    return "own" if network in networks else "other"
