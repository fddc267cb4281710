"""No money is lost or charged twice, whatever dies whenever; and the explorer would see it.

Every commit, every send and every receive of the real code is a kill point, found by a run without
a kill; the counts are printed. The paths are a fixed selection: each fate of an exchange with
several kinds of provider, ways of asking and webhooks, each story with a share of its kill points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from payctl.gateways.base import Answer
from payctl.payments import model, service
from payctl.payments.dispatch import Dispatch
from payctl.payments.model import AttemptState
from payctl.payments.provider_requests import Target
from payctl.payments.sync import Sync, SyncReport
from tests import books
from tests.conftest import START
from tests.crash import stories as st
from tests.crash.explorer import Findings, Make, explore
from tests.crash.world import Stage, fast_folder

pytestmark = pytest.mark.crash

FIRSTS, QUERIES, HOOKS = list(st.TERMS), list(st.QUERIES), list(st.HOOKS)


@pytest.fixture
def stage(engine_name: str, request: pytest.FixtureRequest) -> Iterator[Stage]:
    folder = fast_folder()
    if engine_name == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        yield Stage(f"sqlite:///{folder / 'book.sqlite3'}", folder, template, START)
    else:
        url: str = request.getfixturevalue("pg_book")
        books.empty_pg(url)
        yield Stage(url, folder, None, START)
    books.remove(folder)


def selection(
    kind: Callable[..., st.Story], fates: tuple[st.Fate, ...], firsts: list[str], each: int
) -> list[Make]:
    """For each fate *each* stories, going round the kinds of provider, questions and webhooks."""
    makes: list[Make] = []
    for number, fate in enumerate(fates):
        for turn in range(each):
            place = number + 2 * turn
            words = (
                firsts[place % len(firsts)],
                QUERIES[(number + turn) % len(QUERIES)],
                HOOKS[(number + 3 * turn) % len(HOOKS)],
            )
            if kind(fate, *words).sensible:
                makes.append(lambda fate=fate, words=words: kind(fate, *words))  # type: ignore[misc]
    return makes


def judged(findings: Findings, what: str) -> None:
    print(f"\n{what}: {findings}")
    assert [str(path) for path in findings.bad] == []


def test_payments(stage: Stage, engine_name: str) -> None:
    sqlite = engine_name == "sqlite"
    makes = selection(st.Story, st.CREATE_FATES, FIRSTS, 2 if sqlite else 1)
    judged(explore(stage, makes, stride=12 if sqlite else 36), f"payments, {engine_name}")


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_refunds(stage: Stage, engine_name: str) -> None:
    # Refused credentials keep refunds waiting until an operator acts, which no story does.
    fates = tuple(fate for fate in st.REFUND_FATES if fate.name != "auth")
    makes = selection(st.RefundStory, fates, ["dedupes", "once"], 1)
    judged(explore(stage, makes, stride=24), f"refunds, {engine_name}")


def test_captures(stage: Stage, engine_name: str) -> None:
    makes = selection(st.CaptureStory, st.CAPTURE_FATES, ["dedupes", "once"], 1)
    judged(explore(stage, makes, stride=30), f"captures, {engine_name}")


def test_cancellations(stage: Stage, engine_name: str) -> None:
    makes = selection(st.CancelStory, st.CANCEL_FATES, ["dedupes", "once"], 1)
    judged(explore(stage, makes, stride=30), f"cancellations, {engine_name}")


# -- what the explorer is worth: without one safety rule it must find something ---------------


@pytest.fixture
def small(sqlite_template: Path) -> Iterator[Stage]:
    folder = fast_folder()
    yield Stage(f"sqlite:///{folder / 'book.sqlite3'}", folder, sqlite_template, START)
    books.remove(folder)


def explored(
    stage: Stage, *names: str, first: str = "once", hook: str = "lost", stride: int = 4
) -> set[str]:
    fates = [fate for fate in st.CREATE_FATES if fate.name in names]
    makes: list[Make] = [
        (lambda fate=fate: st.Story(fate, first, "works", hook))
        for fate in fates  # type: ignore[misc]
    ]
    findings = explore(stage, makes, stride=stride)
    print(f"\n{findings}: {sorted(findings.kinds())}")
    return findings.kinds()


def test_with_every_rule_these_paths_are_sound(small: Stage) -> None:
    assert explored(small, "late", "lost_answer", "ok") == set()


def test_without_the_quarantine_it_finds_double_charges(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    believe = model._not_found

    def at_once(seen: model.Seen, now: datetime, checks: int, jitter: float) -> model.Step:
        return believe(replace(seen, quarantine_until=now, not_found=9), now, checks, jitter)

    monkeypatch.setattr(model, "_not_found", at_once)
    assert explored(small, "late")


def test_without_the_sweep_it_finds_what_is_stuck_or_lost(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sync, "run", lambda self, actor, **options: SyncReport())
    assert explored(small, "lost_answer")


def test_with_fail_over_after_an_unknown_it_finds_double_charges(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        service, "may_supersede", lambda terms, state, exposed: state is AttemptState.UNKNOWN
    )
    assert explored(small, "lost_answer")


def test_with_the_row_written_after_the_call_it_finds_lost_or_double_money(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, call, early = service.Payments._begin, Dispatch._call, dict[UUID, Answer]()

    def send_first(self: service.Payments, *args: Any) -> Any:
        begun = begin(self, *args)
        if begun.attempt is not None:
            target = Target(begun.payment)
            early[begun.attempt.id] = self._dispatch._exchange(begun.attempt, target, 1e9)
        return begun

    monkeypatch.setattr(service.Payments, "_begin", send_first)
    monkeypatch.setattr(
        Dispatch, "_call", lambda self, a, t: early.pop(a.id, None) or call(self, a, t)
    )
    assert explored(small, "ok", stride=1)
