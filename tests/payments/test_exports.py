"""Exports: what they hold, in which order, and that another book takes them."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.tables import audit
from payctl.errors import Forbidden, InvalidInput
from payctl.payments.details import PaymentFilter
from payctl.payments.exports import EXPORTED
from tests.payments.import_kit import balances, load, row, write
from tests.payments.kit import OPERATOR, Kit, make_kit

pytestmark = pytest.mark.integration
EVERYTHING = PaymentFilter()


@pytest.fixture
def second(sqlite_template: Path, tmp_path: Path, clock: ManualClock) -> Iterator[Kit]:
    """Another, empty book."""
    shutil.copy(sqlite_template, tmp_path / "second.sqlite3")
    db = Database(f"sqlite:///{tmp_path / 'second.sqlite3'}", clock=clock)
    (tmp_path / "second").mkdir()
    made = make_kit(db, tmp_path / "second")
    yield made
    for gateway in made.gateways.values():
        gateway.close()
    db.dispose()


def exported(kit: Kit, form: str = "csv", wanted: PaymentFilter = EVERYTHING) -> str:
    return "".join(kit.app.exports.lines(OPERATOR, wanted, form))


def sold(kit: Kit, tmp_path: Path) -> None:
    """Sales of our own and imported ones, settled and not, with everything a sale can carry."""
    for number in range(3):
        kit.pay(
            f"own-{number}", amount_minor=5000 + number, description="=SUM(A1)", user="u-1",
            metadata={"seat": "12;A"}, event="e-1", phone="+2250700000034",
        )  # fmt: skip
        kit.clock.advance(timedelta(seconds=1))
    kit.pay("xof", amount_minor=15000, currency="XOF", country="CI", preferred=("momo",),
            method="mobile_money")  # fmt: skip
    rows = [row("old", settled="yes", fee="1.75", description="'twas\n\"so\""),
            row("free", fee="0.00"), row("-dash", fee="")]  # fmt: skip
    assert load(kit.app, write(tmp_path / "in.csv", rows))[0].recorded == 3


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_another_book_takes_an_export_and_exports_the_same(
    kit: Kit, second: Kit, tmp_path: Path, form: str
) -> None:
    sold(kit, tmp_path)
    first = exported(kit, form)
    (tmp_path / f"out.{form}").write_text(first, newline="")
    second.clock.advance(timedelta(minutes=1))
    report, refused = load(second.app, tmp_path / f"out.{form}")
    assert (report.recorded, refused) == (7, [])
    assert balances(second.app) == balances(kit.app)
    assert sorted(exported(second, form).splitlines()) == sorted(first.splitlines())
    second.check()


def test_an_export_is_in_the_order_of_time_and_says_what_cannot_be_imported(
    kit: Kit, second: Kit, tmp_path: Path
) -> None:
    sold(kit, tmp_path)
    given_back = kit.pay("back").payment
    kit.app.refunds.create(OPERATOR, given_back.id, key="r", reason="moved", amount_minor=100)
    kit.pay("declined", "tok_decline_insufficient_funds")
    text = exported(kit)
    found = list(csv.DictReader(io.StringIO(text)))
    assert tuple(found[0]) == EXPORTED
    times = [each["captured_at"] for each in found]
    assert times == sorted(times) and len(times) == 9
    assert text == exported(kit)
    by_key = {each["key"].lstrip("'"): each for each in found}
    assert (by_key["back"]["refunded_minor"], by_key["declined"]["status"]) == ("100", "failed")
    assert by_key["old"]["settled"] == "yes" and by_key["own-0"]["settled"] == "no"
    assert by_key["own-0"]["description"] == "'=SUM(A1)"
    (tmp_path / "out.csv").write_text(text, newline="")
    report, refused = load(second.app, tmp_path / "out.csv")
    assert report.recorded == 7
    assert sorted(code for _, code, _ in refused) == ["import.not_whole"] * 2


def test_filters_choose_and_json_lines_are_objects(kit: Kit, tmp_path: Path) -> None:
    sold(kit, tmp_path)
    wanted = PaymentFilter(status="succeeded", organiser="org-1", currency="EUR", gateway="cards")
    kept = [json.loads(line) for line in exported(kit, "jsonl", wanted).splitlines()]
    assert len(kept) == 6
    assert all(isinstance(each["amount_minor"], int) for each in kept)
    since = PaymentFilter(since=kit.clock.now() - timedelta(days=1))
    assert len(exported(kit, "jsonl", since).splitlines()) == 4
    with pytest.raises(InvalidInput, match=r"choice\.unknown"):
        exported(kit, "xml")
    with pytest.raises(InvalidInput, match=r"choice\.unknown"):
        exported(kit, "csv", PaymentFilter(status="lost"))


def test_an_export_needs_a_right_and_is_written_down(kit: Kit) -> None:
    with pytest.raises(Forbidden):
        kit.app.exports.lines(Actor("siri", frozenset({"viewer", "support"})), EVERYTHING, "csv")
    exported(kit, "csv", PaymentFilter(organiser="org-1"))
    with kit.app.db.read() as tx:
        kept = tx.execute(sa.select(audit).where(audit.c.action == "payments.exported")).one()
    assert (kept.actor, kept.data) == ("ama", {"organiser": "org-1"})
