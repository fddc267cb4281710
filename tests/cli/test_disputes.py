"""``payctl disputes`` from the command line to the bank's answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from payctl.db.engine import Database
from payctl.ids import encode
from tests.cli.runner import Result, run
from tests.cli.schemas import check
from tests.payments.dispute_kit import Desk, open_desk

pytestmark = pytest.mark.gateways


@pytest.fixture
def engine_name() -> str:
    """The services run on both engines in their own tests; here one is enough."""
    return "sqlite"


@pytest.fixture
def desk(db: Database, tmp_path: Path) -> Iterator[Desk]:
    with open_desk(db, tmp_path) as desk:
        yield desk


def disputes(desk: Desk, *words: str) -> Result:
    return run("disputes", *words, app=desk.kit.app)


def opened(desk: Desk) -> tuple[str, str]:
    """A dispute of a fresh payment: Stripe's id and ours."""
    reference = desk.contested(desk.pay())
    desk.hear(reference)
    return reference, encode("dispute", desk.one().id)


def test_list_due_and_show(desk: Desk) -> None:
    _reference, name = opened(desk)
    listed = check(disputes(desk, "list", "--status", "open", "--json").json)
    assert [each["id"] for each in listed["items"]] == [name]
    assert check(disputes(desk, "list", "--status", "won", "--json").json)["items"] == []
    soon = check(disputes(desk, "due", "--within", "8d", "--json").json)
    assert [each["id"] for each in soon["items"]] == [name]
    assert disputes(desk, "due", "--within", "1d", "-q").out.strip() == ""
    shown = check(disputes(desk, "show", name, "--json").json)
    assert (shown["withdrawn_minor"], shown["frozen_minor"]) == (10_000, 9_400)
    told = disputes(desk, "show", name)
    assert f"payctl disputes contest {name}" in told.err
    assert "dispute:st" in told.err
    wrong = disputes(desk, "list", "--status", "angry", "--json")
    assert (wrong.code, wrong.error["code"]) == (2, "choice.unknown")


def test_contest_with_a_file(desk: Desk, tmp_path: Path) -> None:
    reference, name = opened(desk)
    scan = tmp_path / "scan.pdf"
    scan.write_bytes(b"%PDF-1.7 scan")
    words = ("contest", name, "--text", "scanned at the gate", "--evidence", str(scan), "--json")
    rehearsed = disputes(desk, *words, "--dry-run")
    assert (rehearsed.code, rehearsed.json["status"]) == (0, "needs_response")
    assert desk.fake.disputes.files == {}
    done = disputes(desk, *words)
    assert (done.code, check(done.json)["status"]) == (0, "under_review")
    assert desk.fake.disputes.held[reference]["evidence"]["uncategorized_file"]
    missing = disputes(desk, "contest", name, "--text", "x", "--evidence", "/none.pdf", "--json")
    assert (missing.code, missing.error["code"]) == (2, "dispute.file_unreadable")


def test_accept_is_final(desk: Desk) -> None:
    _reference, name = opened(desk)
    done = disputes(desk, "accept", name, "--reason", "called off", "--json")
    assert (done.code, check(done.json)["status"]) == (0, "lost")
    again = disputes(desk, "accept", name, "--reason", "called off", "--json")
    assert (again.code, again.error["code"]) == (5, "dispute.ended")


def test_sync_finds_what_no_webhook_told(desk: Desk) -> None:
    desk.contested(desk.pay())
    done = disputes(desk, "sync", "--json")
    assert (done.code, check(done.json)["counts"]) == (0, {"listed": 1})
    desk.fake.fault("401", "/disputes")
    broken = disputes(desk, "sync", "--json")
    assert (broken.code, broken.json["counts"]) == (9, {"list_cut": 1})


@pytest.mark.parametrize("by", ["payment", "dispute", "reference"])
def test_trace_tells_of_it_by_any_id(desk: Desk, by: str) -> None:
    reference, name = opened(desk)
    payment = encode("payment", desk.one().payment_id)
    asked = {"payment": payment, "dispute": name, "reference": reference}[by]
    story: Any = check(run("trace", asked, "--json", app=desk.kit.app).json)
    assert name in str(story)
    assert f"payctl disputes show {name}" in str(story)
