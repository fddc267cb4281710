"""When a change asks, what it shows, and what is enough of an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from payctl.cli import session
from payctl.cli.confirm import NotConfirmed, confirm
from payctl.cli.flags import Flags
from payctl.cli.session import Session
from payctl.errors import InvalidInput
from tests.cli.runner import Keyboard

pytestmark = pytest.mark.unit

LIVE = """
[profiles.live]
live = true
database.url = "postgresql://app@db.example.com:5433/tickets"
confirm_above.EUR = 5000
"""
Start = Callable[..., Session]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    file = tmp_path / "payctl.toml"
    file.write_text(LIVE + "[profiles.test]\nlive = false\n")

    def begin(profile: str = "live", typed: str | None = None, **flags: Any) -> Session:
        extra = {
            name: flags.pop(name) for name in ("yes", "dry_run", "confirmation") if name in flags
        }
        environ = {"HOME": str(tmp_path), "LANG": "C", **flags.pop("environ", {})}
        run = Session(
            flags=Flags(profile=profile, config=str(file), **flags),
            environ=environ,
            stdin=Keyboard(typed or ""),
            **extra,
        )
        session.use(run)
        return run

    yield begin
    session.use(None)


def test_a_test_profile_never_asks(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start("test")
    confirm(["refund pay_1"], 10**9, "EUR", severe=True)
    assert capsys.readouterr() == ("", "")


def test_a_live_profile_shows_host_database_and_amount_then_asks_on_stderr(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    start(typed="y\n")
    confirm(["refund pay_1"], 2500, "EUR")
    out, err = capsys.readouterr()
    assert out == ""
    assert "LIVE" in err and "db.example.com:5433/tickets" in err
    assert "refund pay_1" in err and "25.00 EUR" in err and "[y/N]" in err


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "maybe\n"])
def test_anything_but_yes_is_no(start: Start, answer: str) -> None:
    start(typed=answer)
    with pytest.raises(NotConfirmed) as caught:
        confirm(["x"], 2500, "EUR")
    assert caught.value.exit_code == 130


def test_yes_is_enough_for_a_small_change_but_the_banner_stays(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    start(yes=True)
    confirm(["x"], 5000, "EUR")
    assert "LIVE" in capsys.readouterr().err


@pytest.mark.parametrize(("amount", "severe"), [(5001, False), (100, True)])
def test_above_the_limit_or_severe_yes_is_not_enough(
    start: Start, amount: int, severe: bool
) -> None:
    start(yes=True, no_input=True)
    with pytest.raises(InvalidInput) as caught:
        confirm(["x"], amount, "EUR", severe=severe)
    assert caught.value.code == "confirm.required"
    assert "--confirm" in str(caught.value.params["option"])


@pytest.mark.parametrize("text", ["50.01 EUR", "  50.01  EUR ", "50.01EUR"])
def test_the_amount_may_be_typed_or_given(start: Start, text: str) -> None:
    start(typed=f"{text}\n")
    confirm(["x"], 5001, "EUR")
    start(confirmation=text, no_input=True)
    confirm(["x"], 5001, "EUR")


@pytest.mark.parametrize("text", ["50.01", "5001", "50.01 XOF", "5001 EUR", "y"])
def test_another_amount_is_a_mismatch(start: Start, text: str) -> None:
    start(confirmation=text)
    with pytest.raises(InvalidInput) as caught:
        confirm(["x"], 5001, "EUR")
    assert caught.value.code == "confirm.mismatch"


def test_thousands_may_be_spaced_as_they_were_shown(start: Start) -> None:
    start(confirmation="1 500 000 XOF")
    confirm(["x"], 1_500_000, "XOF")


@pytest.mark.parametrize("how", [{"no_input": True}, {"environ": {"PAYCTL_NO_INPUT": "1"}}])
def test_nobody_to_ask_is_a_refusal_not_a_hang(start: Start, how: dict[str, Any]) -> None:
    start(typed="y\n", **how)
    with pytest.raises(InvalidInput) as caught:
        confirm(["x"], 100, "EUR")
    assert caught.value.code == "confirm.required"


def test_a_pipe_is_nobody(start: Start) -> None:
    import io

    start().stdin = io.StringIO("y\n")
    with pytest.raises(InvalidInput):
        confirm(["x"], 100, "EUR")


def test_a_dry_run_asks_nothing(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start(dry_run=True)
    confirm(["x"], 10**9, "EUR", severe=True)
    assert "dry run" in capsys.readouterr().err


@pytest.mark.parametrize("profile", ["live", "test"])
def test_overwriting_a_book_wants_its_name_on_any_profile(start: Start, profile: str) -> None:
    start(profile, yes=True, confirmation="tickets")
    confirm(["restore"], severe=True, word="tickets")
    start(profile, yes=True, no_input=True)
    with pytest.raises(InvalidInput):
        confirm(["restore"], severe=True, word="tickets")


def test_the_banner_is_red_only_where_colour_is_allowed(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    start(yes=True, environ={"FORCE_COLOR": "1"})
    confirm(["x"])
    assert "\x1b[" in capsys.readouterr().err
    start(yes=True, environ={"FORCE_COLOR": "1", "NO_COLOR": "1"})
    confirm(["x"])
    assert "\x1b[" not in capsys.readouterr().err
