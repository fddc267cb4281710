"""What the contract suites need of a gateway under test and of the provider behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Protocol

CARD = "4242424242424242"
PHONE = "+2250708091011"
#: Scenarios a harness must know; ``fields`` of one are laid over a payment request.
SCENARIOS = ("success", "pending", "lost_answer", "no_effect", "unreachable", "server_error",
             "garbage", "rate_limited", "bad_credentials")  # fmt: skip


class Harness(Protocol):
    """What the suite needs. Amounts in ISO 4217 minor units."""

    #: the module :mod:`payctl.gateways.base`, so that this suite imports no gateway code itself
    base: ModuleType
    gateway: Any
    #: everything that must never appear in a record
    secrets: tuple[str, ...]
    #: the provider's name of each decline
    declines: tuple[str, ...]
    #: the same for payouts; empty where the gateway makes none
    payout_declines: tuple[str, ...]
    #: those of both that the provider gives no reason with; may be left out when there are none
    reasonless: tuple[str, ...]
    #: called with every point the gateway's probe is told
    on_probe: Callable[[str], None]
    #: a number the gateway takes, where the suite's own would be refused before any exchange
    # phone: str  (optional)
    #: whether webhooks carry a signed time
    signs_time: bool

    def fields(self, scenario: str) -> Mapping[str, Any]:
        """Arrange the next exchange: fields for its request, or a fault armed at the provider."""

    def new_reference(self, number: int) -> str:
        """A reference in the format the gateway declares, different for each *number*."""

    def customer_acts(self, request: Any, answer: Any) -> None:
        """The customer follows the ``next_action`` of *answer* (or confirms on the phone), as the
        scenario of *request* has it. Does nothing where a payment needs no customer.
        """

    def knows(self, our_reference: str) -> bool:
        """Whether the provider holds a payment made with this reference, paid or not."""

    def taken(self, currency: str) -> int:
        """What the provider captured in *currency*."""

    def refunded(self, currency: str) -> int:
        """What the provider gave back in *currency*."""

    def destination(self, scenario: str) -> Any:
        """A ``Destination`` for the next payout in *scenario*; only asked of gateways that pay out.
        Scenarios as for payments, with ``decline:`` and the provider's names in
        ``payout_declines``.
        """

    def payee_acts(self, request: Any, answer: Any) -> None:
        """The payee, or time, does what lets a payout of an ordinary scenario end."""

    def paid_out(self, currency: str) -> int:
        """What the provider paid out in *currency*."""

    def exchanges(self) -> int:
        """How many requests have left so far."""

    def event(self, provider_reference: str) -> tuple[bytes, dict[str, str]]:
        """A signed webhook about a payment: raw body and headers."""

    def now(self) -> Any:
        """The provider's time."""


class Reasons:
    """The codes a decline may come to."""

    def reasons(self, harness: Harness, name: str) -> frozenset[str]:
        """Codes of ours for the provider's decline *name*: a reason, wherever it gives one."""
        codes: frozenset[str] = harness.base.DECLINE_CODES
        unsaid = name in getattr(harness, "reasonless", ())
        return frozenset({"unknown_reason"}) if unsaid else codes - {"unknown_reason"}


class Steps(Reasons):
    """What the suites do again and again with a gateway."""

    def request(self, harness: Harness, scenario: str = "success", **changes: Any) -> Any:
        """A payment request of 25.00 EUR (or what the gateway takes) in *scenario*."""
        can = harness.gateway.capabilities
        currency = "EUR" if can.currencies is None or "EUR" in can.currencies else None
        fields = {
            "our_reference": harness.new_reference(harness.exchanges()),
            "idempotency_key": f"key_contract{harness.exchanges()}",
            "amount_minor": 2500,
            "currency": currency or sorted(can.currencies)[0],
            "method": sorted(can.methods)[0],
            **harness.fields(scenario),
            **changes,
        }
        return harness.base.PaymentRequest(**fields)

    def create(self, harness: Harness, scenario: str = "success", **changes: Any) -> Any:
        # The request first: arranging its scenario may change which gateway the harness shows.
        request = self.request(harness, scenario, **changes)
        return harness.gateway.create_payment(request)

    def finish(self, harness: Harness, request: Any, answer: Any) -> Any:
        """What *answer* comes to once the customer has done what is asked: the last answer."""
        if answer.outcome not in ("requires_action", "pending"):
            return answer
        harness.customer_acts(request, answer)
        last = self.about(harness, request, answer)
        if last.outcome == "approved":
            key = f"{request.idempotency_key}_done"
            last = harness.gateway.complete_payment(self.reference(harness, request, answer), key)
        return last

    def paid(self, harness: Harness, **changes: Any) -> Any:
        request = self.request(harness, **changes)
        answer = self.finish(harness, request, harness.gateway.create_payment(request))
        assert answer.outcome in ("succeeded", "authorized"), answer
        return answer

    def reference(self, harness: Harness, request: Any, answer: Any) -> Any:
        """What is stored of a payment after *answer*, to ask about it."""
        return harness.base.Reference(
            request.our_reference, answer.provider_reference, request.amount_minor,
            request.currency, harness.now(), answer.provider_data,
        )  # fmt: skip

    def about(self, harness: Harness, request: Any, answer: Any) -> Any:
        return harness.gateway.query_payment(self.reference(harness, request, answer))

    def query(self, harness: Harness, **known: Any) -> Any:
        reference = harness.base.Reference(created_at=harness.now(), **known)
        return harness.gateway.query_payment(reference)

    def refund(self, harness: Harness, payment: Any, amount_minor: int) -> Any:
        """The last answer about a refund; where a provider decides later, it is asked."""
        reference = harness.new_reference(1000 + harness.exchanges())
        paid = harness.base.Reference(
            payment.our_reference, payment.provider_reference, 2500, payment.currency
        )
        answer = harness.gateway.refund_payment(
            harness.base.RefundRequest(
                paid, reference, f"key_{reference}", amount_minor, payment.currency
            )
        )
        if answer.outcome != "pending":
            return answer
        about = harness.base.Reference(reference, answer.provider_reference)
        return harness.gateway.query_refund(about)
