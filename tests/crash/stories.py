"""What happens on a path: what the caller wants, how the providers behave, and how it must end.

A story is played by :mod:`tests.crash.explorer`: ``prepare`` unwatched, then ``acting`` at every
turn until nothing is due any more. ``acting`` is what a caller does who does not know that our
process died: the same call with the same key, and a new one only after a definite no.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from payctl.gateways.sandbox import SandboxGateway
from payctl.payments import tables as t
from payctl.payments.model import PaymentStatus, RefundState
from payctl.payments.requests import PaymentInput
from tests.crash.world import World
from tests.payments.kit import OPERATOR

AMOUNT = 10_000
ORDER = "o-1"
#: How late the providers say they may be: the quarantine.
HORIZON_S = 60
#: Age of a payment when a refund, capture or cancellation of it begins.
AGE_S = 100

_COMMON: Mapping[str, Any] = {
    "methods": ["card"], "currencies": ["EUR", "USD"], "fee_ppm": 14000, "fee_fixed": {"EUR": 25},
    "late_horizon_s": HORIZON_S, "authorization_s": 86_400, "manual_capture": True,
}  # fmt: skip
#: Kinds of provider: what each promises decides what we may do after an unknown outcome.
TERMS: Mapping[str, Mapping[str, Any]] = {
    # answers a repeated key with the first effect, as Stripe does for a day
    "dedupes": {**_COMMON},
    # acts again on a repeated key, so that none may be sent twice
    "once": {**_COMMON, "resend_window_s": 0, "unique_reference": False, "revocable": False},
    # shows a page; making one moves no money, so an unseen one may be left behind
    "page": {**_COMMON, "completes": "redirect", "manual_capture": False},
    # takes the money by a prompt on the phone, says no amount, takes nothing back
    "push": {
        **_COMMON, "completes": "push", "completes_after_s": 20, "status_reports_amount": False,
        "revocable": False, "reference_format": "uuid4", "manual_capture": False,
    },
    # cannot be asked anything
    "mute": {
        **_COMMON, "query_by": [], "query_refunds": False, "resend_window_s": 0,
        "unique_reference": False, "revocable": False,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fate:
    """How the exchange in question goes.

    Attributes:
        words: of the sandbox, for the first exchanges of its verb at the first account; after
            ``/`` those of the second account.
        marks: seconds after which something happens at the provider by itself.
        twice: whether the provider may act twice, because it breaks its promise about lateness or
            the customer pays a page that was left behind. It must then be *seen*.
    """

    name: str
    words: str
    marks: tuple[int, ...] = ()
    twice: bool = False

    def write(self, verb: str, first: SandboxGateway, second: SandboxGateway | None) -> None:
        for gateway, words in zip((first, second), self.words.split("/"), strict=False):
            if words and gateway is not None:
                gateway.add_script(f"{verb} {words}")


ANY = (
    Fate("ok", ""),
    Fate("not_sent", "not_sent x3"),
    Fate("not_sent_once", "not_sent"),
    Fate("lost_answer", "lost_answer"),
    Fate("no_effect", "timeout_no_effect"),
    Fate("late", "late:30", (31,)),
    Fate("too_late", "late:300", (301, 302), twice=True),
    Fate("5xx", "5xx"),
    Fate("5xx_effect", "5xx_effect"),
    Fate("garbage", "garbage"),
    Fate("rejected", "rejected"),
    Fate("auth", "auth", (90, 91)),
    Fate("429", "429 x3"),
    Fate("down", "down:600", (601,)),
)
CREATE_FATES = (
    *ANY,
    Fate("declined", "decline_insufficient_funds"),
    Fate("declined_there", "decline_gateway_specific"),
    Fate("declined_there_lost_here", "decline_gateway_specific/lost_answer"),
    Fate("declined_there_late_here", "decline_gateway_specific/late:30", (31,)),
    Fate("lost_twice", "lost_answer/lost_answer"),
    Fate("pending", "pending:20", (21,)),
    Fate("pending_declined", "pending_decline:20", (21,)),
    Fate("pending_expired", "pending_expire:20", (21,)),
    Fate("3ds", "3ds:20", (21,)),
    Fate("3ds_failed", "3ds_fail:20", (21,)),
    Fate("abandoned", "abandon:40", (41,)),
    Fate("wrong_amount", "wrong_amount", twice=True),
    Fate("too_much", "wrong_amount:500", twice=True),
    Fate("wrong_currency", "wrong_currency", twice=True),
    Fate("stale_page", "lost_answer", (200, 201), twice=True),
)
REFUND_FATES = (
    *ANY,
    Fate("declined", "decline_not_permitted"),
    Fate("pending", "pending:20", (21,)),
    Fate("pending_failed", "pending_fail:20", (21,)),
    Fate("fails_later", "fails_later:100", (101, 102)),
)
CAPTURE_FATES = (*ANY, Fate("declined", "decline_processing_error"))
CANCEL_FATES = ANY
QUERIES = {"works": "", "blind": "tok_query_not_found:{}", "down": "tok_query_down:{}"}
HOOKS = {
    "sent": "", "lost": "tok_hook_lost", "double": "tok_hook_double", "late": "tok_hook_late:45",
    "reordered": "tok_hook_reorder",
}  # fmt: skip


@dataclass
class Story:
    """A payment of an order, paid for until the customer has it or the path ends.

    Args:
        first: kind of the first account; the second dedupes and does as it is told.
    """

    fate: Fate
    first: str = "dedupes"
    query: str = "works"
    hook: str = "sent"
    verb: str = field(default="create", init=False)
    manual: bool = field(default=False, init=False)
    #: calls made so far, and how often the process had been killed when they were answered
    answered: dict[str, int] = field(default_factory=dict, init=False)

    @property
    def accounts(self) -> Mapping[str, Mapping[str, Any]]:
        return {"a": TERMS[self.first], "b": TERMS["dedupes"]}

    @property
    def sensible(self) -> bool:
        """Whether this fate can be noticed before the provider's statement is read: not where no
        amount is told, and not where nothing can be asked about what had succeeded.
        """
        untold = self.first == "push" and self.fate.name in _OTHER_AMOUNTS
        return not untold and (self.first, self.fate.name) != ("mute", "fails_later")

    def __str__(self) -> str:
        return f"{self.verb}:{self.fate.name} {self.first} query={self.query} hooks={self.hook}"

    def prepare(self, world: World) -> None:
        self.plan(world)

    def plan(self, world: World) -> None:
        first, second = gateways(world)
        self.fate.write(self.verb, first, second)
        world.marks = [world.clock.now() + timedelta(seconds=after) for after in self.fate.marks]

    def wanted(self, world: World, key: str) -> PaymentInput:
        # A late effect that is then hidden for a while must still show within the horizon.
        age = HORIZON_S - 35 if self.verb == "create" else AGE_S + HORIZON_S - 35
        words = (QUERIES[self.query].format(age), HOOKS[self.hook])
        return PaymentInput(
            key=key, amount_minor=AMOUNT, currency="EUR", method="card",
            organiser="org-1", order=ORDER, country="FR",
            payment_token=" ".join(filter(None, words)) or None,
            preferred=tuple(world.accounts), manual_capture=self.manual,
            expires_at=world.started + timedelta(hours=1),
        )  # fmt: skip

    def call(self, world: World, key: str, what: Callable[[], object]) -> None:
        """Call, and call once more with the same key after each kill, which the caller cannot tell
        from a lost line.
        """
        if self.answered.get(key, -1) < world.kills:
            what()
            self.answered[key] = world.kills

    def mend(self, world: World) -> None:
        """Refused credentials keep the gateway shut until an operator has seen to them."""
        if self.fate.name == "auth" and world.clock.now() >= world.marks[0]:
            for op_class in ("collect", "refund", "payout"):
                world.app.breaker_desk.reset(
                    OPERATOR, next(iter(world.accounts)), op_class, reason="new key"
                )

    def pay(self, world: World, key: str) -> None:
        self.call(world, key, lambda: world.app.payments.process(OPERATOR, self.wanted(world, key)))

    def amiss(self, world: World) -> list[str]:
        """What only this story can find wrong at its end."""
        return []

    def acting(self, world: World) -> None:
        """Pay; pay again with another key after a definite no; pay the page one has been shown."""
        self.mend(world)
        self.pay(world, "k1")
        self._customer(world)
        found = payments_of(world)
        if "k2" in self.answered or all(each["status"] in _NO for each in found):
            self.pay(world, "k2")

    def _customer(self, world: World) -> None:
        made = payments_of(world)
        pays = made[1:] if self.fate.name in _BY_THEMSELVES else made
        for attempt in world.rows(
            t.attempt, t.attempt.c.state == "requires_action",
            t.attempt.c.payment_id.in_([each["id"] for each in pays]),
        ):  # fmt: skip
            world.gateways[attempt["gateway_account"]].customer_acts(attempt["our_reference"])
        if self.fate.name == "stale_page" and world.clock.now() >= world.marks[0]:
            first, _second = gateways(world)
            for row in first.payments():
                first.customer_acts(row["our_reference"])


_NO = {PaymentStatus.FAILED, PaymentStatus.EXPIRED, PaymentStatus.CANCELED}
_OTHER_AMOUNTS = {"wrong_amount", "too_much", "wrong_currency"}
_BY_THEMSELVES = {"3ds", "3ds_failed", "abandoned"}


@dataclass
class RefundStory(Story):
    """A paid order is given back in part; asked for anew after a definite no."""

    amount: int = 4_000

    def __post_init__(self) -> None:
        self.verb = "refund"

    def prepare(self, world: World) -> None:
        world.app.payments.process(OPERATOR, self.wanted(world, "k1"))
        world.clock.advance(timedelta(seconds=AGE_S))
        world.turn()
        self.plan(world)

    def acting(self, world: World) -> None:
        self.mend(world)
        [payment] = payments_of(world)
        self._ask(world, payment["id"], "r1")
        found = world.rows(t.refund, t.refund.c.payment_id == payment["id"])
        if "r2" in self.answered or all(each["state"] == RefundState.FAILED for each in found):
            self._ask(world, payment["id"], "r2")

    def _ask(self, world: World, payment_id: UUID, key: str) -> None:
        def refund() -> object:
            return world.app.refunds.create(
                OPERATOR, payment_id, key=key, reason="event moved",
                amount_minor=self.amount,
            )  # fmt: skip

        self.call(world, key, refund)


@dataclass
class CaptureStory(Story):
    """An authorisation is taken in three parts; a part that failed is asked for once more."""

    @property
    def accounts(self) -> Mapping[str, Mapping[str, Any]]:
        """A provider's answer names the fee of its last capture only. One that was captured behind
        our back is learned from its statement, so none is taken here.
        """
        free = {"fee_ppm": 0, "fee_fixed": {}} if self.fate.twice else {}
        return {"a": {**TERMS[self.first], **free}, "b": TERMS["dedupes"]}

    PARTS = ((4_000, False), (2_500, False), (2_000, True))
    asked: dict[str, tuple[int, bool]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.verb, self.manual = "capture", True

    def prepare(self, world: World) -> None:
        world.app.payments.process(OPERATOR, self.wanted(world, "k1"))
        world.clock.advance(timedelta(seconds=AGE_S))
        world.turn()
        self.plan(world)

    def acting(self, world: World) -> None:
        self.mend(world)
        [payment] = payments_of(world)
        for key, (amount, final) in list(self.asked.items()):
            self._take(world, payment["id"], key, amount, final)
        made = world.rows(t.capture, t.capture.c.payment_id == payment["id"])
        if any(part["state"] == "open" for part in made) or payment["status"] != "authorized":
            return
        done = [part for part in made if part["state"] == "succeeded"]
        if len(done) < len(self.PARTS) and len(made) - len(done) < 2:
            key = f"c{len(made)}"
            self.asked[key] = self.PARTS[len(done)]
            self._take(world, payment["id"], key, *self.asked[key])

    def _take(self, world: World, payment_id: UUID, key: str, amount: int, final: bool) -> None:
        def capture() -> object:
            return world.app.captures.capture(
                OPERATOR, payment_id, key=key, amount_minor=amount, final=final
            )

        self.call(world, key, capture)


@dataclass
class CancelStory(Story):
    """An authorisation is released, or an open payment revoked."""

    def __post_init__(self) -> None:
        self.verb, self.manual = "cancel", self.first != "page"

    def prepare(self, world: World) -> None:
        world.app.payments.process(OPERATOR, self.wanted(world, "k1"))
        world.clock.advance(timedelta(seconds=AGE_S))
        world.turn()
        self.plan(world)

    def acting(self, world: World) -> None:
        self.mend(world)
        [payment] = payments_of(world)
        tried = world.rows(t.attempt, t.attempt.c.operation == "void",
                           t.attempt.c.payment_id == payment["id"])  # fmt: skip
        open_ = payment["status"] in ("authorized", "requires_action")
        if open_ and not any(each["next_check_at"] for each in tried) and len(tried) < 9:
            world.app.captures.cancel(OPERATOR, payment["id"], reason="sold out")


# -- what stories and checks ask of a world --------------------------------------------------------


def gateways(world: World) -> tuple[SandboxGateway, SandboxGateway]:
    first, second = world.gateways.values()
    return first, second


def payments_of(world: World) -> list[dict[str, Any]]:
    """The order's payments, oldest first."""
    return world.rows(t.payment, t.payment.c.order_ref == ORDER)
