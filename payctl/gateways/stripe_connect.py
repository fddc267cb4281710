"""Money to an organiser's connected account: Stripe's transfers (docs.stripe.com/api/transfers).

Stripe's own payouts go to the platform's bank only. A transfer moves balance to another account at
once; it can be taken back (a reversal), which is how a payout comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from payctl.gateways.base import Answer, Outcome, PayoutRequest, Reference, RejectKind
from payctl.gateways.checks import rejected
from payctl.gateways.http import Reply
from payctl.gateways.stripe_answers import REF, failed, read, unreadable
from payctl.gateways.stripe_money import from_stripe, to_stripe
from payctl.gateways.stripe_sdk import Sdk

if TYPE_CHECKING:
    from stripe.params._transfer_create_params import TransferCreateParams

#: Stripe's words for a transfer it will not make, as ours.
DECLINES: Mapping[str, str] = {
    "balance_insufficient": "insufficient_funds",
    "insufficient_funds": "insufficient_funds",
    "no_account": "payer_not_found",
    "account_invalid": "payer_not_found",
    "transfers_not_allowed": "payer_not_allowed",
    "insufficient_capabilities_for_transfer": "payer_not_allowed",
    "payouts_not_allowed": "payer_not_allowed",
}


class Connect:
    """Transfers of one platform account."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk

    def create(self, request: PayoutRequest) -> Answer:
        """One transfer; ``transfer_group`` carries our reference, by which it is found again."""
        amount = to_stripe(request.amount_minor, request.currency)
        if amount is None:
            return rejected("amount_not_representable", request.currency)
        params: TransferCreateParams = {
            "amount": amount,
            "currency": request.currency.lower(),
            "destination": request.destination.value,
            "transfer_group": request.our_reference,
            "metadata": {REF: request.our_reference},
        }
        if request.description:
            params["description"] = request.description[:500]
        options: Any = {"idempotency_key": request.idempotency_key}
        return self._ask(request.deadline_s, lambda v1: v1.transfers.create(params, options))

    def query(self, reference: Reference) -> Answer:
        """A transfer by Stripe's id, or by the group it was made in."""
        if reference.provider_reference:
            known = reference.provider_reference
            return self._ask(reference.deadline_s, lambda v1: v1.transfers.retrieve(known))
        if not reference.our_reference:
            return rejected("not_supported", "query by this reference")
        group = reference.our_reference
        reply = self._sdk.ask(
            reference.deadline_s,
            lambda v1: v1.transfers.list({"transfer_group": group, "limit": 1}),
        )
        bad = reply if isinstance(reply, Answer) else failed(reply)
        if bad is not None:
            return bad
        assert isinstance(reply, Reply)
        items = (read(reply) or {}).get("data")
        if not isinstance(items, list):
            return unreadable(reply)
        return _read(items[0], reply) if items else Answer(Outcome.NOT_FOUND)

    def _ask(self, deadline_s: float, act: Any) -> Answer:
        reply = self._sdk.ask(deadline_s, act)
        if isinstance(reply, Answer):
            return reply
        bad = failed(reply)
        if bad is not None:
            return _declined(bad)
        data = read(reply)
        if data is None or data.get("object") != "transfer":
            return unreadable(reply)
        return _read(data, reply)


def _declined(bad: Answer) -> Answer:
    """A refusal for a reason of the balance or of the payee is a decline."""
    code = DECLINES.get(str(bad.provider_code or bad.code))
    if code is None or bad.reject not in (RejectKind.VALIDATION, RejectKind.STATE):
        return bad
    return Answer(
        Outcome.DECLINED, code=code, provider_code=bad.provider_code, message=bad.message,
        http_status=bad.http_status, latency_ms=bad.latency_ms, exchange=bad.exchange,
    )  # fmt: skip


def _read(transfer: Mapping[str, Any], reply: Reply) -> Answer:
    try:
        currency = str(transfer["currency"]).upper()
        returned = bool(transfer.get("reversed"))
        return Answer(
            Outcome.CANCELED if returned else Outcome.SUCCEEDED,
            provider_reference=str(transfer["id"]),
            our_reference=(transfer.get("metadata") or {}).get(REF),
            amount_minor=from_stripe(int(transfer["amount"]), currency),
            currency=currency,
            code="returned" if returned else None,
            http_status=reply.status,
            latency_ms=reply.latency_ms,
            exchange=reply.exchange,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return unreadable(reply, "a transfer without its fields")
