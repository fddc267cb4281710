"""Every kill point times every way a provider can behave: nothing doubled, lost or stuck unseen.

A sample is played, so as to be quick: each fate meets two kinds of provider on SQLite and one on
PostgreSQL, which take turns, as the disturbances of questions and webhooks do; and each story takes
every n-th of its kill points, beginning one further than the story before it.
``PAYCTL_EXPLORE=all`` plays all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product

import pytest

from payctl.payments.model import LEASE, PAYOUT_HORIZON_S
from tests.crash import stories
from tests.crash.approval_stories import COMPLETE_FATES, ApprovalStory
from tests.crash.explorer import PAUSES, Findings, Make, explore, pause
from tests.crash.payout_stories import PAYOUT_FATES, PayoutStory
from tests.crash.stories import Fate, Story
from tests.crash.world import Stage

EVERYTHING = os.environ.get("PAYCTL_EXPLORE") == "all"
pytestmark = [pytest.mark.crash, pytest.mark.timeout(0 if EVERYTHING else 300)]

#: Kinds of provider that each fate meets.
PROVIDERS = {"sqlite": 2, "postgresql": 1}
#: Kinds of story of which each fate meets one provider, and every fourth fate PostgreSQL.
FEWER = ("approval", "payout")
#: Of the points of a story every n-th is tried.
KILL_STRIDE = {"sqlite": 67, "postgresql": 151}
PAUSE_STRIDE = {"sqlite": 151, "postgresql": 211}
#: A pause past the lease, and one past the lease and the provider's horizon.
SHORT_S = LEASE.total_seconds() + 5
LONG_S = SHORT_S + 10 * stories.HORIZON_S
_PROVIDERS = tuple(stories.TERMS)
KINDS: dict[str, tuple[type[Story], tuple[Fate, ...], tuple[str, ...]]] = {
    "payment": (stories.Story, stories.CREATE_FATES, _PROVIDERS),
    "refund": (stories.RefundStory, stories.REFUND_FATES, ("dedupes", "once", "mute")),
    "capture": (stories.CaptureStory, stories.CAPTURE_FATES, ("dedupes", "once", "mute")),
    "cancel": (stories.CancelStory, stories.CANCEL_FATES, ("dedupes", "once", "page", "mute")),
    "approval": (ApprovalStory, COMPLETE_FATES, ("dedupes", "once", "page")),
    "payout": (PayoutStory, PAYOUT_FATES, ("dedupes", "once")),
}
ALL = [(kind, fate) for kind, (_make, fates, _firsts) in KINDS.items() for fate in fates]
TURN = {(kind, fate.name): turn for turn, (kind, fate) in enumerate(ALL)}
every_kind_and_fate = pytest.mark.parametrize(
    ("kind", "fate"), ALL, ids=lambda value: getattr(value, "name", value)
)
Tell = Callable[[Findings], None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Print what was found, and hand its counts to the summary of the run."""

    def both(findings: Findings) -> None:
        print(f"\n{findings}")
        record_property("crash explorer", findings.counts())

    return both


def makes(kind: str, fate: Fate, providers: int) -> Iterator[Make]:
    """The stories of one fate: one for each of so many kinds of provider, by turns; every
    combination when everything is asked for.
    """
    make, _fates, firsts = KINDS[kind]
    queries, hooks = list(stories.QUERIES), list(stories.HOOKS)
    turn = TURN[kind, fate.name]
    # Where a kind of provider cannot notice this fate, the next one takes its turn.
    able = [each for each in firsts if make(fate, each).sensible]
    some = [able[(turn + number) % len(able)] for number in range(min(providers, len(able)))]
    for number, first in enumerate(able if EVERYTHING else some):
        mixed = [(queries[(turn + number) % 3], hooks[(turn + 2 * number) % 5])]
        for query, hook in product(queries, hooks) if EVERYTHING else mixed:
            yield lambda first=first, query=query, hook=hook: make(fate, first, query, hook)


@every_kind_and_fate
def test_no_kill_doubles_loses_or_hides_anything(
    stage: Stage, engine_name: str, kind: str, fate: Fate, tell: Tell
) -> None:
    fewer = kind in FEWER and not EVERYTHING
    if fewer and engine_name != "sqlite" and TURN[kind, fate.name] % 4:
        pytest.skip("PostgreSQL takes every fourth of these; PAYCTL_EXPLORE=all takes all")
    found = makes(kind, fate, 1 if fewer else PROVIDERS[engine_name])
    stride = 1 if EVERYTHING else KILL_STRIDE[engine_name]
    findings = explore(stage, found, stride=stride, first=5 * TURN[kind, fate.name])
    tell(findings)
    assert findings.bad == []


@every_kind_and_fate
def test_no_pause_doubles_loses_or_hides_anything(
    stage: Stage, engine_name: str, kind: str, fate: Fate, tell: Tell
) -> None:
    """A process that stands still past its lease, and another that works meanwhile (failure matrix,
    row 18). A call that had already begun is let go on: within the horizon that is sound, and for
    longer the next test is there.
    """
    turn = TURN[kind, fate.name]
    rare = (1 if engine_name == "sqlite" else 4) * (3 if kind in FEWER else 1)
    if turn % rare and not EVERYTHING:
        pytest.skip(f"takes one of {rare} of these here; PAYCTL_EXPLORE=all takes all")
    stride = 1 if EVERYTHING else PAUSE_STRIDE[engine_name]
    spans = {SHORT_S: PAUSES, LONG_S: tuple(each for each in PAUSES if each != "send.before")}
    chosen = list(spans) if EVERYTHING else [list(spans)[turn % 2]]
    for span_s in chosen:
        found = makes(kind, fate, 1)
        findings = pause(stage, found, span_s, stride=stride, first=turn, points=spans[span_s])
        tell(findings)
        assert findings.bad == []


@pytest.mark.parametrize("kind", ["payment", "refund", "payout"])
def test_beyond_the_declared_horizon_every_double_is_seen(
    stage: Stage, engine_name: str, kind: str, tell: Tell
) -> None:
    """The half of the promise that is not "never": the provider is later than it says, or our
    process stands still for longer within a call. Money is then taken or given twice, and each time
    an open case says so; what a customer paid twice is put up for refund.
    """
    fewer = kind in FEWER and not EVERYTHING
    if fewer and engine_name != "sqlite":
        pytest.skip("SQLite takes these; PAYCTL_EXPLORE=all takes all on both")
    make, fates, _firsts = KINDS[kind]
    named = {fate.name: fate for fate in fates}
    late = [partial(make, named["too_late"], "once", "works", hook) for hook in stories.HOOKS]
    slept = [lambda: make(replace(named["ok"], twice=True), "once", "works", "lost")]
    stride = 1 if EVERYTHING else KILL_STRIDE[engine_name]
    most = None if EVERYTHING else 1 if fewer else PROVIDERS[engine_name]
    span_s = LONG_S + (PAYOUT_HORIZON_S if kind == "payout" else 0)
    for findings in (
        explore(stage, late[:most], stride=stride),
        pause(stage, slept, span_s, points=("send.before",)),
    ):
        tell(findings)
        assert findings.bad == []
        assert findings.doubled, "nothing was late enough to try this"
        for path in findings.doubled:
            seen = path.doubled or ()
            if kind == "payment":
                assert {"duplicate_receipt", "refund proposed"} <= set(seen), str(path)
            else:
                assert {"refunded_twice", "refund_paid_late"} & set(seen), str(path)
