"""CinetPay's two generations as the contract suites want them, over real HTTP to the emulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from payctl.clock import SystemClock
from payctl.gateways import base
from payctl.gateways.cinetpay import CinetPayGateway
from payctl.gateways.registry import build
from payctl.testing.emulators.cinetpay import (
    API_PASSWORD,
    APIKEY,
    SECRET_KEY,
    SITE_ID,
    V1_KEY,
    CinetPayEmulator,
)
from payctl.testing.emulators.core import Request
from payctl.testing.emulators.server import EmulatorServer
from tests.gateways.harnesses import _Probed, free_port

NOTIFY, BACK = "https://shop.example/hooks/cinetpay", "https://shop.example/back"
KNOWN = {"env:APIKEY": APIKEY, "env:SECRET": SECRET_KEY, "env:PASSWORD": API_PASSWORD,
         "env:KEY": V1_KEY}  # fmt: skip
FAULTS = {"lost_answer": "drop_after", "no_effect": "drop", "server_error": "503",
          "garbage": "html_after", "rate_limited": "429", "silence": "hang"}  # fmt: skip


def v2_settings(url: str, **more: Any) -> dict[str, Any]:
    return {
        "api": "v2", "apikey": "env:APIKEY", "site_id": SITE_ID, "secret_key": "env:SECRET",
        "api_password": "env:PASSWORD", "api_base": f"{url}/v2", "transfer_base": f"{url}/v1",
        "notify_url": NOTIFY, "return_url": BACK, **more,
    }  # fmt: skip


def v1_settings(url: str, **more: Any) -> dict[str, Any]:
    return {
        "api": "v1", "api_key": "env:KEY", "api_password": "env:PASSWORD", "country": "CI",
        "api_base": url, "notify_url": NOTIFY, "return_url": BACK, **more,
    }  # fmt: skip


PAYEE = base.Destination("msisdn", "+2250707080910", "Awa Kone", "CI")


def payment(number: int = 1, **changes: Any) -> base.PaymentRequest:
    fields = {
        "our_reference": f"{number:030x}", "idempotency_key": f"{number:030x}",
        "amount_minor": 2500, "currency": "XOF", "method": "mobile_money", **changes,
    }  # fmt: skip
    return base.PaymentRequest(**fields)


def payout(number: int = 1, **changes: Any) -> base.PayoutRequest:
    name = f"{number:030x}"
    return replace(base.PayoutRequest(name, name, 5000, "XOF", PAYEE), **changes)


class CinetPayHarness(_Probed):
    """What both generations share."""

    base = base
    signs_time = False
    settings: Any
    payment_call: str
    payout_call: str

    def __init__(self, account: str = "cp", **settings: Any) -> None:
        super().__init__()
        self.account = account
        self.emulator = CinetPayEmulator()
        self.server = EmulatorServer(self.emulator).start()
        self._reached = self.build(self.server.url, **settings)
        self._unreachable = self.build(f"http://127.0.0.1:{free_port()}", **settings)
        self.gateway = self._reached
        self.scenario = "success"

    def build(self, url: str, **settings: Any) -> CinetPayGateway:
        gateway = build(
            "cinetpay", self.account, self.settings(url, **settings), KNOWN.__getitem__,
            clock=SystemClock(), probe=self.probe,
        )  # fmt: skip
        assert isinstance(gateway, CinetPayGateway)
        return gateway

    def new_reference(self, number: int) -> str:
        return f"{number:030x}"

    def arm(self, scenario: str, call: str) -> None:
        """A fault for the next *call*."""
        self.scenario = scenario
        self.gateway = self._unreachable if scenario == "unreachable" else self._reached
        if scenario in FAULTS:
            self.emulator.fault(FAULTS[scenario], call)
        if scenario == "bad_credentials":
            self.emulator.fault("401", call, times=2)

    def came_in(self, path: str) -> list[Request]:
        """The requests that came in on *path*."""
        return [each for each in self.emulator.requests if each.path == path]

    def refunded(self, currency: str) -> int:
        return 0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def close(self) -> None:
        self._reached.close()
        self._unreachable.close()
        self.server.close()


class V2Harness(CinetPayHarness):
    """The checkout and the transfers."""

    settings = staticmethod(v2_settings)
    secrets = (APIKEY, SECRET_KEY, API_PASSWORD, "emulatedtoken")
    declines = ("602", "604", "606", "627", "635", "636", "637", "600", "807", "812")
    payout_declines = ("602", "717", "719", "721", "802", "REJ")
    reasonless = ("600", "606", "REJ")

    def fields(self, scenario: str) -> Mapping[str, Any]:
        self.arm(scenario, "payment.create")
        return {}

    def customer_acts(self, request: Any, answer: Any) -> None:
        kind, _, code = self.scenario.partition(":")
        if kind == "decline":
            self.emulator.checkout.end(request.our_reference, code)
        elif kind == "unknown_decline":
            self.emulator.checkout.end(request.our_reference, "600")
        else:
            self.emulator.checkout.pay(request.our_reference)

    def knows(self, our_reference: str) -> bool:
        return our_reference in self.emulator.checkout.payments

    def taken(self, currency: str) -> int:
        return self.emulator.checkout.taken(currency)

    def event(self, provider_reference: str) -> tuple[bytes, dict[str, str]]:
        made = self.emulator.checkout.callback(provider_reference)
        return made.body, dict(made.headers)

    def destination(self, scenario: str) -> base.Destination:
        self.arm(scenario, "transfer.send")
        code = scenario.partition(":")[2]
        if code.isdigit():
            self.emulator.fault(f"code:{code}", "transfer.send")
        return base.Destination("msisdn", "+2250707080910", "Awa Kone", "CI")

    def payee_acts(self, request: Any, answer: Any) -> None:
        status = "REJ" if self.scenario == "decline:REJ" else "VAL"
        self.emulator.transfers.settle(request.our_reference, status)

    def paid_out(self, currency: str) -> int:
        return self.emulator.transfers.paid_out()


class V1Harness(CinetPayHarness):
    """The new API."""

    settings = staticmethod(v1_settings)
    secrets = (V1_KEY, API_PASSWORD, "emulatedjwt")
    declines = ("FAILED",)
    payout_declines = ("FAILED",)
    reasonless = ("FAILED",)
    NUMBERS: ClassVar = {"decline": "+2250707070703", "pending": "+2250707070706",
               "unknown_decline": "+2250707070704"}  # fmt: skip

    def __init__(self, account: str = "cp", **settings: Any) -> None:
        super().__init__(account, **settings)
        assert self.gateway.ping().ok  # a token is there, as in any account that is in use

    def fields(self, scenario: str) -> Mapping[str, Any]:
        self.arm(scenario, "v1.payment.create")
        kind = scenario.partition(":")[0]
        return {"phone": self.NUMBERS.get(kind, "+2250707070700")}

    def customer_acts(self, request: Any, answer: Any) -> None:
        name = request.our_reference
        self.emulator.v1.visit(self.emulator.v1.things[name].token)
        self.emulator.v1.go(name)

    def knows(self, our_reference: str) -> bool:
        return our_reference in self.emulator.v1.things

    def taken(self, currency: str) -> int:
        return self.emulator.v1.sum("payment", currency)

    def event(self, provider_reference: str) -> tuple[bytes, dict[str, str]]:
        things = self.emulator.v1.things
        name = next(n for n, t in things.items() if t.transaction_id == provider_reference)
        made = self.emulator.v1.callback(name)
        return made.body, dict(made.headers)

    def destination(self, scenario: str) -> base.Destination:
        self.arm(scenario, "v1.transfer.create")
        kind = scenario.partition(":")[0]
        number = self.NUMBERS.get(kind, "+2250707070701")
        return base.Destination("msisdn", number, "Awa Kone", "CI")

    def payee_acts(self, request: Any, answer: Any) -> None:
        self.emulator.v1.go(request.our_reference)

    def paid_out(self, currency: str) -> int:
        return self.emulator.v1.sum("transfer", currency)
