"""``payctl ledger`` and ``payctl wallets`` from the command line, and what they print."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from payctl.db.engine import Database
from tests.cli.runner import Result, run
from tests.cli.schemas import check as check_json
from tests.payments.kit import APPROVER, OPERATOR, Kit, make_kit

pytestmark = pytest.mark.integration
Line = Callable[..., Result]


@pytest.fixture
def kit(db: Database, tmp_path: Path) -> Kit:
    made = make_kit(db, tmp_path)
    paid = made.pay("k1")
    made.pay("k2", amount_minor=15_000, currency="XOF", method="mobile_money", preferred=("momo",),
             country="CI", organiser="org-2")  # fmt: skip
    made.app.refunds.create(OPERATOR, paid.payment.id, key="r1", reason="moved", amount_minor=3333)
    return made


@pytest.fixture
def line(kit: Kit) -> Line:
    _awa, token = kit.app.operators.add(OPERATOR, "awa", ["finance"])
    return lambda *words: run(*words, app=kit.app, environ={"PAYCTL_OPERATOR_TOKEN": str(token)})


@pytest.mark.parametrize(
    "words",
    [
        ("ledger", "accounts"),
        ("ledger", "accounts", "--prefix", "gateway:", "--currency", "EUR"),
        ("ledger", "accounts", "--chart"),
        ("ledger", "account", "wallet:org-1:pending:EUR"),
        ("ledger", "account", "wallet:org-1:pending:EUR", "--as-of", "2026-11-02"),
        ("ledger", "entries"),
        ("ledger", "entries", "--account", "vat:FR:EUR", "--since", "1d"),
        ("ledger", "statement", "gateway:cards:collect:EUR"),
        ("ledger", "trial-balance"),
        ("ledger", "trial-balance", "--as-of", "2026-11-02", "--recorded"),
        ("ledger", "cover"),
        ("ledger", "account", "wallet:org-1:pending:EUR", "--as-of", "2026-11-01", "--recorded"),
        ("ledger", "accounts", "--as-of", "2026-11-01"),
        ("ledger", "check"),
        ("ledger", "seal"),
        ("ledger", "seal", "--dry-run"),
        ("wallets", "list"),
        ("wallets", "balance", "org-1"),
        ("wallets", "transactions", "org-1"),
    ],
)
def test_json_keeps_its_schema_and_tables_fit(line: Line, words: tuple[str, ...]) -> None:
    found = line(*words, "--json")
    assert found.code == 0, found.err
    check_json(found.json)
    table = line(*words, "-o", "table")
    assert table.code == 0 and max(map(len, table.out.splitlines())) <= 80


def test_the_trial_balance_is_what_the_entries_say(line: Line) -> None:
    sums: dict[str, int] = defaultdict(int)
    for entry in line("ledger", "entries", "--all", "--json").json["items"]:
        sums[entry["account"]] += entry["amount_minor"]
    shown = line("ledger", "trial-balance", "--json").json
    assert {each["account"]: each["balance_minor"] for each in shown["items"]} == dict(sums)
    assert shown["balanced"] is True
    assert all(each["debit_minor"] == each["credit_minor"] for each in shown["totals"])


def test_entries_of_one_journal_and_of_one_key(line: Line, kit: Kit) -> None:
    listed = [json.loads(text) for text in line("ledger", "export").out.splitlines()]
    found = next(each for each in listed if each["kind"] == "capture")
    legs = [(each["leg"], each["account"]) for each in reversed(found["entries"])]
    for words in (("--journal", found["id"]), ("--key", found["posting_key"])):
        shown = line("ledger", "entries", *words, "--json").json["items"]
        assert [(each["leg"], each["account"]) for each in shown] == legs
        assert {each["journal"] for each in shown} == {found["id"]}
    assert line("ledger", "entries", "--key", "nothing", "--json").json["items"] == []


def test_the_chart_has_the_numbers_finance_keeps(line: Line) -> None:
    chart = {
        each["code"]: each for each in line("ledger", "accounts", "--chart", "--json").json["items"]
    }
    assert chart["wallet:{o}:{part}"]["pcg"] == "4672"
    assert chart["gateway:{g}:collect"]["syscohada"] == "552"
    # A code with one number of its own keeps the other of its line.
    stripe = chart["gateway:stripe:collect"]
    assert (stripe["pcg"], stripe["syscohada"]) == ("5115", "515")


def test_a_debt_is_named_among_an_owners_transactions(line: Line, kit: Kit) -> None:
    from payctl.ledger.model import Draft, cr, dr

    with kit.app.db.transaction() as tx:
        legs = dr("owed:org-1", 5, "EUR"), cr("opening:migration", 5, "EUR")
        kit.app.book.post(tx, Draft("test", "debt", legs, "awa"))
    [latest, *_] = line("wallets", "transactions", "org-1", "--json").json["items"]
    assert (latest["part"], latest["amount_minor"]) == ("owed", -5)


def test_pages_put_together_are_the_whole(line: Line) -> None:
    whole = line("ledger", "entries", "--all", "--json").json["items"]
    pages, after = [], None
    while True:
        more = ["--after", after] if after else []
        page = line("ledger", "entries", "--limit", "3", *more, "--json").json
        pages += page["items"]
        after = page["next"]
        if after is None:
            break
    assert pages == whole and len(whole) > 10


def test_the_three_exports_hold_the_same_figures(line: Line) -> None:
    rows = csv.DictReader(io.StringIO(line("ledger", "export", "--format", "csv").out))
    from_csv: dict[str, int] = defaultdict(int)
    for row in rows:
        from_csv[row["account"]] += int(row["amount_minor"])
    from_json: dict[str, int] = defaultdict(int)
    for text in line("ledger", "export").out.splitlines():
        for entry in json.loads(text)["entries"]:
            from_json[entry["account"]] += entry["amount_minor"]
    from_hledger: dict[str, int] = defaultdict(int)
    for text in line("ledger", "export", "--format", "hledger").out.splitlines():
        words = text.split()
        if len(words) == 3 and not text.lstrip().startswith(";") and text.startswith("    "):
            from_hledger[words[0]] += int(words[1].replace(".", ""))
    assert from_csv == from_json == from_hledger


def test_a_correction_by_hand_needs_a_second_person(line: Line, kit: Kit) -> None:
    words = ("ledger", "post", "--debit", "expense:write_off:EUR=0.03",
             "--credit", "gateway:cards:collect:EUR=0.03", "--reason", "tolerated",
             "--key", "h1")  # fmt: skip
    before = kit.balance("expense:write_off")
    dry = line(*words, "--dry-run", "--json")
    assert dry.code == 0, dry.err
    assert [each["side"] for each in dry.json["items"]] == ["Dr", "Cr"]
    asked = line(*words, "--json")
    assert asked.code == 10, asked.err
    assert kit.balance("expense:write_off") == before
    [waiting] = kit.app.approvals.list()
    approval = kit.app.approvals.approve(APPROVER, waiting.id, "within tolerance")
    kit.app.after_approval[approval.kind](APPROVER, approval)
    assert kit.balance("expense:write_off") == before + 3
    again = line(*words, "--json")
    assert again.code == 0, again.err
    assert kit.balance("expense:write_off") == before + 3
    kit.check()


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("ledger", "account", "wallet:nobody:pending:EUR"), 3, "ledger.account_not_found"),
        (("ledger", "account", "wallet:org-1:pending"), 2, "ledger.account_needs_currency"),
        (("ledger", "export", "--format", "xml"), 2, "choice.unknown"),
        (("ledger", "entries", "--after", "nonsense"), 2, "id.malformed"),
        (("wallets", "balance", "nobody"), 3, "wallet.not_found"),
        (("ledger", "post", "--debit", "x", "--reason", "r"), 2, "ledger.bad_leg"),
        (("ledger", "post", "--debit", "expense:write_off:EUR=3", "--reason", "r"), 2,
         "amount.ambiguous"),
    ],
)  # fmt: skip
def test_mistakes_are_named(line: Line, words: tuple[str, ...], code: int, name: str) -> None:
    found = line(*words, "--json")
    assert (found.code, found.error["code"]) == (code, name)
    assert found.error["money"] and found.error["next"]
