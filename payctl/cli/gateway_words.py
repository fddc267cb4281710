"""Routing in words: why a gateway is out, why another is first, as a colleague would say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from payctl.cli.messages import say
from payctl.cli.session import session
from payctl.money import format_money, format_rate

if TYPE_CHECKING:
    from payctl.payments.ranking import Decision, Dropped, Ranked, RouteRequest

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
    if "amount_minor" in params:
        currency = str(params["currency"])
        params["amount"] = format_money(int(params["amount_minor"]), currency)
        params["limit"] = format_money(int(params["limit_minor"]), currency)
    return say(key, lang, account=account, **params)


def answer(request: RouteRequest, decision: Decision) -> Iterator[str]:
    """The whole answer, line by line."""
    lang = session().lang
    what = _payment(request)
    if decision.chosen is None:
        yield say("route_none", lang, payment=what)
    else:
        yield say("route_chosen", lang, payment=what, gateway=decision.chosen)
    width = max((len(each.account) for each in decision.candidates), default=0)
    able = [each for each in decision.candidates if not each.dropped]
    if able:
        yield ""
    for each in able:
        yield f"  {each.rank}. {each.account:<{width}}  {'; '.join(merits(request, each))}"
    out = [each for each in decision.candidates if each.dropped]
    if out:
        yield ""
        yield say("route_not_possible", lang)
    for each in out:
        name = each.account
        for dropped in each.dropped:
            yield f"  -  {name:<{width}}  {reason(each.account, dropped)}"
            name = ""
    yield from _notes(decision)


def merits(request: RouteRequest, ranked: Ranked) -> Iterator[str]:
    """What speaks for a gateway, in the order it counts."""
    lang = session().lang
    if ranked.preferred is not None:
        yield say("route_preferred", lang)
    if ranked.rule is not None:
        yield say("route_by_rule", lang, rule=ranked.rule)
    if ranked.fee_minor is None:
        yield say("route_no_fee", lang)
    else:
        yield say("route_fee", lang, fee=format_money(ranked.fee_minor, request.currency))
    if ranked.success_ppm is not None:
        rate = format_rate(ranked.success_ppm // 1000 * 1000)
        key = "route_lagging" if ranked.lagging else "route_success"
        yield say(key, lang, rate=rate, samples=ranked.samples)
    if ranked.probe:
        yield say("route_probe", lang)


def _payment(request: RouteRequest) -> str:
    lang = session().lang
    words = [format_money(request.amount_minor, request.currency)]
    if request.method is not None:
        words.append(say(_METHODS[request.method], lang))
    if request.country is not None:
        words.append(say("route_from", lang, country=request.country))
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
