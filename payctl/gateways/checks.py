"""What a gateway refuses before any byte leaves: declared capabilities, held against a request.

Asking a provider to find out that it does not know the currency costs an exchange and, after a
timeout, an unknown outcome. Each adapter calls these first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from payctl.errors import NotConfigured
from payctl.gateways.base import (
    Answer,
    BalanceLine,
    Capabilities,
    CaptureRequest,
    Destination,
    Outcome,
    PaymentRequest,
    PayoutRequest,
    Reference,
    RefundRequest,
    RejectKind,
)

if TYPE_CHECKING:
    from payctl.gateways.disputes import DisputeResponse


def rejected(code: str, message: str = "", kind: RejectKind = RejectKind.VALIDATION) -> Answer:
    """A refusal of our own, before any exchange."""
    return Answer(Outcome.REJECTED, code=code, reject=kind, message=message or None)


def refuse_payment(can: Capabilities, request: PaymentRequest) -> Answer | None:
    """Why *request* cannot go to this gateway, or ``None``. Amounts in minor units."""
    if request.method not in can.methods:
        return rejected("method_not_supported", request.method)
    if can.currencies is not None and request.currency not in can.currencies:
        return rejected("currency_not_supported", request.currency)
    if can.countries is not None and request.country and request.country not in can.countries:
        return rejected("country_not_supported", request.country)
    if request.manual_capture and not can.manual_capture:
        return rejected("not_supported", "manual capture")
    return _refuse_amount(request, can.limits, can.steps)


def refuse_payout(can: Capabilities, request: PayoutRequest) -> Answer | None:
    """Why this payout cannot go through this gateway, or ``None``."""
    if request.destination.kind not in can.payouts:
        return rejected("not_supported", f"payouts to {request.destination.kind}")
    if can.currencies is not None and request.currency not in can.currencies:
        return rejected("currency_not_supported", request.currency)
    country = request.destination.country
    if can.countries is not None and country and country not in can.countries:
        return rejected("country_not_supported", country)
    return _refuse_amount(request, can.payout_limits, can.payout_steps)


def _refuse_amount(
    request: PaymentRequest | PayoutRequest,
    limits: Mapping[str, tuple[int, int]],
    steps: Mapping[str, int],
) -> Answer | None:
    amount, currency = request.amount_minor, request.currency
    smallest, largest = limits.get(currency, (1, amount))
    if amount < smallest:
        return rejected("amount_too_small", f"smallest {smallest}")
    if amount > largest:
        return rejected("amount_too_large", f"largest {largest}")
    step = steps.get(currency, 1)
    if amount % step:
        return rejected("amount_off_step", f"multiples of {step}")
    return None


def refuse_capture(can: Capabilities, request: CaptureRequest) -> Answer | None:
    """Why this capture cannot go to this gateway, or ``None``."""
    if not can.manual_capture:
        return rejected("not_supported", "manual capture")
    return None if request.amount_minor > 0 else rejected("amount_too_small", "smallest 1")


def refuse_refund(can: Capabilities, request: RefundRequest) -> Answer | None:
    """Why this refund cannot go to this gateway, or ``None``."""
    if can.refunds == "none":
        return rejected("not_supported", "refunds")
    whole = request.payment.amount_minor
    if can.refunds == "full" and whole is not None and request.amount_minor != whole:
        return rejected("partial_refund_not_supported")
    return None if request.amount_minor > 0 else rejected("amount_too_small", "smallest 1")


def refuse_query(can: Capabilities, reference: Reference) -> Answer | None:
    """Why the provider cannot be asked by what we know, or ``None``."""
    known = set()
    if reference.our_reference:
        known.add("our_reference")
    if reference.provider_reference:
        known.add("provider_reference")
    return None if known & can.query_by else rejected("not_supported", "query by this reference")


class Refusing:
    """The verbs that most providers lack: each is refused before any exchange. An adapter derives
    from it and writes the verbs its provider has.
    """

    account: str

    def complete_payment(self, reference: Reference, idempotency_key: str) -> Answer:
        return rejected("not_supported", "completing an approved payment")

    def capture_payment(self, request: CaptureRequest) -> Answer:
        return rejected("not_supported", "manual capture")

    def cancel_payment(self, reference: Reference, idempotency_key: str) -> Answer:
        return rejected("not_supported", "cancelling")

    def refund_payment(self, request: RefundRequest) -> Answer:
        return rejected("not_supported", "refunds")

    def query_refund(self, reference: Reference) -> Answer:
        return rejected("not_supported", "refunds")

    def create_payout(self, request: PayoutRequest) -> Answer:
        return rejected("not_supported", "payouts")

    def query_payout(self, reference: Reference) -> Answer:
        return rejected("not_supported", "payouts")

    def check_payee(self, destination: Destination, deadline_s: float) -> Answer:
        return rejected("not_supported", "checking a payee")

    def query_dispute(self, reference: str, deadline_s: float) -> Answer:
        return rejected("not_supported", "disputes")

    def list_disputes(self, since: datetime) -> Iterator[Answer]:
        yield rejected("not_supported", "disputes")

    def respond_to_dispute(self, response: DisputeResponse) -> Answer:
        return rejected("not_supported", "disputes")

    def list_payments(self, since: datetime, until: datetime) -> Iterator[Answer]:
        yield rejected("not_supported", "listing payments")

    def balance(self) -> list[BalanceLine]:
        raise NotConfigured("gateway.not_supported", account=self.account, what="balance")
