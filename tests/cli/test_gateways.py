"""``payctl gateways``: what is printed, which code it ends with, and that JSON holds its schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from payctl.cli.gateway_words import REASONS
from payctl.cli.messages import catalogue
from payctl.db.engine import Database
from payctl.gateways.base import Answer, Outcome, RejectKind
from payctl.ids import decode
from payctl.payments.candidates import MIN_SAMPLES
from tests.cli.runner import Result, run
from tests.cli.schemas import check
from tests.payments.kit import APPROVER, CARDS, MOMO, Kit, make_kit

pytestmark = pytest.mark.integration
Run = Callable[..., Result]
EUR = ("gateways", "explain", "--amount", "25.00", "--currency", "EUR")


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


@pytest.fixture
def kit(db: Database, tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(
        db,
        tmp_path,
        {
            "cards": {**CARDS, "limits": {"EUR": [100, 100_000]}},
            "momo": {**MOMO, "currencies": ["XOF"]},
        },
    )
    yield made
    for gateway in made.gateways.values():
        gateway.close()


@pytest.fixture
def go(kit: Kit) -> Run:
    return lambda *words, **options: run(*words, app=kit.app, **options)


def flat(done: Result) -> str:
    """What was printed, without its line breaks."""
    return " ".join(done.out.split())


def record(kit: Kit, answer: Answer, times: int = 1) -> None:
    for _ in range(times):
        with kit.app.db.transaction() as tx:
            kit.app.breakers.record(tx, "cards", "collect", answer)


def approve(kit: Kit, refused: Result) -> None:
    approval_id = decode(refused.error["details"]["approval"], "approval")
    asked = kit.app.approvals.approve(APPROVER, approval_id, "seen it too")
    kit.app.after_approval[asked.kind](APPROVER, asked)


def test_every_list_and_object_holds_its_schema(go: Run) -> None:
    why = ("--reason", "contract", "--json")
    for words in (
        ("list", "--json"),
        ("show", "cards", "--json"),
        ("health", "--json"),
        ("drain", "momo", "--for", "2h", *why),
        ("limits", "set", "cards", "--currency", "EUR", "--max", "20.00", *why),
        ("fees", "set", "cards", "--currency", "EUR", "--percent", "1,4", "--fixed", "0.25", *why),
        ("breaker", "open", "cards", "--for", "10m", *why),
        ("breaker", "show", "--json"),
        ("breaker", "reset", "cards", *why),
        ("limits", "list", "--json"),
        ("fees", "list", "cards", "--json"),
        ("rules", "add", "r", "--set", "only=cards", "--dry-run", *why),
        ("rules", "list", "--json"),
        ("rules", "history", "--json"),
        ("show", "cards", "--json"),
        ("list", "--json"),
    ):
        done = go("gateways", *words)
        assert done.code == 0, (words, done.err)
        check(done.json)


def test_show_tells_the_quarantine_and_both_kinds_of_limits(go: Run) -> None:
    go("gateways", "limits", "set", "cards", "--currency", "EUR", "--max", "20.00", "--reason", "x")
    shown = go("gateways", "show", "cards", "--json").json
    assert shown["quarantine_s"] == 900
    assert [(each["max_minor"], each["set_by"] == "provider") for each in shown["limits"]] == [
        (100_000, True),
        (2000, False),
    ]


def test_explain_answers_like_a_colleague(go: Run, kit: Kit) -> None:
    record(kit, Answer(Outcome.SUCCEEDED), MIN_SAMPLES)
    go("gateways", "fees", "set", "cards", "--currency", "EUR", "--percent", "1.4",
       "--fixed", "0.25", "--reason", "x")  # fmt: skip
    said = go(
        *EUR, "--method", "card", "--country", "FR", "--preferred", "paypal,cards", "-o", "table"
    )
    assert said.out.splitlines() == [
        "25.00 EUR by card from FR would go to cards: no other gateway can take it now.",
        "",
        "  1. cards  you prefer it; charges about 0.60 EUR; 100 % of its last"
        f" {MIN_SAMPLES} payments",
        "            succeeded; its breaker is closed",
        "",
        "Not possible:",
        "  -  momo   does not take EUR, only XOF",
        "",
        "Preferred, but no gateway of this book: paypal.",
    ]


def test_explain_in_french(go: Run) -> None:
    said = go(*EUR, "--method", "paypal", "-o", "table", "--lang", "fr")
    assert said.out.startswith("Aucune passerelle ne peut prendre 25.00 EUR par PayPal maintenant.")
    assert "ne prend pas paypal, seulement card" in said.out
    assert "ne prend pas EUR, seulement XOF" in said.out


def test_explain_names_every_reason_of_a_gateway(go: Run, kit: Kit) -> None:
    go("gateways", "drain", "cards", "--reason", "contract ends")
    record(kit, Answer(Outcome.NOT_SENT), 5)
    said = flat(go("gateways", "explain", "--amount", "0.50", "--currency", "EUR", "-o", "table"))
    assert "lets it take no new payments: contract ends" in said
    assert "0.50 EUR is below the 1.00 EUR it takes at least" in said
    assert "is spared because five calls in a row failed; next try at 2026-11-02 09:0" in said


def test_explain_after_refused_credentials_says_what_to_type(go: Run, kit: Kit) -> None:
    record(kit, Answer(Outcome.REJECTED, reject=RejectKind.AUTH))
    said = flat(go(*EUR, "-o", "table"))
    assert "payctl gateways breaker reset cards --reason TEXT" in said
    assert go("gateways", "breaker", "reset", "cards", "--reason", "new key").code == 0
    assert "would go to cards" in go(*EUR, "-o", "table").out


def test_explain_for_machines(go: Run, kit: Kit) -> None:
    found = check(go(*EUR, "--json").json)
    assert found["gateway"] == "cards" and found["amount_minor"] == 2500
    assert [(each["gateway"], each["rank"], each["codes"]) for each in found["candidates"]] == [
        ("cards", 1, []),
        ("momo", 0, ["currency"]),
    ]
    assert go(*EUR, "-q").out == "cards\n"
    lines = go(*EUR).out.splitlines()
    assert [line.split("\t")[:2] for line in lines] == [["1", "cards"], ["0", "momo"]]


def test_explaining_changes_nothing(go: Run, kit: Kit) -> None:
    record(kit, Answer(Outcome.NOT_SENT), 5)
    kit.clock.advance(timedelta(minutes=2))
    for _ in range(2):
        assert "would try whether it is back" in flat(go(*EUR, "-o", "table"))


def test_each_reason_has_its_sentence_in_both_languages() -> None:
    for lang in ("en", "fr"):
        assert all(f"ui.{word}" in catalogue(lang) for word in REASONS.values())


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("show", "card"), 3, "gateway.not_found"),
        (("health", "card"), 3, "gateway.not_found"),
        (("limits", "list", "card"), 3, "gateway.not_found"),
        (("explain", "--amount", "25", "--currency", "EUR"), 2, "amount.ambiguous"),
        (("explain", "--amount", "-1.00", "--currency", "EUR"), 2, "amount.not_positive"),
        (("explain", "--amount", "25.00", "--currency", "EUX"), 2, "currency.unknown"),
        (("explain", "--amount", "25.00", "--currency", "EUR", "--country", "FRA"), 2,
         "country.unknown"),
        (("explain", "--amount", "25.00", "--currency", "EUR", "--method", "visa"), 2,
         "choice.unknown"),
        (("disable", "cards", "--for", "soon", "--reason", "x"), 2, "time.bad_span"),
        (("disable", "cards", "--for", "1h", "--until", "2027-01-01", "--reason", "x"), 2,
         "gateway.two_ends"),
        (("disable", "cards", "--until", "2020-01-01", "--reason", "x"), 2, "gateway.until_past"),
        (("limits", "set", "cards", "--currency", "EUR", "--reason", "x"), 2,
         "gateway.limit_or_lift"),
        (("limits", "set", "cards", "--currency", "EUR", "--lift", "--min", "1.00", "--reason",
          "x"), 2, "gateway.limit_or_lift"),
        (("limits", "set", "cards", "--currency", "XOF", "--min", "1.00", "--reason", "x"), 2,
         "amount.decimals"),
        (("fees", "set", "cards", "--currency", "EUR", "--percent", "lots", "--reason", "x"), 2,
         "gateway.fee_malformed"),
        (("breaker", "reset", "cards", "--class", "all", "--reason", "x"), 2, "choice.unknown"),
        (("breaker", "open", "cards", "--for", "2h", "--reason", "x"), 10,
         "breaker.approval_required"),
        (("rules", "add", "r", "--set", "only", "--reason", "x"), 2, "route.bad_pair"),
        (("rules", "add", "r", "--set", "only=card", "--reason", "x"), 2, "route.rule_gateway"),
        (("rules", "remove", "r", "--reason", "x"), 3, "route.rule_not_found"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_code(
    go: Run, words: tuple[str, ...], code: int, error: str
) -> None:
    done = go("gateways", *words, "--json")
    assert (done.code, done.error["code"]) == (code, error)
    assert "{" not in done.error["message"] and done.error["next"]


def test_a_rule_file_with_a_mistake_is_one_clear_sentence(go: Run, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text('[[rule]]\nname = "ci"\nprefer = ["momo"]\ncurrencies = ["CFA"]\n')
    done = go("gateways", "rules", "load", str(path), "--reason", "x")
    assert done.code == 2 and done.out == ""
    assert done.err.splitlines()[0] == (
        'error[route.rule_value]: rules.toml:4: rule ci: currencies cannot be "CFA"'
        ' (rule.currencies); write it like ["XOF"]'
    )


def test_rules_hold_after_the_second_yes(go: Run, kit: Kit, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text('[[rule]]\nname = "no cards"\nexclude = ["cards"]\n')
    why = ("--reason", "contract", "--json")
    done = go("gateways", "rules", "load", str(path), *why)
    assert done.code == 10 and go(*EUR, "-q").out == "cards\n"
    approve(kit, done)
    assert go(*EUR, "-q").out == "\n"
    said = go(*EUR, "-o", "table").out
    assert 'the rule "no cards" keeps such payments away from it' in said
    assert "Rules that matched (version 1): no cards." in said
    (rule,) = check(go("gateways", "rules", "list", "--json").json)["items"]
    assert (rule["place"], rule["name"], rule["effect"]) == (1, "no cards", "exclude")
    removed = go("gateways", "rules", "remove", "no cards", *why)
    approve(kit, removed)
    assert go(*EUR, "-q").out == "cards\n"
    past = check(go("gateways", "rules", "history", "--json").json)["items"]
    assert [each["version"] for each in past] == [2, 1]


def test_a_rule_by_options(go: Run, kit: Kit) -> None:
    done = go(
        "gateways", "rules", "add", "big ones", "--set", "exclude=cards, momo",
        "--set", "currencies=EUR", "--set", "amount_min=20.00", "--set", "hours=08:00-10:00",
        "--set", "valid_until=2027-01-01", "--set", "enabled=true", "--reason", "x", "--json",
    )  # fmt: skip
    approve(kit, done)
    assert go(*EUR, "-q").out == "\n"
    small = go("gateways", "explain", "--amount", "19.99", "--currency", "EUR", "-q")
    assert small.out == "cards\n"
    (rule,) = go("gateways", "rules", "list", "--json").json["items"]
    assert rule["gateways"] == ["cards", "momo"]
    assert rule["when"] == {
        "currencies": ["EUR"],
        "min_minor": 2000,
        "hours": "08:00-10:00",
        "valid_until": "2027-01-01T00:00:00+00:00",
    }


def test_disabled_for_a_while(go: Run, kit: Kit) -> None:
    assert go("gateways", "disable", "cards", "--for", "30m", "--reason", "incident").code == 0
    assert go(*EUR, "-q").out == "\n"
    listed: Any = go("gateways", "list", "--json").json["items"][0]
    assert (listed["status"], listed["until"]) == ("disabled", "2026-11-02T09:30:00.000Z")
    kit.wait(minutes=30)
    assert go(*EUR, "-q").out == "cards\n"
    assert go("gateways", "enable", "cards", "--reason", "over").code == 0
    shown = go("gateways", "show", "cards", "--json").json
    assert [each["status"] for each in shown["history"]] == ["enabled", "disabled"]


def test_a_dry_run_changes_nothing(go: Run, kit: Kit) -> None:
    done = go("gateways", "disable", "cards", "--reason", "incident", "--dry-run", "--json")
    assert done.code == 0 and done.json["status"] == "disabled"
    assert go(*EUR, "-q").out == "cards\n"


def test_health_fails_when_a_provider_is_away(go: Run, kit: Kit) -> None:
    assert go("gateways", "health").code == 0
    kit.gateways["momo"].add_outage(600)
    done = go("gateways", "health", "--json")
    assert done.code == 9
    assert {each["gateway"]: each["ok"] for each in done.json["items"]} == {
        "cards": True,
        "momo": False,
    }
    assert go("gateways", "health", "cards").code == 0
