"""Payments that no gateway of the book could ever take as they are asked for. Pure.

Where every gateway is out for what the payment itself is (its currency, country, method, amount),
repeating it later cannot help, so it is refused before anything is written, with the gateways that
come closest and what they would take. A gateway that is merely down, drained or reserved by a rule
is no reason to refuse: the payment can be repeated then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payctl.errors import InvalidInput
from payctl.money import format_amount, format_money
from payctl.payments.candidates import Dropped, RouteRequest
from payctl.payments.ranking import Decision, Ranked

#: The field of the request that each such reason is about, the field worth changing first.
_FIELDS: Mapping[str, str] = {
    "currency": "currency",
    "method": "method",
    "country": "country",
    "below_limit": "amount",
    "above_limit": "amount",
    "off_step": "amount",
    "needs_manual_capture": "capture",
}
#: Reasons that another amount would not meet.
AMOUNTS = frozenset(code for code, field in _FIELDS.items() if field == "amount")
_ORDER = ("amount", "capture", "method", "country", "currency")


def refusal(request: RouteRequest, decision: Decision) -> InvalidInput | None:
    """Why no gateway can ever take this payment, or ``None`` when one could, now or later."""
    faults = [(each.account, _faults(each)) for each in decision.candidates]
    if decision.chosen is not None or not faults or not all(found for _, found in faults):
        return None
    fewest = min(len(found) for _, found in faults)
    nearest = sorted((each for each in faults if len(each[1]) == fewest), key=lambda each: each[0])
    fields = {_FIELDS[one.code] for _, found in nearest for one in found}
    field = next(each for each in _ORDER if each in fields)
    takers = [
        f"{account}: {_taken(one)}"
        for account, found in nearest
        for one in found
        if _FIELDS[one.code] == field
    ]
    money = format_money(request.amount_minor, request.currency)
    return _error(field, request, money, "; ".join(takers))


def nearest_amounts(dropped: Dropped) -> tuple[int, ...]:
    """The amounts, in minor units, next to the one asked for that its limits would let pass."""
    if "limit_minor" in dropped.params:
        return (int(dropped.params["limit_minor"]),)
    amount, step = int(dropped.params["amount_minor"]), int(dropped.params["step_minor"])
    below = amount - amount % step
    return tuple(each for each in (below, below + step) if each > 0)


def _faults(candidate: Ranked) -> tuple[Dropped, ...]:
    return tuple(each for each in candidate.dropped if each.code in _FIELDS)


def _taken(dropped: Dropped) -> str:
    """What the gateway would take instead, in no language."""
    if _FIELDS[dropped.code] == "amount":
        currency = str(dropped.params["currency"])
        amounts = [format_amount(each, currency) for each in nearest_amounts(dropped)]
        sign = {"below_limit": ">= ", "above_limit": "<= "}.get(dropped.code, "")
        return f"{sign}{', '.join(amounts)} {currency}"
    return str(dropped.params.get("takes", "-"))


def _error(field: str, request: RouteRequest, money: str, takers: str) -> InvalidInput:
    values: dict[str, Any] = {"money": money, "takers": takers}
    match field:
        case "currency":
            return InvalidInput("route.no_currency", field=field, **values)
        case "country":
            return InvalidInput("route.no_country", field=field, country=request.country, **values)
        case "method":
            return InvalidInput("route.no_method", field=field, method=request.method, **values)
        case "capture":
            return InvalidInput("route.no_manual_capture", field=field, **values)
        case _:
            return InvalidInput("route.no_amount", field=field, **values)
