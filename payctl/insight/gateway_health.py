"""Whether each provider answers us now: all asked at once, beside what their breakers say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from payctl.db.engine import Database
from payctl.errors import PayctlError
from payctl.gateways.base import Gateway, Health
from payctl.insight.signs import last_answer
from payctl.payments.breaker import Breakers
from payctl.payments.provider_readings import ask_all


@dataclass(frozen=True, slots=True)
class GatewaySign:
    """One account's sign of life.

    Attributes:
        detail: what the provider said, or the code of the error that kept us from asking.
        breaker: state of its breaker for payments.
        last_success_at: the minute of its last sound answer to any call of ours within a week.
    """

    account: str
    ok: bool
    latency_ms: int
    detail: str
    breaker: str
    last_success_at: datetime | None


class GatewayHealth:
    """Asks providers for a sign of life with our credentials. No money is involved."""

    def __init__(self, db: Database, gateways: Mapping[str, Gateway], breakers: Breakers) -> None:
        self._db = db
        self._gateways = gateways
        self._breakers = breakers

    def check(self, gateways: Mapping[str, Gateway] | None = None) -> list[GatewaySign]:
        """The sign of life of every account, or of those given."""
        chosen = self._gateways if gateways is None else gateways
        seen = ask_all(chosen, ping)
        self._breakers.forget()
        with self._db.read() as tx:
            return [
                GatewaySign(
                    account, health.ok, health.latency_ms, health.detail,
                    str(self._breakers.peek(tx, account, "collect").state),
                    last_answer(tx, account),
                )
                for account, health in seen
            ]  # fmt: skip


def ping(gateway: Gateway) -> Health:
    """A sign of life; credentials that cannot be read are a finding, not an end."""
    try:
        return gateway.ping()
    except PayctlError as error:
        return Health(False, 0, error.code)
