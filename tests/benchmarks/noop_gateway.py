"""A gateway that takes every payment at once: no network, no book, no time.

What a benchmark measures through it is payctl alone. It declares what the sandbox declares, and
answers questions about payments it has never seen, because it remembers nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from payctl.clock import Clock
from payctl.errors import InvalidInput
from payctl.gateways.base import (
    Answer,
    BalanceLine,
    Capabilities,
    CaptureRequest,
    Event,
    Health,
    Outcome,
    PaymentRequest,
    Probe,
    Reference,
    RefundRequest,
)
from payctl.gateways.settings import Settings

CAPABILITIES = Capabilities(
    methods=frozenset({"card", "mobile_money"}),
    currencies=None,
    resend_window_s=86_400,
    query_by=frozenset({"our_reference", "provider_reference"}),
    revocable=True,
    manual_capture=True,
    refunds="partial",
    query_refunds=True,
)


class NoopGateway:
    """See the module."""

    name = "noop"
    live = False
    capabilities = CAPABILITIES

    def __init__(self, account: str) -> None:
        self.account = account

    @classmethod
    def from_settings(cls, settings: Settings, *, clock: Clock, probe: Probe) -> NoopGateway:
        settings.done()
        return cls(settings.account)

    def create_payment(self, request: PaymentRequest) -> Answer:
        outcome = Outcome.AUTHORIZED if request.manual_capture else Outcome.SUCCEEDED
        return self._answer(outcome, request)

    def query_payment(self, reference: Reference) -> Answer:
        return self._found(reference)

    def capture_payment(self, request: CaptureRequest) -> Answer:
        return self._answer(Outcome.SUCCEEDED, request)

    def cancel_payment(self, reference: Reference, idempotency_key: str) -> Answer:
        return Answer(Outcome.CANCELED, provider_reference=reference.provider_reference)

    def refund_payment(self, request: RefundRequest) -> Answer:
        return self._answer(Outcome.SUCCEEDED, request)

    def query_refund(self, reference: Reference) -> Answer:
        return self._found(reference)

    def list_payments(self, since: datetime, until: datetime) -> Iterator[Answer]:
        return iter(())

    def balance(self) -> list[BalanceLine]:
        return []

    def ping(self) -> Health:
        return Health(True, 0, "takes everything")

    def parse_event(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> Event:
        raise InvalidInput("event.unreadable", account=self.account)

    @staticmethod
    def _answer(
        outcome: Outcome, request: PaymentRequest | CaptureRequest | RefundRequest
    ) -> Answer:
        return Answer(
            outcome,
            provider_reference=f"noop_{request.our_reference}",
            amount_minor=request.amount_minor,
            currency=request.currency,
            our_reference=request.our_reference,
            http_status=200,
            exchange={"request": {"reference": request.our_reference}, "response": {"ok": True}},
        )

    @staticmethod
    def _found(reference: Reference) -> Answer:
        return Answer(
            Outcome.SUCCEEDED,
            provider_reference=reference.provider_reference,
            amount_minor=reference.amount_minor,
            currency=reference.currency,
            our_reference=reference.our_reference,
        )
