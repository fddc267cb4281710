"""Why a decision fell as it did, and what would make it fall otherwise. Pure.

Both follow the order of :func:`payctl.payments.ranking.rank`: the first criterion in which the
chosen gateway and the next one differ is the reason, and the one to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from payctl.payments.ranking import Decision, Ranked
from payctl.payments.unroutable import AMOUNTS, nearest_amounts

#: Reasons against a gateway that end by themselves or by an operator's command.
_PASSING = {
    "disabled": "enable",
    "draining": "enable",
    "breaker_auth": "reset",
    "breaker_forced": "reset",
    "breaker_open": "wait",
    "breaker_probing": "wait",
    "rate_limited": "wait",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that would send the payment to ``account``.

    ``code`` is the criterion that put it behind (as :func:`decisive` names it), or what would let
    it take part: ``enable``, ``reset``, ``wait``, or ``amount``, with the next ones in minor units.
    """

    account: str
    code: str
    amounts_minor: tuple[int, ...] = ()


def decisive(decision: Decision) -> str:
    """What decided for the chosen gateway: ``only`` (no other can take it), ``preferred``,
    ``rule``, ``priority``, ``lagging``, ``network``, ``fee_known``, ``fee``, ``success``,
    ``spread`` (equal in all); ``none`` when nothing is chosen.
    """
    able = _able(decision)
    if not able:
        return "none"
    return _between(able[0], able[1]) if len(able) > 1 else "only"


def changes(decision: Decision) -> Sequence[Change]:
    """What would send the payment elsewhere: for each gateway that could take it what it lacks,
    then those for which a single reason stands in the way that passes, or that another amount
    would not meet.
    """
    able = _able(decision)
    found = [Change(each.account, _between(able[0], each)) for each in able[1:]]
    for each in decision.candidates:
        if len(each.dropped) != 1:
            continue
        [against] = each.dropped
        if against.code in _PASSING:
            found.append(Change(each.account, _PASSING[against.code]))
        elif against.code in AMOUNTS:
            found.append(Change(each.account, "amount", nearest_amounts(against)))
    return found


def _able(decision: Decision) -> list[Ranked]:
    return [each for each in decision.candidates if not each.dropped]


def _between(first: Ranked, second: Ranked) -> str:
    """The criterion that puts *first* before *second*."""
    pairs = {
        "preferred": (first.preferred, second.preferred),
        "rule": (first.rule_place, second.rule_place),
        "priority": (first.priority, second.priority),
        "lagging": (first.lagging, second.lagging),
        "network": (first.network_fit, second.network_fit),
        "fee_known": (first.fee_minor is None, second.fee_minor is None),
        "fee": (first.fee_minor, second.fee_minor),
        "success": (first.success_ppm or 0, second.success_ppm or 0),
    }
    return next((name for name, (one, two) in pairs.items() if one != two), "spread")
