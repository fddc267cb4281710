"""Importing payments: what each row posts, verdicts per row, and that every row counts once."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payctl import ids
from payctl.db.actor import Actor
from payctl.db.tables import audit
from payctl.errors import Forbidden
from payctl.gateways.base import Answer, Fee, Outcome
from payctl.ids import encode
from payctl.ledger.periods import Periods
from payctl.payments import tables as t
from payctl.payments.details import PaymentFilter
from payctl.payments.imports import BATCH
from tests.payments.import_kit import balances, codes, load, payment_of, row, write
from tests.payments.kit import APPROVER, OPERATOR, Kit

pytestmark = pytest.mark.integration
COMMISSION, VAT, COLLECT = "income:commission:ticket_sale", "vat:FR", "gateway:cards:collect"
PENDING, TAKEN_OVER = "wallet:org-1:pending", "opening:migration"


def entries(kit: Kit, key: str) -> list[tuple[str, str, int]]:
    """Kind, account and amount of everything posted for the payment with this key."""
    payment_id = payment_of(kit.app, key).id
    with kit.app.db.read() as tx:
        found = kit.app.reports.entries(tx, payment_id=payment_id, limit=None)
    return sorted((each.kind, each.account.rpartition(":")[0], each.amount_minor) for each in found)


@pytest.mark.parametrize(
    ("values", "posted"),
    [
        (
            {"settled": "no", "fee": "1.75"},
            [
                ("capture", COLLECT, 10000),
                ("capture", COMMISSION, -500),
                ("capture", VAT, -100),
                ("capture", PENDING, -9400),
                ("gateway_fee", "expense:gateway_fee:cards", 175),
                ("gateway_fee", COLLECT, -175),
            ],
        ),
        (
            {"settled": "yes", "fee_minor": "175"},
            [
                ("capture_settled", COMMISSION, -500),
                ("capture_settled", TAKEN_OVER, -9400),
                ("capture_settled", TAKEN_OVER, 10000),
                ("capture_settled", VAT, -100),
                ("gateway_fee", "expense:gateway_fee:cards", 175),
                ("gateway_fee", TAKEN_OVER, -175),
            ],
        ),
        (
            {"amount": "15000", "currency": "XOF", "country": "CI", "gateway": "momo"},
            [
                ("capture", "gateway:momo:collect", 15000),
                ("capture", COMMISSION, -750),
                ("capture", "vat:CI", -135),
                ("capture", PENDING, -14115),
            ],
        ),
    ],
)
def test_a_row_posts_what_a_capture_of_our_own_would(
    kit: Kit, tmp_path: Path, values: dict[str, str], posted: list[Any]
) -> None:
    report, refused = load(kit.app, write(tmp_path / "a.csv", [row(**values)]))
    assert (report.recorded, refused) == (1, [])
    assert entries(kit, "k1") == sorted(posted)
    kit.check()


def test_an_import_and_a_capture_of_our_own_leave_the_same_balances(
    kit: Kit, tmp_path: Path
) -> None:
    paid = kit.pay(amount_minor=12345)
    ours = balances(kit.app)
    fee = str(ours["expense:gateway_fee:cards", "EUR"])
    again = row("other", amount="123.45", fee_minor=fee)
    load(kit.app, write(tmp_path / "a.csv", [again]))
    assert balances(kit.app) == {key: 2 * amount for key, amount in ours.items()}
    twin = payment_of(kit.app, "other")
    for name in ("commission_minor", "vat_minor", "pending_minor", "captured_minor", "rate"):
        assert getattr(twin, name) == getattr(paid.payment, name), name


def test_a_template_in_our_own_name_that_was_settled_owes_the_designer_nothing(
    kit: Kit, tmp_path: Path
) -> None:
    kit.app.commissions.set_role(OPERATOR, "template_sale", "principal", reason="finance decided")
    at = kit.clock.now().isoformat()
    kit.clock.advance(timedelta(hours=1))
    sold = row(amount="24.00", sale_type="template_sale", settled="yes", captured_at=at)
    load(kit.app, write(tmp_path / "a.csv", [sold]))
    assert balances(kit.app) == {
        (TAKEN_OVER, "EUR"): 2400 - 1400,
        ("income:template_sales", "EUR"): -2000,
        ("vat:FR", "EUR"): -400,
        ("expense:designer_share", "EUR"): 1400,
    }
    kit.check()


def test_the_payment_stands_at_its_own_time_with_its_attempt_and_notification(
    kit: Kit, tmp_path: Path
) -> None:
    told = row(
        user="u-1", event="e-1", email="a@example.com", phone="+2250700000034",
        description="Two entries", metadata='{"seat":"12A"}',
    )  # fmt: skip
    load(kit.app, write(tmp_path / "a.csv", [told]))
    at = datetime(2026, 10, 5, 12, tzinfo=UTC)
    wanted = PaymentFilter(since=at, until=at + timedelta(seconds=1))
    found = kit.app.queries.payments(wanted).items[0]
    payment, attempt = found.payment, found.attempts[0]
    assert (payment.created_at, payment.status, payment.captured_minor) == (at, "succeeded", 10000)
    assert (payment.user_ref, payment.event_ref, payment.email) == ("u-1", "e-1", "a@example.com")
    assert payment.metadata == {"seat": "12A"}
    assert payment.imported == {"file": "a.csv", "line": 2, "settled": False, "fee_minor": None}
    assert (attempt.state, attempt.provider_reference) == ("succeeded", "pi_k1")
    note = kit.app.outbox.list(object_id=payment.id)[0]
    assert (note.type, note.sequence, note.data["imported"]) == ("payment.succeeded", 1, True)
    assert note.data["id"] == encode("payment", payment.id)
    assert kit.app.lookup.trace(OPERATOR, "pi_k1").stories


def test_a_settled_payments_money_is_said_to_lie_outside_this_book(
    kit: Kit, tmp_path: Path
) -> None:
    load(kit.app, write(tmp_path / "a.csv", [row(settled="yes")]))
    where = kit.app.lookup.situation(payment_of(kit.app, "k1").id).whereabouts
    assert {(each.part, each.account, each.amount_minor) for each in where.places} == {
        ("held_at", TAKEN_OVER, 600), ("belongs_to", COMMISSION, 500), ("belongs_to", VAT, 100),
    }  # fmt: skip


def test_the_rate_of_the_payments_own_date_counts(kit: Kit, tmp_path: Path) -> None:
    from payctl.commissions.model import Scope

    kit.app.commissions.set_rate(
        OPERATOR, Scope("ticket_sale", "org-1"), rate_ppm=100_000, vat_country="FR",
        vat_ppm=200_000, reason="new contract",
    )  # fmt: skip
    now = kit.clock.now().isoformat()
    kit.clock.advance(timedelta(hours=1))
    rows = [row("old"), row("new", captured_at=now), row("other", captured_at=now,
                                                         organiser="org-2")]  # fmt: skip
    load(kit.app, write(tmp_path / "a.csv", rows))
    taken = {
        key: next(-amount for kind, account, amount in entries(kit, key) if account == COMMISSION)
        for key in ("old", "new", "other")
    }
    assert taken == {"old": 500, "new": 1000, "other": 500}


def test_the_same_file_twice_changes_nothing(kit: Kit, tmp_path: Path) -> None:
    rows = [row(f"k{number}", settled=("yes", "no")[number % 2]) for number in range(30)]
    first, _ = load(kit.app, write(tmp_path / "a.csv", rows))
    before = balances(kit.app)
    # The same content in the other format, with the amount in its other form.
    other = [{**each, "amount": "", "amount_minor": "10000"} for each in rows]
    again, refused = load(kit.app, write(tmp_path / "a.jsonl", other))
    assert (first.recorded, again.recorded, again.already, refused) == (30, 0, 30, [])
    assert balances(kit.app) == before
    with kit.app.db.read() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(t.payment)) == 30
    kit.check()


def test_a_bad_row_stops_no_other_and_the_corrected_rejects_complete_the_file(
    kit: Kit, tmp_path: Path
) -> None:
    rows = [row(f"k{number}") for number in range(BATCH + 20)]
    rows[3]["amount"] = "100"
    rows[BATCH + 5]["settled"] = ""
    report, refused = load(kit.app, write(tmp_path / "a.csv", rows))
    assert report.recorded == BATCH + 18
    assert refused == [(5, "amount.ambiguous", "amount"), (BATCH + 7, "import.missing_value",
                                                          "settled")]  # fmt: skip
    fixed = [{**rows[3], "amount": "100.00"}, {**rows[BATCH + 5], "settled": "no"}]
    for number, each in enumerate(fixed):
        each |= {"line": str(number), "error": "x", "message": "was wrong"}
    report, refused = load(kit.app, write(tmp_path / "fixed.csv", fixed))
    assert (report.recorded, refused) == (2, [])
    report, _ = load(kit.app, write(tmp_path / "a.csv", [*rows[:3], *rows[4:20]]))
    assert report.already == 19


def test_a_key_that_stands_twice_is_judged_by_what_became_of_the_first(
    kit: Kit, tmp_path: Path
) -> None:
    rows = [
        row("a"), row("a"), row("a", amount="100.01"),
        row("b", provider_reference="pi_a"), row("b", provider_reference="pi_b"),
    ]  # fmt: skip
    report, refused = load(kit.app, write(tmp_path / "a.csv", rows))
    assert (report.recorded, report.already) == (2, 1)
    assert refused == [(4, "key.reused", "key"), (5, "import.reference_taken",
                                                  "provider_reference")]  # fmt: skip
    kit.check()


def test_a_key_of_our_own_payment_cannot_be_imported_and_the_other_way_round(
    kit: Kit, tmp_path: Path
) -> None:
    kit.pay("k1")
    load(kit.app, write(tmp_path / "b.csv", [row("k2")]))
    _, refused = load(kit.app, write(tmp_path / "a.csv", [row("k1", provider_reference="pi_x")]))
    assert codes(refused) == ["key.reused"]
    with pytest.raises(Exception, match=r"key\.reused"):
        kit.pay("k2")


def test_a_receipt_the_book_has_already_is_not_booked_again(kit: Kit, tmp_path: Path) -> None:
    reference = kit.pay("k1").attempts[0].provider_reference
    before = balances(kit.app)
    rows = [row("k9", provider_reference=str(reference))]
    _, refused = load(kit.app, write(tmp_path / "a.csv", rows))
    assert codes(refused) == ["import.reference_taken"]
    assert balances(kit.app) == before
    # The key of a refused row stays free.
    report, _ = load(kit.app, write(tmp_path / "a.csv", [row("k9", provider_reference="pi_9")]))
    assert report.recorded == 1


def test_a_date_in_a_closed_month_counts_today(kit: Kit, tmp_path: Path) -> None:
    load(kit.app, write(tmp_path / "a.csv", [row("open")]))
    Periods(kit.app.db, kit.app.book).close(OPERATOR, 202610)
    load(kit.app, write(tmp_path / "a.csv", [row("late", fee="1.00")]))
    with kit.app.db.read() as tx:
        dated = {
            each.kind + str(each.effective_at.date())
            for each in kit.app.reports.entries(tx, limit=None)
        }
    today = kit.clock.now().date()
    assert dated == {"capture2026-10-05", f"capture{today}", f"gateway_fee{today}"}
    kit.check()


def test_a_closed_wallet_refuses_its_row_only(kit: Kit, tmp_path: Path) -> None:
    from payctl.ledger import store

    load(kit.app, write(tmp_path / "a.csv", [row("a", settled="yes")]))
    with kit.app.db.transaction() as tx:
        store.find_or_open(kit.app.db, tx, [(PENDING, "EUR")])
        store.close(kit.app.db, tx, OPERATOR, PENDING, "EUR", reason="left us")
    rows = [row("b"), row("c", organiser="org-2"), row("d", settled="yes")]
    report, refused = load(kit.app, write(tmp_path / "a.csv", rows))
    assert (report.recorded, codes(refused)) == (2, ["ledger.account_closed"])
    kit.check()


def test_an_imported_payment_is_refunded_like_any_other(kit: Kit, tmp_path: Path) -> None:
    """A settled sale's refund finds nothing pending: the organiser owes it."""
    reference = kit.pay("k0").attempts[0].provider_reference
    with kit.app.db.transaction() as tx:
        tx.execute(sa.update(t.attempt).values(provider_reference="elsewhere"))
    rows = [row("k1", settled="yes", provider_reference=str(reference))]
    load(kit.app, write(tmp_path / "a.csv", rows))
    payment = payment_of(kit.app, "k1")
    before = balances(kit.app)
    kit.app.refunds.create(OPERATOR, payment.id, key="r1", reason="event called off")
    after = balances(kit.app)
    moved = {
        key: after.get(key, 0) - before.get(key, 0)
        for key in before.keys() | after.keys()
        if after.get(key, 0) != before.get(key, 0)
    }
    assert moved == {
        ("owed:org-1", "EUR"): 9400, (COMMISSION, "EUR"): 500, (VAT, "EUR"): 100,
        (COLLECT, "EUR"): -10000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "posted"), [({}, 1), ({"fee": "1.00"}, 0), ({"settled": "yes"}, 0)]
)
def test_a_fee_the_file_has_told_is_not_booked_again(
    kit: Kit, tmp_path: Path, values: dict[str, str], posted: int
) -> None:
    load(kit.app, write(tmp_path / "a.csv", [row(**values)]))
    payment = payment_of(kit.app, "k1")
    answer = Answer(
        Outcome.SUCCEEDED, amount_minor=10000, currency="EUR", fee=Fee(100, "EUR", "txn_1")
    )
    with kit.app.db.transaction() as tx:
        applied = kit.app.outcomes.apply(
            tx, payment.attempt_id, answer, source="sync", call="query", actor=OPERATOR
        )
    assert len(applied.journals) == posted


def test_a_dry_run_writes_nothing_and_shows_the_first_entries(kit: Kit, tmp_path: Path) -> None:
    rows = [row(f"k{number}") for number in range(5)] + [row("bad", currency="EURO")]
    report, refused = load(kit.app, write(tmp_path / "a.csv", rows), dry_run=True)
    assert (report.recorded, codes(refused)) == (5, ["currency.unknown"])
    assert [each.kind for each in report.first] == ["capture"] * 3
    assert report.totals["EUR"].amount_minor == 50000
    assert balances(kit.app) == {}
    with kit.app.db.read() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(audit)) == 0
    assert load(kit.app, tmp_path / "a.csv")[0].recorded == 5


def test_who_imported_what_is_in_the_audit_trail(kit: Kit, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [row("a"), row("b", amount="1")])
    load(kit.app, path)
    with kit.app.db.read() as tx:
        query = sa.select(audit).where(audit.c.action.like("payment%.imported"))
        found = {each.action: each for each in tx.execute(query)}
    run, payment = found["payments.imported"], found["payment.imported"]
    assert run.actor == "ama"
    assert (run.data["file"], run.data["rows"], run.data["recorded"]) == ("a.csv", 2, 1)
    assert (run.data["refused"], len(run.data["sha256"])) == (1, 64)
    assert run.data["totals"] == {"EUR": {"rows": 1, "amount_minor": 10000}}
    assert (payment.data["file"], payment.data["line"]) == ("a.csv", 2)
    assert ids.decode(payment.data["id"], "payment") == payment.subject_id


@pytest.mark.parametrize("actor", [APPROVER, Actor("siri", frozenset({"support", "viewer"}))])
def test_only_finance_and_admin_import(kit: Kit, tmp_path: Path, actor: Actor) -> None:
    with pytest.raises(Forbidden):
        load(kit.app, write(tmp_path / "a.csv", [row()]), actor=actor)
    assert balances(kit.app) == {}


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"key": ""}, "import.missing_value"),
        ({"key": "a b"}, "key.malformed"),
        ({"amount": "100"}, "amount.ambiguous"),
        ({"amount": "100.000"}, "amount.decimals"),
        ({"amount": "1e3"}, "amount.not_a_number"),
        ({"amount": "-100.00"}, "amount.not_positive"),
        ({"amount": "0.00"}, "amount.not_positive"),
        ({"amount": "9999999999999.00"}, "amount.too_large"),
        ({"amount": "", "amount_minor": "99999999999999999999"}, "import.bad_minor"),
        ({"amount": "", "amount_minor": "12.5"}, "import.bad_minor"),
        ({"amount": "1.00", "amount_minor": "100"}, "amount.both"),
        ({"amount": ""}, "amount.missing"),
        ({"currency": "ZZZ"}, "currency.unknown"),
        ({"gateway": "nobody"}, "gateway.not_configured"),
        ({"captured_at": "2026-10-05"}, "import.bad_moment"),
        ({"captured_at": "2026-10-05T12:00:00"}, "import.bad_moment"),
        ({"captured_at": "2026-13-05T12:00:00Z"}, "import.bad_moment"),
        ({"captured_at": "1999-10-05T12:00:00Z"}, "import.bad_moment"),
        ({"captured_at": "2026-12-05T12:00:00Z"}, "import.in_the_future"),
        ({"settled": ""}, "import.missing_value"),
        ({"settled": "oui"}, "choice.unknown"),
        ({"method": "cheque"}, "choice.unknown"),
        ({"sale_type": "gift"}, "choice.unknown"),
        ({"country": "XX"}, "country.unknown"),
        ({"phone": "07000000"}, "phone.malformed"),
        ({"description": "paid with 4242 4242 4242 4242"}, "pan.refused"),
        ({"provider_reference": "4242424242424242"}, "pan.refused"),
        ({"provider_reference": "a b"}, "reference.malformed"),
        ({"description": "nul \x00 here"}, "import.bad_text"),
        ({"metadata": '{"a":"\\u0000"}'}, "import.bad_text"),
        ({"metadata": '{"a":"\\ud800"}'}, "import.bad_text"),
        ({"metadata": "[1]"}, "import.bad_metadata"),
        ({"metadata": '{"a":1}'}, "import.bad_metadata"),
        ({"fee": "1"}, "amount.ambiguous"),
        ({"fee": "1.00", "fee_minor": "100"}, "amount.both"),
        ({"fee_minor": "-1"}, "import.bad_minor"),
        ({"currency": "GNF", "amount": "5000"}, "import.no_rate"),
        ({"status": "failed"}, "import.not_whole"),
        ({"captured_minor": "9000"}, "import.not_whole"),
        ({"refunded_minor": "1"}, "import.not_whole"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_what_is_wrong_with_a_row_is_named(
    kit: Kit, tmp_path: Path, form: str, values: dict[str, str], code: str
) -> None:
    path = write(tmp_path / f"a.{form}", [row(), row("k2", **values)])
    report, refused = load(kit.app, path)
    assert (report.recorded, codes(refused)) == (1, [code])


def test_columns_are_refused_before_anything_is_written(kit: Kit, tmp_path: Path) -> None:
    for name, wrong in (
        ("import.unknown_column", {**row(), "colour": "red"}),
        ("import.missing_column", {k: v for k, v in row().items() if k != "settled"}),
        ("import.missing_column", {k: v for k, v in row().items() if k != "amount"}),
    ):
        for form in ("csv", "jsonl"):
            with pytest.raises(Exception, match=name):
                load(kit.app, write(tmp_path / f"a.{form}", [wrong]))
    assert balances(kit.app) == {}


def test_a_json_row_may_use_json_types(kit: Kit, tmp_path: Path) -> None:
    line: dict[str, Any] = {
        **row(), "amount": None, "amount_minor": 10000, "settled": False, "metadata": {"a": "b"},
        "fee_minor": 0,
    }  # fmt: skip
    text = json.dumps(line) + "\n\n" + json.dumps({**line, "key": "k2", "fee_minor": 1.5})
    (tmp_path / "a.jsonl").write_text(text + "\n{broken\n", encoding="utf-8-sig")
    report, refused = load(kit.app, tmp_path / "a.jsonl")
    assert report.recorded == 1
    assert refused == [(3, "import.bad_minor", "fee_minor"), (4, "import.bad_line", None)]


def test_a_semicolon_file_of_a_spreadsheet_with_a_mark_at_its_head(
    kit: Kit, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    write(path, [row(description="a;b", phone="+2250700000034")], ";")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    report, refused = load(kit.app, path)
    assert (report.recorded, refused) == (1, [])
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert len(next(csv.reader(file, delimiter=";"))) == len(row()) + 2
