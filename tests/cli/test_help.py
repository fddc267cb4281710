"""Topics, completion, the generated reference."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

from payctl.cli import reference
from payctl.cli.nouns import NOUNS, TOPIC_NAMES
from payctl.cli.topics import PAYMENT_STATES, REFUND_STATES, TOPICS
from payctl.db.engine import Database
from payctl.db.metadata import load
from payctl.db.recent import TABLES, recent_ids
from payctl.db.tables import job_run
from payctl.payments.model import PaymentStatus, RefundState
from payctl.settings import SETTINGS
from tests.cli.runner import run

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("topic", list(TOPICS))
def test_a_topic_fits_80_columns(topic: str) -> None:
    shown = run("help", topic)
    assert shown.code == 0
    assert max(map(len, shown.out.splitlines())) <= 80


def test_help_alone_lists_the_topics_and_of_a_command_shows_its_help() -> None:
    assert tuple(TOPICS) == TOPIC_NAMES
    for asked in (["help"], ["--help"], ["help", "--tz", "UTC"]):
        assert all(topic in run(*asked).out for topic in TOPICS)
    assert "Usage: payctl config set" in run("help", "config", "set").out
    assert run("help", "nonsense").code == 2


def test_states_and_settings_are_all_explained() -> None:
    assert set(PAYMENT_STATES) == {str(status) for status in PaymentStatus}
    assert set(REFUND_STATES) == {str(state) for state in RefundState}
    text = run("help", "configuration").out + run("help", "environment").out
    for setting in SETTINGS:
        assert setting.key in text and setting.env in text
        assert setting.former is None or setting.former in text


# -- completion -----------------------------------------------------------------------------------


def complete(*words: str, db: Database | None = None) -> list[str]:
    return run("completion", "words", "--", *words, db=db).out.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["conf"], ["config"]),
        (["config", "pro"], ["profiles"]),
        (["config", "show", "--or"], ["--origin"]),
        (["--output", "js"], ["json", "jsonl"]),
        (["--json", "config", "pat"], ["path"]),
        (["--profile", "x", "config", "pat"], ["path"]),
        (["--lang", "f"], ["fr"]),
        (["help", "mon"], ["money"]),
        (["nonsense", "x"], []),
        (["completion", "wor"], []),
    ],
)
def test_words_that_may_follow(words: list[str], expected: list[str]) -> None:
    assert complete(*words) == expected


def test_nothing_typed_offers_the_nouns() -> None:
    assert complete("") == list(NOUNS)


@pytest.mark.parametrize(
    ("noun", "table"),
    [("cases", "case_record"), ("approvals", "approval"), ("webhooks", "webhook_event")],
)
def test_statuses_offered_are_those_the_database_allows(noun: str, table: str) -> None:
    rules = [
        str(each.sqltext)
        for each in load().tables[table].constraints
        if isinstance(each, sa.CheckConstraint) and str(each.name).endswith("_state")
    ]
    allowed = set(re.findall("'([a-z]+)'", rules[0]))
    assert len(allowed) > 2
    assert set(complete(noun, "list", "--status", "")) == allowed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_are_valid_where_their_shell_is_there(shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(run("completion", shell).out)
    assert "payctl completion words" in script.read_text()
    program = shutil.which(shell)
    if program:
        subprocess.run([program, "-n", str(script)], check=True)


def test_bash_really_completes(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(run("completion", "bash").out)
    asked = (
        f"source {script}; payctl() {{ printf 'a b\\nc\\n'; }};"
        " COMP_WORDS=(payctl conf); COMP_CWORD=1; _payctl; printf '%s|' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "a b|c|"


@pytest.mark.integration
def test_recent_ids_are_read_newest_first_and_never_fail(db: Database, db_url: str) -> None:
    from payctl.db.metadata import metadata

    assert all(table in metadata.tables for table in TABLES.values())
    for kind in TABLES:
        assert recent_ids(db_url, "payctl", kind) == []
    assert recent_ids(db_url, "payctl", "nothing") == []


@pytest.mark.integration
def test_ids_of_a_real_book_complete_a_line(db: Database, db_url: str) -> None:
    made = [db.ids.new() for _ in range(3)]
    with db.transaction() as tx:
        for each in made:
            tx.execute(
                job_run.insert().values(
                    id=each,
                    job="payment_sync",
                    state="running",
                    actor="job:payment_sync",
                    host="h",
                    started_at=db.clock.now(),
                    counts={},
                )
            )
    assert recent_ids(db_url, "payctl", "run") == made[::-1]


@pytest.mark.integration
def test_an_unreachable_book_completes_to_nothing(tmp_path: Path) -> None:
    assert recent_ids(f"sqlite:///{tmp_path}/none.sqlite3", "b", "payment") == []
    (tmp_path / "bad.sqlite3").write_text("this is no database, only a long enough line of text")
    assert recent_ids(f"sqlite:///{tmp_path}/bad.sqlite3", "b", "payment") == []
    assert recent_ids("postgresql+psycopg://127.0.0.1:1/x", "b", "payment") == []


# -- reference ------------------------------------------------------------------------------------


def test_check_notices_a_stale_page_and_write_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "pages", lambda: {"cli.md": "new\n"})
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    assert reference.main(["--check"]) == 1
    assert "make docs" in capsys.readouterr().err
    assert reference.main(["--write"]) == 0
    assert reference.main(["--check"]) == 0
    (tmp_path / "cli.md").write_text("old\n")
    assert reference.main(["--check"]) == 1
    assert reference.main([]) == 2


def test_the_error_page_names_code_exit_and_next() -> None:
    page = reference._errors()
    assert "| `config.no_file` | 4 |" in page
