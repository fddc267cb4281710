"""MTN's adapter over real HTTP against its emulator, as the contract suites want it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from payctl.clock import SystemClock
from payctl.gateways import base
from payctl.gateways.momo import MomoGateway
from payctl.gateways.registry import build
from payctl.testing.emulators.momo import API_KEY, SUBSCRIPTION_KEYS, USER, MomoEmulator
from payctl.testing.emulators.server import EmulatorServer
from tests.gateways.harnesses import free_port

SECRETS = {
    "env:COLLECT": SUBSCRIPTION_KEYS["collection"],
    "env:PAY": SUBSCRIPTION_KEYS["disbursement"],
    "env:KEY": API_KEY,
}
#: MTN's test numbers: 467331234NN.
TEST = "+467331234"
PAYS = "+46733000001"


def settings(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "environment": "sandbox", "api_base": url,
        "collection_key": "env:COLLECT", "collection_user": USER, "collection_secret": "env:KEY",
        "disbursement_key": "env:PAY", "disbursement_user": USER, "disbursement_secret": "env:KEY",
        **changes,
    }  # fmt: skip


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

    def __init__(self, **changes: Any) -> None:
        self.sent = 0
        self.on_probe: Callable[[str], None] = lambda point: None
        self.emulator = MomoEmulator()
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

    def knows(self, our_reference: str) -> bool:
        return our_reference in self.emulator.asked

    def taken(self, currency: str) -> int:
        return _minor(self.emulator.moved("requesttopay", currency))

    def refunded(self, currency: str) -> int:
        return _minor(self.emulator.moved("refund", currency))

    def paid_out(self, currency: str) -> int:
        return _minor(self.emulator.moved("transfer", currency))

    def exchanges(self) -> int:
        return self.sent

    def event(self, provider_reference: str) -> tuple[bytes, dict[str, str]]:
        asked = self.emulator.asked[provider_reference]
        body = {**asked.body, "status": asked.status, "financialTransactionId": asked.financial_id}
        return json.dumps(body).encode(), {"Content-Type": "application/json"}

    def now(self) -> datetime:
        return datetime.now(UTC)

    def close(self) -> None:
        self.server.close()


def _minor(amount: Decimal) -> int:
    return int(amount * 100)
