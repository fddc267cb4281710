"""PayPal's adapter and the emulated PayPal, as the contract suites want them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from payctl.clock import Clock, SystemClock
from payctl.gateways import base
from payctl.gateways.http import Reply
from payctl.gateways.paypal import PaypalGateway
from payctl.gateways.paypal_certificates import Certificates
from payctl.gateways.paypal_issues import ISSUES, PAYOUT_ERRORS
from payctl.gateways.paypal_money import from_money
from payctl.gateways.registry import build
from payctl.testing.emulators.paypal import CLIENT_ID, CLIENT_SECRET, PaypalEmulator
from payctl.testing.emulators.paypal_events import WEBHOOK_ID
from payctl.testing.emulators.server import EmulatorServer
from tests.gateways.harnesses import _Probed, free_port
from tests.gateways.paypal_signer import paypal_signer

SECRETS = {"env:ID": CLIENT_ID, "env:SECRET": CLIENT_SECRET}
PAGE = {"return_url": "https://shop.example/back?o=1", "cancel_url": "https://shop.example/no"}
#: One issue for each of our codes that a capture may be refused with, for good.
DECLINES = tuple(
    {
        meaning.code: issue
        for issue, meaning in ISSUES.items()
        if meaning.outcome is base.Outcome.DECLINED and not issue.startswith("REFUND_")
    }.values()
)
#: The same of payouts.
PAYOUT_DECLINES = tuple({code: word for word, code in PAYOUT_ERRORS.items()}.values())
ITEM_STATES = ("BLOCKED", "RETURNED", "REFUNDED", "REVERSED")


class PaypalHarness(_Probed):
    """The adapter over real HTTP against the emulator."""

    base = base
    secrets = (CLIENT_SECRET,)
    declines = (*DECLINES, "a declined capture")
    payout_declines = (*PAYOUT_DECLINES, *ITEM_STATES)
    signs_time = False
    #: where a fault strikes
    CREATES = "order.create"
    FAULTS: Mapping[str, str] = {
        "lost_answer": "drop_after", "no_effect": "drop", "server_error": "503",
        "garbage": "html_after", "rate_limited": "429", "bad_credentials": "401",
        "silence": "hang",
    }  # fmt: skip

    def __init__(self, clock: Clock | None = None, **settings: Any) -> None:
        super().__init__()
        self.clock = clock or SystemClock()
        signer = paypal_signer()
        self.provider = PaypalEmulator(self.clock.now, signer.sign)
        # The contract asks at once; how late the reports are has tests of its own.
        self.provider.reports.late = timedelta()
        self.provider.books.opening = {"EUR": 10_000_000}
        self.server = EmulatorServer(self.provider).start()
        self.settings = {"client_id": "env:ID", "client_secret": "env:SECRET", "payouts": True,
                         "webhook_id": WEBHOOK_ID, **settings}  # fmt: skip
        self.fetched: list[str] = []
        self._reached = self.build(self.server.url)
        self._unreachable = self.build(f"http://127.0.0.1:{free_port()}")
        self.gateway = self._reached
        self.scenario = ""

    def build(self, url: str, **more: Any) -> PaypalGateway:
        settings = {**self.settings, "api_base": url, **more}
        gateway = build("paypal", "pp", settings, SECRETS.__getitem__, clock=self.clock,
                        probe=self.probe)  # fmt: skip
        assert isinstance(gateway, PaypalGateway)
        gateway.webhooks.certificates = Certificates(
            self.clock, "sandbox", fetch=self.fetch_certificate, roots=paypal_signer().roots
        )
        return gateway

    def fetch_certificate(self, url: str) -> Reply:
        """What PayPal's host answers at the address of a certificate."""
        self.fetched.append(url)
        return Reply(200, {}, paypal_signer().chain)

    def _arrange(self, kind: str) -> None:
        self.gateway = self._unreachable if kind == "unreachable" else self._reached
        if kind in self.FAULTS:
            # A refused token is renewed once: only a second refusal says something.
            times = 2 if kind == "bad_credentials" else 1
            self.provider.fault(self.FAULTS[kind], self.CREATES, times)

    def fields(self, scenario: str) -> Mapping[str, Any]:
        self.scenario = scenario
        self._arrange(scenario.partition(":")[0])
        return PAGE

    def new_reference(self, number: int) -> str:
        return f"att_contract{number}"

    def customer_acts(self, request: Any, answer: Any) -> None:
        kind, _, issue = self.scenario.partition(":")
        if kind == "decline":
            told = "declined" if issue == "a declined capture" else f"issue:{issue}"
            self.provider.fault(told, "order.capture")
        elif kind == "unknown_decline":
            self.provider.fault("issue:A_REASON_OF_TOMORROW", "order.capture")
        self.provider.approve(answer.provider_reference)

    def knows(self, our_reference: str) -> bool:
        held = [each["purchase_units"][0] for each in self.provider.books.orders.values()]
        return any(unit["custom_id"] == our_reference for unit in held)

    def taken(self, currency: str) -> int:
        done = ("COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED")
        return self._sum(self.provider.books.captures, done, currency)

    def refunded(self, currency: str) -> int:
        return self._sum(self.provider.books.refunds, ("COMPLETED",), currency)

    def _sum(self, held: Mapping[str, Any], states: tuple[str, ...], currency: str) -> int:
        sums = [from_money(each["amount"]) for each in held.values() if each["status"] in states]
        return sum(amount for amount, code in sums if code == currency)

    def destination(self, scenario: str) -> base.Destination:
        kind, _, why = scenario.partition(":")
        self._arrange(kind)
        receiver = f"{why.lower() or 'organiser'}@example.com"
        status = why if why in ITEM_STATES else "FAILED"
        if why:
            self.provider.payouts.receivers[receiver] = (status, why if status != why else None)
        return base.Destination("email", receiver)

    def payee_acts(self, request: Any, answer: Any) -> None:
        for batch_id in list(self.provider.books.batches):
            self.provider.payouts.finish(batch_id)

    def paid_out(self, currency: str) -> int:
        rows = self.provider.books.movements
        return sum(-row.amount for row in rows if (row.code, row.status) == ("T0001", "S"))

    def event(self, provider_reference: str) -> tuple[bytes, dict[str, str]]:
        for sent in self.provider.deliveries:
            if (
                b"PAYMENT.CAPTURE.COMPLETED" in sent.body
                and provider_reference.encode() in sent.body
            ):
                return sent.body, dict(sent.headers)
        raise AssertionError("no event")

    def now(self) -> datetime:
        return datetime.now(UTC)

    def close(self) -> None:
        self._reached.close()
        self._unreachable.close()
        self.server.close()


class PaypalPayoutHarness(PaypalHarness):
    """The same, where faults strike payouts."""

    CREATES = "payout.create"
