"""``payctl commissions`` from the command line to the rate table."""

from __future__ import annotations

from datetime import timedelta

import pytest

from payctl.clock import ManualClock
from payctl.db.engine import Database
from tests.cli.runner import run
from tests.cli.schemas import check

pytestmark = pytest.mark.integration

SET = ("commissions", "rates", "set", "--type", "ticket_sale", "--reason", "price list", "--json")


@pytest.fixture
def engine_name() -> str:
    """The services run on both engines in their own tests; here one is enough."""
    return "sqlite"


def test_rates_are_listed(db: Database) -> None:
    result = run("commissions", "rates", "list", "--json", db=db)
    items = check(result.json)["items"]
    assert result.code == 0
    assert [(i["sale_type"], i["currency"], i["rate_ppm"], i["vat_ppm"]) for i in items] == [
        ("template_sale", "EUR", 300_000, 200_000),
        ("template_sale", "XAF", 300_000, 192_500),
        ("template_sale", "XOF", 300_000, 180_000),
        ("ticket_sale", "EUR", 50_000, 200_000),
        ("ticket_sale", "XAF", 50_000, 192_500),
        ("ticket_sale", "XOF", 50_000, 180_000),
    ]
    table = run("commissions", "rates", "list", "-o", "table", db=db)
    assert "19.25 %" in table.out
    assert max(map(len, table.out.splitlines())) <= 80


def test_a_rate_is_set_and_counts(db: Database) -> None:
    terms = ("--currency", "EUR", "--percent", "4.5", "--vat-percent", "20", "--vat-country", "FR")
    dry = run(*SET, *terms, "--dry-run", db=db)
    assert check(dry.json)["rate_ppm"] == 45_000
    assert len(run("commissions", "rates", "history", "--json", db=db).json["items"]) == 6
    done = run(*SET, *terms, "--min", "0.50", "--max", "20.00", db=db)
    assert (done.code, check(done.json)["minimum_minor"]) == (0, 50)
    history = check(run("commissions", "rates", "history", "--json", db=db).json)["items"]
    assert len(history) == 7
    sale = run(
        "commissions", "simulate", "--amount", "100.00", "--currency", "EUR", "--json", db=db
    )
    assert check(sale.json)["commission_minor"] == 450


def test_a_scope_is_withdrawn(db: Database, clock: ManualClock) -> None:
    mine = ("--organiser", "org-1")
    assert run(*SET, *mine, "--percent", "1", db=db).code == 0
    assert run(*SET, *mine, "--withdraw", db=db).error["code"] == "commission.same_moment"
    clock.advance(timedelta(seconds=1))
    assert run(*SET, *mine, "--withdraw", db=db).json["status"] == "withdrawn"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--percent", "5,12345"), "commission.bad_rate"),
        (("--percent", "101"), "commission.bad_rate"),
        (("--percent", "-1"), "commission.bad_rate"),
        ((), "commission.bad_rate"),
        (("--percent", "1", "--withdraw"), "commission.bad_rate"),
        (("--percent", "1", "--vat-percent", "20"), "commission.bad_vat"),
        (("--percent", "1", "--min", "1.00"), "commission.bounds_need_currency"),
        (("--percent", "1", "--min", "1", "--currency", "EUR"), "amount.ambiguous"),
        (("--percent", "1", "--country", "Ivory Coast"), "country.unknown"),
        (("--percent", "1", "--from", "2020-01-01"), "commission.in_the_past"),
        (("--percent", "1", "--from", "yesterday"), "time.bad_moment"),
    ],
)
def test_mistakes_are_said_plainly(db: Database, words: tuple[str, ...], code: str) -> None:
    result = run(*SET, *words, db=db)
    assert (result.code, result.error["code"]) == (2, code)
    for language in ("en", "fr"):
        said = run(*(w for w in SET if w != "--json"), *words, "--lang", language, db=db)
        assert f"[{code}]" in said.err
        assert "{" not in said.err


def test_simulate_with_a_refund(db: Database) -> None:
    words = ("commissions", "simulate", "--amount", "100.00", "--currency", "EUR")
    result = run(*words, "--refund", "33.33", "--json", db=db)
    shown = check(result.json)
    assert (shown["owner_minor"], shown["refund"]) == (
        9_400,
        [{"amount_minor": 3_333, "currency": "EUR", "commission_minor": 167, "vat_minor": 33,
          "owner_minor": 3_133}],
    )  # fmt: skip
    table = run(*words, "--refund", "33.33", "-o", "table", db=db)
    assert "94.00 EUR" in table.out
    assert "31.33 EUR" in table.out
    assert run(*words, "--refund", "100.01", "--json", db=db).error["code"] == (
        "commission.refund_too_large"
    )
    assert run("commissions", "simulate", "--amount", "1.000", "--currency", "TND", "--json",
               db=db).code == 4  # fmt: skip


def test_roles(db: Database) -> None:
    words = ("commissions", "roles", "set", "template_sale", "principal", "--reason", "ruling")
    assert check(run(*words, "--json", db=db).json)["role"] == "principal"
    assert len(check(run("commissions", "roles", "list", "--json", db=db).json)["items"]) == 3
    sale = run("commissions", "simulate", "--type", "template_sale", "--amount", "24.00",
               "--currency", "EUR", "--json", db=db)  # fmt: skip
    shown = check(sale.json)
    assert (shown["net_minor"], shown["vat_minor"], shown["owner_minor"]) == (2_000, 400, 1_400)
