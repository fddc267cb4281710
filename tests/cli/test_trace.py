"""``payctl trace``, ``payctl today`` and ``payctl`` alone, as people and programs read them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from jobs.payment_sync import JOB
from payctl.ids import encode
from payctl.insight.findings import Schedule
from payctl.insight.today import Today
from tests.cli.runner import run
from tests.cli.schemas import check
from tests.payments.kit import APPROVER, OPERATOR, Kit

pytestmark = pytest.mark.integration
PHONE = "+2250700000034"


@pytest.fixture
def engine_name() -> str:
    """The services run on both engines in their own tests; here one is enough."""
    return "sqlite"


# -- trace ----------------------------------------------------------------------------------


def test_the_story_ends_in_where_the_money_is(kit: Kit) -> None:
    kit.pay(phone=PHONE)
    told = run("trace", "o-k1", "-o", "table", app=kit.app)
    lines = told.out.splitlines()
    assert told.code == 0
    assert lines[-1] == (
        "the money is now in wallet:org-1:pending (94.00 EUR), "
        "income:commission:ticket_sale (5.00 EUR), vat:FR (1.00 EUR)"
    )
    assert any(line.split() == ["Dr", "gateway:cards:collect", "100.00", "EUR"] for line in lines)
    assert lines[0].startswith("2026-11-02") and "Africa/Abidjan" in lines[0]
    story = [line for line in lines if not line.startswith(("the money", "lying", "fees", "next"))]
    assert max(map(len, story)) <= 80
    assert PHONE not in told.out + told.err


def test_the_story_in_french(kit: Kit) -> None:
    kit.pay(token="tok_lost_answer")
    told = run("trace", "o-k1", "-o", "table", "--lang", "fr", app=kit.app).out
    assert told.splitlines()[-1].startswith("inconnu : 100.00 EUR est peut-être chez cards")
    assert "ensuite : payctl payments sync pay_" in told


def test_no_money_moved_is_said_when_it_did_not(kit: Kit) -> None:
    kit.pay(token="tok_decline_card_declined")
    told = run("trace", "o-k1", "-o", "table", app=kit.app).out
    assert told.splitlines()[-1] == "no money moved"


def test_money_that_went_back_is_the_last_word_after_a_full_refund(kit: Kit) -> None:
    paid = kit.pay()
    kit.app.refunds.create(OPERATOR, paid.payment.id, key="r", reason="x")
    told = run("trace", "o-k1", "-o", "table", app=kit.app).out.splitlines()
    assert told[-1] == "went back to the customer from gateway:cards:collect (100.00 EUR)"


def test_programs_get_the_whole_story(kit: Kit) -> None:
    paid = kit.pay(phone=PHONE)
    shown = check(run("trace", PHONE, "--json", app=kit.app).json)
    assert "2250700000034" not in shown["ref"]
    [payment] = shown["payments"]
    assert payment["payment"]["id"] == encode("payment", paid.payment.id)
    assert (payment["verdict"], payment["places"][0]["account"]) == ("held", "wallet:org-1:pending")
    assert payment["money"].startswith("the money is now in wallet:org-1:pending")
    kinds = [item["kind"] for item in payment["timeline"]]
    assert {"payment", "route", "attempt", "call", "journal", "notification"} <= set(kinds)
    plain = run("trace", PHONE, app=kit.app).out.splitlines()
    assert len(plain) == len(kinds) and all("\t" in line for line in plain)
    assert run("trace", PHONE, "-q", app=kit.app).out.split() == [payment["payment"]["id"]]


def test_several_payments_are_told_line_by_line(kit: Kit) -> None:
    for number in range(3):
        kit.pay(f"k{number}", phone=PHONE)
    told = run("trace", PHONE, "-o", "table", app=kit.app)
    assert told.out.count("pay_") == 3 and "3 payments" in told.err
    assert PHONE not in told.out + told.err


def test_what_is_not_known_is_not_found(kit: Kit) -> None:
    done = run("trace", "4242 4242 4242 4242", "--json", app=kit.app)
    assert (done.code, done.error["code"]) == (3, "trace.nothing")
    assert "4242 4242" not in done.err
    assert run("trace", " ", app=kit.app).code == 2


# -- today ----------------------------------------------------------------------------------


def test_a_quiet_day_says_so(kit: Kit) -> None:
    kit.pay()
    for words in ((), ("today",)):
        done = run(*words, "-o", "table", app=kit.app)
        assert (done.code, done.out, done.err) == (0, "", "nothing needs you now\n")
    assert check(run("today", "--json", app=kit.app).json)["items"] == []


def test_what_waits_stands_there_with_the_command_to_type(kit: Kit) -> None:
    kit.pay("k1", token="tok_wrong_amount:5")
    lost = kit.pay("k2", token="tok_lost_answer")
    big = kit.pay("k3", amount_minor=500_000)
    asked = kit.app.refunds.create(OPERATOR, big.payment.id, key="r", reason="x")
    kit.gateways["cards"].add_outage(60)
    for number in range(6):
        kit.pay(f"down{number}", preferred=("cards",), method="card")
    items = check(run("today", "--json", app=kit.app).json)["items"]
    commands = [(item["kind"], item["command"]) for item in items]
    [case] = [item["id"] for item in items if item["kind"] == "case"]
    assert commands[0] == ("case", f"payctl cases show {case}")
    name = encode("payment", lost.payment.id)
    assert ("unknown", f"payctl payments sync {name}") in commands
    assert ("breaker", "payctl gateways breaker show cards") in commands
    assert not any(kind == "approval" for kind, _ in commands), "nobody approves their own request"
    for kind, line in commands:
        if kind in ("case", "unknown"):
            assert run(*line.split()[1:], app=kit.app).code in (0, 8)
    today: Today = kit.app.today
    mine = [duty for duty in today.duties(APPROVER) if duty.kind == "approval"]
    assert asked.approval_id is not None
    assert [duty.command for duty in mine] == [
        f"payctl approvals show {encode('approval', asked.approval_id)}"
    ]
    both = replace(OPERATOR, roles=frozenset({"finance", "approver"}))
    assert not any(duty.kind == "approval" for duty in today.duties(both)), "it was ama who asked"
    table = run("today", "-o", "table", app=kit.app)
    assert max(map(len, table.out.splitlines())) <= 80
    assert all("payctl " in line for line in table.out.splitlines()[1:])


def test_a_job_is_late_after_twice_its_period_or_when_it_failed(kit: Kit) -> None:
    schedules = [Schedule("payment_sync", 60), Schedule("webhook_apply", 60)]
    today = Today(
        kit.app.db, lambda: kit.app.cases, kit.app.approvals, lambda: schedules,
        lambda: kit.app.job_runs.last(),
    )  # fmt: skip

    def late() -> list[str]:
        return [duty.what for duty in today.duties(OPERATOR) if duty.kind == "job"]

    assert late() == [], "on a fresh book no job is late yet"
    with kit.app.job_runs.run("payment_sync", OPERATOR):
        pass
    assert late() == []
    kit.clock.advance(timedelta(seconds=121))
    assert late() == ["payment_sync late", "webhook_apply late"]
    with pytest.raises(ValueError, match="broken"), kit.app.job_runs.run("payment_sync", OPERATOR):
        raise ValueError("broken")
    assert late()[0] == "payment_sync failed"


# -- the janitor's job ----------------------------------------------------------------------


def test_the_janitor_runs_as_a_job_with_its_own_identity_and_counts(kit: Kit) -> None:
    for number in range(3):
        kit.pay(f"k{number}", token="tok_lost_answer")
    kit.clock.advance(timedelta(minutes=1))
    first = run("jobs", "run", "payment_sync", "--limit", "2", "--json", app=kit.app)
    assert (first.code, first.json["counts"]) == (0, {"looked_at": 2, "applied": 2})
    second = run("jobs", "run", "payment_sync", "--json", app=kit.app)
    assert second.json["counts"] == {"looked_at": 1, "applied": 1}
    last = kit.app.job_runs.last()["payment_sync"]
    assert (last.actor, last.state) == ("job:payment_sync", "done")
    assert JOB.role == "job.sync"
    assert kit.our_totals() == kit.provider_totals()
