"""``payctl payments import`` and ``export`` as an operator types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from payctl.app import App
from payctl.config import load as profile
from payctl.payments.import_files import open_source
from payctl.payments.imports import Imports
from tests.cli.runner import Result, run
from tests.cli.schemas import check
from tests.payments.import_kit import balances, row, write
from tests.payments.kit import Kit

pytestmark = pytest.mark.integration


@pytest.fixture
def engine_name() -> str:
    """The services run on both engines in their own tests; here one is enough."""
    return "sqlite"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three sound rows, one of them settled, and one broken one in between."""
    rows = [row("a"), row("bad", amount="100"), row("b", settled="yes", fee="1.75"),
            row("c", amount="15000", currency="XOF", country="CI")]  # fmt: skip
    return write(tmp_path / "sales.csv", rows)


def load(kit: Kit, file: Path, *words: str) -> Result:
    return run("payments", "import", str(file), *words, app=kit.app)


def test_a_refused_row_exits_2_and_lies_beside_the_file(kit: Kit, file: Path) -> None:
    done = load(kit, file, "--json")
    shown = check(done.json)
    assert done.code == 2
    assert (shown["rows"], shown["recorded"], shown["already"], shown["refused"]) == (4, 3, 0, 1)
    assert shown["reasons"] == [{"error": "amount.ambiguous", "rows": 1}]
    euros = next(each for each in shown["totals"] if each["currency"] == "EUR")
    assert (euros["rows"], euros["amount_minor"], euros["settled_minor"]) == (2, 20000, 10000)
    assert (euros["commission_minor"], euros["vat_minor"], euros["fee_minor"]) == (1000, 200, 175)
    assert "line 3: " in done.err
    kept = file.with_name("sales.rejects.csv")
    assert shown["rejects"] == str(kept)
    cells = next(open_source(kept).rows()).cells
    assert (cells["key"], cells["line"], cells["error"]) == ("bad", "3", "amount.ambiguous")
    assert "100.00" in cells["message"]
    again = load(kit, file, "--json", "--lang", "fr")
    assert (again.code, again.json["already"], again.json["recorded"]) == (2, 3, 0)
    kept.write_text(kept.read_text().replace("bad,100,", "bad,100.00,"))
    fixed = load(kit, kept, "--json")
    assert (fixed.code, fixed.json["recorded"]) == (0, 1)
    assert not kept.with_name("sales.rejects.rejects.csv").exists()


def test_a_dry_run_shows_entries_and_totals_and_leaves_nothing(kit: Kit, file: Path) -> None:
    done = load(kit, file, "--dry-run", "--json")
    shown = check(done.json)
    assert (done.code, shown["dry_run"], shown["rejects"]) == (2, True, None)
    assert [each["account"] for each in shown["entries"][:4]] == [
        "gateway:cards:collect", "wallet:org-1:pending", "income:commission:ticket_sale", "vat:FR",
    ]  # fmt: skip
    assert "opening:migration" in {each["account"] for each in shown["entries"]}
    assert balances(kit.app) == {}
    assert [each.name for each in file.parent.glob("*.csv*")] == ["sales.csv"]
    table = load(kit, file, "--dry-run", "-o", "table")
    assert "opening:migration" in table.out and "200.00 EUR" in table.out


def test_the_rejects_may_lie_elsewhere_but_not_over_the_file(
    kit: Kit, file: Path, tmp_path: Path
) -> None:
    load(kit, file, "--rejects", str(tmp_path / "open.csv"))
    assert (tmp_path / "open.csv").exists()
    refused = load(kit, file, "--rejects", str(file), "--json")
    assert (refused.code, refused.error["code"]) == (2, "import.same_file")


def test_a_live_profile_wants_the_total_typed(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "payctl.toml").write_text("[profiles.live]\nlive = true\n")
    config = profile(environ={}, profile="live", path=tmp_path / "payctl.toml")
    app = App(config, kit.app.db)
    app.__dict__["gateways"] = kit.app.gateways
    file = write(tmp_path / "sales.csv", [row("a"), row("b", amount="0.50")])
    words = ("payments", "import", str(file), "--profile", "live", "--config",
             str(tmp_path / "payctl.toml"))  # fmt: skip
    asked = run(*words, "--yes", app=app)
    assert (asked.code, balances(app)) == (2, {})
    assert "LIVE" in asked.err and '--confirm "100.50 EUR"' in asked.err
    assert run(*words, "--confirm", "100.50 EUR", app=app).code == 0
    assert balances(app)["gateway:cards:collect", "EUR"] == 10050


def test_a_file_with_a_wrong_column_is_refused_whole(kit: Kit, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", [{**row(), "colour": "red"}])
    done = load(kit, file, "--json")
    assert (done.code, done.error["code"]) == (2, "import.unknown_column")
    assert balances(kit.app) == {}


def test_an_interrupted_import_says_how_to_go_on(
    kit: Kit, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Imports, "run", interrupted)
    done = load(kit, file)
    assert done.code == 130
    assert f"payctl payments import {file}" in done.err


def test_an_export_goes_to_stdout_or_whole_into_a_file(
    kit: Kit, file: Path, tmp_path: Path
) -> None:
    load(kit, file)
    shown = run("payments", "export", app=kit.app)
    assert (shown.code, shown.out.count("\r\n")) == (0, 4)
    out = tmp_path / "out.jsonl"
    done = run("payments", "export", "--currency", "EUR", "-o", "jsonl", "--out", str(out),
               app=kit.app)  # fmt: skip
    assert (done.code, done.out, out.read_text().count("\n")) == (0, "", 2)
    wrong = run("payments", "export", "--json", app=kit.app)
    assert (wrong.code, wrong.error["code"]) == (2, "choice.unknown")
    lost = run("payments", "export", "--out", str(tmp_path / "no" / "x.csv"), "-o", "csv",
               app=kit.app)  # fmt: skip
    assert lost.code == 7 and "error[file.not_written]" in lost.err
