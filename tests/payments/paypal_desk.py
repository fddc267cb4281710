"""A book with one PayPal account whose customers contest payments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from payctl.cases.model import Case
from payctl.db.engine import Database
from payctl.payments.dispute_records import DisputeFilter, DisputeRecord
from payctl.payments.results import PaymentResult, view
from payctl.testing.emulators.core import Delivery
from payctl.testing.emulators.paypal_disputes import Disputes
from tests.gateways.paypal_harness import PAGE, PaypalHarness
from tests.payments.kit import JANITOR, Kit, make_kit


@dataclass
class PaypalDesk:
    """A book with one PayPal account, and PayPal's side of it."""

    kit: Kit
    harness: PaypalHarness

    @property
    def theirs(self) -> Disputes:
        return self.harness.provider.disputes

    def pay(self, key: str = "k1", **other: Any) -> PaymentResult:
        """A payment approved on PayPal's page and taken."""
        made = self.kit.pay(key, method="paypal", preferred=("pp",), **PAGE, **other)
        self.harness.provider.approve(str(made.attempts[0].provider_reference))
        self.kit.app.sync.payment(JANITOR, made.payment.id)
        return view(self.kit.app.db, made.payment.id)

    def contested(self, paid: PaymentResult, amount: int | None = None, **how: Any) -> str:
        """The customer contests it; returns PayPal's id of the dispute."""
        order = str(paid.attempts[0].provider_reference)
        [capture] = [key for key, each in self.harness.provider.books.captures.items()
                     if each["supplementary_data"]["related_ids"]["order_id"] == order]  # fmt: skip
        return self.theirs.open(capture, amount, **how)

    def events(self) -> list[Delivery]:
        """The webhooks about disputes so far."""
        sent = self.harness.provider.deliveries
        return [each for each in sent if b"CUSTOMER.DISPUTE." in each.body]

    def hear(self, delivery: Delivery | None = None) -> str:
        """PayPal's newest webhook about a dispute comes in, or an older one."""
        sent = delivery or self.events()[-1]
        event = self.harness.gateway.parse_event(sent.body, sent.headers)
        return self.kit.app.sync.apply_event(JANITOR, "pp", event)

    def one(self) -> DisputeRecord:
        [found] = self.kit.app.disputes.page(DisputeFilter())
        return found

    def cases(self, kind: str = "dispute") -> list[Case]:
        return list(self.kit.app.cases.list(kind=kind, state="unresolved"))

    def amounts(self, *codes: str) -> list[int]:
        return [self.kit.balance(code) for code in codes]

    def agrees(self) -> bool:
        """Whether our books and PayPal's balance say the same."""
        books = self.harness.provider.books
        return self.kit.balance("gateway:pp:collect") == books.holds("EUR") - books.opening["EUR"]


@contextmanager
def open_desk(db: Database, tmp_path: Path) -> Iterator[PaypalDesk]:
    kit = make_kit(db, tmp_path)
    harness = PaypalHarness(kit.clock)
    kit.app.__dict__["gateways"] = {"pp": harness.gateway}
    yield PaypalDesk(kit, harness)
    harness.close()
