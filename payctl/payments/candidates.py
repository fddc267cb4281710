"""What is known of each gateway when a payment is routed, and what speaks against it.

Every reason is kept, not only the first: whoever removes one wants to know the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from payctl.gateways.base import Capabilities
from payctl.money import PPM
from payctl.payments.breaker_model import Reason, State, Verdict
from payctl.payments.gateway_state import FeeRate, Limit, Setting, Success
from payctl.payments.route_rules import Rule

#: Below this many ended payments in the window a success rate says nothing.
MIN_SAMPLES = 50
#: Of an account whose configuration names none; 1 comes before 2.
DEFAULT_PRIORITY = 100


class RouteRequest(NamedTuple):
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
class Standing:
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


def standing(
    request: RouteRequest, candidate: Candidate, rules: Sequence[Rule], live: bool | None
) -> Standing:
    lowest, highest = candidate.capabilities.limits.get(request.currency, (None, None))
    preferred = _named(candidate, request.preferred)
    by_rule = _preference(candidate, rules)
    success, verdict = candidate.success, candidate.verdict
    return Standing(
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
