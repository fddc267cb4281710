"""The explorer is worth what it finds: each promise of the code is taken away, and it must notice.

Nothing here changes a file of payctl; rules are switched off by patching, the index by dropping it
in the book the paths are played on.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.gateways.base import Answer
from payctl.payments import dispatch, model, service
from payctl.payments.completions import Completions
from payctl.payments.dispatch import Dispatch
from payctl.payments.intake import Begun
from payctl.payments.model import AttemptState, Operation
from payctl.payments.outcomes import Applied
from payctl.payments.provider_requests import Target
from payctl.payments.records import Attempt, Payment
from payctl.payments.requests import PaymentInput
from payctl.payments.results import PaymentResult, view
from payctl.payments.service import Payments
from payctl.payments.sync import Sync, SyncReport
from tests.crash.approval_stories import COMPLETE_FATES, ApprovalStory
from tests.crash.explorer import Findings, Make, explore
from tests.crash.payout_stories import PayoutStory
from tests.crash.stories import CREATE_FATES, Fate, Story
from tests.crash.world import Stage

# What notices is the same on both databases, and the quicker one is enough to show that it does.
pytestmark = [pytest.mark.crash, pytest.mark.parametrize("engine_name", ["sqlite"])]

_FATES = {fate.name: fate for fate in CREATE_FATES}


def hunt(stage: Stage, make: Make, stride: int = 1) -> Findings:
    """All kill points of one story, or every *stride*-th."""
    findings = explore(stage, [make], stride=stride)
    print(f"\n{make()}: {findings}")
    return findings


def test_without_quarantine_a_late_effect_charges_twice(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(_FATES["late"], "once", hook="lost")
    assert hunt(stage, lambda: replace(story), stride=5).kinds() == set()
    monkeypatch.setattr(Dispatch, "quarantine", lambda _self, _account, _operation, now: now)
    assert "double" in hunt(stage, lambda: replace(story), stride=5).kinds()


def test_without_the_sweep_something_is_stuck(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sync, "run", lambda *_args, **_options: SyncReport())
    story = Story(_FATES["lost_answer"], "once", hook="lost")
    assert "stuck" in hunt(stage, lambda: replace(story)).kinds()


def test_without_the_row_first_a_kill_charges_twice(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def process(self: Payments, actor: Actor, wanted: PaymentInput) -> PaymentResult:
        """Everything in the one transaction that ends after the provider's answer."""
        with self._db.transaction() as tx:
            [begun] = self._intake.begin(actor, [wanted], tx)
            assert isinstance(begun, Begun)
            if begun.attempt is not None:
                answer = self._dispatch._call(begun.attempt, Target(begun.payment))
                self._outcomes.apply(
                    tx, begun.attempt.id, answer, source="process", call="create", actor=actor
                )
        return view(self._db, begun.payment.id)

    story = Story(_FATES["ok"], "dedupes", hook="lost")
    assert hunt(stage, lambda: replace(story)).kinds() == set()
    monkeypatch.setattr(Payments, "process", process)
    assert "double" in hunt(stage, lambda: replace(story)).kinds()


def test_failing_over_after_an_unknown_outcome_charges_twice(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        service, "may_supersede", lambda _can, state, _shown: state is AttemptState.UNKNOWN
    )
    assert "double" in hunt(stage, lambda: Story(_FATES["lost_answer"], "once"), stride=5).kinds()


def test_the_database_forbids_what_a_mistake_in_the_code_would_do(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that fails over and leaves the unknown attempt as it is: the index of live attempts
    stops it, before anything is sent; without the index the customer pays twice.
    """

    def careless(
        self: Payments, actor: Actor, applied: Applied
    ) -> tuple[Attempt | None, Payment, str]:
        if applied.attempt.state is not AttemptState.UNKNOWN:
            return None, applied.payment, ""

        def again(tx: sa.Connection) -> Attempt:
            target = Target(applied.payment)
            other = [x for x in self._dispatch.accounts() if x != applied.attempt.gateway_account]
            return self._dispatch.prepare(
                tx, target, Operation.COLLECT, other[0], applied.payment.amount_minor
            )

        return self._db.run(again), applied.payment, ""

    monkeypatch.setattr(Payments, "_leave_behind", careless)
    story = Story(_FATES["lost_answer"], "once")
    assert hunt(stage, lambda: replace(story)).kinds() == {"refused"}

    bare = tmp_path / "bare.sqlite3"
    assert stage.template is not None
    shutil.copy(stage.template, bare)
    with closing(sqlite3.connect(bare, isolation_level=None)) as book:
        book.execute("DROP INDEX attempt_live")
    without = replace(stage, template=bare)
    assert "double" in hunt(without, lambda: replace(story)).kinds()


def test_taking_what_nobody_wants_any_more_charges_twice(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The customer approves one payment of an order that another one has paid."""
    story = ApprovalStory(next(x for x in COMPLETE_FATES if x.name == "paid_elsewhere"))
    assert hunt(stage, lambda: replace(story), stride=9).kinds() == set()
    monkeypatch.setattr(Completions, "_unwanted", lambda *_args: None)
    assert "double" in hunt(stage, lambda: replace(story), stride=9).kinds()


def test_without_a_day_s_patience_a_late_payout_is_paid_twice(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = PayoutStory(Fate("late", "late:3600", (3601, 3602)), "once", hook="lost")
    assert hunt(stage, lambda: replace(story), stride=29).kinds() == set()
    monkeypatch.setattr(dispatch, "PAYOUT_HORIZON_S", 0)
    assert "double" in hunt(stage, lambda: replace(story), stride=29).kinds()


def test_without_the_late_success_rule_money_is_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has ended stays ended, even when the money arrives."""
    honest = model.after_query

    def deaf(seen: model.Seen, answer: Answer, *rest: Any) -> model.Step:
        if not seen.state.live:
            return model.Step(seen.state, False, None, seen.checks)
        return honest(seen, answer, *rest)

    monkeypatch.setattr(model, "after_query", deaf)
    assert "lost" in hunt(stage, lambda: Story(_FATES["too_late"], "once"), stride=9).kinds()
