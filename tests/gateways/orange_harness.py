"""Orange's adapter over real HTTP against its emulator, one API at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from payctl.clock import Clock, SystemClock
from payctl.gateways import base
from payctl.gateways.orange import OrangeGateway
from payctl.gateways.registry import build
from payctl.testing.emulators import orange
from payctl.testing.emulators.orange import OrangeEmulator
from payctl.testing.emulators.server import EmulatorServer
from tests.gateways.harnesses import free_port

SECRETS = {
    "env:ID": orange.CLIENT_ID,
    "env:SECRET": orange.CLIENT_SECRET,
    "env:MERCHANT": orange.MERCHANT_KEY,
    "env:PASSWORD": orange.API_PASSWORD,
    "env:PIN": orange.PIN,
}
_COMMON = {"client_id": "env:ID", "client_secret": "env:SECRET", "environment": "sandbox"}
NOTIFY = "https://pay.example/webhooks/orange"
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "webpay": {**_COMMON, "merchant_key": "env:MERCHANT", "notify_url": NOTIFY, "country": "CI"},
    "cameroon": {
        **_COMMON, "api_user": orange.API_USER, "api_password": "env:PASSWORD", "pin": "env:PIN",
        "channel_msisdn": orange.CHANNEL, "notify_url": NOTIFY, "limits": {"XAF": [100, 500_000]},
        "payout_limits": {"XAF": [100, 500_000]},
    },
    "sonatel": {
        **_COMMON, "merchant_code": "123456", "channel_msisdn": "771000009", "pin": "env:PIN",
        "payout_limits": {"XOF": [100, 500_000]},
    },
}  # fmt: skip


class _Ahead(SystemClock):
    """The machine's time, moved on by a test."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


class OrangeHarness:
    base = base
    secrets = tuple(value for key, value in SECRETS.items() if key != "env:ID")
    signs_time = False
    FAULTS: Mapping[str, str] = {
        "lost_answer": "drop_after", "no_effect": "drop", "server_error": "503",
        "garbage": "html_after", "rate_limited": "429", "bad_credentials": "401", "silence": "hang",
    }  # fmt: skip
    DECLINES: Mapping[str, tuple[str, ...]] = {
        "webpay": ("FAILED", "EXPIRED"), "cameroon": ("00", "01"), "sonatel": ("FAILED",),
    }  # fmt: skip
    PHONES: Mapping[str, str] = {"cameroon": "+23769100", "sonatel": "+22177100", "webpay": ""}

    def __init__(self, api: str, clock: Clock | None = None) -> None:
        self.api = api
        self.clock = clock or _Ahead()
        self.declines = self.DECLINES[api]
        self.payout_declines = {"cameroon": ("00", "01"), "sonatel": ("00", "01", "02")}.get(
            api, ()
        )
        if api == "cameroon":
            self.phone = "+237691234577"
        self.sent = 0
        self.scenario = ""
        self.on_probe: Callable[[str], None] = lambda point: None
        self.emulator = OrangeEmulator()
        self.server = EmulatorServer(self.emulator).start()
        self._reached = self._build(self.server.url)
        self._unreachable = self._build(f"http://127.0.0.1:{free_port()}")
        self.gateway = self._reached
        self.details: dict[str, Mapping[str, str]] = {}

    def _build(self, url: str) -> OrangeGateway:
        gateway = build(
            "orange", "om", {"api": self.api, "api_base": url, **SETTINGS[self.api]},
            SECRETS.__getitem__, clock=self.clock, probe=self._probe,
        )  # fmt: skip
        assert isinstance(gateway, OrangeGateway)
        return gateway

    def _probe(self, point: str) -> None:
        self.sent += point == "send.before"
        self.on_probe(point)

    def new_reference(self, number: int) -> str:
        return f"ref{number:010d}"

    def _arrange(self, scenario: str, operation: str) -> str:
        kind, _, rest = scenario.partition(":")
        self.scenario = scenario
        self.gateway = self._unreachable if kind == "unreachable" else self._reached
        if kind in self.FAULTS:
            times = 2 if kind == "bad_credentials" else 1
            self.emulator.fault(self.FAULTS[kind], operation, times)
        if kind == "unknown_decline":
            self.emulator.fault("failed", operation)
        return "02" if kind == "pending" else rest if rest.isdigit() else "77"

    def fields(self, scenario: str) -> Mapping[str, Any]:
        digits = self._arrange(scenario, "payment.create")
        phone = f"{self.PHONES[self.api]}00{digits}" if self.api == "cameroon" else None
        return {"phone": phone, "return_url": "https://shop.example/back"}

    def destination(self, scenario: str) -> base.Destination:
        digits = self._arrange(scenario, "payout.create")
        return base.Destination("msisdn", f"{self.PHONES[self.api]}00{digits}")

    def customer_acts(self, request: Any, answer: Any) -> None:
        kind, _, rest = self.scenario.partition(":")
        if kind == "unknown_decline":
            rest = "FAILED"
        if rest == "EXPIRED":
            self.emulator.advance(11 * 60)
        elif self.api != "cameroon":
            self.emulator.pay(request.our_reference, rest or "SUCCESS")
        if self.api == "sonatel" and isinstance(self.clock, _Ahead):
            # A try that failed decides nothing while the code can still be paid.
            self.clock.ahead = timedelta(minutes=31 if rest == "FAILED" else 0)

    def payee_acts(self, request: Any, answer: Any) -> None:
        """Nobody has to."""

    def knows(self, our_reference: str) -> bool:
        return self.emulator.known(our_reference)

    def _at(self, currency: str) -> str:
        return "OUV" if self.api == "webpay" else currency

    def taken(self, currency: str) -> int:
        return self.emulator.moved("payment", self._at(currency))

    def refunded(self, currency: str) -> int:
        return 0

    def paid_out(self, currency: str) -> int:
        return self.emulator.moved("payout", currency)

    def exchanges(self) -> int:
        return self.sent

    def event(self, provider_reference: str) -> tuple[bytes, dict[str, str]]:
        orders = self.emulator.orders.values()
        order = next(o for o in orders if provider_reference in (o.txnid, o.pay_token))
        body: dict[str, Any] = {"status": order.status, "txnid": order.txnid}
        if self.api == "webpay":
            body["notif_token"] = order.notif_token
        elif self.api == "cameroon":
            body["payToken"] = order.pay_token
        else:
            body |= {"transactionId": order.txnid, "metadata": dict(order.meta)}
        return json.dumps(body).encode(), {"Content-Type": "application/json"}

    def now(self) -> datetime:
        return datetime.now(UTC)

    def close(self) -> None:
        self.server.close()
