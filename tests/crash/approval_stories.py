"""Payments that a customer approves and we then take: killed, unanswered, late, unwanted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from payctl.errors import Conflict
from payctl.payments import tables as t
from tests.crash.stories import AGE_S, ANY, Fate, Story, gateways, payments_of
from tests.crash.world import World
from tests.payments.kit import OPERATOR

#: The payment of these stories runs out an hour after their beginning.
_PAST_EXPIRY_S = 3600 - AGE_S + 5
COMPLETE_FATES = (
    # However late a request to take is, the provider takes an approved payment once.
    *(replace(each, twice=False) for each in ANY),
    Fate("declined", "decline_insufficient_funds"),
    Fate("pending", "pending:20", (21,)),
    Fate("expired", "", (_PAST_EXPIRY_S,)),
    Fate("expired_unknown", "timeout_no_effect x9", (_PAST_EXPIRY_S,)),
    Fate("paid_elsewhere", "", (20,)),
    Fate("canceled", ""),
    Fate("canceled_while_taken", "late:30", (2, 31)),
    Fate("left_behind", "", (20,)),
)
#: Refusals a caller must expect who cancels what is just being taken.
_TOO_LATE = {
    "payment.being_taken", "payment.not_cancelable", "payment.not_revocable", "capture.in_progress",
}  # fmt: skip
_WAITS = {"expired", "paid_elsewhere", "left_behind"}


@dataclass
class ApprovalStory(Story):
    """A page on which the customer agrees; the money moves when we ask for it."""

    def __post_init__(self) -> None:
        self.verb = "complete"

    @property
    def sensible(self) -> bool:
        """Only an unseen page may be left behind, and only what can be revoked is canceled."""
        if self.fate.name == "left_behind":
            return self.first == "page"
        return not self.fate.name.startswith("canceled") or self.first != "once"

    def prepare(self, world: World) -> None:
        first, _second = gateways(world)
        left = self.fate.name == "left_behind"
        first.add_script("create approval+lost_answer" if left else "create approval")
        world.app.payments.process(OPERATOR, self.wanted(world, "k1"))
        world.clock.advance(timedelta(seconds=AGE_S))
        self.plan(world)

    def acting(self, world: World) -> None:
        self.mend(world)
        if self.fate.name == "paid_elsewhere":
            self.call(world, "k2", lambda: self._pay_other(world))
        if self.fate.name not in _WAITS or world.clock.now() >= world.marks[0]:
            self._approve(world)
        marks = [*world.marks, world.clock.now()]
        if self.fate.name.startswith("canceled") and world.clock.now() >= marks[0]:
            self.call(world, "cancel", lambda: self._cancel(world))
        found = payments_of(world)
        if "k2" in self.answered or all(each["status"] in ("failed", "expired") for each in found):
            self.call(world, "k2", lambda: self._pay_other(world))

    def _approve(self, world: World) -> None:
        for gateway in world.gateways.values():
            for row in gateway.payments():
                gateway.customer_acts(row["our_reference"])

    def _pay_other(self, world: World) -> None:
        """Another payment of the order, by a means that takes the money at once."""
        wanted = self.wanted(world, "k2")
        world.app.payments.process(OPERATOR, replace(wanted, preferred=("b",), expires_at=None))

    def _cancel(self, world: World) -> None:
        [payment] = payments_of(world)
        if payment["status"] in ("canceled", "failed", "expired"):
            return
        try:
            world.app.captures.cancel(OPERATOR, payment["id"], reason="sold out")
        except Conflict as refused:
            if refused.code not in _TOO_LATE:
                raise

    def amiss(self, world: World) -> list[str]:
        """What was not wanted any more was not taken."""
        first, _second = gateways(world)
        [row, *_more] = first.payments()
        ended = world.rows(t.payment, t.payment.c.status.in_(["canceled", "expired"]))
        names = {
            each["our_reference"]
            for each in world.rows(
                t.attempt, t.attempt.c.payment_id.in_([each["id"] for each in ended])
            )
        }
        taken = [each for each in first.payments() if each["captured_minor"]]
        found = [f"taken: {x['id']} of an ended payment" for x in taken
                 if x["our_reference"] in names]  # fmt: skip
        if self.fate.name == "expired" and row["captured_minor"]:
            found.append("taken: although it had run out")
        return found
