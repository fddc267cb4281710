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
#: What acts, explains and serves, which whoever lists rows pays for in vain.
NOT_FOR_A_LIST = {
    "payctl.cli.batch", "payctl.cli.money_lines", "payctl.gateways.base", "payctl.gateways.http",
    "payctl.gateways.registry", "payctl.insight.whereabouts", "payctl.ledger.accounts",
    "payctl.payments.dispatch", "payctl.payments.dispute_records", "payctl.payments.service",
    "sqlalchemy.orm", "sqlalchemy.ext.asyncio", "greenlet",
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


#: Asks for the help of each noun named, and says which of them was the first to import what.
ALL_NOUNS = f"""
import contextlib, io, sys
from payctl.cli.main import run
heavy, seen = {sorted(HEAVY)!r}, set()
for noun in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()):
        code = run([noun, "--help"])
    new = {{name for name in heavy if name in sys.modules}} - seen
    seen |= new
    if code or new:
        print(noun, code, sorted(new), file=sys.stderr)
"""

#: Runs a command as ``payctl`` does, and says how often the collector of garbage ran meanwhile,
#: whether it has less to do at the end, and whether it works as usual after many objects.
COLLECTIONS = """
import gc, sys
usual = gc.get_threshold()
def runs():
    return sum(each["collections"] for each in gc.get_stats())
before = runs()
sys.argv = ["payctl", *sys.argv[1:]]
from payctl.__main__ import main
try:
    main()
except SystemExit:
    pass
during, frozen = runs() - before, gc.get_freeze_count() > 0
kept = [[] for _ in range(200_000)]
print(during, frozen, gc.get_threshold() == usual, file=sys.stderr)
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
    """Noun help, completion and usage errors are quick only if every noun is light. One process
    asks for all of them: what the first one imports would not be seen with the second.
    """
    done = subprocess.run(
        [sys.executable, "-c", ALL_NOUNS, *NOUNS],
        capture_output=True, text=True, check=True, cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LANG": "C"},
    )  # fmt: skip
    assert done.stderr == ""


def test_a_list_on_sqlite_imports_the_database_library_and_nothing_else(tmp_path: Path) -> None:
    loaded(tmp_path, "payments", "list")  # makes the book
    modules, code, _ = loaded(tmp_path, "payments", "list")
    assert code == 0
    assert modules & HEAVY == {"sqlalchemy"}
    # SQLAlchemy imports a whole dialect for one option of one table.
    assert "sqlalchemy.dialects.postgresql" not in modules
    assert not modules & NOT_FOR_A_LIST


@pytest.mark.parametrize("words", [["help", "money"], ["payments", "list"]])
def test_a_short_command_collects_no_garbage_and_a_long_one_does(
    tmp_path: Path, words: list[str]
) -> None:
    loaded(tmp_path, *words)  # makes the book, which is no short command
    done = subprocess.run(
        [sys.executable, "-c", COLLECTIONS, *words], capture_output=True, text=True, check=True,
        cwd=tmp_path, env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LANG": "C"},
    )  # fmt: skip
    assert done.stderr.split() == ["0", "True", "True"]


def test_a_process_that_lives_on_looks_for_garbage_among_what_is_new(tmp_path: Path) -> None:
    code = (
        "import gc\nfrom payctl.__main__ import _collect_later\n_collect_later()\n"
        "before = gc.get_freeze_count()\nkept = [[] for _ in range(150_000)]\n"
        "print(before, gc.get_freeze_count() > 90_000, gc.get_threshold()[0] < 10_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True", "True"]


def test_whoever_asks_where_money_is_does_not_load_what_takes_it(tmp_path: Path) -> None:
    loaded(tmp_path, "payments", "list")  # makes the book
    modules, code, _ = loaded(tmp_path, "trace", "o-1")
    assert code == 3
    assert modules & HEAVY == {"sqlalchemy"}
    assert "payctl.insight.dossier" in modules
    assert not modules & {"payctl.payments.service", "payctl.payments.dispatch"}


def test_config_show_reads_no_database(tmp_path: Path) -> None:
    modules, code, out = loaded(tmp_path, "config", "show")
    assert code == 0
    assert "sandbox" in out
    assert not modules & HEAVY
