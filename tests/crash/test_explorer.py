"""Every kill point times every way a provider can behave: nothing doubled, lost or stuck unseen.

What is left out to be quick (each fate meets every kind of provider and every kill point, but not
every combination of them with every disturbance of queries and webhooks) runs with
``PAYCTL_EXPLORE=all``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product

import pytest

from tests.crash import stories
from tests.crash.explorer import Make, explore
from tests.crash.stories import Fate, Story
from tests.crash.world import Stage

pytestmark = pytest.mark.crash

EVERYTHING = os.environ.get("PAYCTL_EXPLORE") == "all"
_PROVIDERS = tuple(stories.TERMS)
KINDS: dict[str, tuple[type[Story], tuple[Fate, ...], tuple[str, ...]]] = {
    "payment": (stories.Story, stories.CREATE_FATES, _PROVIDERS),
    "refund": (stories.RefundStory, stories.REFUND_FATES, ("dedupes", "once", "mute")),
    "capture": (stories.CaptureStory, stories.CAPTURE_FATES, ("dedupes", "once", "mute")),
    "cancel": (stories.CancelStory, stories.CANCEL_FATES, ("dedupes", "once", "page", "mute")),
}


def makes(kind: str, fate: Fate) -> Iterator[Make]:
    """The stories of one fate: one for each kind of provider, with the disturbances of queries and
    webhooks taking turns; all combinations when everything is asked for.
    """
    make, fates, firsts = KINDS[kind]
    queries, hooks = list(stories.QUERIES), list(stories.HOOKS)
    turn = fates.index(fate)
    for number, first in enumerate(firsts):
        mixed = [(queries[(turn + number) % 3], hooks[(turn + 2 * number) % 5])]
        for query, hook in product(queries, hooks) if EVERYTHING else mixed:
            if make(fate, first, query, hook).sensible:
                yield lambda first=first, query=query, hook=hook: make(fate, first, query, hook)


@pytest.mark.parametrize(
    ("kind", "fate"),
    [(kind, fate) for kind, (_make, fates, _firsts) in KINDS.items() for fate in fates],
    ids=lambda value: getattr(value, "name", value),
)
def test_no_kill_doubles_loses_or_hides_anything(stage: Stage, kind: str, fate: Fate) -> None:
    found = list(makes(kind, fate))
    findings = explore(stage, found, stride=1 if EVERYTHING else len(found))
    print(f"\n{kind} {fate.name}: {findings}")
    assert findings.bad == []
