"""Cases on both engines: opened once, worked on with evidence, decided about money by two."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from payctl import ids
from payctl.cases.model import Case, Resolver
from payctl.cases.service import Cases
from payctl.clock import ManualClock
from payctl.db.actor import Actor
from payctl.db.approvals import Approvals
from payctl.db.engine import Database
from payctl.db.operators import Operators
from payctl.db.tables import audit
from payctl.errors import ApprovalRequired, Conflict, Forbidden, InvalidInput, NotFound
from payctl.notifications.outbox import Outbox

pytestmark = pytest.mark.integration

JOB = Actor("job:payment_sync", frozenset({"job.sync"}), "job")
DESK = Actor("sam", frozenset({"support"}))
FINANCE = Actor("fatou", frozenset({"finance"}))
SECOND = Actor("awa", frozenset({"approver"}))


@pytest.fixture
def cases(db: Database) -> Cases:
    return Cases(db, Outbox(db))


def opened(db: Database, cases: Cases, **given: Any) -> UUID:
    values: dict[str, Any] = {
        "kind": "orphan", "subject_kind": "payment", "subject_id": db.ids.new(),
        "dedupe_key": f"k-{db.ids.new()}", "detail": {}, "actor": JOB, **given,
    }  # fmt: skip
    with db.transaction() as tx:
        return cases.open(tx, **values)


def test_a_matter_opens_one_case_until_it_is_resolved(db: Database, cases: Cases) -> None:
    first = opened(db, cases, dedupe_key="orphan:a")
    assert opened(db, cases, dedupe_key="orphan:a") == first
    cases.assign(DESK, first, None)
    assert opened(db, cases, dedupe_key="orphan:a") == first
    cases.resolve(DESK, first, "handled", "ticket 4711")
    again = opened(db, cases, dedupe_key="orphan:a")
    assert again != first
    assert [case.id for case in cases.list()] == [again]
    assert {case.id for case in cases.list(state=None)} == {first, again}


def test_open_says_what_when_and_by_whom(db: Database, cases: Cases, clock: ManualClock) -> None:
    subject = db.ids.new()
    case = cases.get(
        opened(
            db, cases, kind="unknown_outcome", subject_id=subject, gateway="stripe",
            amount_minor=2_500, currency="EUR",
            detail={"message": "card 4242 4242 4242 4242 refused", "codes": ["4000056655665556"]},
        )
    )  # fmt: skip
    assert (case.kind, case.state, case.subject_id, case.gateway) == (
        "unknown_outcome", "open", subject, "stripe",
    )  # fmt: skip
    assert (case.amount_minor, case.currency, case.opened_by) == (2_500, "EUR", JOB.name)
    assert (case.opened_at, case.due_at) == (clock.now(), clock.now() + timedelta(hours=4))
    assert case.detail == {
        "message": "card ************4242 refused",
        "codes": ["************5556"],
    }
    assert [(e.action, e.actor) for e in cases.history(case.id)] == [("opened", JOB.name)]
    assert [n.type for n in Outbox(db).list(object_id=case.id)] == ["case.opened"]


def test_a_kind_nobody_foresaw_opens_too(db: Database, cases: Cases, clock: ManualClock) -> None:
    case = cases.get(opened(db, cases, kind="from_a_plugin"))
    assert case.due_at == clock.now() + timedelta(hours=24)
    assert cases.resolve(DESK, case.id, "no_action", "looked at").state == "resolved"


def test_many_open_one_at_once(db: Database, cases: Cases) -> None:
    start = Barrier(8)

    def work(_: int) -> UUID:
        start.wait()
        return opened(db, cases, dedupe_key="config_error:stripe")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(work, range(8)))) == 1
    assert len(cases.list()) == 1


def test_the_matter_answers_itself(db: Database, cases: Cases) -> None:
    case_id = opened(db, cases, dedupe_key="unknown_outcome:a", kind="unknown_outcome")
    with db.transaction() as tx:
        given: dict[str, Any] = {"resolution": "succeeded", "evidence": "pi_1", "actor": JOB}
        assert cases.close(tx, "unknown_outcome:a", **given)
        assert not cases.close(tx, "unknown_outcome:a", **given)
        assert not cases.close(tx, "unknown_outcome:b", **given)
    case = cases.get(case_id)
    assert (case.state, case.resolution, case.evidence, case.resolved_by) == (
        "resolved", "succeeded", "pi_1", JOB.name,
    )  # fmt: skip
    assert [e.action for e in cases.history(case_id)] == ["opened", "closed"]
    assert [n.type for n in Outbox(db).list()] == ["case.opened", "case.resolved"]


def test_the_list_goes_by_amount_at_risk(db: Database, cases: Cases) -> None:
    plan = [("EUR", 100), ("XOF", 900), (None, None), ("EUR", 700), ("XOF", 50), ("EUR", 100)]
    made = [opened(db, cases, currency=c, amount_minor=a) for c, a in plan]
    order = [made[i] for i in (3, 0, 5, 1, 4, 2)]
    assert [case.id for case in cases.list()] == order
    seen: list[UUID] = []
    while page := cases.list(after=seen[-1] if seen else None, limit=2):
        seen += [case.id for case in page]
    assert seen == order


def test_filters(db: Database, cases: Cases) -> None:
    Operators(db).identify(token=None, local="kofi")
    one, two = opened(db, cases), opened(db, cases, kind="suspense")
    cases.assign(DESK, two, "kofi")
    subject = cases.get(one).subject_id
    assert [c.id for c in cases.list(kind="suspense")] == [two]
    assert [c.id for c in cases.list(state="open")] == [one]
    assert [c.id for c in cases.list(state="assigned", assigned="kofi")] == [two]
    assert [c.id for c in cases.list(subject_id=subject)] == [one]
    assert cases.list(state="resolved") == []
    with pytest.raises(InvalidInput) as error:
        cases.list(state="new")
    assert error.value.code == "case.unknown_state"


def test_assign(db: Database, cases: Cases) -> None:
    Operators(db).identify(token=None, local="kofi")
    case_id = opened(db, cases)
    assert cases.assign(DESK, case_id, "kofi").assigned_to == "kofi"
    assert cases.get(case_id).state == "assigned"
    cases.assign(DESK, case_id, None, dry_run=True)
    assert cases.get(case_id).state == "assigned"
    assert cases.assign(DESK, case_id, None).state == "open"
    with pytest.raises(NotFound) as error:
        cases.assign(DESK, case_id, "nobody")
    assert error.value.code == "operator.not_found"
    with pytest.raises(Forbidden):
        cases.assign(Actor("v", frozenset({"viewer"})), case_id, "kofi")
    cases.resolve(DESK, case_id, "handled", "done")
    with pytest.raises(Conflict):
        cases.assign(DESK, case_id, "kofi")


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        ("", "case.evidence_missing"),
        (" \n\t", "case.evidence_missing"),
        ("x" * 2_001, "case.evidence_too_long"),
        ("customer's card 4242-4242-4242-4242", "case.evidence_has_card"),
    ],
)
def test_no_resolution_without_evidence(
    db: Database, cases: Cases, evidence: str, code: str
) -> None:
    case_id = opened(db, cases)
    with pytest.raises(InvalidInput) as error:
        cases.resolve(DESK, case_id, "handled", evidence)
    assert (error.value.code, error.value.field) == (code, "evidence")
    assert cases.get(case_id).state == "open"


def test_resolve_refusals(db: Database, cases: Cases) -> None:
    case_id = opened(db, cases)
    with pytest.raises(Forbidden):
        cases.resolve(Actor("v", frozenset({"viewer"})), case_id, "handled", "x")
    with pytest.raises(InvalidInput) as error:
        cases.resolve(DESK, case_id, "succeeded", "x")
    assert error.value.code == "case.unknown_resolution"
    with pytest.raises(NotFound):
        cases.resolve(DESK, db.ids.new(), "handled", "x")
    cases.resolve(DESK, case_id, "handled", "x")
    with pytest.raises(Conflict) as conflict:
        cases.resolve(DESK, case_id, "handled", "x")
    assert conflict.value.code == "case.already_resolved"


def test_a_kind_that_moves_money_needs_its_resolver(db: Database, cases: Cases) -> None:
    case_id = opened(db, cases, kind="unknown_outcome")
    with pytest.raises(InvalidInput, match=r"case\.unknown_resolution"):
        cases.resolve(DESK, case_id, "handled", "x")


def test_resolving_acts_and_resolves_in_one_commit(db: Database, cases: Cases) -> None:
    seen: list[tuple[str, str, str]] = []

    def act(tx: sa.Connection, actor: Actor, case: Case, resolution: str, evidence: str) -> None:
        seen.append((actor.name, resolution, evidence))
        # What the payments floor does on every known outcome: it must not close the case first.
        assert not cases.close(
            tx, case.dedupe_key, resolution="failed", evidence="automatic", actor=JOB
        )
        if evidence == "wrong":
            raise Conflict("case.already_resolved", id="", resolution="", by="")

    cases.resolvers["orphan"] = Resolver(("adopted",), act)
    case_id = opened(db, cases)
    with pytest.raises(Conflict):
        cases.resolve(DESK, case_id, "adopted", "wrong")
    assert cases.get(case_id).state == "open"
    cases.resolve(DESK, case_id, "adopted", "  statement line 17 ", dry_run=True)
    assert cases.get(case_id).state == "open"
    done = cases.resolve(DESK, case_id, "adopted", "  statement line 17 ")
    assert (done.state, done.evidence, done.resolved_by) == (
        "resolved", "statement line 17", "sam",
    )  # fmt: skip
    assert seen[-1] == ("sam", "adopted", "statement line 17")
    with db.read() as tx:
        assert tx.execute(sa.select(audit.c.action)).scalars().all() == ["case.resolved"]


@pytest.fixture
def acted(cases: Cases) -> list[str]:
    """A resolver of unknown outcomes that notes what it was told to do."""
    done: list[str] = []
    cases.resolvers["unknown_outcome"] = Resolver(
        ("succeeded", "failed"),
        lambda tx, actor, case, resolution, evidence: done.append(resolution),
        frozenset({"succeeded", "failed"}),
    )
    return done


def test_money_is_decided_by_two(db: Database, cases: Cases, acted: list[str]) -> None:
    case_id = opened(db, cases, kind="unknown_outcome", amount_minor=2_500, currency="EUR")
    with pytest.raises(ApprovalRequired) as waiting:
        cases.resolve(FINANCE, case_id, "succeeded", "dashboard shows pi_1")
    assert acted == []
    approval = ids.decode(str(waiting.value.params["approval"]), "approval")
    with pytest.raises(ApprovalRequired) as repeated:
        cases.resolve(FINANCE, case_id, "succeeded", "dashboard shows pi_1")
    assert repeated.value.params == waiting.value.params, "asking again is the same request"
    with pytest.raises(Conflict):
        cases.resolve_approved(SECOND, approval)
    Approvals(db).approve(SECOND, approval, "saw it too")
    done = cases.resolve_approved(SECOND, approval)
    assert (done.state, done.resolution, done.resolved_by) == ("resolved", "succeeded", "fatou")
    assert acted == ["succeeded"]
    with pytest.raises(Conflict) as again:
        cases.resolve_approved(SECOND, approval)
    assert again.value.code == "case.already_resolved"
    assert [e.action for e in cases.history(case_id)] == [
        "opened", "approval_requested", "resolved",
    ]  # fmt: skip


def test_an_approval_is_for_what_was_asked(db: Database, cases: Cases, acted: list[str]) -> None:
    case_id = opened(db, cases, kind="unknown_outcome", amount_minor=2_500, currency="EUR")
    with pytest.raises(ApprovalRequired) as waiting:
        cases.resolve(FINANCE, case_id, "succeeded", "dashboard shows pi_1")
    approval = ids.decode(str(waiting.value.params["approval"]), "approval")
    Approvals(db).approve(SECOND, approval, "saw it too")
    with pytest.raises(ApprovalRequired):
        cases.resolve(FINANCE, case_id, "failed", "dashboard shows pi_1")
    assert acted == []
    # The first request is still good for exactly what it asked, whoever carries it out.
    assert cases.resolve_approved(SECOND, approval).resolution == "succeeded"


def test_an_approved_request_may_be_carried_out_by_repeating_it(
    db: Database, cases: Cases, acted: list[str]
) -> None:
    case_id = opened(db, cases, kind="unknown_outcome", amount_minor=2_500, currency="EUR")
    with pytest.raises(ApprovalRequired) as waiting:
        cases.resolve(FINANCE, case_id, "failed", "support call 12")
    approval = ids.decode(str(waiting.value.params["approval"]), "approval")
    Approvals(db).approve(SECOND, approval, "agreed")
    assert cases.resolve(FINANCE, case_id, "failed", "support call 12").state == "resolved"
    assert acted == ["failed"]


def test_an_expired_request_is_asked_anew(
    db: Database, cases: Cases, acted: list[str], clock: ManualClock
) -> None:
    case_id = opened(db, cases, kind="unknown_outcome", amount_minor=2_500, currency="EUR")
    with pytest.raises(ApprovalRequired) as first:
        cases.resolve(FINANCE, case_id, "failed", "support call 12")
    clock.advance(timedelta(hours=73))
    with pytest.raises(ApprovalRequired) as second:
        cases.resolve(FINANCE, case_id, "failed", "support call 12")
    assert first.value.params != second.value.params


def test_two_who_resolve_at_once_resolve_once(db: Database, cases: Cases) -> None:
    calls: list[str] = []
    cases.resolvers["orphan"] = Resolver(
        ("handled",), lambda tx, actor, case, resolution, evidence: calls.append(resolution)
    )
    case_id = opened(db, cases)
    start = Barrier(4)

    def work(number: int) -> str:
        start.wait()
        try:
            return cases.resolve(DESK, case_id, "handled", f"evidence {number}").evidence or ""
        except Conflict as error:
            return error.code

    with ThreadPoolExecutor(4) as pool:
        ends = sorted(pool.map(work, range(4)))
    assert ends[:3] == ["case.already_resolved"] * 3
    assert ends[3] == cases.get(case_id).evidence
    assert [e.action for e in cases.history(case_id)] == ["opened", "resolved"]


def test_the_database_guards_cases(db: Database, cases: Cases) -> None:
    case_id = opened(db, cases)
    for statement in (
        "UPDATE case_record SET state = 'resolved'",
        "UPDATE case_record SET state = 'assigned'",
        "UPDATE case_record SET amount_minor = 5",
        "UPDATE case_event SET actor = 'x'",
        "DELETE FROM case_event",
    ):
        with pytest.raises(sa.exc.DatabaseError), db.transaction() as tx:
            tx.execute(sa.text(statement))
    assert cases.get(case_id).state == "open"
