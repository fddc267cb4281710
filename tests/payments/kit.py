"""A whole payment service for tests: real book, real services, scripted sandbox gateways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from payctl.app import App
from payctl.clock import ManualClock
from payctl.config import load
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.errors import ApprovalRequired
from payctl.gateways.base import Probe, no_probe
from payctl.gateways.registry import build
from payctl.gateways.sandbox import SandboxGateway
from payctl.ids import decode
from payctl.ledger.check import run as run_checks
from payctl.ledger.reports import Reports
from payctl.payments.checks import all_checks
from payctl.payments.requests import PaymentInput
from payctl.payments.results import PaymentResult, view

#: Everything but approving one's own requests.
OPERATOR = Actor("ama", frozenset({"viewer", "support", "finance", "admin"}), host="desk")
APPROVER = Actor("kofi", frozenset({"approver"}), host="desk")
JANITOR = Actor("job:payment_sync", frozenset({"job.sync", "job.webhooks"}), kind="job")

EXPIRY = Actor("job:approvals_expire", frozenset({"job.expire"}), kind="job")

#: Two providers like those of the real world: cards that may be asked again, and mobile money that
#: takes the money at once and cannot be revoked.
CARDS: Mapping[str, Any] = {
    "methods": ["card"], "currencies": ["EUR", "XOF"], "fee_ppm": 14000, "fee_fixed": {"EUR": 25},
    "create_moves_money": True, "revocable": True, "manual_capture": True, "refunds": "partial",
    "late_horizon_s": 900, "resend_window_s": 86400,
}  # fmt: skip
MOMO: Mapping[str, Any] = {
    "methods": ["mobile_money", "card"], "currencies": ["XOF", "EUR"], "fee_ppm": 20000,
    "create_moves_money": True, "revocable": False, "refunds": "partial", "late_horizon_s": 900,
}  # fmt: skip


@dataclass
class Kit:
    """The service and the providers' side of it."""

    app: App
    gateways: dict[str, SandboxGateway]
    clock: ManualClock

    def input(self, key: str = "k1", token: str | None = None, **other: Any) -> PaymentInput:
        values: dict[str, Any] = {
            "key": key, "amount_minor": 10000, "currency": "EUR", "method": "card",
            "organiser": "org-1", "order": f"o-{key}", "country": "FR", "email": "c@example.com",
            "payment_token": token, "preferred": ("cards",),
        }  # fmt: skip
        return PaymentInput(**(values | other))

    def pay(self, key: str = "k1", token: str | None = None, **other: Any) -> PaymentResult:
        return self.app.payments.process(OPERATOR, self.input(key, token, **other))

    def show(self, result: PaymentResult) -> PaymentResult:
        return view(self.app.db, result.payment.id)

    def check(self) -> None:
        """Every invariant of the ledger and of payments holds. Cover is left out: a provider's fee
        on a receipt that earned no commission is rightly not covered.
        """
        with self.app.db.read() as tx:
            report = run_checks(tx, all_checks())
        assert [each for each in report.violations if each.name != "cover"] == []

    def resolve(self, case_id: UUID, resolution: str, evidence: str) -> None:
        """Resolve a case, with the second person's yes where one is needed."""
        try:
            self.app.cases.resolve(OPERATOR, case_id, resolution, evidence)
        except ApprovalRequired as needed:
            approval_id = decode(str(needed.params["approval"]), "approval")
            approval = self.app.approvals.approve(APPROVER, approval_id, "seen it too")
            self.app.after_approval[approval.kind](APPROVER, approval)

    def wait(self, **span: float) -> None:
        """Let time pass and the janitor look at what is due."""
        self.clock.advance(timedelta(**span))
        self.app.sync.run(JANITOR)

    def balance(self, code: str, currency: str = "EUR") -> int:
        """An account's balance in its normal direction; an account never used holds nothing."""
        with self.app.db.read() as tx:
            found = Reports(UTC).accounts(tx, prefix=code, currency=currency)
        return sum(each.own_minor for each in found if each.code == code)

    def provider_totals(self) -> dict[tuple[str, str], int]:
        """What each provider holds for us, by its own book: captured less refunded less fees."""
        out = {}
        for name, gateway in self.gateways.items():
            for currency, total in gateway.totals().items():
                out[name, currency] = total.captured_minor - total.refunded_minor - total.fees_minor
        return {key: amount for key, amount in out.items() if amount}

    def our_totals(self) -> dict[tuple[str, str], int]:
        """The same by our books."""
        pairs = [(name, currency) for name in self.gateways for currency in ("EUR", "XOF")]
        found = {(n, c): self.balance(f"gateway:{n}:collect", c) for n, c in pairs}
        return {key: amount for key, amount in found.items() if amount}


def make_kit(
    db: Database,
    folder: Path,
    gateways: Mapping[str, Mapping[str, Any]] | None = None,
    probe: Probe = no_probe,
) -> Kit:
    """A service on *db* with the named sandbox accounts (default: ``cards`` and ``momo``)."""
    assert isinstance(db.clock, ManualClock)
    built: dict[str, SandboxGateway] = {}
    for account, settings in (gateways or {"cards": CARDS, "momo": MOMO}).items():
        full = {"book": str(folder / f"{account}.sqlite3"), **settings}
        gateway = build("sandbox", account, full, str, clock=db.clock, probe=probe)
        assert isinstance(gateway, SandboxGateway)
        built[account] = gateway
    app = App(load(environ={"HOME": str(folder)}, folder=folder), db=db)
    app.__dict__["gateways"] = dict(built)
    return Kit(app, built, db.clock)


def states(result: PaymentResult) -> list[str]:
    return [str(attempt.state) for attempt in result.attempts]


def kinds(journals: Iterable[Any]) -> list[str]:
    return [journal.kind for journal in journals]
