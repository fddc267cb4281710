"""What start-up must not import: asserted on ``sys.modules``, because timings lie."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from payctl.cli.nouns import NOUNS

pytestmark = pytest.mark.unit

HEAVY = {
    "sqlalchemy", "stripe", "httpx", "reportlab", "alembic", "jinja2", "psycopg", "pydantic",
    "rich",
}  # fmt: skip
PROBE = """
import sys
sys.argv = ["payctl", *sys.argv[1:]]
from payctl.__main__ import main
try:
    main()
except SystemExit as end:
    code = end.code
else:
    code = 0
names = {name.partition(".")[0] for name in sys.modules} | set(sys.modules)
print("|".join(sorted(names)), code, file=sys.stderr)
"""


def loaded(home: Path, *words: str) -> tuple[set[str], int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        capture_output=True,
        text=True,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C"},
        cwd=home,
        check=True,
    )
    modules, code = done.stderr.strip().splitlines()[-1].rsplit(" ", 1)
    return set(modules.split("|")), int(code), done.stdout


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["--json", "--help"]])
def test_help_imports_no_noun_and_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    modules, code, out = loaded(tmp_path, *words)
    assert code == 0
    assert "  payments " in out
    assert not modules & (HEAVY | {"typer"})


def test_version_is_answered_before_typer_is_imported(tmp_path: Path) -> None:
    modules, code, out = loaded(tmp_path, "--version")
    assert (code, out.split()[0]) == (0, "payctl")
    assert not modules & (HEAVY | {"typer", "tomllib"})


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["version"], 0),
        (["paymnts"], 2),
        (["version", "--nonsense"], 2),
        (["completion", "bash"], 0),
        (["help", "money"], 0),
    ],
)
def test_light_commands_load_nothing_heavy(tmp_path: Path, words: list[str], expected: int) -> None:
    modules, code, _ = loaded(tmp_path, *words)
    assert code == expected
    assert not modules & HEAVY


def test_no_noun_imports_anything_heavy(tmp_path: Path) -> None:
    """Noun help, completion and usage errors are quick only if every noun is light."""
    found = {noun: loaded(tmp_path, noun, "--help") for noun in NOUNS}
    assert {noun: code for noun, (_, code, _) in found.items() if code} == {}
    heavy = {noun: sorted(modules & HEAVY) for noun, (modules, _, _) in found.items()}
    assert {noun: names for noun, names in heavy.items() if names} == {}


def test_a_list_on_sqlite_imports_the_database_library_and_nothing_else(tmp_path: Path) -> None:
    loaded(tmp_path, "payments", "list")  # makes the book
    modules, code, _ = loaded(tmp_path, "payments", "list")
    assert code == 0
    assert modules & HEAVY == {"sqlalchemy"}
    # SQLAlchemy imports a whole dialect for one option of one table.
    assert "sqlalchemy.dialects.postgresql" not in modules
    assert "payctl.cli.batch" not in modules


def test_config_show_reads_no_database(tmp_path: Path) -> None:
    modules, code, out = loaded(tmp_path, "config", "show")
    assert code == 0
    assert "sandbox" in out
    assert not modules & HEAVY
