"""Four eyes: two different people, once, in time, and for exactly what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payctl.clock import ManualClock
from payctl.db.actor import Actor
from payctl.db.approvals import Approvals
from payctl.db.audit_trail import AuditTrail
from payctl.db.engine import Database
from payctl.db.tables import approval, approval_spend, approval_threshold
from payctl.db.threshold_changes import Thresholds
from payctl.errors import Conflict, Forbidden, InvalidInput, NotFound, PayctlError
from tests.db.people import ADMIN, APPROVER, EXPIRER, OTHER_APPROVER, SUPPORT, VIEWER

pytestmark = pytest.mark.integration
CONTENT: Mapping[str, Any] = {"amount_minor": 30_000, "currency": "EUR", "refund": "r1"}


@pytest.fixture
def desk(db: Database) -> Approvals:
    return Approvals(db)


def ask(db: Database, desk: Approvals, actor: Actor = SUPPORT, reason: str = "show off") -> UUID:
    with db.transaction() as tx:
        return desk.request(
            tx, actor, kind="refund", subject_kind="refund", subject_id=None,
            amount_minor=30_000, currency="EUR", content=CONTENT, reason=reason,
        )  # fmt: skip


def granted(db: Database, desk: Approvals, asked: UUID, content: Mapping[str, Any]) -> bool:
    with db.read() as tx:
        return desk.granted(tx, asked, content)


def test_another_person_approves_and_exactly_this_is_granted(db: Database, desk: Approvals) -> None:
    asked = ask(db, desk)
    assert not granted(db, desk, asked, CONTENT)
    done = desk.approve(APPROVER, asked, "checked")
    assert (done.state, done.decided_by, done.decision_reason) == ("approved", "kofi", "checked")
    assert granted(db, desk, asked, dict(reversed(CONTENT.items())))
    for name, other in (("amount_minor", 30_001), ("currency", "XOF"), ("refund", "r2")):
        assert not granted(db, desk, asked, {**CONTENT, name: other})
    assert not granted(db, desk, asked, {**CONTENT, "more": 1})


def test_nobody_approves_their_own_request(db: Database, desk: Approvals) -> None:
    asked = ask(db, desk, OTHER_APPROVER)
    with pytest.raises(Forbidden, match=r"approval\.own_request"):
        desk.approve(OTHER_APPROVER, asked, "fine")
    assert desk.get(asked).state == "pending"


def test_the_database_itself_wants_two_people(db: Database, desk: Approvals) -> None:
    asked = ask(db, desk)
    with pytest.raises(sa.exc.IntegrityError, match="four_eyes"), db.transaction() as tx:
        tx.execute(
            sa.update(approval)
            .where(approval.c.id == asked)
            .values(state="approved", decided_by="sam", decided_at=db.clock.now(),
                    decision_reason="x")
        )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"amount_minor": 1},
        {"content": {"amount_minor": 1}},
        {"content_hash": bytes(32)},
        {"requested_by": "someone"},
        {"expires_at": None},
        {"state": "used"},
    ],
)
def test_the_database_itself_keeps_a_request_as_it_was_asked(
    db: Database, desk: Approvals, change: dict[str, Any]
) -> None:
    asked = ask(db, desk)
    if "expires_at" in change:
        change = {"expires_at": db.clock.now() + timedelta(days=9)}
    with pytest.raises(sa.exc.IntegrityError), db.transaction() as tx:
        tx.execute(sa.update(approval).where(approval.c.id == asked).values(**change))
    with pytest.raises(sa.exc.IntegrityError), db.transaction() as tx:
        tx.execute(sa.delete(approval))


def test_a_decision_is_final(db: Database, desk: Approvals) -> None:
    asked = ask(db, desk)
    desk.approve(APPROVER, asked, "yes")
    for actor in (APPROVER, OTHER_APPROVER):
        with pytest.raises(Conflict, match=r"approval\.decided"):
            desk.reject(actor, asked, "no")
        with pytest.raises(Conflict, match=r"approval\.decided"):
            desk.approve(actor, asked, "yes again")
    with pytest.raises(sa.exc.IntegrityError), db.transaction() as tx:
        tx.execute(sa.update(approval).values(state="rejected"))


def test_of_decisions_at_once_one_counts(db: Database, desk: Approvals) -> None:
    asked, barrier = ask(db, desk), Barrier(6)

    def decide(number: int) -> bool:
        actor = Actor(f"approver-{number}", frozenset({"approver"}))
        barrier.wait(10)
        try:
            (desk.approve if number % 2 else desk.reject)(actor, asked, f"by {number}")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(decide, range(6))) == 1
    assert len(AuditTrail(db).list(ADMIN, subject_id=asked)) == 2


def test_time_runs_out_for_the_request_and_for_the_permission(
    db: Database, desk: Approvals, clock: ManualClock
) -> None:
    early, late = ask(db, desk), ask(db, desk)
    desk.approve(APPROVER, early, "yes")
    clock.advance(timedelta(hours=72) - timedelta(microseconds=1))
    assert granted(db, desk, early, CONTENT)
    assert desk.expire(EXPIRER) == 0
    clock.advance(timedelta(microseconds=1))
    assert not granted(db, desk, early, CONTENT)
    with pytest.raises(Conflict, match=r"approval\.expired"):
        desk.approve(APPROVER, late, "too late")
    assert desk.expire(EXPIRER) == 1
    assert desk.expire(EXPIRER) == 0
    assert (desk.get(late).state, desk.get(early).state) == ("expired", "approved")
    with pytest.raises(Conflict, match=r"approval\.expired"):
        desk.approve(APPROVER, late, "much too late")


def test_an_approval_is_spent_once(db: Database, desk: Approvals) -> None:
    asked = ask(db, desk)
    desk.approve(APPROVER, asked, "yes")
    with pytest.raises(Conflict, match="not_granted"), db.transaction() as tx:
        desk.use(tx, SUPPORT, asked, {**CONTENT, "amount_minor": 1})
    barrier = Barrier(4)

    def spend(_: int) -> bool:
        barrier.wait(10)
        try:
            with db.transaction() as tx:
                desk.use(tx, SUPPORT, asked, CONTENT)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(spend, range(4))) == 1
    assert desk.get(asked).state == "used"


def test_who_may_ask_decide_and_withdraw(db: Database, desk: Approvals) -> None:
    with pytest.raises(Forbidden):
        ask(db, desk, VIEWER)
    asked = ask(db, desk)
    for actor in (SUPPORT, ADMIN, VIEWER):
        with pytest.raises(Forbidden):
            desk.approve(actor, asked, "yes")
    with pytest.raises(Forbidden):
        desk.reject(ADMIN, asked, "no")
    assert desk.reject(SUPPORT, asked, "my mistake").state == "rejected"
    with pytest.raises(Forbidden):
        desk.expire(SUPPORT)


def test_reasons_are_mandatory_on_both_sides(db: Database, desk: Approvals) -> None:
    with pytest.raises(InvalidInput, match=r"reason\.missing"):
        ask(db, desk, reason=" ")
    asked = ask(db, desk)
    with pytest.raises(InvalidInput, match=r"reason\.missing"):
        desk.approve(APPROVER, asked, "")
    with pytest.raises(NotFound, match=r"approval\.not_found"):
        desk.approve(APPROVER, db.ids.new(), "yes")


def test_a_dry_run_decides_nothing(db: Database, desk: Approvals) -> None:
    asked = ask(db, desk)
    assert desk.approve(APPROVER, asked, "yes", dry_run=True).state == "approved"
    assert desk.get(asked).state == "pending"


def test_listing(db: Database, desk: Approvals, clock: ManualClock) -> None:
    first = ask(db, desk)
    clock.advance(timedelta(hours=1))
    second = ask(db, desk, OTHER_APPROVER)
    desk.reject(APPROVER, first, "no")
    assert [each.id for each in desk.list()] == [second, first]
    assert [each.id for each in desk.list(state="pending")] == [second]
    assert desk.list(state="pending", not_by="ama") == []
    assert [each.id for each in desk.list(since=clock.now())] == [second]
    assert [each.id for each in desk.list(after=second)] == [first]


# -- thresholds ---------------------------------------------------------------------------------


def needed(
    db: Database, desk: Approvals, kind: str, amount: int | None, currency: str | None = "EUR",
    actor: Actor = SUPPORT,
) -> str | None:  # fmt: skip
    with db.transaction() as tx:
        return desk.needed(tx, kind, amount, currency, actor)


@pytest.mark.parametrize(
    ("kind", "currency", "limit"),
    [
        ("refund", "EUR", 200_00),
        ("refund", "XOF", 130_000),
        ("withdrawal", "EUR", 500_00),
        ("withdrawal", "XOF", 330_000),
    ],
)
def test_the_defaults_of_a_fresh_book(
    db: Database, desk: Approvals, kind: str, currency: str, limit: int
) -> None:
    assert needed(db, desk, kind, limit, currency) is None
    assert needed(db, desk, kind, limit + 1, currency) == "above_limit"
    assert needed(db, desk, kind, None, currency) == "above_limit"


def test_what_always_and_what_never_had_a_threshold(db: Database, desk: Approvals) -> None:
    for kind in ("refund_late", "destination_new", "case_resolve", "ledger_adjustment",
                 "write_off", "routing_change", "threshold_change", "breaker_force"):  # fmt: skip
        assert needed(db, desk, kind, None, None) == "always"
        assert needed(db, desk, kind, 1, "TND") == "always"
    assert needed(db, desk, "refund", 1, "TND") == "no_threshold"
    assert needed(db, desk, "unheard_of", 1, "EUR") == "no_threshold"


def test_slicing_stops_at_the_daily_sum_of_one_operator(
    db: Database, desk: Approvals, clock: ManualClock
) -> None:
    for _ in range(10):
        assert needed(db, desk, "refund", 200_00) is None
    assert needed(db, desk, "refund", 1) == "above_daily_limit"
    assert needed(db, desk, "refund", 1, actor=OTHER_APPROVER) is None
    assert needed(db, desk, "refund", 1, "XOF") is None
    assert needed(db, desk, "withdrawal", 1) is None
    core = Actor("shop", frozenset({"core"}), "core")
    for _ in range(12):
        assert needed(db, desk, "refund", 200_00, actor=core) is None
    clock.advance(timedelta(hours=24) - timedelta(microseconds=1))
    assert needed(db, desk, "refund", 1) == "above_daily_limit"
    clock.advance(timedelta(microseconds=1))
    assert needed(db, desk, "refund", 200_00) is None


def test_slices_at_the_same_moment_see_each_other(db: Database, desk: Approvals) -> None:
    barrier = Barrier(12)

    def slice_(_: int) -> bool:
        barrier.wait(10)
        return needed(db, desk, "refund", 200_00) is None

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(slice_, range(12))) == 10


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(amounts=st.lists(st.integers(1, 30_000), max_size=40))
@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_what_passes_alone_never_exceeds_the_daily_sum(
    db: Database, desk: Approvals, amounts: list[int]
) -> None:
    actor = Actor(f"op-{db.ids.new()}", frozenset({"support"}))
    passed = [
        amount for amount in amounts if needed(db, desk, "refund", amount, actor=actor) is None
    ]
    assert sum(passed) <= 2_000_00 and all(amount <= 200_00 for amount in passed)


def test_a_threshold_changes_by_two_people_and_keeps_its_history(
    db: Database, desk: Approvals
) -> None:
    rules = Thresholds(db, desk)
    asked = rules.request(ADMIN, kind="refund", currency="EUR", limit_minor=10_00,
                          daily_limit_minor=20_00, reason="season")  # fmt: skip
    with pytest.raises(Conflict, match="not_granted"):
        rules.apply(ADMIN, asked)
    assert needed(db, desk, "refund", 200_00) is None
    desk.approve(APPROVER, asked, "agreed")
    assert rules.apply(APPROVER, asked).version == 2
    with pytest.raises(Conflict, match="not_granted"):
        rules.apply(APPROVER, asked)
    assert needed(db, desk, "refund", 10_01) == "above_limit"
    history = [rule for rule in rules.list(history=True)
               if (rule.kind, rule.currency) == ("refund", "EUR")]  # fmt: skip
    assert [(rule.version, rule.limit_minor, rule.set_by) for rule in history] == [
        (2, 10_00, "ada"), (1, 200_00, "payctl"),
    ]  # fmt: skip
    assert sum(rule.kind == "refund" and rule.currency == "EUR" for rule in rules.list()) == 1
    for table in (approval_threshold, approval_spend):
        for statement in (sa.update(table).values(currency="XXX"), sa.delete(table)):
            with pytest.raises(sa.exc.IntegrityError), db.transaction() as tx:
                tx.execute(statement)


def test_an_approval_for_something_else_sets_no_threshold(db: Database, desk: Approvals) -> None:
    asked = ask(db, desk)
    desk.approve(APPROVER, asked, "yes")
    with pytest.raises(Conflict, match="not_granted"):
        Thresholds(db, desk).apply(APPROVER, asked)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kind": "nonsense"}, "approval.unknown_kind"),
        ({"currency": "XYZ"}, "currency.unknown"),
        ({"limit_minor": 3_00}, "approval.bad_limits"),
        ({"limit_minor": -1}, "approval.bad_limits"),
        ({"reason": ""}, "reason.missing"),
    ],
)
def test_thresholds_that_make_no_sense(
    db: Database, desk: Approvals, change: dict[str, Any], code: str
) -> None:
    wish: dict[str, Any] = {"kind": "refund", "currency": "TND", "limit_minor": 1_00,
                            "daily_limit_minor": 2_00, "reason": "why"}  # fmt: skip
    with pytest.raises(PayctlError) as refused:
        Thresholds(db, desk).request(ADMIN, **{**wish, **change})
    assert refused.value.code == code
    assert desk.list() == []
