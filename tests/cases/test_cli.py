"""``payctl cases`` from the command line to the case."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from payctl import ids
from payctl.cases.service import Cases
from payctl.cli.cases import next_command
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.notifications.outbox import Outbox
from tests.cli.runner import run
from tests.cli.schemas import check

pytestmark = pytest.mark.integration

JOB = Actor("job:payment_sync", frozenset({"job.sync"}), "job")


@pytest.fixture
def engine_name() -> str:
    """The service runs on both engines in its own tests; here one is enough."""
    return "sqlite"


def opened(db: Database, **given: Any) -> str:
    values: dict[str, Any] = {
        "kind": "orphan", "subject_kind": "payment", "subject_id": db.ids.new(), "detail": {},
        "dedupe_key": f"k-{db.ids.new()}", "actor": JOB, **given,
    }  # fmt: skip
    with db.transaction() as tx:
        return ids.encode("case", Cases(db, Outbox(db)).open(tx, **values))


def test_the_list_ends_each_line_with_the_next_command(db: Database) -> None:
    payment = UUID(int=7)
    low = opened(db, amount_minor=100, currency="EUR")
    high = opened(
        db, kind="unknown_outcome", subject_id=payment, amount_minor=2_500_00, currency="EUR"
    )
    config = opened(db, kind="config_error", subject_kind="gateway", subject_id=None,
                    gateway="stripe")  # fmt: skip
    items = check(run("cases", "list", "--json", db=db).json)["items"]
    assert [item["id"] for item in items] == [high, low, config]
    assert [item["next_command"] for item in items] == [
        f"payctl payments sync {ids.encode('payment', payment)}",
        f"payctl cases show {low}",
        "payctl gateways show stripe",
    ]
    table = run("cases", "list", "-o", "table", db=db)
    lines = [line.rstrip() for line in table.out.splitlines()[1:]]
    assert [line.endswith(item["next_command"]) for line, item in zip(lines, items, strict=True)]
    assert max(map(len, lines)) <= 80
    plain = run("cases", "list", db=db).out.splitlines()
    assert plain[0].split("\t")[-1] == items[0]["next_command"]


def test_pages(db: Database) -> None:
    for number in range(3):
        opened(db, amount_minor=number, currency="EUR")
    first = check(run("cases", "list", "--limit", "2", "--json", db=db).json)
    rest = check(run("cases", "list", "--after", first["next"], "--json", db=db).json)
    assert [i["amount_minor"] for i in first["items"] + rest["items"]] == [2, 1, 0]
    assert rest["next"] is None


def test_assign_and_resolve(db: Database) -> None:
    case = opened(db, amount_minor=2_500, currency="EUR", detail={"order": "o-1"})
    mine = check(run("cases", "assign", case, "--json", db=db).json)
    assert (mine["status"], bool(mine["assigned_to"])) == ("assigned", True)
    listed = run("cases", "list", "--assigned", mine["assigned_to"], "-q", db=db)
    assert listed.out.split() == [case]
    assert run("cases", "assign", case, "--nobody", "--json", db=db).json["status"] == "open"
    words = ("cases", "resolve", case, "--as", "handled", "--evidence", "ticket 4711", "--json")
    assert run(*words, "--dry-run", db=db).json["status"] == "resolved"
    assert check(run(*words, db=db).json)["evidence"] == "ticket 4711"
    again = run(*words, db=db)
    assert (again.code, again.error["code"]) == (5, "case.already_resolved")
    shown = check(run("cases", "show", case, "--json", db=db).json)
    assert shown["detail"] == {"order": "o-1"}
    assert [event["action"] for event in shown["history"]] == [
        "opened", "assigned", "assigned", "resolved",
    ]  # fmt: skip
    assert "ticket 4711" in run("cases", "show", case, "-o", "table", db=db).out
    assert run("cases", "list", "-q", db=db).out == ""
    assert run("cases", "list", "--status", "all", "-q", db=db).out.split() == [case]


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (("resolve", "CASE", "--as", "handled", "--evidence", " "), 2, "case.evidence_missing"),
        (("resolve", "CASE", "--as", "gone", "--evidence", "x"), 2, "case.unknown_resolution"),
        (
            ("resolve", "CASE", "--as", "handled", "--evidence", "4242 4242 4242 4242"),
            2,
            "case.evidence_has_card",
        ),
        (("show", "case_00000000000000000000000000"), 3, "case.not_found"),
        (("show", "pay_00000000000000000000000000"), 2, "id.wrong_kind"),
        (("list", "--status", "new"), 2, "case.unknown_state"),
        (("assign", "CASE", "--to", "nobody-here"), 3, "operator.not_found"),
    ],
)
def test_mistakes(db: Database, words: tuple[str, ...], exit_code: int, code: str) -> None:
    case = opened(db)
    line = ("cases", *(case if word == "CASE" else word for word in words))
    result = run(*line, "--json", db=db)
    assert (result.code, result.error["code"]) == (exit_code, code)
    assert "{" not in run(*line, "--lang", "fr", db=db).err


def test_resolving_money_waits_for_a_second_person(db: Database) -> None:
    """Through the whole house: the resolver of unknown outcomes is the payments floor's."""
    case = opened(db, kind="unknown_outcome", amount_minor=2_500, currency="EUR")
    words = ("cases", "resolve", case, "--as", "succeeded", "--evidence", "pi_1", "--json")
    result = run(*words, db=db)
    assert (result.code, result.error["code"]) == (10, "case.approval_required")
    approvals = run("approvals", "list", "--json", db=db).json["items"]
    assert [(a["kind"], a["content"]["resolution"]) for a in approvals] == [
        ("case_resolve", "succeeded")
    ]
    shown = run("cases", "show", case, "--json", db=db).json
    assert (shown["status"], shown["approval"]) == ("open", approvals[0]["id"])


def test_a_resolved_case_has_nothing_next_but_to_look(db: Database) -> None:
    service = Cases(db, Outbox(db))
    case = opened(db, kind="config_error", gateway="stripe", dedupe_key="k")
    with db.transaction() as tx:
        service.close(tx, "k", resolution="fixed", evidence="ping", actor=JOB)
    assert next_command(service.get(ids.decode(case))) == f"payctl cases show {case}"
