"""Routing in words: why a gateway is out, why another is first, as a colleague would say it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from payctl.cli.messages import say
from payctl.cli.session import session
from payctl.money import format_money, format_rate
from payctl.pan import mask_phone

if TYPE_CHECKING:
    from payctl.payments.candidates import Dropped, RouteRequest
    from payctl.payments.ranking import Decision, Ranked

#: The catalogue's sentence for each reason against a candidate.
REASONS: Mapping[str, str] = {
    "already_tried": "route_already_tried",
    "switched_off": "route_switched_off",
    "rule_excludes": "route_rule_excludes",
    "rule_reserves": "route_rule_reserves",
    "disabled": "route_disabled",
    "draining": "route_draining",
    "wrong_mode": "route_wrong_mode",
    "currency": "route_currency",
    "country": "route_country",
    "method": "route_method",
    "needs_manual_capture": "route_needs_manual_capture",
    "needs_refunds": "route_needs_refunds",
    "needs_partial_refunds": "route_needs_partial_refunds",
    "needs_query": "route_needs_query",
    "below_limit": "route_below_limit",
    "above_limit": "route_above_limit",
    "off_step": "route_off_step",
    "breaker_open": "route_breaker_open",
    "breaker_auth": "route_breaker_auth",
    "breaker_forced": "route_breaker_forced",
    "breaker_probing": "route_breaker_probing",
    "rate_limited": "route_rate_limited",
}
#: Those that may or may not have an end.
_WITH_END: Mapping[str, str] = {
    "disabled": "route_disabled_until",
    "draining": "route_draining_until",
    "breaker_forced": "route_breaker_forced_until",
}
_CAUSES: Mapping[str, str] = {
    "failure_rate": "breaker_failure_rate",
    "in_a_row": "breaker_in_a_row",
    "probe_failed": "breaker_probe_failed",
}
#: The end of the first sentence for each thing that can decide.
WHY: Mapping[str, str] = {
    "only": "route_why_only",
    "preferred": "route_why_preferred",
    "rule": "route_why_rule",
    "priority": "route_why_priority",
    "lagging": "route_why_lagging",
    "network": "route_why_network",
    "fee_known": "route_why_fee_known",
    "fee": "route_why_fee",
    "success": "route_why_success",
    "spread": "route_why_spread",
}
#: What would send the payment to another gateway.
CHANGES: Mapping[str, str] = {
    "preferred": "route_change_preferred",
    "rule": "route_change_rule",
    "priority": "route_change_priority",
    "lagging": "route_change_lagging",
    "network": "route_change_network",
    "fee_known": "route_change_fee_known",
    "fee": "route_change_fee",
    "success": "route_change_success",
    "spread": "route_change_spread",
    "enable": "route_change_enable",
    "reset": "route_change_reset",
    "wait": "route_change_wait",
    "amount": "route_change_amount",
}
MOST_CHANGES = 6
#: Columns of a line.
WIDTH = 80
_FITS: Mapping[str, str] = {"own": "route_network_own", "other": "route_network_other"}
_NETWORKS: Mapping[str, str] = {"mtn": "MTN", "orange": "Orange", "moov": "Moov"}
_METHODS: Mapping[str, str] = {
    "card": "method_card",
    "mobile_money": "method_mobile_money",
    "paypal": "method_paypal",
    "bank_transfer": "method_bank_transfer",
    "wallet": "method_wallet",
}


def reason(account: str, dropped: Dropped) -> str:
    """One reason against a gateway as a sentence without its subject."""
    lang, params = session().lang, dict(dropped.params)
    code = dropped.code
    key = REASONS[code]
    if "until" in params:
        if params["until"] is not None:
            params["until"] = _clock(datetime.fromisoformat(str(params["until"])))
            key = _WITH_END.get(code, key)
    if code == "breaker_open":
        params["reason"] = say(_CAUSES[str(params["reason"])], lang)
    for name in ("amount", "limit", "step"):
        if f"{name}_minor" in params:
            amount = int(params[f"{name}_minor"])
            params[name] = format_money(amount, str(params["currency"]))
    return say(key, lang, account=account, **params)


def answer(request: RouteRequest, decision: Decision) -> Iterator[str]:
    """The whole answer, line by line, no line longer than a terminal is wide."""
    yield from wrap(headline(request, decision), "")
    width = max((len(each.account) for each in decision.candidates), default=0)
    able = [each for each in decision.candidates if not each.dropped]
    if able:
        yield ""
    for each in able:
        head = f"  {each.rank}. {each.account:<{width}}  "
        yield from wrap(head + "; ".join(merits(request, each)), " " * len(head))
    out = [each for each in decision.candidates if each.dropped]
    if out:
        yield ""
        yield say("route_not_possible", session().lang)
    for each in out:
        name = each.account
        for dropped in each.dropped:
            head = f"  -  {name:<{width}}  "
            yield from wrap(head + reason(each.account, dropped), " " * len(head))
            name = ""
    yield from _would_change(request, decision)
    yield from _notes(decision)


def headline(request: RouteRequest, decision: Decision) -> str:
    """The choice and why, in one sentence."""
    lang, what = session().lang, _payment(request, decision)
    if decision.chosen is None:
        return say("route_none", lang, payment=what)
    why = why_of(request, decision)
    return say("route_chosen", lang, payment=what, gateway=decision.chosen, why=why)


def why_of(request: RouteRequest, decision: Decision) -> str:
    """What decided for the chosen gateway, as the end of a sentence."""
    from payctl.payments.decision_reasons import decisive

    first, *rest = (each for each in decision.candidates if not each.dropped)
    key = WHY[decisive(decision)]
    if key == "route_why_network" and first.network_fit != "own":
        key = "route_why_other_network"
    other = rest[0] if rest else first
    return say(
        key, session().lang, rule=first.rule, network=network_name(decision.network),
        priority=first.priority, other=other.account, other_priority=other.priority,
        fee=_fee(request, first), other_fee=_fee(request, other),
        rate=_rate(first), other_rate=_rate(other),
    )  # fmt: skip


def merits(request: RouteRequest, ranked: Ranked) -> Iterator[str]:
    """What is to be said of a gateway that can take the payment, in the order it counts."""
    lang = session().lang
    if ranked.preferred is not None:
        yield say("route_preferred", lang)
    if ranked.rule is not None:
        yield say("route_by_rule", lang, rule=ranked.rule)
    if ranked.network_fit:
        yield say(_FITS[ranked.network_fit], lang)
    if ranked.fee_minor is None:
        yield say("route_no_fee", lang)
    else:
        yield say("route_fee", lang, fee=_fee(request, ranked))
    if ranked.success_ppm is not None:
        key = "route_lagging" if ranked.lagging else "route_success"
        yield say(key, lang, rate=_rate(ranked), samples=ranked.samples)
    elif ranked.samples:
        yield say("route_few_samples", lang, samples=ranked.samples)
    else:
        yield say("route_no_samples", lang)
    yield say("route_probe" if ranked.probe else "route_sound", lang)
    told = session().app.float_watch.last_told(ranked.account, request.currency)
    if told is not None:
        money = format_money(told.available_minor, told.currency)
        yield say("route_float", lang, money=money, at=_clock(told.read_at))


def wrap(text: str, indent: str) -> list[str]:
    """*text* in lines of at most :data:`WIDTH`, those after the first indented."""
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def network_name(network: str | None) -> str:
    """A mobile network as people write it."""
    return _NETWORKS.get(network or "", network or "-")


def _would_change(request: RouteRequest, decision: Decision) -> Iterator[str]:
    from payctl.payments.decision_reasons import changes

    lang, found = session().lang, changes(decision)
    if not found:
        return
    yield ""
    yield say("route_would_change", lang)
    able = {each.account: each for each in decision.candidates if not each.dropped}
    chosen = able.get(decision.chosen or "")
    for each in found[:MOST_CHANGES]:
        values: dict[str, object] = {"account": each.account}
        if chosen is not None:
            values |= {"rule": chosen.rule, "priority": chosen.priority}
            values |= {"fee": _fee(request, chosen), "chosen": chosen.account}
        values["network"] = network_name(decision.network)
        values["amounts"] = ", ".join(
            format_money(amount, request.currency) for amount in each.amounts_minor
        )
        yield from wrap("  - " + say(CHANGES[each.code], lang, **values), "    ")


def _fee(request: RouteRequest, ranked: Ranked) -> str:
    if ranked.fee_minor is None:
        return "-"
    return format_money(ranked.fee_minor, request.currency)


def _rate(ranked: Ranked) -> str:
    return "-" if ranked.success_ppm is None else format_rate(ranked.success_ppm // 1000 * 1000)


def _payment(request: RouteRequest, decision: Decision) -> str:
    lang = session().lang
    words = [format_money(request.amount_minor, request.currency)]
    if request.method is not None:
        words.append(say(_METHODS[request.method], lang))
    if request.country is not None:
        words.append(say("route_from", lang, country=request.country))
    if request.phone is not None:
        words.append(say("route_phone", lang, phone=mask_phone(request.phone)))
    if decision.network is not None:
        words.append(say("route_network", lang, network=network_name(decision.network)))
    return " ".join(words)


def _notes(decision: Decision) -> Iterator[str]:
    lang = session().lang
    if decision.rules or decision.unknown:
        yield ""
    if decision.rules:
        names = ", ".join(decision.rules)
        yield say("route_rules", lang, version=decision.rules_version, rules=names)
    if decision.unknown:
        yield say("route_unknown", lang, names=", ".join(decision.unknown))


def _clock(at: datetime) -> str:
    return f"{at.astimezone(session().tz):%Y-%m-%d %H:%M:%S}"
