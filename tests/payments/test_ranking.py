"""Ranking as a pure decision: who is dropped, why, and who comes first."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.gateways.base import Capabilities
from payctl.payments.breaker_model import Reason, State, Verdict
from payctl.payments.candidates import MIN_SAMPLES, Candidate, RouteRequest
from payctl.payments.decision_reasons import Change, changes, decisive
from payctl.payments.gateway_state import FeeRate, Limit, Setting, Success
from payctl.payments.ranking import Decision, Field, rank
from payctl.payments.route_rules import Rule

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def caps(**values: Any) -> Capabilities:
    return Capabilities(**({"methods": frozenset({"card"}), "currencies": None} | values))


def candidate(account: str, name: str = "", **values: Any) -> Candidate:
    own = {"live": False, "capabilities": caps()} | values
    return Candidate(account=account, name=name or account, **own)


def request(**values: Any) -> RouteRequest:
    base: dict[str, Any] = {"amount_minor": 2500, "currency": "EUR", "at": NOW, "method": "card"}
    return RouteRequest(**(base | values))


def order(decision: Decision) -> list[str]:
    return [each.account for each in decision.candidates if not each.dropped]


def why(decision: Decision, account: str) -> list[str]:
    (found,) = [each for each in decision.candidates if each.account == account]
    return [each.code for each in found.dropped]


def open_until(minutes: int, reason: str) -> Verdict:
    return Verdict(False, "", State.OPEN, reason, NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("values", "asked", "codes"),
    [
        ({}, {"exclude": frozenset({"a"})}, ["already_tried"]),
        ({"switched_off": True}, {}, ["switched_off"]),
        ({"setting": Setting("disabled", None, "incident", "ama")}, {}, ["disabled"]),
        ({"setting": Setting("draining", None, "contract ends", "ama")}, {}, ["draining"]),
        ({"live": True}, {}, ["wrong_mode"]),
        ({"capabilities": caps(currencies=frozenset({"XOF"}))}, {}, ["currency"]),
        ({"capabilities": caps(countries=frozenset({"CI"}))}, {"country": "FR"}, ["country"]),
        ({"capabilities": caps(countries=frozenset({"CI"}))}, {"country": None}, []),
        ({}, {"method": "mobile_money"}, ["method"]),
        ({}, {"method": None}, []),
        ({}, {"needs": frozenset({"manual_capture"})}, ["needs_manual_capture"]),
        ({"capabilities": caps(manual_capture=True)}, {"needs": frozenset({"manual_capture"})}, []),
        ({"capabilities": caps(refunds="full")}, {"needs": frozenset({"partial_refunds"})},
         ["needs_partial_refunds"]),
        ({"capabilities": caps(limits={"EUR": (2501, 10**6)})}, {}, ["below_limit"]),
        ({"capabilities": caps(limits={"EUR": (2500, 2500)})}, {}, []),
        ({"limit": Limit(None, 2499)}, {}, ["above_limit"]),
        ({"limit": Limit(1, 10**6), "capabilities": caps(limits={"EUR": (1, 2000)})}, {},
         ["above_limit"]),
        ({"verdict": open_until(3, Reason.IN_A_ROW)}, {}, ["breaker_open"]),
        ({"verdict": Verdict(False, "", State.OPEN, Reason.AUTH)}, {}, ["breaker_auth"]),
        ({"verdict": open_until(3, Reason.FORCED)}, {}, ["breaker_forced"]),
        ({"verdict": Verdict(False, "", State.HALF_OPEN, Reason.IN_A_ROW)}, {},
         ["breaker_probing"]),
        ({"verdict": Verdict(False, "", State.CLOSED, Reason.RATE_LIMITED)}, {}, ["rate_limited"]),
    ],
)  # fmt: skip
def test_each_reason_drops_and_nothing_else_does(
    values: dict[str, Any], asked: dict[str, Any], codes: list[str]
) -> None:
    decision = rank(request(**asked), [candidate("a", **values)], live=False)
    assert why(decision, "a") == codes
    assert decision.chosen == (None if codes else "a")


def test_all_reasons_are_told_not_only_the_first() -> None:
    bad = candidate("a", live=True, capabilities=caps(currencies=frozenset({"XOF"})))
    decision = rank(request(method="paypal"), [bad], live=False)
    assert why(decision, "a") == ["wrong_mode", "currency", "method"]


def test_open_breakers_are_never_bypassed_even_when_all_are_open() -> None:
    several = [candidate(n, verdict=open_until(1, Reason.FAILURE_RATE)) for n in "abc"]
    assert rank(request(), several).chosen is None


def test_the_callers_wish_goes_before_rules_priority_and_fee() -> None:
    dear = candidate("dear", fee=FeeRate(90_000), priority=9)
    cheap = candidate("cheap", fee=FeeRate(0), priority=1)
    rules = [Rule("cheap first", "prefer", ("cheap",))]
    assert rank(request(preferred=("dear",)), [cheap, dear], rules).chosen == "dear"
    assert rank(request(), [cheap, dear], [Rule("x", "prefer", ("dear",))]).chosen == "dear"
    assert rank(request(), [candidate("z", priority=1), candidate("y")]).chosen == "z"


def test_the_first_rule_that_prefers_goes_before_the_next() -> None:
    rules = [Rule("x", "prefer", ("b", "c")), Rule("y", "prefer", ("a", "b"))]
    decision = rank(request(), [candidate(each) for each in "dabc"], rules)
    assert order(decision) == ["b", "c", "a", "d"]
    assert [each.rule for each in decision.candidates] == ["x", "x", "y", None]


def test_a_wish_for_an_unknown_gateway_is_told_and_harms_nobody() -> None:
    decision = rank(request(preferred=("paypal", "b")), [candidate("a"), candidate("b")])
    assert (decision.chosen, decision.unknown) == ("b", ("paypal",))


def test_a_family_name_means_all_its_accounts() -> None:
    both = [candidate("a", "cinetpay"), candidate("stripe-eu", "stripe")]
    assert rank(request(preferred=("stripe",)), both).chosen == "stripe-eu"
    only = rank(request(), both, [Rule("r", "only", ("stripe",))])
    assert why(only, "a") == ["rule_reserves"]


def test_a_wish_does_not_overrule_an_excluding_rule() -> None:
    rules = [Rule("no b on sundays", "exclude", ("b",))]
    decision = rank(request(preferred=("b",)), [candidate("a"), candidate("b")], rules)
    assert decision.chosen == "a" and why(decision, "b") == ["rule_excludes"]


def test_the_fee_for_this_amount_decides() -> None:
    percent = candidate("percent", fee=FeeRate(30_000, 0))
    fixed = candidate("fixed", fee=FeeRate(10_000, 30))
    unknown = candidate("unknown")
    small = rank(request(amount_minor=1000), [percent, fixed, unknown])
    large = rank(request(amount_minor=10_000), [percent, fixed, unknown])
    assert order(small) == ["percent", "fixed", "unknown"]
    assert order(large) == ["fixed", "percent", "unknown"]
    assert [each.fee_minor for each in large.candidates] == [130, 300, None]


def test_a_gateway_that_fails_far_more_often_comes_last_whatever_its_fee() -> None:
    cheap = candidate("cheap", fee=FeeRate(0), success=Success(800_000, MIN_SAMPLES))
    dear = candidate("dear", fee=FeeRate(30_000), success=Success(950_000, MIN_SAMPLES))
    decision = rank(request(), [cheap, dear])
    assert order(decision) == ["dear", "cheap"] and decision.candidates[1].lagging
    few = replace(cheap, success=Success(0, MIN_SAMPLES - 1))
    assert order(rank(request(), [few, dear])) == ["cheap", "dear"], "too few to say anything"


def test_equal_gateways_share_payments_and_one_payment_always_goes_the_same_way() -> None:
    several = [candidate(n) for n in ("a", "b", "c")]
    chosen = [rank(request(key=f"pay_{n}"), several).chosen for n in range(300)]
    assert chosen == [rank(request(key=f"pay_{n}"), several[::-1]).chosen for n in range(300)]
    assert all(60 < chosen.count(each) < 140 for each in "abc")


names = st.sampled_from(["a", "b", "c", "d"])
candidates_ = st.lists(
    st.builds(
        candidate,
        account=names,
        live=st.booleans(),
        capabilities=st.builds(
            caps,
            methods=st.frozensets(st.sampled_from(["card", "mobile_money"]), min_size=1),
            currencies=st.none() | st.frozensets(st.sampled_from(["EUR", "XOF"]), min_size=1),
            limits=st.dictionaries(st.just("EUR"), st.just((100, 5000))),
        ),
        setting=st.builds(Setting, st.sampled_from(["enabled", "disabled", "draining"])),
        fee=st.none() | st.builds(FeeRate, st.integers(0, 50_000), st.integers(0, 100)),
        success=st.none() | st.builds(Success, st.integers(0, 10**6), st.integers(0, 200)),
        verdict=st.builds(Verdict, st.booleans(), st.just(""), st.sampled_from(State)),
        priority=st.integers(0, 3),
    ),
    unique_by=lambda each: each.account,
    max_size=4,
)
rules_ = st.lists(
    st.builds(
        Rule,
        name=st.text("xyz", min_size=1, max_size=3),
        effect=st.sampled_from(["prefer", "only", "exclude"]),
        gateways=st.lists(names, min_size=1, max_size=2).map(tuple),
        currencies=st.sampled_from([(), ("EUR",), ("XOF",)]),
    ),
    max_size=4,
)
requests_ = st.builds(
    request,
    amount_minor=st.integers(1, 10_000),
    currency=st.sampled_from(["EUR", "XOF"]),
    method=st.sampled_from([None, "card", "mobile_money"]),
    preferred=st.lists(names, max_size=3).map(tuple),
    key=st.text(max_size=4),
)


@given(requests_, candidates_, rules_, st.none() | st.booleans())
def test_whoever_is_chosen_can_and_may_take_it(
    asked: RouteRequest, several: list[Candidate], rules: list[Rule], live: bool | None
) -> None:
    decision = rank(asked, several, rules, live=live)
    assert sorted(e.account for e in decision.candidates) == sorted(e.account for e in several)
    assert decision == rank(asked, several[::-1], rules, live=live), "order of input is nothing"
    assert json.loads(json.dumps(decision.as_json())) == decision.as_json()
    by_name = {each.account: each for each in several}
    for each in decision.candidates:
        assert bool(each.dropped) is (each.rank == 0)
        known = by_name[each.account]
        if each.dropped:
            continue
        assert known.setting.state == "enabled" and known.verdict.allow
        assert live is None or known.live is live
        can = known.capabilities
        assert can.currencies is None or asked.currency in can.currencies
        assert asked.method is None or asked.method in can.methods
        low, high = can.limits.get(asked.currency, (1, 10**9))
        assert low <= asked.amount_minor <= high
        for rule in rules:
            if rule.matches(asked):
                assert rule.effect != "exclude" or each.account not in rule.gateways
                assert rule.effect != "only" or each.account in rule.gateways
    kept = order(decision)
    assert decision.chosen == (kept[0] if kept else None)
    wished = [kept.index(name) for name in dict.fromkeys(asked.preferred) if name in kept]
    assert wished == list(range(len(wished))), "wishes come first, in their order"


# -- the customer's network ------------------------------------------------------------------------

MTN_CI, ORANGE_CI = "+2250501020304", "+2250701020304"


def mobile(account: str, *networks: str, **other: Any) -> Candidate:
    can = caps(
        methods=frozenset({"mobile_money", "card"}), currencies=None, networks=frozenset(networks)
    )
    return candidate(account, capabilities=can, **other)


def order_for(phone: str | None, *candidates: Candidate, **other: Any) -> list[str]:
    decision = rank(request(phone=phone, **{"method": "mobile_money", **other}), candidates)
    return [each.account for each in decision.candidates]


def test_a_number_goes_first_to_the_gateway_of_its_network() -> None:
    mtn, orange, any_ = mobile("mtn", "mtn"), mobile("orange", "orange"), mobile("any")
    assert order_for(MTN_CI, any_, orange, mtn) == ["mtn", "any", "orange"]
    assert order_for(ORANGE_CI, any_, mtn, orange) == ["orange", "any", "mtn"]


def test_a_network_outweighs_a_fee_and_nothing_above_it() -> None:
    cheap = mobile("any", fee=FeeRate(0))
    dear = mobile("mtn", "mtn", fee=FeeRate(50_000))
    assert order_for(MTN_CI, cheap, dear)[0] == "mtn"
    assert order_for(MTN_CI, cheap, dear, preferred=("any",))[0] == "any"
    assert order_for(MTN_CI, replace(cheap, priority=1), dear)[0] == "any"
    failing = replace(dear, success=Success(500_000, 100))
    sound = replace(cheap, success=Success(950_000, 100))
    assert order_for(MTN_CI, sound, failing)[0] == "any"


def test_the_network_is_a_hint_and_excludes_nobody() -> None:
    orange = mobile("orange", "orange")
    assert order_for(MTN_CI, orange) == ["orange"]
    decision = rank(request(phone=MTN_CI, method="mobile_money"), [orange])
    assert decision.chosen == "orange" and decision.network == "mtn"
    assert decision.candidates[0].network_fit == "other"


@pytest.mark.parametrize(
    ("phone", "method"),
    [(None, "mobile_money"), ("+33612345678", "mobile_money"), (MTN_CI, "card"),
     ("+22507", "mobile_money"), ("+22170123456", "mobile_money")],
)  # fmt: skip
def test_without_a_known_network_nothing_is_preferred(phone: str | None, method: str) -> None:
    decision = rank(request(phone=phone, method=method), [mobile("mtn", "mtn")])
    assert decision.network is None and decision.candidates[0].network_fit == ""


# -- why -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "why", "asked"),
    [
        ({}, {}, "preferred", {"preferred": ("a",)}),
        ({"priority": 1}, {}, "priority", {}),
        ({}, {"success": Success(500_000, 100)}, "lagging", {}),
        ({"fee": FeeRate(0)}, {}, "fee_known", {}),
        ({"fee": FeeRate(10)}, {"fee": FeeRate(100_000)}, "fee", {}),
        ({"success": Success(990_000, 100)}, {"success": Success(960_000, 100)}, "success", {}),
    ],
)
def test_what_decided_is_named_and_would_change_it(
    first: dict[str, Any], second: dict[str, Any], why: str, asked: dict[str, Any]
) -> None:
    if why == "lagging":
        first = {"success": Success(900_000, 100)}
    decision = rank(request(**asked), [candidate("b", **second), candidate("a", **first)])
    assert decision.chosen == "a"
    assert decisive(decision) == why
    assert changes(decision) == [Change("b", why)]


def test_alone_nothing_had_to_decide() -> None:
    assert decisive(rank(request(), [candidate("a")])) == "only"
    assert decisive(rank(request(), [])) == "none"
    assert decisive(rank(request(), [candidate("a"), candidate("b")])) == "spread"


def test_a_single_passing_reason_or_another_amount_would_change_it() -> None:
    drained = candidate("drained", setting=Setting("draining", None, "x", "ama"))
    small = candidate("small", capabilities=caps(limits={"EUR": (1, 100)}))
    odd = candidate("odd", capabilities=caps(steps={"EUR": 1000}))
    gone = candidate("gone", switched_off=True)
    found = changes(rank(request(amount_minor=2500), [drained, small, odd, gone]))
    assert {each.account: (each.code, each.amounts_minor) for each in found} == {
        "drained": ("enable", ()),
        "small": ("amount", (100,)),
        "odd": ("amount", (2000, 3000)),
    }


@given(requests_, requests_, candidates_, rules_)
def test_what_is_decided_for_alike_payments_is_what_each_would_get(
    first: RouteRequest, second: RouteRequest, several: list[Candidate], rules: list[Rule]
) -> None:
    """The router decides once for payments that differ in amount and id alone."""
    alike = first._replace(amount_minor=second.amount_minor, key=second.key)
    matching = [rule for rule in rules if rule.matches(first)]
    assert Field(first, several, matching).rank(alike) == rank(alike, several, rules)
