"""The sandbox and Stripe as the contract suite wants them: a gateway, and a provider to break."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from payctl.clock import ManualClock, SystemClock
from payctl.gateways import base
from payctl.gateways.registry import build
from payctl.gateways.sandbox import SandboxGateway
from payctl.gateways.signature import sign
from payctl.gateways.stripe import StripeGateway
from payctl.gateways.stripe_answers import DECLINES
from payctl.gateways.stripe_money import from_stripe
from payctl.testing.harness import PHONE
from payctl.testing.stripe_fake import StripeFake, samples
from payctl.testing.stripe_more import ABSENT, CLOSED

FIXTURES = Path(__file__).parent / "fixtures"
START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
#: Not a key of anything; long enough that finding it in a record is no accident.
KEY = "sk_test_" + "A1b2C3d4" * 4
WEBHOOK_SECRET = "whsec_" + "Zz9" * 10


def resources() -> dict[str, Any]:
    return samples()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def sandbox(
    tmp_path: Path, clock: ManualClock, name: str = "sb", **settings: Any
) -> SandboxGateway:
    settings = {"book": str(tmp_path / f"{name}.provider"), **settings}
    gateway = build("sandbox", name, settings, str, clock=clock)
    assert isinstance(gateway, SandboxGateway)
    return gateway


class _Probed:
    """Counts what leaves, and lets a test watch or kill at the probe."""

    def __init__(self) -> None:
        self.on_probe: Callable[[str], None] = lambda point: None
        self.sent = 0

    def probe(self, point: str) -> None:
        self.sent += point == "send.before"
        self.on_probe(point)

    def exchanges(self) -> int:
        return self.sent


class SandboxHarness(_Probed):
    """The sandbox: scenarios are words in the payment."""

    base = base
    secrets = ("sandbox sb",)
    declines = tuple(sorted(base.DECLINE_CODES - {"unknown_reason"}))
    payout_declines = declines
    signs_time = True
    WORDS = {  # noqa: RUF012 - a constant
        "success": "ok", "pending": "pending", "lost_answer": "lost_answer",
        "no_effect": "timeout_no_effect", "unreachable": "not_sent", "server_error": "5xx",
        "garbage": "garbage", "rate_limited": "429", "bad_credentials": "auth",
        "silence": "timeout_no_effect", "unknown_decline": "decline_not_a_code",
    }  # fmt: skip

    def __init__(self, tmp_path: Path, **settings: Any) -> None:
        super().__init__()
        self.clock = ManualClock(START)
        self.gateway = build(
            "sandbox",
            "sb",
            {"book": str(tmp_path / "sb.provider"), **settings},
            str,
            clock=self.clock,
            probe=self.probe,
        )
        assert isinstance(self.gateway, SandboxGateway)
        self.provider: SandboxGateway = self.gateway

    def fields(self, scenario: str) -> Mapping[str, Any]:
        kind, _, code = scenario.partition(":")
        word = f"decline_{code}" if kind == "decline" else self.WORDS[kind]
        return {"payment_token": f"tok_{word}", "phone": PHONE}

    def new_reference(self, number: int) -> str:
        return f"att_contract{number}"

    def customer_acts(self, request: Any, answer: Any) -> None:
        self.provider.customer_acts(request.our_reference)

    def destination(self, scenario: str) -> base.Destination:
        kind, _, code = scenario.partition(":")
        word = f"decline_{code}" if kind == "decline" else self.WORDS[kind]
        return base.Destination("msisdn", PHONE, f"tok_payout_{word}", "CI")

    def payee_acts(self, request: Any, answer: Any) -> None:
        self.provider.payee_acts(request.our_reference)

    def paid_out(self, currency: str) -> int:
        rows = [row for row in self.provider.payouts() if row["currency"] == currency]
        return sum(row["amount_minor"] for row in rows if row["state"] == "succeeded")

    def knows(self, our_reference: str) -> bool:
        return any(each["our_reference"] == our_reference for each in self.provider.payments())

    def taken(self, currency: str) -> int:
        totals = self.provider.totals()
        return totals[currency].captured_minor if currency in totals else 0

    def refunded(self, currency: str) -> int:
        return self.provider.totals()[currency].refunded_minor

    def event(self, provider_reference: str) -> tuple[bytes, dict[str, str]]:
        for body, headers in self.provider.deliveries():
            if provider_reference.encode() in body:
                return body, headers
        raise AssertionError("no event")

    def now(self) -> datetime:
        return self.clock.now()


class ApprovingSandboxHarness(SandboxHarness):
    """The sandbox where each payment waits for its customer's approval and for our completion."""

    WORDS = {  # noqa: RUF012 - a constant
        **SandboxHarness.WORDS, "success": "approval", "pending": "approval",
        "lost_answer": "approval tok_lost_answer",
    }  # fmt: skip


class StripeHarness(_Probed):
    """Stripe's adapter over real HTTP against our fake."""

    base = base
    secrets = (KEY, WEBHOOK_SECRET, "_secret_fake")
    declines = tuple(sorted(DECLINES))
    signs_time = True
    #: where a fault strikes
    CREATES = "/payment_intents"
    FAULTS = {  # noqa: RUF012 - a constant
        "lost_answer": "drop_after", "no_effect": "drop", "server_error": "503",
        "garbage": "html_after", "rate_limited": "429", "bad_credentials": "401",
        "silence": "hang",
    }  # fmt: skip

    def __init__(self, fake: StripeFake, **settings: Any) -> None:
        super().__init__()
        self.fake = fake
        fake.default_wait_s = 1.5
        self.settings = {
            "secret_key": "env:KEY",
            "webhook_secrets": ["env:HOOK"],
            "api_base": fake.url,
            **settings,
        }
        self._reached = self._build(fake.url)
        self._unreachable = self._build(f"http://127.0.0.1:{free_port()}")
        self.gateway: StripeGateway = self._reached

    def _build(self, url: str) -> StripeGateway:
        known = {"env:KEY": KEY, "env:HOOK": WEBHOOK_SECRET}
        gateway = build(
            "stripe",
            "st",
            {**self.settings, "api_base": url},
            known.__getitem__,
            clock=SystemClock(),
            probe=self.probe,
        )
        assert isinstance(gateway, StripeGateway)
        return gateway

    def fields(self, scenario: str) -> Mapping[str, Any]:
        self.gateway = self._unreachable if scenario == "unreachable" else self._reached
        kind, _, code = scenario.partition(":")
        if kind in self.FAULTS:
            self.fake.fault(self.FAULTS[kind], self.CREATES)
        token = {"pending": "pm_action", "unknown_decline": "pm_decline_of_the_future"}
        if kind == "decline":
            return {"payment_token": f"pm_decline_{code}"}
        return {"payment_token": token.get(kind, "pm_card_visa")}

    def new_reference(self, number: int) -> str:
        return f"att_contract{number}"

    def customer_acts(self, request: Any, answer: Any) -> None:
        """Payments of the suite are confirmed at once."""

    def knows(self, our_reference: str) -> bool:
        return any(
            each["metadata"].get("payctl_ref") == our_reference
            for each in self.fake.intents.values()
        )

    def taken(self, currency: str) -> int:
        return from_stripe(self.fake.taken(currency), currency)

    def refunded(self, currency: str) -> int:
        return sum(
            int(refund["amount"])
            for refund in self.fake.refunds.values()
            if refund["currency"] == currency.lower() and refund["status"] == "succeeded"
        )

    def event(self, provider_reference: str) -> tuple[bytes, dict[str, str]]:
        about = self.fake.intents[provider_reference]
        event = resources()["event"] | {
            "id": "evt_fake1",
            "type": "payment_intent.succeeded",
            "data": {"object": about},
        }
        body = json.dumps(event).encode()
        return body, {"Stripe-Signature": sign(body, WEBHOOK_SECRET, self.now())}

    def now(self) -> datetime:
        return datetime.now(UTC)

    def close(self) -> None:
        self._reached.close()
        self._unreachable.close()


class CheckoutHarness(StripeHarness):
    """Stripe's adapter where customers pay on Stripe's page."""

    CREATES = "/checkout/sessions"
    #: a card that is declined leaves the page open; what ends it is its time
    declines = ("time",)

    def __init__(self, fake: StripeFake) -> None:
        super().__init__(fake, checkout=True)
        self.scenario = ""

    def fields(self, scenario: str) -> Mapping[str, Any]:
        super().fields(scenario)
        self.scenario = scenario.partition(":")[0]
        return {"return_url": "https://shop.example/back", "cancel_url": "https://shop.example/no"}

    def customer_acts(self, request: Any, answer: Any) -> None:
        if self.scenario in ("decline", "unknown_decline"):
            self.fake.checkout.pay(answer.provider_reference, "pm_decline_generic_decline")
            self.fake.checkout.run_out(answer.provider_reference)
        else:
            self.fake.checkout.pay(answer.provider_reference)

    def knows(self, our_reference: str) -> bool:
        held = self.fake.checkout.held.values()
        return any(each["client_reference_id"] == our_reference for each in held)


class ConnectHarness(StripeHarness):
    """Stripe's adapter paying out to connected accounts."""

    CREATES = "/transfers"
    payout_declines = (ABSENT, CLOSED, "acct_while_the_balance_is_low")

    def __init__(self, fake: StripeFake) -> None:
        super().__init__(fake, connect=True)

    def destination(self, scenario: str) -> base.Destination:
        kind, _, account = scenario.partition(":")
        self.fields(kind if kind != "decline" else "success")
        self.fake.transfers.balance = 0 if account.endswith("low") else None
        return base.Destination("stripe_account", account or "acct_of_an_organiser")

    def payee_acts(self, request: Any, answer: Any) -> None:
        """A transfer needs nobody."""

    def paid_out(self, currency: str) -> int:
        held = self.fake.transfers.held.values()
        return sum(each["amount"] for each in held if each["currency"] == currency.lower())
