"""``payctl gateways explain`` reads like an answer from a colleague, in both languages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from payctl.cli.gateway_words import CHANGES, WHY, WIDTH
from payctl.cli.messages import catalogue
from payctl.db.engine import Database
from payctl.gateways.base import Answer, BalanceLine, Outcome
from tests.cli.runner import Result, run
from tests.cli.schemas import check
from tests.payments.kit import MOMO, OPERATOR, Kit, make_kit

pytestmark = pytest.mark.integration
Run = Callable[..., Result]
CI = {**MOMO, "methods": ["mobile_money"], "currencies": ["XOF"], "countries": ["CI"]}
PHONE = "+2250700000000"


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


@pytest.fixture
def kit(db: Database, tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(
        db,
        tmp_path,
        {
            "orange-ci": {**CI, "networks": ["orange"]},
            "mtn-ci": {**CI, "networks": ["mtn"], "limits": {"XOF": [100, 2_000_000]}},
            "aggregator": {**CI, "limits": {"XOF": [100, 1_000_000]}, "steps": {"XOF": 5}},
            "cards": {"methods": ["card"], "currencies": ["EUR", "XOF"]},
        },
    )
    yield made
    for gateway in made.gateways.values():
        gateway.close()


@pytest.fixture
def go(kit: Kit) -> Run:
    return lambda *words, **options: run("gateways", *words, app=kit.app, **options)


def explain(go: Run, *more: str, amount: str = "15000") -> Result:
    return go(
        "explain", "--amount", amount, "--currency", "XOF", "--country", "CI", "--method",
        "mobile_money", "--phone", PHONE, *more,
    )  # fmt: skip


def set_up(go: Run, kit: Kit) -> None:
    """Fees, forty payments at one, a float, and a gateway that is drained for a while."""
    for account, percent in (("aggregator", "1.5"), ("orange-ci", "2")):
        go("fees", "set", account, "--currency", "XOF", "--percent", percent, "--reason", "x")
    for _ in range(60):
        with kit.app.db.transaction() as tx:
            kit.app.breakers.record(tx, "orange-ci", "collect", Answer(Outcome.SUCCEEDED))
    lines = [BalanceLine("XOF", 1_250_000, part="float")]
    kit.gateways["orange-ci"].balance = lambda: lines  # type: ignore[method-assign]
    kit.app.float_watch.read({"orange-ci": kit.gateways["orange-ci"]})
    until = kit.clock.now() + timedelta(hours=2)
    kit.app.gateway_settings.set_state(
        OPERATOR, "mtn-ci", "draining", reason="maintenance", until=until
    )


def test_the_choice_its_reason_and_everybody_elses(go: Run, kit: Kit) -> None:
    set_up(go, kit)
    assert explain(go, "-o", "table").out.splitlines() == [
        "15 000 XOF by mobile money from CI with +225 07 ** ** 00 (by its prefix Orange)",
        "would go to orange-ci: it serves Orange numbers itself.",
        "",
        "  1. orange-ci   serves that network itself; charges about 300 XOF; 100 % of its",
        "                 last 60 payments succeeded; its breaker is closed; 1 250 000",
        "                 XOF left for payouts (2026-11-02 09:00:00)",
        "  2. aggregator  charges about 225 XOF; no payments lately; its breaker is",
        "                 closed",
        "",
        "Not possible:",
        "  -  cards       does not take mobile_money, only card",
        "  -  mtn-ci      ama lets it take no new payments until 2026-11-02 11:00:00:",
        "                 maintenance",
        "",
        "What would change this:",
        "  - aggregator, for a number of another network than Orange",
        "  - mtn-ci again, after payctl gateways enable mtn-ci --reason TEXT",
    ]


def test_the_same_in_french(go: Run, kit: Kit) -> None:
    set_up(go, kit)
    said = explain(go, "-o", "table", "--lang", "fr").out
    flat = " ".join(said.split())
    assert flat.startswith(
        "15 000 XOF par mobile money depuis CI avec +225 07 ** ** 00 (d'après son préfixe Orange) :"
        " ce paiement irait chez orange-ci : elle dessert elle-même les numéros Orange."
    )
    assert "Ce qui changerait cela :" in said
    assert "1 250 000 XOF pour les versements" in flat


@pytest.mark.parametrize("lang", ["en", "fr"])
@pytest.mark.parametrize("amount", ["15000", "15003", "99", "3000000"])
def test_no_line_is_wider_than_a_terminal_and_no_number_is_whole(
    go: Run, kit: Kit, lang: str, amount: str
) -> None:
    set_up(go, kit)
    said = explain(go, "-o", "table", "--lang", lang, amount=amount)
    assert max(map(len, said.out.splitlines())) <= WIDTH
    for text in (said.out, said.err, explain(go, "--json", amount=amount).out):
        assert PHONE not in text and PHONE[4:] not in text


def test_other_amounts_that_would_do_are_named(go: Run, kit: Kit) -> None:
    flat = " ".join(explain(go, "-o", "table", amount="15003").out.split())
    assert "aggregator 15 003 XOF is no multiple of 5 XOF, the step it takes" in flat
    assert "- aggregator, for 15 000 XOF, 15 005 XOF" in flat


def test_for_machines(go: Run, kit: Kit) -> None:
    set_up(go, kit)
    found: Any = check(explain(go, "--json").json)
    assert (found["gateway"], found["why"], found["network"]) == ("orange-ci", "network", "orange")
    assert found["phone"] == "+225 07 ** ** 00"
    assert found["explanation"].endswith("it serves Orange numbers itself.")
    assert found["changes"] == [
        {"gateway": "aggregator", "code": "network", "amounts_minor": []},
        {"gateway": "mtn-ci", "code": "enable", "amounts_minor": []},
    ]
    first = found["candidates"][0]
    assert (first["network_fit"], first["float_minor"]) == ("own", 1_250_000)
    assert first["float_read_at"] == "2026-11-02T09:00:00.000Z"


def test_nobody_can(go: Run) -> None:
    found = check(explain(go, "--json", amount="1").json)
    codes = {each["gateway"]: each["codes"] for each in found["candidates"]}
    assert codes["mtn-ci"] == ["below_limit"]
    eur = go("explain", "--amount", "1.00", "--currency", "EUR", "--method", "paypal", "--json")
    assert (eur.json["gateway"], eur.json["why"]) == (None, "none")


def test_every_reason_and_change_has_its_sentence() -> None:
    for lang in ("en", "fr"):
        for key in (*WHY.values(), *CHANGES.values(), "route_why_other_network"):
            assert f"ui.{key}" in catalogue(lang)
