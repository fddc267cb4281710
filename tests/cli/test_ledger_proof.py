"""``payctl ledger seal|verify|proof`` from the command line, and the job that seals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import jobs
from payctl.db.engine import Database
from tests.cli.runner import Result, run
from tests.cli.schemas import check as check_json
from tests.ledger.attacks import edit_journal
from tests.ledger.proof_kit import superuser
from tests.payments.kit import OPERATOR, Kit, make_kit

pytestmark = pytest.mark.integration
Line = Callable[..., Result]
PROGRAM = Path(__file__).parents[2] / "docs" / "verify_proof.py"


@pytest.fixture
def kit(db: Database, tmp_path: Path) -> Kit:
    made = make_kit(db, tmp_path)
    made.pay("k1")
    made.pay("k2")
    return made


@pytest.fixture
def folder(kit: Kit, tmp_path: Path) -> Path:
    """Where the anchors of this book go."""
    from payctl.ledger.anchors import Anchors
    from payctl.ledger.destinations import Folder

    path = tmp_path / "anchors"
    kit.app.__dict__["anchors"] = Anchors(kit.app.db, [Folder(path)])
    return path


@pytest.fixture
def line(kit: Kit, folder: Path) -> Line:
    _awa, token = kit.app.operators.add(OPERATOR, "awa", ["finance"])
    return lambda *words: run(*words, app=kit.app, environ={"PAYCTL_OPERATOR_TOKEN": str(token)})


def journals_of(line: Line) -> list[str]:
    return [json.loads(text)["id"] for text in line("ledger", "export").out.splitlines()]


def test_sealing_says_what_it_did_and_check_how_far_the_book_is_sealed(
    line: Line, folder: Path
) -> None:
    count = len(journals_of(line))
    before = check_json(line("ledger", "check", "--json").json)["sealed"]
    assert (before["block"], before["unsealed_journals"]) == (0, count)
    done = check_json(line("ledger", "seal", "--json").json)
    assert (done["blocks"], done["journals"], done["head"]["total_journals"]) == (1, count, count)
    assert done["anchors"] == [{"destination": f"path:{folder}", "block": 1, "error": None}]
    after = check_json(line("ledger", "check", "--json").json)["sealed"]
    assert (after["block"], after["sealed_journals"], after["unsealed_journals"]) == (1, count, 0)
    assert f"1 blocks with {count} journals" in line("ledger", "check").err


def test_verify_names_the_break_and_how_far_it_reaches(line: Line, kit: Kit) -> None:
    line("ledger", "seal")
    sound = line("ledger", "verify", "--json")
    assert sound.code == 0 and check_json(sound.json)["ok"] is True
    told = line("ledger", "verify", "-o", "table")
    assert told.out == "" and "1 blocks with" in told.err
    key = json.loads(line("ledger", "export").out.splitlines()[0])["posting_key"]
    with superuser(kit.app.db) as tx:
        edit_journal(tx, key, reason="as agreed")
    found = line("ledger", "verify", "--json")
    assert found.code == 9
    shown = check_json(found.json)
    assert [each["kind"] for each in shown["items"]] == ["journal.changed"]
    assert shown["in_doubt"]["from_block"] == 1 and shown["in_doubt"]["accounts"]
    told = line("ledger", "verify", "-o", "table")
    assert told.code == 9
    assert "in doubt from block 1 on" in told.err and "compared with path:" in told.err
    assert line("--lang", "fr", "ledger", "verify").code == 9


def test_a_proof_from_the_command_line_convinces_the_auditors_program(
    line: Line, folder: Path, tmp_path: Path
) -> None:
    first, *_ = journals_of(line)
    assert line("ledger", "proof", first, "--json").error["code"] == "ledger.not_sealed"
    line("ledger", "seal")
    proof = line("ledger", "proof", first, "--json")
    assert check_json(proof.json)["id"] == first
    file = tmp_path / "proof.json"
    file.write_text(proof.out)
    words = [sys.executable, str(PROGRAM), str(file), *map(str, folder.iterdir())]
    assert subprocess.run(words, capture_output=True).returncode == 0
    assert first in line("ledger", "proof", first).out


def test_an_anchor_that_cannot_be_written_is_told_and_caught_up_with(
    line: Line, folder: Path, kit: Kit
) -> None:
    folder.write_text("a file where a folder should be")
    failed = line("ledger", "seal", "--json")
    assert failed.code == 9
    assert failed.json["blocks"] == 1 and failed.json["anchors"][0]["error"]
    assert "was not written after block 0" in failed.err
    job = line("jobs", "run", "ledger_seal", "--json")
    assert (job.code, job.json["counts"]["anchors_failed"], job.json["failed"]) == (9, 1, 1)
    folder.unlink()
    job = line("jobs", "run", "ledger_seal", "--json")
    assert (job.code, job.json["counts"]) == (
        0, {"anchors_failed": 0, "blocks": 0, "journals": 0},
    )  # fmt: skip
    assert line("ledger", "verify").code == 0


def test_the_job_seals_under_its_own_role(kit: Kit, folder: Path) -> None:
    report = jobs.run(kit.app, "ledger_seal")
    assert report.counts["blocks"] == 1 and report.failed == 0
    assert kit.app.verifier.verify().ok


def test_figures_of_the_past_say_whether_they_may_change(line: Line, kit: Kit) -> None:
    words = ("ledger", "trial-balance", "--as-of", "2026-11-01", "--json")
    assert check_json(line(*words).json)["provisional"] is True
    assert check_json(line(*words, "--recorded").json)["provisional"] is True
    line("ledger", "seal")
    sealed = check_json(line(*words, "--recorded").json)
    assert (sealed["by"], sealed["provisional"]) == ("recorded", False)
    assert "provisional" not in line("ledger", "trial-balance", "--json").json
    shown = line("ledger", "account", "vat:FR:EUR", "--as-of", "2026-11-01")
    assert "provisional: the month is not closed" in shown.err
