"""Amounts and moments as people type them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from payctl.cli import session
from payctl.cli.flags import Flags
from payctl.cli.options import amount_of, moment_of, required_amount, span_of
from payctl.cli.session import Session
from payctl.clock import ManualClock
from payctl.errors import InvalidInput

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def here(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setattr(Session, "clock", property(lambda _: clock))
    run = Session(flags=Flags(tz="Europe/Paris"), environ={"HOME": "/nonexistent"})
    session.use(run)
    yield run
    session.use(None)


def test_an_amount_is_given_once() -> None:
    assert amount_of("25.00", None, "EUR") == 2500
    assert amount_of(None, 2500, "EUR") == 2500
    assert amount_of(None, None, "EUR", required=False) is None
    assert required_amount("15000", None, "XOF") == 15000


@pytest.mark.parametrize(
    ("amount", "minor", "code"),
    [
        ("25.00", 2500, "amount.both"),
        (None, None, "amount.missing"),
        ("2500", None, "amount.ambiguous"),
        ("25.0", None, "amount.decimals"),
        (None, 0, "amount.not_positive"),
        (None, -5, "amount.not_positive"),
    ],
)
def test_an_amount_that_can_be_misread_is_refused(
    amount: str | None, minor: int | None, code: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        required_amount(amount, minor, "EUR")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("7d", False, datetime(2026, 10, 26, 9, tzinfo=UTC)),
        ("90m", False, datetime(2026, 11, 2, 7, 30, tzinfo=UTC)),
        ("2026-11-01", False, datetime(2026, 10, 31, 23, tzinfo=UTC)),
        ("2026-11-01", True, datetime(2026, 11, 1, 23, tzinfo=UTC)),
        ("2026-10-25", True, datetime(2026, 10, 25, 23, tzinfo=UTC)),
        ("today", False, datetime(2026, 11, 1, 23, tzinfo=UTC)),
        ("now", True, datetime(2026, 11, 2, 9, tzinfo=UTC)),
        ("2026-11-01T08:00:00Z", True, datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("2026-11-01T08:00:00+02:00", False, datetime(2026, 11, 1, 6, tzinfo=UTC)),
        ("2026-11-01T08:00", False, datetime(2026, 11, 1, 7, tzinfo=UTC)),
    ],
)
def test_a_moment_in_the_sessions_zone(text: str, end: bool, expected: datetime) -> None:
    assert moment_of(text, field="since", end=end) == expected


@pytest.mark.parametrize(
    "text", ["yesterday", "7", "2026-13-01", "01/11/2026", "", "9999-12-31x", "7y"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        moment_of(text, field="since")
    assert (caught.value.code, caught.value.field) == ("time.bad_moment", "since")


def test_the_last_day_of_the_calendar_is_refused_not_a_crash() -> None:
    with pytest.raises(InvalidInput):
        moment_of("9999-12-31", field="until", end=True)


def test_spans() -> None:
    assert span_of("2w", field="for") == timedelta(weeks=2)
    with pytest.raises(InvalidInput):
        span_of("2 weeks", field="for")


def test_an_unknown_zone_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        _ = Session(flags=Flags(tz="Mars/Olympus")).tz
    assert caught.value.code == "time.unknown_zone"
