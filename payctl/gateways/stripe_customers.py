"""Stripe's customers, for ``payctl stripe customers``. They move no money."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from payctl.errors import NotConfigured, NotFound, NotSent, OutcomeOpen, Refused
from payctl.gateways.base import Answer, Outcome, RejectKind
from payctl.gateways.stripe_answers import failed, read
from payctl.gateways.stripe_sdk import Refusal, Sdk

if TYPE_CHECKING:
    from stripe._request_options import RequestOptions
    from stripe._v1_services import V1Services
    from stripe.params._customer_create_params import CustomerCreateParams
    from stripe.params._customer_list_params import CustomerListParams

_DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer as Stripe has it."""

    id: str
    email: str | None
    name: str | None
    created_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


class Customers:
    """Create, show and list.

    Every method raises ``NotSent`` (``gateway.not_sent``), ``OutcomeOpen`` (``gateway.no_answer``),
    ``NotConfigured`` (``gateway.refused_credentials``), ``NotFound`` (``gateway.no_such_object``)
    or ``Refused`` (``gateway.refused``).
    """

    def __init__(self, account: str, sdk: Sdk) -> None:
        self._account = account
        self._sdk = sdk

    def create(
        self,
        *,
        email: str,
        idempotency_key: str,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Customer:
        """Create a customer; the same key gives the same one."""
        params: CustomerCreateParams = {"email": email}
        if name:
            params["name"] = name
        if metadata:
            params["metadata"] = dict(metadata)
        options: RequestOptions = {"idempotency_key": idempotency_key}
        return _customer(self._ask(lambda v1: v1.customers.create(params, options), email))

    def get(self, customer_id: str) -> Customer:
        """One customer by Stripe's id."""
        return _customer(self._ask(lambda v1: v1.customers.retrieve(customer_id), customer_id))

    def list(self, *, limit: int = 20, email: str | None = None) -> list[Customer]:
        """The newest customers, at most 100."""
        params: CustomerListParams = {"limit": min(limit, 100)}
        if email:
            params["email"] = email
        data = self._ask(lambda v1: v1.customers.list(params), email or "")
        return [_customer(item) for item in data.get("data", ())]

    def _ask(self, act: Callable[[V1Services], object], subject: str) -> dict[str, Any]:
        try:
            reply = self._sdk.call(_DEADLINE_S, act)
        except Refusal as refusal:
            raise Refused("gateway.refused", account=self._account, why=str(refusal)) from refusal
        answer = failed(reply)
        data = None if answer else read(reply)
        if data is not None:
            return data
        raise self._error(answer or Answer(Outcome.UNKNOWN, message="unreadable answer"), subject)

    def _error(self, answer: Answer, subject: str) -> Exception:
        account, why = self._account, answer.message or answer.code or str(answer.outcome)
        if answer.outcome is Outcome.NOT_SENT:
            return NotSent("gateway.not_sent", account=account, why=why)
        if answer.outcome is Outcome.NOT_FOUND:
            return NotFound("gateway.no_such_object", account=account, id=subject)
        if answer.reject is RejectKind.AUTH:
            return NotConfigured("gateway.refused_credentials", account=account)
        if answer.outcome is Outcome.UNKNOWN:
            return OutcomeOpen("gateway.no_answer", account=account, why=why)
        return Refused("gateway.refused", account=account, why=why)


def _customer(data: Mapping[str, Any]) -> Customer:
    return Customer(
        str(data["id"]),
        data.get("email"),
        data.get("name"),
        datetime.fromtimestamp(int(data.get("created") or 0), UTC),
        data.get("metadata") or {},
    )
