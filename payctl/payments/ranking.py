"""Ranking gateways for a payment: a pure decision over what is known of each of them.

A decision keeps every candidate with the reasons against it, because "why did it not go through
Orange?" is asked long afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Ranked:
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
        out: dict[str, Any] = {"account": self.account, "gateway": self.gateway, "rank": self.rank}
        if self.dropped:
            reasons = [{"code": each.code, "params": dict(each.params)} for each in self.dropped]
            return out | {"dropped": reasons}
        out |= {"fee_minor": self.fee_minor, "success_ppm": self.success_ppm}
        out |= {"samples": self.samples, "preferred": self.preferred, "rule": self.rule}
        out |= {"priority": self.priority, "lagging": self.lagging}
        out |= {"network_fit": self.network_fit}
        return out | {"probe": self.probe}


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
    kept: list[Candidate] = []
    lost: list[Ranked] = []
    for candidate in candidates:
        against = _against(request, candidate, matching, live)
        if against:
            lost.append(Ranked(candidate.account, candidate.name, 0, tuple(against)))
        else:
            kept.append(candidate)
    network = network_of(request)
    rates = [each.success.ppm for each in kept if each.success is not None and _counts(each)]
    best_ppm = max(rates, default=0)
    ordered = sorted(kept, key=lambda each: _order(request, each, matching, best_ppm, network))
    placed = [
        _placed(request, each, matching, best_ppm, network, place)
        for place, each in enumerate(ordered, 1)
    ]
    names = {each.account for each in candidates} | {each.name for each in candidates}
    return Decision(
        chosen=placed[0].account if placed else None,
        candidates=(*placed, *sorted(lost, key=lambda each: each.account)),
        rules_version=rules_version,
        rules=tuple(rule.name for rule in matching),
        unknown=tuple(name for name in request.preferred if name not in names),
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


def _against(
    request: RouteRequest, candidate: Candidate, rules: Sequence[Rule], live: bool | None
) -> list[Dropped]:
    """Every reason, not only the first: whoever removes one wants to know the next."""
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
    out += _by_capabilities(request, candidate.capabilities)
    out += _by_limits(request, candidate)
    if not candidate.verdict.allow:
        out.append(held_back(candidate.verdict))
    return out


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


def _by_limits(request: RouteRequest, candidate: Candidate) -> list[Dropped]:
    lowest, highest = candidate.capabilities.limits.get(request.currency, (None, None))
    smallest = max((each for each in (lowest, candidate.limit.min_minor) if each), default=None)
    largest = min((each for each in (highest, candidate.limit.max_minor) if each), default=None)
    step = candidate.capabilities.steps.get(request.currency, 1)
    money = {"amount_minor": request.amount_minor, "currency": request.currency}
    if smallest is not None and request.amount_minor < smallest:
        return [Dropped("below_limit", {**money, "limit_minor": smallest})]
    if largest is not None and request.amount_minor > largest:
        return [Dropped("above_limit", {**money, "limit_minor": largest})]
    if request.amount_minor % step:
        return [Dropped("off_step", {**money, "step_minor": step})]
    return []


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
    request: RouteRequest,
    candidate: Candidate,
    rules: Sequence[Rule],
    best_ppm: int,
    network: str | None,
) -> tuple[int, int, int, bool, int, bool, int, int, bytes]:
    wish = _named(candidate, request.preferred)
    by_rule = _preference(candidate, rules)
    fee = estimate_fee(candidate.fee, request.amount_minor)
    success = candidate.success
    spread = hashlib.sha256(f"{request.key}\x1f{candidate.account}".encode()).digest()
    return (
        len(request.preferred) if wish is None else wish,
        PPM if by_rule is None else by_rule[0],
        candidate.priority,
        _lagging(candidate, best_ppm),
        _FITS.index(_fit(candidate, network)),
        fee is None,
        fee or 0,
        -success.ppm if success is not None and _counts(candidate) else 0,
        spread,
    )


def _placed(
    request: RouteRequest,
    candidate: Candidate,
    rules: Sequence[Rule],
    best_ppm: int,
    network: str | None,
    place: int,
) -> Ranked:
    by_rule = _preference(candidate, rules)
    success = candidate.success
    return Ranked(
        account=candidate.account,
        gateway=candidate.name,
        rank=place,
        fee_minor=estimate_fee(candidate.fee, request.amount_minor),
        success_ppm=success.ppm if success is not None and _counts(candidate) else None,
        samples=success.samples if success is not None else 0,
        preferred=_named(candidate, request.preferred),
        rule=None if by_rule is None else by_rule[1],
        priority=candidate.priority,
        lagging=_lagging(candidate, best_ppm),
        probe=candidate.verdict.unclaimed,
        network_fit=_fit(candidate, network),
        rule_place=None if by_rule is None else by_rule[0],
    )


def _fit(candidate: Candidate, network: str | None) -> str:
    networks = candidate.capabilities.networks
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


def _counts(candidate: Candidate) -> bool:
    return candidate.success is not None and candidate.success.samples >= MIN_SAMPLES


def _lagging(candidate: Candidate, best_ppm: int) -> bool:
    success = candidate.success
    return success is not None and _counts(candidate) and success.ppm + LAGGING_PPM <= best_ppm


def _words(values: frozenset[str]) -> str:
    return ", ".join(sorted(values))
