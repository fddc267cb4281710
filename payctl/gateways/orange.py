"""Orange Money. The name covers APIs that have nothing in common but the name; ``api`` says which
one an account is of: ``webpay`` (most countries), ``cameroon``, ``sonatel`` (Senegal).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from payctl.clock import Clock
from payctl.gateways.base import (
    Answer,
    Event,
    Health,
    PaymentRequest,
    PayoutRequest,
    Probe,
    Reference,
)
from payctl.gateways.checks import Refusing, refuse_payment, refuse_payout, rejected
from payctl.gateways.settings import Settings

if TYPE_CHECKING:
    from payctl.gateways.orange_cameroon import Cameroon
    from payctl.gateways.orange_sonatel import Sonatel
    from payctl.gateways.orange_webpay import WebPayment

    Api = WebPayment | Cameroon | Sonatel


def _cameroon() -> type[Api]:
    from payctl.gateways.orange_cameroon import Cameroon

    return Cameroon


def _sonatel() -> type[Api]:
    from payctl.gateways.orange_sonatel import Sonatel

    return Sonatel


def _webpay() -> type[Api]:
    from payctl.gateways.orange_webpay import WebPayment

    return WebPayment


#: An account is of one of them: only that one is imported.
APIS: Mapping[str, Callable[[], type[Api]]] = {
    "webpay": _webpay, "cameroon": _cameroon, "sonatel": _sonatel,
}  # fmt: skip


class OrangeGateway(Refusing):
    """One account at one of Orange's APIs; settings besides ``api`` are that API's own."""

    name = "orange"

    def __init__(self, account: str, api: Api) -> None:
        self.account = account
        self.api = api
        self.capabilities = api.capabilities

    @classmethod
    def from_settings(cls, settings: Settings, *, clock: Clock, probe: Probe) -> OrangeGateway:
        api = APIS[settings.one_of("api", "webpay", tuple(APIS))]()
        gateway = cls(settings.account, api(settings, clock, probe))
        settings.done()
        return gateway

    @property
    def live(self) -> bool:
        return not self.api.sandbox

    def create_payment(self, request: PaymentRequest) -> Answer:
        return refuse_payment(self.capabilities, request) or self.api.create(request)

    def query_payment(self, reference: Reference) -> Answer:
        return self.api.query(reference)

    def create_payout(self, request: PayoutRequest) -> Answer:
        if refusal := refuse_payout(self.capabilities, request):
            return refusal
        if self.api.name == "webpay":
            return rejected("not_supported", "payouts")
        return self.api.pay_out(request)

    def query_payout(self, reference: Reference) -> Answer:
        if self.api.name == "webpay":
            return rejected("not_supported", "payouts")
        return self.api.query_payout(reference)

    def list_payments(self, since: datetime, until: datetime) -> Iterator[Answer]:
        if self.api.name == "sonatel":
            return self.api.listed(since, until)
        return super().list_payments(since, until)

    def ping(self) -> Health:
        return self.api.ping()

    def parse_event(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> Event:
        """None of Orange's APIs signs: at best a token says who speaks."""
        return self.api.event(body)

    def close(self) -> None:
        """Nothing is held but connections, which end with the process."""
