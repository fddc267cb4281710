"""What happens in ``payctl demo``: one event's sale, with everything that can go wrong in it.

It drives the same services as every command, under a clock of its own, over sandbox gateways whose
books lie in files beside the demo's. Nothing here writes SQL or computes money.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from payctl.app import App
from payctl.clock import ManualClock
from payctl.config import load
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.operators import job_actor
from payctl.errors import CheckFailed
from payctl.gateways.base import Probe, no_probe
from payctl.gateways.sandbox import SandboxGateway
from payctl.ids import encode, seeded
from payctl.money import format_money
from payctl.payments.requests import PaymentInput
from payctl.payments.results import PaymentResult, view

CONFIG = """\
# Written by `payctl demo`; every run writes it anew.
default_profile = "demo"

[profiles.demo]
timezone = "Africa/Abidjan"
database.url = "sqlite:///{folder}/book.sqlite3"

[profiles.demo.gateways.cards]
type = "sandbox"
methods = ["card"]
fee_ppm = 14000
fee_fixed = {{ EUR = 25 }}
late_horizon_s = 900
manual_capture = true

[profiles.demo.gateways.backup]
type = "sandbox"
methods = ["card"]
fee_ppm = 29000
fee_fixed = {{ EUR = 30 }}
late_horizon_s = 900

[profiles.demo.gateways.momo]
type = "sandbox"
methods = ["mobile_money"]
currencies = ["XOF"]
fee_ppm = 20000
late_horizon_s = 900
"""

Say = Callable[..., None]
#: Every so many payments somebody has no money, types a wrong PIN or lost the card.
DECLINES = {13: "tok_decline_insufficient_funds", 29: "tok_decline_wrong_pin",
            41: "tok_decline_lost_or_stolen"}  # fmt: skip
CARD_SALES, MOMO_SALES = 56, 44


def open_app(folder: Path, now: datetime, seed: int, probe: Probe = no_probe) -> App:
    """The demo's services, at the demo's time."""
    config = load(environ={}, path=folder / "payctl.toml", folder=folder)
    clock = ManualClock(now)
    db = Database(config.database_url, clock=clock, ids=seeded(clock, seed))
    return App.open(config, db, probe)


@dataclass
class Story:
    """The acts, in order; each tells what happened through ``say(key, **values)``."""

    folder: Path
    app: App
    say: Say
    tick: Callable[[], None] = lambda: None
    marks: dict[str, UUID] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = self.app.db.clock
        self.me = self.app.operators.current(token=None, command="payctl demo")
        self.janitor = job_actor("payment_sync", "job.sync")
        self.apply = job_actor("webhook_apply", "job.webhooks")
        self.events: Counter[str] = Counter()

    def run(self) -> None:
        for act in (self.sale, self.outage, self.lost_answer, self.late_success, self.crash,
                    self.refunds, self.webhooks, self.proof):  # fmt: skip
            act()

    # -- acts -------------------------------------------------------------------------------------

    def sale(self) -> None:
        """Some hundred payments; a few are declined."""
        results: Counter[str] = Counter()
        for number in range(1, CARD_SALES + MOMO_SALES + 1):
            token = next((t for every, t in DECLINES.items() if number % every == 0), None)
            result = self._ticket(number, token)
            results[str(result.payment.status)] += 1
            self._pass(seconds=40)
            self.tick()
        self.say("sale", count=sum(results.values()), paid=results["succeeded"],
                 declined=results["failed"])  # fmt: skip

    def outage(self) -> None:
        """One gateway is down: fail-over, then the breaker."""
        self._sandbox("cards").add_outage(240)
        first = self._card("outage-1", 4500)
        following = [self._card(f"outage-{n}", 2500) for n in range(2, 7)]
        more = sum(result.payment.gateway_account == "backup" for result in following)
        self.marks["outage"] = first.payment.id
        self.say("outage", id=_id(first), more=more)
        self._pass(minutes=20)
        for number in range(7, 11):
            self._card(f"outage-{number}", 2500)
            self._pass(seconds=90)

    def lost_answer(self) -> None:
        """An answer that never came."""
        open_ = self._card("lost", 4500, "tok_lost_answer tok_hook_lost")
        self.marks["lost"] = open_.payment.id
        self.say("lost", id=_id(open_))
        self._card("lost", 4500, "tok_lost_answer tok_hook_lost")
        self.say("again")
        self._pass(seconds=8)
        self.app.sync.run(self.janitor)
        self.say("synced", status=self._now(open_).payment.status)

    def late_success(self) -> None:
        """Money that arrives after the end."""
        late = self._momo("late", "tok_late:2400")
        self.marks["late"] = late.payment.id
        for _ in range(20):
            self._pass(minutes=1)
            self.app.sync.run(self.janitor)
        self._pass(minutes=25)
        self._receive(())
        self.say("late", id=_id(late), status=self._now(late).payment.status)

    def crash(self) -> None:
        """A real process, really killed, at the worst moment."""
        command = [sys.executable, "-m", "payctl.cli.demo_crash", str(self.folder),
                   self.clock.now().isoformat()]  # fmt: skip
        ended = subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - ourselves
        if ended.returncode != -signal.SIGKILL:
            raise CheckFailed("demo.not_killed", status=ended.returncode)
        self._pass(minutes=1)
        report = self.app.sync.run(self.janitor)
        result = view(self.app.db, report.changed[0])
        self.marks["crash"] = result.payment.id
        taken = [
            row for row in self._sandbox("cards").payments()
            if row["our_reference"] == result.attempts[0].our_reference
        ]  # fmt: skip
        self.say(
            "crash", id=_id(result), status=result.payment.status, times=len(taken),
            amount=format_money(result.payment.amount_minor, result.payment.currency),
        )  # fmt: skip

    def victim(self) -> None:
        """The payment whose process is killed."""
        self._card("crash", 9000)

    def refunds(self) -> None:
        """In full, in part, and one for which a second person is needed."""
        self._pass(minutes=5)
        self.app.refunds.create(
            self.me, self._card("r-full", 4500).payment.id, key="refund-full", reason="cannot come"
        )
        self.app.refunds.create(
            self.me, self._card("r-part", 9000).payment.id, key="refund-part",
            reason="one of two tickets", amount_minor=4500,
        )  # fmt: skip
        group = self._card("group", 45_000)
        self.marks["group"] = group.payment.id
        asked = self.app.refunds.create(
            self.me, group.payment.id, key="refund-group", reason="school trip cancelled"
        )
        second, _token = self.app.operators.add(self.me, "moussa", ["approver"], with_token=False)
        moussa = Actor(second.name, frozenset(second.roles), operator_id=second.id)
        if asked.approval_id is not None:
            approval = self.app.approvals.approve(moussa, asked.approval_id, "checked")
            self.app.after_approval[approval.kind](moussa, approval)
        done = self.app.refunds.get(asked.refund.id).refund
        self.say("refunds", full=1, part=1, big=format_money(45_000, "EUR"), status=done.state)

    def webhooks(self) -> None:
        """Everything the providers still have to say, badly delivered."""
        self._pass(minutes=5)
        self._receive(("double", "reorder"))
        self._pass(hours=1)
        self._receive(("double",))
        total, applied = sum(self.events.values()), self.events["applied"]
        self.say("hooks", events=total, applied=applied, rest=total - applied)

    def proof(self) -> None:
        """Both sides, compared."""
        agreed = []
        for line in self.app.provider_balances().complete():
            if line.difference_minor:
                raise CheckFailed("demo.books_differ", gateway=line.gateway, currency=line.currency)
            agreed.append(f"{line.gateway} {format_money(line.ours_minor, line.currency)}")
        self.say("proof", totals=", ".join(agreed))

    # -- props ------------------------------------------------------------------------------------

    def _ticket(self, number: int, token: str | None) -> PaymentResult:
        if number % 25 < 14:
            return self._card(f"t{number}", (2500, 4500)[number % 2], token)
        return self._momo(f"t{number}", token)

    def _card(self, name: str, amount_minor: int, token: str | None = None) -> PaymentResult:
        return self._pay(name, {
            "amount_minor": amount_minor, "currency": "EUR", "method": "card", "country": "FR",
            "email": "client@example.com", "payment_token": token, "preferred": ("cards",),
        })  # fmt: skip

    def _momo(self, name: str, token: str | None = None) -> PaymentResult:
        return self._pay(name, {
            "amount_minor": 15_000, "currency": "XOF", "method": "mobile_money", "country": "CI",
            "phone": "+2250700000000", "payment_token": token,
        })  # fmt: skip

    def _pay(self, name: str, what: Mapping[str, Any]) -> PaymentResult:
        organiser = "maquis-prod" if what["currency"] == "XOF" else "lagune-live"
        return self.app.payments.process(
            self.me,
            PaymentInput(
                key=f"demo-{name}", order=f"order-{name}", organiser=organiser,
                event="festival-2026", description="Festival de la Lagune", **what,
            ),
        )  # fmt: skip

    def _receive(self, faults: tuple[str, ...]) -> None:
        for account, gateway in self.app.gateways.items():
            if isinstance(gateway, SandboxGateway):
                for body, headers in gateway.deliveries(self.clock.now(), faults):
                    self.app.inbox.receive(account, body, headers)
        while counts := self.app.inbox.apply(self.apply):
            self.events.update(counts)
            self.tick()

    def _pass(self, **span: float) -> None:
        self.clock.sleep(timedelta(**span).total_seconds())

    def _now(self, result: PaymentResult) -> PaymentResult:
        return view(self.app.db, result.payment.id)

    def _sandbox(self, account: str) -> SandboxGateway:
        gateway = self.app.gateways[account]
        if not isinstance(gateway, SandboxGateway):
            raise TypeError(account)
        return gateway


def _id(result: PaymentResult) -> str:
    return encode("payment", result.payment.id)
