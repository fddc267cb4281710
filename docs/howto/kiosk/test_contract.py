"""Kiosk's adapter against the contract that every gateway keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from payctl.clock import SystemClock
from payctl.gateways import base
from payctl.gateways.settings import Settings
from payctl.gateways.signature import sign
from payctl.testing.gateway_contract import GatewayContract

from .fake import KioskFake
from .gateway import DECLINES, KioskGateway

SECRETS = {"env:KIOSK_KEY": "kiosk-key-of-the-example", "env:KIOSK_HOOK": "kiosk-hook-secret"}


class KioskHarness:
    """The adapter, and the provider it talks to, which the suite breaks through :meth:`fields`."""

    base = base
    secrets = tuple(SECRETS.values())
    declines = tuple(DECLINES)
    signs_time = True
    FAULTS: Mapping[str, str] = {
        "lost_answer": "lost_answer", "no_effect": "no_effect", "garbage": "garbage",
        "silence": "silence", "server_error": "503", "rate_limited": "429",
        "bad_credentials": "401",
    }  # fmt: skip

    def __init__(self, fake: KioskFake) -> None:
        self.fake = fake
        self.sent = 0
        self.on_probe: Callable[[str], None] = lambda point: None
        self.reached, self.unreachable = self._build(fake.url), self._build("http://127.0.0.1:1")
        self.gateway = self.reached

    def _build(self, url: str) -> KioskGateway:
        section = {"url": url, "key": "env:KIOSK_KEY", "webhook_secret": "env:KIOSK_HOOK"}
        settings = Settings("kiosk-ci", section, SECRETS.__getitem__)
        return KioskGateway.from_settings(settings, clock=SystemClock(), probe=self._probe)

    def _probe(self, point: str) -> None:
        self.sent += point == "send.before"
        self.on_probe(point)

    def fields(self, scenario: str) -> Mapping[str, Any]:
        kind, _, why = scenario.partition(":")
        self.gateway = self.unreachable if kind == "unreachable" else self.reached
        self.fake.fault = self.FAULTS.get(kind, "")
        refused = kind in ("decline", "unknown_decline")
        self.fake.state = "refused" if refused else "waiting" if kind == "pending" else "paid"
        self.fake.why = (why or "a reason of tomorrow") if refused else None
        return {"phone": "+2250700000000"}

    def new_reference(self, number: int) -> str:
        return f"att_contract{number}"

    def customer_acts(self, request: Any, answer: Any) -> None:
        """Nobody has to: Kiosk takes the money as soon as a payment is created."""

    def knows(self, our_reference: str) -> bool:
        return self.fake.find(our_reference) is not None

    def taken(self, currency: str) -> int:
        paid = [each for each in self.fake.payments if each["state"] == "paid"]
        return sum(each["amount"] for each in paid if each["currency"] == currency)

    def refunded(self, currency: str) -> int:
        return 0

    def exchanges(self) -> int:
        return self.sent

    def event(self, provider_reference: str) -> tuple[bytes, dict[str, str]]:
        about = self.fake.find(provider_reference) or {}
        event = {"id": "evt_1", "type": "payment.paid", "payment": about["id"],
                 "reference": about["reference"]}  # fmt: skip
        body = json.dumps(event).encode()
        return body, {"Kiosk-Signature": sign(body, SECRETS["env:KIOSK_HOOK"], self.now())}

    def now(self) -> datetime:
        return datetime.now(UTC)

    def close(self) -> None:
        self.reached.close()
        self.unreachable.close()
        self.fake.close()


class TestKiosk(GatewayContract):
    @pytest.fixture
    def harness(self) -> Iterator[KioskHarness]:
        harness = KioskHarness(KioskFake())
        yield harness
        harness.close()
