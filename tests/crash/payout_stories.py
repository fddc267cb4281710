"""Refunds that go back as payouts: killed, unanswered, late, refused, returned, without float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from payctl.ledger import accounts
from payctl.ledger.model import Draft, cr, dr
from payctl.payments.requests import PaymentInput
from tests.crash.stories import ANY, TERMS, Fate, RefundStory, gateways
from tests.crash.world import World

FLOAT = 50_000
_PAYING_OUT: Mapping[str, Any] = {
    "refunds": "none", "query_refunds": False, "payouts": ["msisdn"], "reports_payer": True,
    "payout_fee_fixed": {"EUR": 30},
}  # fmt: skip
PAYOUT_FATES = (
    *(each for each in ANY if each.name != "too_late"),
    # A payout's "not found" is believed after a day.
    Fate("too_late", "late:90000", (90_001, 90_002), twice=True),
    Fate("declined", "decline_payer_not_found"),
    Fate("pending", "pending:20", (21,)),
    Fate("pending_failed", "pending_fail:20", (21,)),
    Fate("returned", "returned:100", (101, 102)),
    Fate("no_float_there", "decline_insufficient_funds x2"),
    Fate("no_float_in_our_books", "", (600,)),
)


@dataclass
class PayoutStory(RefundStory):
    """A paid order is given back in part, at a provider that has no refund."""

    def __post_init__(self) -> None:
        self.verb = "payout"

    @property
    def accounts(self) -> Mapping[str, Mapping[str, Any]]:
        first = {**TERMS[self.first], **_PAYING_OUT, "float": {"EUR": FLOAT}}
        return {"a": first, "b": TERMS["dedupes"]}

    def wanted(self, world: World, key: str) -> PaymentInput:
        return replace(super().wanted(world, key), phone="+2250708091011")

    def prepare(self, world: World) -> None:
        super().prepare(world)
        if self.fate.name != "no_float_in_our_books":
            self._top_up(world)

    def acting(self, world: World) -> None:
        if self.fate.name == "no_float_in_our_books" and world.clock.now() >= world.marks[0]:
            self._top_up(world)
        super().acting(world)

    def _top_up(self, world: World) -> None:
        """Book what has come into the float; once, however often."""
        legs = (dr(accounts.float_("a"), FLOAT, "EUR"), cr(accounts.bank("main"), FLOAT, "EUR"))
        draft = Draft("float_top_up", "float_top_up:1", legs, "ama")
        world.app.db.run(lambda tx: world.app.book.post(tx, draft))

    def amiss(self, world: World) -> list[str]:
        """Only who paid is ever paid out to."""
        first, _second = gateways(world)
        to = {each["destination"] for each in first.payouts()}
        wrong = [each for each in to if "+2250708091011" not in each]
        return [f"lost: paid out to {each}" for each in wrong]
