"""``payctl refunds`` from the command line to the customer's money."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from payctl import ids
from payctl.db.engine import Database
from payctl.ids import encode
from tests.cli.runner import run
from tests.cli.schemas import check
from tests.payments.kit import APPROVER, Kit, make_kit

pytestmark = pytest.mark.integration


@pytest.fixture
def engine_name() -> str:
    """The services run on both engines in their own tests; here one is enough."""
    return "sqlite"


def payment(kit: Kit, key: str = "k1", **other: Any) -> str:
    return encode("payment", kit.pay(key, **other).payment.id)


def create(kit: Kit, name: str, *words: str, key: str = "r1") -> Any:
    line = ["refunds", "create", name, "--reason", "called off", "--key", key, *words]
    return run(*line, app=kit.app)


def test_a_part_then_the_rest(kit: Kit) -> None:
    name = payment(kit)
    first = create(kit, name, "--amount", "40.00", "--json")
    shown = check(first.json)
    assert (first.code, shown["status"], shown["amount_minor"]) == (0, "succeeded", 4000)
    assert shown["payment"] == name and shown["provider_reference"]
    rest = create(kit, name, "--full", "--json", key="r2")
    assert check(rest.json)["amount_minor"] == 6000
    whole = check(run("payments", "show", name, "--json", app=kit.app).json)
    assert (whole["legacy_status"], whole["refunded_minor"]) == ("refunded", 10_000)
    assert [each["status"] for each in whole["refunds"]] == ["succeeded", "succeeded"]
    over = create(kit, name, "--amount", "0.01", "--json", key="r3")
    assert (over.code, over.error["code"]) == (5, "refund.too_much")


def test_the_same_line_refunds_once(kit: Kit) -> None:
    name = payment(kit)
    first, second = (create(kit, name, "--amount", "10.00", "--json") for _ in range(2))
    assert second.code == 0 and second.json["replayed"]
    assert first.json["id"] == second.json["id"]
    other = create(kit, name, "--amount", "11.00", "--json")
    assert (other.code, other.error["code"]) == (5, "key.reused")
    assert kit.our_totals() == kit.provider_totals()


@pytest.mark.parametrize("words", [(), ("--full", "--amount", "1.00")])
def test_how_much_must_be_said_once(kit: Kit, words: tuple[str, ...]) -> None:
    done = create(kit, payment(kit), *words, "--json")
    assert (done.code, done.error["code"]) == (2, "refund.amount_or_full")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--amount", "10"), "amount.ambiguous"),
        (("--amount", "10.00", "--reason", " "), "reason.missing"),
        (("--amount", "10.00", "--reason", "card 4242424242424242"), "pan.refused"),
        (("--amount", "10.00", "--key", "two words"), "key.malformed"),
    ],
)
def test_bad_input_sets_nothing_aside(kit: Kit, words: tuple[str, ...], code: str) -> None:
    name = payment(kit)
    done = create(kit, name, *words, "--json")
    assert (done.code, done.error["code"]) == (2, code)
    assert run("refunds", "list", "-q", app=kit.app).out == ""
    assert run("refunds", "list", "--payment", "nonsense", app=kit.app).code == 2


@pytest.mark.parametrize(
    ("token", "code", "status"),
    [
        ("tok_visa", 0, "succeeded"),
        ("tok_refund_decline_not_permitted", 6, "failed"),
        ("tok_refund_pending:60", 8, "pending"),
        ("tok_refund_lost_answer", 8, "unknown"),
    ],
)
def test_exit_codes_follow_the_state(kit: Kit, token: str, code: int, status: str) -> None:
    done = create(kit, payment(kit, token=token), "--full", "--json")
    assert (done.code, done.json["status"]) == (code, status)


def test_status_asks_the_provider(kit: Kit) -> None:
    made = create(kit, payment(kit, token="tok_refund_lost_answer"), "--full", "--json").json
    kit.clock.advance(timedelta(minutes=1))
    dry = run("refunds", "status", made["id"], "--dry-run", "--json", app=kit.app)
    assert (dry.code, dry.json["status"]) == (8, "unknown")
    done = run("refunds", "status", made["id"], "--json", app=kit.app)
    assert (done.code, check(done.json)["status"]) == (0, "succeeded")
    assert kit.our_totals() == kit.provider_totals()


def test_above_the_threshold_a_second_person_gets_the_line_to_type(kit: Kit) -> None:
    name = payment(kit, amount_minor=500_000)
    asked = create(kit, name, "--full", "-o", "table")
    assert asked.code == 10
    line = asked.err.strip().splitlines()[-1]
    assert "waits for a second person" in line and "payctl approvals approve apr_" in line
    [refund] = check(run("refunds", "list", "--status", "open", "--json", app=kit.app).json)[
        "items"
    ]
    assert refund["status"] == "awaiting_approval"
    assert refund["approval"] in line
    french = run("refunds", "show", refund["id"], "-o", "table", "--lang", "fr", app=kit.app)
    assert "attend une deuxième personne" in french.err
    sent = run("refunds", "send", refund["id"], "--json", app=kit.app)
    assert sent.code == 10, "asking again does not replace the second person"
    assert kit.provider_totals() == kit.our_totals()
    approval_id = ids.decode(refund["approval"], "approval")
    granted = kit.app.approvals.approve(APPROVER, approval_id, "checked")
    kit.app.after_approval[granted.kind](APPROVER, granted)
    done = run("refunds", "show", refund["id"], "--json", app=kit.app)
    assert done.json["status"] == "succeeded"


def test_a_dry_run_shows_the_entries_and_whether_approval_is_needed(kit: Kit) -> None:
    name = payment(kit, amount_minor=500_000)
    planned = check(create(kit, name, "--full", "--dry-run", "--json").json)
    assert planned["approval_reason"] == "above_limit"
    kinds = {each["kind"] for each in planned["entries"]}
    assert kinds == {"refund_reserved", "refund_paid"}
    kept = check(create(kit, name, "--full", "--keep-commission", "--dry-run", "--json").json)
    assert not any(each["account"].startswith(("income:", "vat:")) for each in kept["entries"])
    table = create(kit, name, "--full", "--dry-run", "-o", "table").out
    assert "refund:cards:outgoing" in table and max(map(len, table.splitlines())) <= 80
    assert run("refunds", "list", "-q", app=kit.app).out == ""


def test_a_proposed_refund_is_sent_by_hand(kit: Kit) -> None:
    payment(kit, token="tok_wrong_amount:5")
    [proposed] = run("refunds", "list", "--json", app=kit.app).json["items"]
    assert (proposed["status"], proposed["source"]) == ("proposed", "unapplied")
    planned = check(run("refunds", "send", proposed["id"], "--dry-run", "--json", app=kit.app).json)
    assert {"unapplied:cards"} < {each["account"] for each in planned["entries"]}
    done = run("refunds", "send", proposed["id"], "--json", app=kit.app)
    assert (done.code, done.json["status"]) == (0, "succeeded")
    assert kit.provider_totals() == kit.our_totals()


def test_what_came_back_is_sent_again(kit: Kit) -> None:
    made = create(kit, payment(kit, token="tok_refund_fails_later:60"), "--full", "--json").json
    early = run("refunds", "retry", made["id"], "--reason", "x", "--json", app=kit.app)
    assert (early.code, early.error["code"]) == (5, "refund.not_reversed")
    kit.clock.advance(timedelta(minutes=5))
    back = run("refunds", "status", made["id"], "-o", "table", app=kit.app)
    assert back.code == 8 and "payctl refunds retry rfd_" in back.err
    planned = run("refunds", "retry", made["id"], "--reason", "x", "--dry-run", "--json",
                  app=kit.app)  # fmt: skip
    assert [each["kind"] for each in check(planned.json)["entries"]] == ["refund_paid"] * 2
    again = run("refunds", "retry", made["id"], "--reason", "new card", "--json", app=kit.app)
    assert again.json["status"] == "succeeded" and len(again.json["attempts"]) == 2


def test_lists_page_and_fit(kit: Kit) -> None:
    name = payment(kit)
    made = [create(kit, name, "--amount", "1.00", "-q", key=f"r{n}").out.strip() for n in range(3)]
    page = check(run("refunds", "list", "--limit", "2", "--json", app=kit.app).json)
    assert [each["id"] for each in page["items"]] == [made[2], made[1]]
    rest = run("refunds", "list", "--after", page["next"], "-q", app=kit.app).out.split()
    assert rest == [made[0]]
    assert run("refunds", "list", "--all", "-q", app=kit.app).out.split() == made[::-1]
    table = run("refunds", "list", "-o", "table", app=kit.app).out
    assert max(map(len, table.splitlines())) <= 80
    unknown = encode("refund", kit.app.db.ids.new())
    for verb in ("show", "status", "send"):
        assert run("refunds", verb, unknown, app=kit.app).code == 3


PAYS_OUT: dict[str, Any] = {
    "methods": ["mobile_money"], "currencies": ["XOF"], "refunds": "none", "query_refunds": False,
    "payouts": ["msisdn"], "reports_payer": True, "payout_steps": {"XOF": 5},
    "float": {"XOF": 100_000},
}  # fmt: skip


def test_where_there_is_no_refund_it_goes_back_to_who_paid(db: Database, tmp_path: Path) -> None:
    kit = make_kit(db, tmp_path, {"kiosk": PAYS_OUT})
    name = payment(kit, amount_minor=15_000, currency="XOF", country="CI", method="mobile_money",
                   phone="+2250708091011", preferred=("kiosk",))  # fmt: skip
    off = create(kit, name, "--amount", "1002", "--json")
    assert (off.code, off.error["code"]) == (6, "refund.payout_off_step")
    assert "1\u202f005 XOF" in off.error["next"] or "1 005 XOF" in off.error["next"]
    waits = create(kit, name, "--amount", "1000", "--json", key="r2")
    shown = check(waits.json)
    assert (waits.code, shown["status"], shown["failure_code"]) == (
        8, "approved", "insufficient_float",
    )  # fmt: skip
    assert (shown["way"], shown["destination"]) == ("payout", "msisdn +225 07 ** ** 11")
    told = run("refunds", "show", shown["id"], app=kit.app)
    assert "gateway:kiosk:float:XOF" in told.err and "top it up" in told.err
    told = run("refunds", "show", shown["id"], "--lang", "fr", app=kit.app)
    assert "approvisionnez-la" in told.err
    for words in (("refunds", "show", shown["id"]), ("trace", name), ("payments", "show", name)):
        seen = run(*words, app=kit.app)
        assert "0708091011" not in seen.out + seen.err
        assert "07 ** ** 11" in seen.out + seen.err
