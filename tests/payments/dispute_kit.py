"""A book with one Stripe account whose customers contest payments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from payctl.cases.model import Case
from payctl.db.engine import Database
from payctl.gateways.base import Event, Reference
from payctl.payments.dispute_records import DisputeFilter, DisputeRecord
from payctl.payments.results import PaymentResult
from payctl.testing.stripe_fake import StripeFake
from tests.gateways.harnesses import StripeHarness, resources
from tests.payments.kit import JANITOR, Kit, make_kit


@dataclass
class Desk:
    """A book with one Stripe account, and Stripe's side of it."""

    kit: Kit
    fake: StripeFake
    harness: StripeHarness

    def pay(self, key: str = "k1") -> PaymentResult:
        return self.kit.pay(key, "pm_card_visa", preferred=("st",))

    def contested(self, paid: PaymentResult, amount: int | None = None, **how: Any) -> str:
        """The customer's bank contests it; returns Stripe's id of the dispute."""
        intent = self.fake.intents[str(paid.attempts[0].provider_reference)]
        return self.fake.disputes.open(intent, amount, **how)

    def hear(self, reference: str) -> str:
        """A webhook about the dispute comes in."""
        event = Event("evt_1", "charge.dispute.updated", "dispute",
                      Reference(provider_reference=reference))  # fmt: skip
        return self.kit.app.sync.apply_event(JANITOR, "st", event)

    def one(self) -> DisputeRecord:
        [found] = self.kit.app.disputes.page(DisputeFilter())
        return found

    def cases(self, kind: str = "dispute") -> list[Case]:
        return list(self.kit.app.cases.list(kind=kind, state="unresolved"))

    def amounts(self, *codes: str) -> list[int]:
        return [self.kit.balance(code) for code in codes]


@contextmanager
def open_desk(db: Database, tmp_path: Path) -> Iterator[Desk]:
    kit = make_kit(db, tmp_path)
    with StripeFake(resources(), now=lambda: kit.clock.now().timestamp()) as fake:
        harness = StripeHarness(fake)
        kit.app.__dict__["gateways"] = {"st": harness.gateway}
        yield Desk(kit, fake, harness)
        harness.close()
