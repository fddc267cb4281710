"""Ranking gateways for a payment: a pure decision over what is known of each of them.

A decision keeps every candidate with the reasons against it, because "why did it not go through
Orange?" is asked long afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from payctl.gateways.base import Capabilities
from payctl.gateways.numbering import OTHER, Number, read
from payctl.money import PPM, share
from payctl.payments.breaker_model import Reason, State, Verdict
from payctl.payments.gateway_state import FeeRate, Limit, Setting, Success
from payctl.payments.route_rules import Rule

#: A gateway whose success rate lies this far below the best candidate's ranks after it, whatever
#: its fee: a payment that fails costs more than a fee.
LAGGING_PPM = 100_000
#: Below this many ended payments in the window a success rate says nothing.
MIN_SAMPLES = 50
#: How a gateway suits the customer's mobile network, the best first.
_FITS = ("own", "", "other")
#: Of an account whose configuration names none; 1 comes before 2.
DEFAULT_PRIORITY = 100


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """A payment to be routed. ``amount_minor`` in minor units of ``currency``.

    Attributes:
        preferred: accounts or families in the caller's order; a wish, not a demand.
        exclude: accounts that are out of the question (already tried).
        needs: ``manual_capture``, ``refunds``, ``partial_refunds``, ``query``.
        key: what spreads payments over equal gateways, always alike for one payment (its id).
    """

    amount_minor: int
    currency: str
    at: datetime
    country: str | None = None
    method: str | None = None
    organiser: str | None = None
    phone: str | None = None
    preferred: tuple[str, ...] = ()
    exclude: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    key: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Everything known of one gateway at the time of the decision.

    ``priority`` and ``switched_off`` (``enabled = false``) come from the configuration.
    """

    account: str
    name: str
    live: bool
    capabilities: Capabilities
    setting: Setting = field(default_factory=Setting)
    limit: Limit = field(default_factory=Limit)
    fee: FeeRate | None = None
    success: Success | None = None
    verdict: Verdict = field(default_factory=lambda: Verdict(True))
    priority: int = DEFAULT_PRIORITY
    switched_off: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """One reason against a candidate: a word of the catalogue and its values."""

    code: str
    params: Mapping[str, Any] = field(default_factory=dict)


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
        out: dict[str, Any] = self._asdict()
        dropped, _place = out.pop("dropped"), out.pop("rule_place")
        if not dropped:
            return out
        reasons = [{"code": each.code, "params": dict(each.params)} for each in dropped]
        return {
            "account": self.account, "gateway": self.gateway, "rank": self.rank, "dropped": reasons
        }  # fmt: skip


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
        self._standings = [_standing(request, each, matching, live) for each in candidates]

    def rank(self, request: RouteRequest) -> Decision:
        """The decision for one payment; see :func:`rank`."""
        kept: list[_Standing] = []
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


# -- against a candidate --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Standing:
    """A candidate as it stands before the amount is known.

    Attributes:
        before, after: reasons against it, those that come before and after its limits.
        smallest, largest, step: its limits, in minor units.
        wish, by_rule: its place in the caller's and in the rules' order.
        success_ppm: ``None`` where too few payments have ended.
    """

    account: str
    name: str
    before: tuple[Dropped, ...]
    after: tuple[Dropped, ...]
    smallest: int | None
    largest: int | None
    step: int
    networks: frozenset[str]
    wish: int
    by_rule: int
    preferred: int | None
    rule: str | None
    priority: int
    fee: FeeRate | None
    success_ppm: int | None
    samples: int
    probe: bool

    def against(self, amount_minor: int, currency: str) -> tuple[Dropped, ...]:
        """Every reason, not only the first: whoever removes one wants to know the next."""
        if self.smallest is not None and amount_minor < self.smallest:
            code, bound = "below_limit", {"limit_minor": self.smallest}
        elif self.largest is not None and amount_minor > self.largest:
            code, bound = "above_limit", {"limit_minor": self.largest}
        elif amount_minor % self.step:
            code, bound = "off_step", {"step_minor": self.step}
        else:
            return self.before + self.after
        money = {"amount_minor": amount_minor, "currency": currency, **bound}
        return (*self.before, Dropped(code, money), *self.after)


def _standing(
    request: RouteRequest, candidate: Candidate, rules: Sequence[Rule], live: bool | None
) -> _Standing:
    lowest, highest = candidate.capabilities.limits.get(request.currency, (None, None))
    preferred = _named(candidate, request.preferred)
    by_rule = _preference(candidate, rules)
    success, verdict = candidate.success, candidate.verdict
    return _Standing(
        account=candidate.account,
        name=candidate.name,
        before=tuple(_against(request, candidate, rules, live)),
        after=() if verdict.allow else (held_back(verdict),),
        smallest=max((each for each in (lowest, candidate.limit.min_minor) if each), default=None),
        largest=min((each for each in (highest, candidate.limit.max_minor) if each), default=None),
        step=candidate.capabilities.steps.get(request.currency, 1),
        networks=candidate.capabilities.networks,
        wish=len(request.preferred) if preferred is None else preferred,
        by_rule=PPM if by_rule is None else by_rule[0],
        preferred=preferred,
        rule=None if by_rule is None else by_rule[1],
        priority=candidate.priority,
        fee=candidate.fee,
        success_ppm=success.ppm if success and success.samples >= MIN_SAMPLES else None,
        samples=0 if success is None else success.samples,
        probe=verdict.unclaimed,
    )


def _against(
    request: RouteRequest, candidate: Candidate, rules: Sequence[Rule], live: bool | None
) -> list[Dropped]:
    out: list[Dropped] = []
    if candidate.account in request.exclude:
        out.append(Dropped("already_tried"))
    if candidate.switched_off:
        out.append(Dropped("switched_off"))
    out += _by_rules(candidate, rules)
    if candidate.setting.state != "enabled":
        out.append(Dropped(candidate.setting.state, candidate.setting.as_params()))
    if live is not None and candidate.live is not live:
        out.append(Dropped("wrong_mode", {"mode": "live" if candidate.live else "test"}))
    return out + _by_capabilities(request, candidate.capabilities)


def _by_rules(candidate: Candidate, rules: Sequence[Rule]) -> list[Dropped]:
    out = []
    for rule in rules:
        named = _named(candidate, rule.gateways) is not None
        if rule.effect == "exclude" and named:
            out.append(Dropped("rule_excludes", {"rule": rule.name}))
        if rule.effect == "only" and not named:
            out.append(
                Dropped("rule_reserves", {"rule": rule.name, "for": ", ".join(rule.gateways)})
            )
    return out


def _by_capabilities(request: RouteRequest, can: Capabilities) -> list[Dropped]:
    out = []
    if can.currencies is not None and request.currency not in can.currencies:
        out.append(
            Dropped("currency", {"currency": request.currency, "takes": _words(can.currencies)})
        )
    if request.country is not None and can.countries is not None:
        if request.country not in can.countries:
            out.append(
                Dropped("country", {"country": request.country, "takes": _words(can.countries)})
            )
    if request.method is not None and request.method not in can.methods:
        out.append(Dropped("method", {"method": request.method, "takes": _words(can.methods)}))
    out += [Dropped(f"needs_{need}") for need in sorted(request.needs) if not _can(can, need)]
    return out


def _can(can: Capabilities, need: str) -> bool:
    return {
        "manual_capture": can.manual_capture,
        "refunds": can.refunds != "none",
        "partial_refunds": can.refunds == "partial",
        "query": bool(can.query_by),
    }[need]


def held_back(verdict: Verdict) -> Dropped:
    """Why the breaker lets nothing through."""
    params: dict[str, Any] = {}
    if verdict.next_probe_at is not None:
        params["until"] = verdict.next_probe_at.isoformat()
    if verdict.reason == Reason.RATE_LIMITED:
        return Dropped("rate_limited", params)
    if verdict.state == State.HALF_OPEN:
        return Dropped("breaker_probing", params)
    if verdict.reason in (Reason.AUTH, Reason.FORCED):
        return Dropped(f"breaker_{verdict.reason}", params)
    return Dropped("breaker_open", params | {"reason": str(verdict.reason)})


# -- order ----------------------------------------------------------------------------------------


def _order(
    each: _Standing, best_ppm: int, request: RouteRequest, network: str | None
) -> tuple[int, int, int, bool, int, bool, int, int, bytes, int | None, _Standing]:
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


def _preference(candidate: Candidate, rules: Sequence[Rule]) -> tuple[int, str] | None:
    """Place in the rules' order and the rule that gave it."""
    passed = 0
    for rule in rules:
        if rule.effect != "prefer":
            continue
        place = _named(candidate, rule.gateways)
        if place is not None:
            return passed + place, rule.name
        passed += len(rule.gateways)
    return None


def _named(candidate: Candidate, names: Sequence[str]) -> int | None:
    for place, name in enumerate(names):
        if name in (candidate.account, candidate.name):
            return place
    return None


def _words(values: frozenset[str]) -> str:
    return ", ".join(sorted(values))
