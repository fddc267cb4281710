"""Operators' changes: allowed, reasoned, audited, append-only, second person where it matters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from payctl.app import App
from payctl.db.actor import Actor
from payctl.db.tables import audit
from payctl.errors import (
    ApprovalRequired,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PayctlError,
)
from payctl.gateways.base import Answer, Outcome, RejectKind
from payctl.ids import decode
from payctl.payments.details import RefundFilter
from payctl.payments.gateway_tables import (
    gateway_fee,
    gateway_limit,
    gateway_setting,
    route_rules,
)
from tests.payments.kit import APPROVER, OPERATOR, Kit

pytestmark = pytest.mark.integration
VIEWER = Actor("kwame", frozenset({"viewer"}))
WHY = "incident 42"


def approve(app: App, error: ApprovalRequired) -> object:
    approval_id = decode(str(error.params["approval"]), "approval")
    asked = app.approvals.approve(APPROVER, approval_id, "seen it too")
    return app.after_approval[asked.kind](APPROVER, asked)


def actions(kit: Kit) -> list[str]:
    with kit.app.db.read() as tx:
        return list(tx.execute(sa.select(audit.c.action).order_by(audit.c.id)).scalars())


def set_limit(app: App, actor: Actor = OPERATOR, **values: Any) -> object:
    base: dict[str, Any] = {"min_minor": 100, "max_minor": 5000, "reason": WHY}
    given = base | values
    account = given.pop("account", "cards")
    return app.gateway_settings.set_limit(actor, account, given.pop("currency", "EUR"), **given)


def set_fee(app: App, actor: Actor = OPERATOR, **values: Any) -> object:
    base: dict[str, Any] = {"ppm": 14_000, "fixed_minor": 25, "reason": WHY}
    given = base | values
    account = given.pop("account", "cards")
    return app.gateway_settings.set_fee(actor, account, given.pop("currency", "EUR"), **given)


def set_state(app: App, actor: Actor = OPERATOR, **values: Any) -> object:
    given = {"reason": WHY} | values
    account, state = given.pop("account", "cards"), given.pop("state", "disabled")
    return app.gateway_settings.set_state(actor, account, state, **given)


def reset(app: App, actor: Actor = OPERATOR, **values: Any) -> object:
    given = {"reason": WHY} | values
    account, op_class = given.pop("account", "cards"), given.pop("op_class", "collect")
    return app.breaker_desk.reset(actor, account, op_class, **given)


def force(app: App, actor: Actor = OPERATOR, **values: Any) -> Any:
    given: dict[str, Any] = {"reason": WHY, "lasting": timedelta(minutes=30)} | values
    account, op_class = given.pop("account", "cards"), given.pop("op_class", "collect")
    return app.breaker_desk.open(actor, account, op_class, **given)


def add_rule(app: App, actor: Actor = OPERATOR, **values: Any) -> Any:
    given: dict[str, Any] = {"name": "cards first", "prefer": ["cards"]} | values
    reason, dry_run = given.pop("reason", WHY), given.pop("dry_run", False)
    return app.rule_book.add(actor, given, reason=reason, dry_run=dry_run)


CHANGES: list[Callable[..., object]] = [set_state, set_limit, set_fee, reset, force, add_rule]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_needs_the_right_and_a_reason(kit: Kit, change: Callable[..., object]) -> None:
    with pytest.raises(Forbidden):
        change(kit.app, VIEWER)
    with pytest.raises(InvalidInput) as wrong:
        change(kit.app, reason="  ")
    assert wrong.value.code == "reason.missing"
    assert actions(kit) == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_dry_run_changes_nothing(kit: Kit, change: Callable[..., object]) -> None:
    change(kit.app, dry_run=True)
    assert actions(kit) == []
    with kit.app.db.read() as tx:
        for table in (gateway_setting, gateway_limit, gateway_fee, route_rules):
            assert tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 0


@pytest.mark.parametrize("change", CHANGES[:5])
def test_an_unknown_account_is_told_which_there_are(
    kit: Kit, change: Callable[..., object]
) -> None:
    with pytest.raises(NotFound) as wrong:
        change(kit.app, account="card")
    assert wrong.value.params["known"] == "cards, momo"


@pytest.mark.parametrize(
    ("change", "values", "code"),
    [
        (set_state, {"state": "off"}, "choice.unknown"),
        (set_limit, {"currency": "CFA"}, "currency.unknown"),
        (set_limit, {"min_minor": 5001}, "gateway.limits_crossed"),
        (set_limit, {"max_minor": -1, "min_minor": None}, "gateway.limits_crossed"),
        (set_fee, {"ppm": 1_000_001}, "gateway.fee_malformed"),
        (set_fee, {"fixed_minor": -1}, "gateway.fee_malformed"),
        (set_fee, {"method": "momo"}, "choice.unknown"),
        (reset, {"op_class": "all"}, "choice.unknown"),
        (force, {"lasting": timedelta()}, "breaker.no_time"),
        (add_rule, {"prefer": ["visa"]}, "route.rule_gateway"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(
    kit: Kit, change: Callable[..., object], values: dict[str, Any], code: str
) -> None:
    with pytest.raises(PayctlError) as wrong:
        change(kit.app, **values)
    assert wrong.value.code == code
    assert actions(kit) == []


def test_no_time_in_the_past_is_taken(kit: Kit) -> None:
    past = kit.clock.now() - timedelta(seconds=1)
    for change, values, code in (
        (set_state, {"until": past}, "gateway.until_past"),
        (set_state, {"state": "enabled", "until": kit.clock.now() + timedelta(1)},
         "gateway.until_past"),
        (set_limit, {"valid_from": past}, "gateway.valid_from_past"),
        (set_fee, {"valid_from": past}, "gateway.valid_from_past"),
    ):  # fmt: skip
        with pytest.raises(InvalidInput) as wrong:
            change(kit.app, **values)
        assert wrong.value.code == code


def test_every_change_is_audited_and_the_history_stays(kit: Kit) -> None:
    set_state(kit.app, state="draining")
    kit.clock.advance(timedelta(minutes=1))
    set_state(kit.app, state="enabled", reason="back")
    set_limit(kit.app)
    set_fee(kit.app)
    force(kit.app)
    reset(kit.app)
    assert actions(kit) == [
        "gateway.draining", "gateway.enabled", "gateway.limit_set", "gateway.fee_set",
        "breaker.forced_open", "breaker.reset",
    ]  # fmt: skip
    assert [e.state for e in kit.app.gateway_settings.history("cards")] == ["enabled", "draining"]
    for table in (gateway_setting, gateway_limit, gateway_fee):
        with pytest.raises(sa.exc.DBAPIError), kit.app.db.transaction() as tx:
            tx.execute(table.delete())


def authorized(kit: Kit, key: str) -> UUID:
    return kit.pay(key, manual_capture=True).payment.id


def finish(kit: Kit, taken: UUID, first: UUID, second: UUID) -> list[str]:
    """What becomes of the work on payments that *cards* has: a refund, a capture, a release."""
    refund = kit.app.refunds.create(OPERATOR, taken, key=f"r-{taken}", reason="x")
    ends = [str(refund.refund.state)]
    for act in (
        lambda: kit.app.captures.capture(OPERATOR, first, key=f"c-{first}"),
        lambda: kit.app.captures.cancel(OPERATOR, second, reason="x"),
    ):
        try:
            ends.append(str(act().payment.status))
        except Conflict as refused:
            ends.append(refused.code)
    return ends


def test_draining_takes_nothing_new_and_finishes_what_it_has(kit: Kit) -> None:
    held = [kit.pay("k1").payment.id, authorized(kit, "k2"), authorized(kit, "k3")]
    set_state(kit.app, state="draining")
    assert kit.pay("k4").payment.gateway_account == "momo"
    assert finish(kit, *held) == ["succeeded", "succeeded", "canceled"]


def test_disabled_sends_nothing_until_its_time_is_over(kit: Kit) -> None:
    held = [kit.pay("k1").payment.id, authorized(kit, "k2"), authorized(kit, "k3")]
    kit.pay("k0", token="tok_lost_answer")
    set_state(kit.app, state="disabled", until=kit.clock.now() + timedelta(minutes=30))
    before = len(kit.gateways["cards"].payments())
    assert finish(kit, *held) == ["approved", "gateway.disabled", "gateway.disabled"]
    assert kit.pay("k4").payment.gateway_account == "momo"
    kit.wait(minutes=1)
    unknown = kit.app.payments.process(OPERATOR, kit.input("k0", token="tok_lost_answer"))
    assert unknown.payment.status == "succeeded", "it is still asked about what is open"
    assert len(kit.gateways["cards"].payments()) == before
    kit.wait(minutes=30)
    assert kit.pay("k5").payment.gateway_account == "cards"
    capture, release = held[1:]
    assert kit.app.captures.capture(OPERATOR, capture, key="c-2").payment.status == "succeeded"
    assert kit.app.captures.cancel(OPERATOR, release, reason="x").payment.status == "canceled"
    (refund,) = kit.app.queries.refunds(RefundFilter(payment_id=held[0])).items
    assert refund.refund.state == "succeeded", "it waited"
    kit.check()


def test_the_latest_of_two_changes_in_one_instant_counts(kit: Kit) -> None:
    set_limit(kit.app, max_minor=1000)
    set_limit(kit.app, max_minor=2000)
    assert [each.max_minor for each in kit.app.gateway_settings.limits("cards")] == [2000]


# -- breakers -----------------------------------------------------------------------------------


def test_only_an_operator_heals_refused_credentials(kit: Kit) -> None:
    answer = Answer(Outcome.REJECTED, reject=RejectKind.AUTH)
    with kit.app.db.transaction() as tx:
        kit.app.breakers.record(tx, "cards", "collect", answer)
    (view,) = kit.app.breaker_desk.show()
    assert (view.verdict.reason, view.verdict.next_probe_at) == ("auth", None)
    kit.clock.advance(timedelta(days=30))
    assert not kit.app.breakers.decide(None, "cards", "collect").allow
    reset(kit.app)
    assert kit.app.breakers.decide(None, "cards", "collect").allow
    changes = kit.app.breaker_desk.history("cards")
    assert [(each.to_state, each.actor) for each in changes] == [
        ("closed", "ama"),
        ("open", "payctl"),
    ]


def test_a_forced_breaker_holds_for_its_time_and_then_probes(kit: Kit) -> None:
    view = force(kit.app)
    assert view.verdict.reason == "forced" and view.forced_by == "ama"
    kit.clock.advance(timedelta(minutes=29))
    assert not kit.app.breakers.decide(None, "cards", "collect").allow
    kit.clock.advance(timedelta(minutes=1))
    assert kit.app.breakers.decide(None, "cards", "collect").probe


@pytest.mark.parametrize("lasting", [timedelta(hours=2), None])
def test_forcing_for_long_needs_a_second_person(kit: Kit, lasting: timedelta | None) -> None:
    with pytest.raises(ApprovalRequired) as needed:
        force(kit.app, lasting=lasting)
    assert kit.app.breakers.decide(None, "cards", "collect").allow
    approve(kit.app, needed.value)
    assert not kit.app.breakers.decide(None, "cards", "collect").allow
    (view,) = kit.app.breaker_desk.show()
    assert view.forced_by == "ama"
    assert view.verdict.next_probe_at == (kit.clock.now() + lasting if lasting else None)


def test_show_counts_the_last_minutes(kit: Kit) -> None:
    slow = Answer(Outcome.SUCCEEDED, latency_ms=9000)
    for _ in range(20):
        with kit.app.db.transaction() as tx:
            kit.app.breakers.record(tx, "cards", "collect", slow)
    (view,) = kit.app.breaker_desk.show()
    assert (view.calls, view.failed, view.slow) == (20, 0, True)
    assert len(kit.app.breaker_desk.show("momo")) == 4
    with pytest.raises(NotFound):
        kit.app.breaker_desk.show("nobody")


# -- rules --------------------------------------------------------------------------------------

FILE = """
[[rule]]
name = "a"
only = ["cards"]
[[rule]]
name = "b"
exclude = ["momo"]
"""


def rules(kit: Kit) -> list[str]:
    return [each.name for each in kit.app.rule_book.current().rules]


def granted(kit: Kit, change: Callable[[], object]) -> object:
    with pytest.raises(ApprovalRequired) as needed:
        change()
    return approve(kit.app, needed.value)


def test_rules_hold_once_a_second_person_says_so(kit: Kit, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(FILE, encoding="utf-8")
    book = kit.app.rule_book
    with pytest.raises(ApprovalRequired) as needed:
        book.load(OPERATOR, path, reason="new contract")
    assert rules(kit) == []
    approve(kit.app, needed.value)
    assert rules(kit) == ["a", "b"]
    decision = kit.app.router.decide(None, _eur(kit))
    assert decision.chosen == "cards" and decision.rules == ("a", "b")
    assert decision.rules_version == 1
    assert actions(kit)[-1] == "route.rules_set"


def test_a_mistake_in_the_file_loads_nothing_of_it(kit: Kit, tmp_path: Path) -> None:
    granted(kit, lambda: add_rule(kit.app))
    path = tmp_path / "rules.toml"
    path.write_text(FILE + '[[rule]]\nname = "c"\nonly = ["cads"]\n', encoding="utf-8")
    with pytest.raises(InvalidInput) as wrong:
        kit.app.rule_book.load(OPERATOR, path, reason=WHY)
    assert wrong.value.params["where"] == "rules.toml:10"
    assert rules(kit) == ["cards first"]
    assert kit.app.approvals.list(state="pending") == []


def test_adding_and_removing_one(kit: Kit) -> None:
    granted(kit, lambda: add_rule(kit.app))
    granted(kit, lambda: add_rule(kit.app, name="second"))
    granted(
        kit,
        lambda: kit.app.rule_book.add(
            OPERATOR, {"name": "zeroth", "prefer": ["momo"]}, reason=WHY, place=1
        ),
    )
    assert rules(kit) == ["zeroth", "cards first", "second"]
    with pytest.raises(InvalidInput) as wrong:
        add_rule(kit.app)
    assert wrong.value.code == "route.rule_exists"
    granted(kit, lambda: kit.app.rule_book.remove(OPERATOR, "cards first", reason=WHY))
    assert rules(kit) == ["zeroth", "second"]
    with pytest.raises(NotFound):
        kit.app.rule_book.remove(OPERATOR, "cards first", reason=WHY)
    assert [each.version for each in kit.app.rule_book.history()] == [4, 3, 2, 1]


def test_an_approval_is_void_once_another_list_came_first(kit: Kit) -> None:
    with pytest.raises(ApprovalRequired) as early:
        add_rule(kit.app)
    granted(kit, lambda: add_rule(kit.app, name="other"))
    with pytest.raises(Conflict) as stale:
        approve(kit.app, early.value)
    assert stale.value.code == "route.changed_meanwhile"
    assert rules(kit) == ["other"]


def test_the_requester_cannot_approve_and_an_approval_serves_once(kit: Kit) -> None:
    with pytest.raises(ApprovalRequired) as needed:
        add_rule(kit.app)
    approval_id = decode(str(needed.value.params["approval"]), "approval")
    with pytest.raises(Conflict):
        kit.app.rule_book.apply(OPERATOR, approval_id)
    assert rules(kit) == []
    approve(kit.app, needed.value)
    with pytest.raises(Conflict):
        kit.app.rule_book.apply(APPROVER, approval_id)
    with pytest.raises(Conflict):
        kit.app.breaker_desk.apply(APPROVER, approval_id)


def _eur(kit: Kit) -> Any:
    from payctl.payments.routing import RouteRequest

    return RouteRequest(2500, "EUR", kit.clock.now(), method="card")
