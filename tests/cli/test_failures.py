"""Every way to fail: the exit code, the three lines for people, the one shape for programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from payctl import errors
from payctl.cli import main, nouns
from payctl.cli.framework import ExitCode, command, finish, session, single
from payctl.cli.topics import EXIT_CODES
from payctl.errors import Conflict, NotFound, OutcomeOpen, PayctlError
from tests.cli.runner import run
from tests.cli.schemas import validator

pytestmark = pytest.mark.unit


@pytest.fixture
def boom(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """A noun ``version`` that raises what the list holds."""
    raised: list[BaseException] = []
    app = single("version")

    @command(app, "version", examples=["payctl version", "payctl version -v"])
    def version() -> None:
        """Fail."""
        if raised:
            raise raised[0]
        finish(ExitCode.OPEN)

    monkeypatch.setattr(main, "build", lambda *_: typer.main.get_command(app))
    yield raised


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidInput("amount.missing", field="amount", currency="EUR"), 2),
        (NotFound("config.no_file", path="x"), 3),
        (errors.NotConfigured("config.no_file", path="x"), 4),
        (errors.Forbidden("config.no_file", path="x"), 4),
        (Conflict("config.no_file", path="x"), 5),
        (errors.Refused("config.no_file", path="x"), 6),
        (errors.NotSent("config.no_file", path="x", retry_after_s=2.4), 7),
        (OutcomeOpen("config.no_file", path="x"), 8),
        (errors.CheckFailed("config.no_file", path="x"), 9),
        (errors.ApprovalRequired("config.no_file", path="x"), 10),
        (errors.LockHeld("config.no_file", path="x"), 11),
        (errors.Unavailable("database.locked", detail="x"), 7),
    ],
)
def test_each_error_has_its_code_and_the_one_shape(
    boom: list[BaseException], error: PayctlError, code: int
) -> None:
    boom.append(error)
    shown = run("version", "--json")
    assert (shown.code, shown.out) == (code, "")
    validator("payctl.error/1").validate(shown.error)
    assert shown.error["exit_code"] == code
    assert shown.error["error"] == error.wire
    if error.field:
        assert shown.error["details"][0]["field"] == "amount"
    else:
        assert shown.error["details"]["code"] == error.code
    assert shown.error.get("retryAfter") == (2 if code == 7 and error.params.get("path") else None)


def test_people_get_three_lines_in_their_language(boom: list[BaseException]) -> None:
    boom.append(NotFound("config.no_file", path="x.toml"))
    english = run("version").err.splitlines()
    assert english[0].startswith("error[config.no_file]: ") and "x.toml" in english[0]
    assert english[1].startswith("what happened to the money: ")
    assert english[2].startswith("next: payctl ")
    for how in ({"LANG": "fr_FR.UTF-8"}, {"PAYCTL_LANG": "fr"}):
        assert "ce qu'est devenu l'argent : " in run("version", environ=how).err
    assert "ce qu'est devenu" in run("version", "--lang", "fr").err


def test_a_bug_shows_a_log_id_and_no_traceback(boom: list[BaseException], tmp_path: Path) -> None:
    boom.append(ZeroDivisionError("with sk_live_abcdefgh in it"))
    shown = run("version", environ={"XDG_STATE_HOME": str(tmp_path)})
    assert shown.code == 1
    assert "Traceback" not in shown.err and "sk_live_abcdefgh" not in shown.err
    line = json.loads((tmp_path / "payctl" / "payctl.log").read_text().splitlines()[-1])
    assert line["log_id"] in shown.err
    assert "ZeroDivisionError" in line["traceback"] and "sk_live_abcdefgh" not in str(line)


def test_debug_shows_the_traceback_without_secrets(boom: list[BaseException]) -> None:
    boom.append(ZeroDivisionError("with sk_live_abcdefgh in it"))
    shown = run("version", "--debug")
    assert "Traceback" in shown.err and "sk_live_abcdefgh" not in shown.err
    boom[:] = [NotFound("config.no_file", path="x")]
    assert "Traceback" in run("version", environ={"PAYCTL_DEBUG": "1"}).err


def test_a_keyboard_interrupt_is_130(boom: list[BaseException]) -> None:
    boom.append(KeyboardInterrupt())
    assert run("version").code == 130


def test_a_finished_outcome_keeps_its_code(boom: list[BaseException]) -> None:
    assert run("version").code == 8


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["version", "extra"], "extra"),
        (["version", "--nope"], "--nope"),
        (["config", "sho"], "show"),
        (["config", "set", "log.level"], "VALUE"),
        (["confg"], "config"),
        (["--nope"], "--nope"),
        (["-o", "xml", "version"], "table, plain, json"),
    ],
)
def test_a_usage_error_is_2_and_helps(words: list[str], part: str) -> None:
    shown = run(*words)
    assert shown.code == 2
    assert part in shown.err
    assert shown.err.startswith("error[")
    as_json = run(*words, "--json")
    validator("payctl.error/1").validate(as_json.error)


def test_a_line_that_is_no_text_is_refused() -> None:
    shown = run("help", "\udcff")
    assert (shown.code, shown.err.partition("]")[0]) == (2, "error[usage.not_utf8")


def test_every_exit_code_is_explained() -> None:
    assert set(EXIT_CODES) == set(ExitCode)


def test_the_session_ends_with_the_line() -> None:
    run("--lang", "fr", "version")
    assert session().lang in ("en", "fr")
    assert session().flags.lang is None


def test_payctl_alone_is_today(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def build(name: str, *_verb: object) -> object:
        asked.append(name)
        raise NotFound("config.no_file", path="x")

    monkeypatch.setattr(main, "build", build)
    assert run().code == 3
    assert asked == ["today"]
    assert "today" in nouns.NOUNS


def test_ctrl_c_ends_a_real_process_with_130(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "payctl.toml").write_text(
        f"[profiles.default]\noperator = \"cmd:sh -c 'touch {mark}; exec sleep 14'\"\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "payctl", "config", "validate"],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LANG": "C"},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # A run in the background of a shell ignores Ctrl-C, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        deadline = time.monotonic() + 30
        while not mark.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, "Traceback" in err) == (130, False)


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m payctl help environment | true"],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
