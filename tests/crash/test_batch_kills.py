"""Many payments through commits they share, killed at every point: each is told alone, and none is
doubled, lost or stuck for the company it was in.

The steps are those of :class:`payctl.payments.pipeline.Pipeline`, one after the other instead of in
threads, so that a path can be played again.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace

import pytest

from payctl.errors import PayctlError
from payctl.payments import tables as t
from payctl.payments.model import PaymentStatus
from payctl.payments.requests import PaymentInput
from tests.crash import invariants
from tests.crash.explorer import explore
from tests.crash.stories import AMOUNT, Fate, Story
from tests.crash.world import Stage, World
from tests.payments.kit import OPERATOR

BEFORE = "o-before"
EVERYTHING = os.environ.get("PAYCTL_EXPLORE") == "all"
pytestmark = [pytest.mark.crash, pytest.mark.timeout(0 if EVERYTHING else 300)]

#: What happens to the first exchanges of the first account, in order.
WORDS = (
    "ok", "decline_insufficient_funds", "lost_answer", "decline_gateway_specific", "ok",
    "pending:20", "not_sent x3",
)  # fmt: skip
#: The keys of a batch, two of them twice; the last one once more with another amount.
KEYS = ("k1", "k2", "k3", "k1", "k4", "k5", "k6", "k7", "k5", "k1")
#: Of the points of a story every n-th is tried.
STRIDE = {"sqlite": 47, "postgresql": 37}


@dataclass
class Batch(Story):
    """Orders of several customers in one batch; the whole of it is sent again after a kill."""

    def prepare(self, world: World) -> None:
        """Organisers with a sale before this: the first one opens accounts, alone."""
        for key in sorted(set(KEYS)):
            before = replace(self.wanted(world, key), key=f"before-{key}", order=BEFORE)
            world.app.payments.process(OPERATOR, before)
        world.turn()
        self.plan(world)

    def plan(self, world: World) -> None:
        world.gateways["a"].add_script(*(f"create {word}" for word in WORDS))

    def acting(self, world: World) -> None:
        self.call(world, "batch", lambda: self._send(world))

    def _send(self, world: World) -> None:
        app, wanted = world.app, [self.wanted(world, key) for key in KEYS]
        wanted[-1] = replace(wanted[-1], amount_minor=AMOUNT + 1)
        begun = app.intake.begin(OPERATOR, wanted)
        refused = [each for each in begun if isinstance(each, PayctlError)]
        assert [each.code for each in refused] == ["key.reused"]
        written = [each for each in begun if not isinstance(each, PayctlError)]
        answered = [app.payments.ask(each) for each in written if each.attempt is not None]
        for each, applied in zip(
            answered, app.first_answers.apply(OPERATOR, answered), strict=True
        ):
            app.payments.carry_on(OPERATOR, each, applied)
        for repeat in written:
            if repeat.attempt is None:
                app.payments.unsent(repeat)

    def wanted(self, world: World, key: str) -> PaymentInput:
        made = super().wanted(world, key)
        return replace(made, order=f"o-{key}", organiser=f"org-{key}")

    def amiss(self, world: World) -> list[str]:
        """Not more than one charge for a payment, one payment for a key, and all have ended."""
        owner = {each["our_reference"]: each["payment_id"] for each in world.rows(t.attempt)}
        charged = Counter(owner[row["our_reference"]] for _, row in invariants.taken(world))
        made = world.rows(t.payment, t.payment.c.order_ref != BEFORE)
        found = [f"double: {n} charges for {id_}" for id_, n in charged.items() if n > 1]
        if Counter(each["order_ref"] for each in made) != Counter({f"o-{k}": 1 for k in set(KEYS)}):
            found.append(f"lost: {len(made)} payments for {len(set(KEYS))} keys")
        return found + [
            f"stuck: {each['order_ref']} is {each['status']}"
            for each in made
            if not PaymentStatus(each["status"]).terminal
        ]


def batch(first: str) -> Batch:
    # That the orders are several is for this story to judge, hence ``twice``.
    return Batch(Fate("batch", "", twice=True), first)


@pytest.mark.parametrize("first", ["dedupes", "once"])
def test_no_kill_in_a_batch_doubles_loses_or_hides_anything(
    stage: Stage, engine_name: str, first: str
) -> None:
    """As in :mod:`tests.crash.test_explorer`, a sample; ``PAYCTL_EXPLORE=all`` plays all."""
    stride = 1 if EVERYTHING else STRIDE[engine_name]
    findings = explore(stage, [lambda: batch(first)], stride=stride, first=len(first))
    print(f"\n{findings}")
    assert [str(path) for path in findings.bad] == []
    assert findings.kills > 2
