"""MTN's adapter over real HTTP against its emulator, as the contract suites want it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from payctl.clock import SystemClock
from payctl.gateways import base
from payctl.gateways.momo import MomoGateway
from payctl.gateways.registry import build
from payctl.testing.emulators.core import Request, Response
from payctl.testing.emulators.momo import MomoEmulator
from payctl.testing.emulators.momo_access import API_KEYS, SUBSCRIPTION_KEYS, USERS
from payctl.testing.emulators.server import EmulatorServer
from tests.gateways.harnesses import free_port

PRODUCTS = ("collection", "disbursement")
SECRETS = {f"env:{product}_key": SUBSCRIPTION_KEYS[product] for product in PRODUCTS} | {
    f"env:{product}_secret": API_KEYS[product] for product in PRODUCTS
}
#: MTN's test numbers: 467331234NN.
TEST = "+467331234"
PAYS = "+46733000001"


def settings(url: str, products: tuple[str, ...] = PRODUCTS, **changes: Any) -> dict[str, Any]:
    """A section of the configuration; each product has credentials of its own."""
    out: dict[str, Any] = {"environment": "sandbox", "api_base": url}
    for product in products:
        out[f"{product}_key"] = f"env:{product}_key"
        out[f"{product}_user"] = USERS[product]
        out[f"{product}_secret"] = f"env:{product}_secret"
    return out | changes


class MomoHarness:
    base = base
    secrets = tuple(SECRETS.values())
    #: numbers of MTN's page that end a request with a no
    declines = ("50", "51", "52", "55", "56", "57", "58", "59", "63", "64")
    payout_declines = ("50", "51", "52", "55", "56", "57", "58", "59", "60", "64")
    signs_time = False
    FAULTS: Mapping[str, str] = {
        "lost_answer": "drop_after", "no_effect": "drop", "server_error": "503",
        "garbage": "html_after", "rate_limited": "429", "bad_credentials": "401", "silence": "hang",
    }  # fmt: skip

    def __init__(self, emulator: MomoEmulator | None = None, **changes: Any) -> None:
        self.sent = 0
        self.on_probe: Callable[[str], None] = lambda point: None
        self.emulator = emulator or MomoEmulator()
        self.server = EmulatorServer(self.emulator).start()
        self._reached = self._build(self.server.url, changes)
        self._unreachable = self._build(f"http://127.0.0.1:{free_port()}", changes)
        self.gateway = self._reached
        # A token is got once an hour and is no part of a payment.
        self._reached.ping()
        self.sent = 0

    def _build(self, url: str, changes: Mapping[str, Any]) -> MomoGateway:
        gateway = build(
            "momo", "mtn", settings(url, **changes), SECRETS.__getitem__, clock=SystemClock(),
            probe=self._probe,
        )  # fmt: skip
        assert isinstance(gateway, MomoGateway)
        return gateway

    def _probe(self, point: str) -> None:
        self.sent += point == "send.before"
        self.on_probe(point)

    def new_reference(self, number: int) -> str:
        return str(uuid.UUID(int=0xA000 + number, version=4))

    def _arrange(self, scenario: str, operation: str) -> str:
        """Arm the fault of *scenario*; returns the last digits of the number to use."""
        kind, _, digits = scenario.partition(":")
        self.gateway = self._unreachable if kind == "unreachable" else self._reached
        if kind in self.FAULTS:
            # A refused token is asked for anew once, and refused once more.
            times = 2 if kind == "bad_credentials" else 1
            self.emulator.fault(self.FAULTS[kind], operation, times)
        if kind == "unknown_decline":
            self.emulator.fault("reason:A_REASON_OF_TOMORROW", operation)
        return {"pending": "53"}.get(kind, digits)

    def fields(self, scenario: str) -> Mapping[str, Any]:
        digits = self._arrange(scenario, "payment.create")
        return {"phone": TEST + digits if digits else PAYS}

    def destination(self, scenario: str) -> base.Destination:
        digits = self._arrange(scenario, "payout.create")
        return base.Destination("msisdn", TEST + digits if digits else PAYS)

    def customer_acts(self, request: Any, answer: Any) -> None:
        """The number has decided."""

    def payee_acts(self, request: Any, answer: Any) -> None:
        """Nobody has to."""

    def payment(self, phone: str = PAYS, **changes: Any) -> base.PaymentRequest:
        reference = self.new_reference(len(self.emulator.requests))
        made = base.PaymentRequest(reference, reference, 2500, "EUR", "mobile_money", phone=phone)
        return replace(made, **changes)

    def payout(self, phone: str = PAYS, **changes: Any) -> base.PayoutRequest:
        reference = self.new_reference(len(self.emulator.requests))
        to = base.Destination("msisdn", phone)
        return replace(base.PayoutRequest(reference, reference, 5000, "EUR", to), **changes)

    def knows(self, our_reference: str) -> bool:
        return our_reference in self.emulator.asked

    def taken(self, currency: str) -> int:
        return _minor(self.emulator.moved("requesttopay", currency), currency)

    def refunded(self, currency: str) -> int:
        return _minor(self.emulator.moved("refund", currency), currency)

    def paid_out(self, currency: str) -> int:
        return _minor(self.emulator.moved("transfer", currency), currency)

    def exchanges(self) -> int:
        return self.sent

    def event(self, provider_reference: str) -> tuple[bytes, dict[str, str]]:
        asked = self.emulator.asked[provider_reference]
        body = {**asked.body, "status": asked.status, "financialTransactionId": asked.financial_id}
        return json.dumps(body).encode(), {"Content-Type": "application/json"}

    def now(self) -> datetime:
        return datetime.now(UTC)

    def close(self) -> None:
        self._reached.close()
        self._unreachable.close()
        self.server.close()


class Said:
    """Whatever is asked, the provider answers this."""

    def __init__(self, harness: MomoHarness, response: Response) -> None:
        self._emulator, self._response = harness.emulator, response

    def __enter__(self) -> None:
        self._emulator.handle = self._say  # type: ignore[method-assign]

    def __exit__(self, *error: object) -> None:
        del self._emulator.handle

    def _say(self, request: Request, fault: str | None) -> Response:
        return self._response


def _minor(amount: Decimal, currency: str) -> int:
    return int(amount * (1 if currency in ("XOF", "XAF", "GNF", "RWF", "UGX") else 100))
