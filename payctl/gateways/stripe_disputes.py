"""Stripe's disputes: read, listed, accepted, contested (docs.stripe.com/api/disputes).

What Stripe took is told by the dispute's balance transactions; they are in the account's settlement
currency, which need not be the charge's, so only their sign says whether a dispute in another
currency holds money.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from payctl.gateways.base import Answer, Fee, Outcome, Reference
from payctl.gateways.disputes import Dispute, DisputeResponse, DisputeStatus
from payctl.gateways.http import Reply
from payctl.gateways.stripe_answers import failed, read, unreadable
from payctl.gateways.stripe_money import from_stripe
from payctl.gateways.stripe_sdk import Sdk

if TYPE_CHECKING:
    from stripe._v1_services import V1Services
    from stripe.params._dispute_list_params import DisputeListParams
    from stripe.params._dispute_update_params import DisputeUpdateParamsEvidence

#: Stripe's statuses (`Dispute.status`). One that is not here is new: it is under review until
#: somebody has looked it up.
STATUSES: Mapping[str, DisputeStatus] = {
    "warning_needs_response": DisputeStatus.INQUIRY,
    "warning_under_review": DisputeStatus.UNDER_REVIEW,
    "warning_closed": DisputeStatus.CLOSED,
    "needs_response": DisputeStatus.NEEDS_RESPONSE,
    "under_review": DisputeStatus.UNDER_REVIEW,
    "appeal_needs_response": DisputeStatus.NEEDS_RESPONSE,
    "appeal_under_review": DisputeStatus.UNDER_REVIEW,
    "won": DisputeStatus.WON,
    "lost": DisputeStatus.LOST,
    "prevented": DisputeStatus.CLOSED,
}
_MAX_PAGES = 50
_PAGE_S = 20.0


class StripeDisputes:
    """Exchanges about disputes of one account."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk

    def get(self, reference: str, deadline_s: float) -> Answer:
        return _answer(self._sdk.ask(deadline_s, lambda v1: v1.disputes.retrieve(reference)))

    def listed(self, since: datetime) -> Iterator[Answer]:
        """Newest first, as Stripe lists them."""
        params: DisputeListParams = {"limit": 100, "created": {"gte": int(since.timestamp())}}
        for _ in range(_MAX_PAGES):
            reply = self._sdk.ask(_PAGE_S, lambda v1: v1.disputes.list(params))
            bad = reply if isinstance(reply, Answer) else failed(reply)
            if bad is not None:
                yield bad
                return
            assert isinstance(reply, Reply)
            data = read(reply) or {}
            items = data.get("data")
            if not isinstance(items, list):
                yield unreadable(reply)
                return
            for item in items:
                yield _told(item, replace(reply, exchange={}))
            if not data.get("has_more") or not items:
                return
            params["starting_after"] = str(items[-1]["id"])
        yield Answer(Outcome.UNKNOWN, message="the list is longer than we read")

    def respond(self, response: DisputeResponse) -> Answer:
        """Close it, or submit evidence; a file is uploaded first and named in the evidence."""
        key = response.idempotency_key
        if response.accept:
            return _answer(
                self._sdk.ask(
                    response.deadline_s,
                    lambda v1: v1.disputes.close(
                        response.reference, None, {"idempotency_key": key}
                    ),
                )
            )
        evidence: DisputeUpdateParamsEvidence = {"uncategorized_text": response.text}
        if response.file:
            uploaded = self._upload(response)
            if isinstance(uploaded, Answer):
                return uploaded
            evidence["uncategorized_file"] = uploaded
        return _answer(
            self._sdk.ask(
                response.deadline_s,
                lambda v1: v1.disputes.update(
                    response.reference, {"evidence": evidence, "submit": True},
                    {"idempotency_key": key},
                ),
            )
        )  # fmt: skip

    def _upload(self, response: DisputeResponse) -> str | Answer:
        """The file's id. An upload says nothing to the bank, so one that got lost was not sent."""
        file = io.BytesIO(response.file)
        file.name = response.file_name or "evidence.pdf"

        def act(v1: V1Services) -> object:
            options = {"idempotency_key": f"{response.idempotency_key}_file"}
            return v1.files.create({"purpose": "dispute_evidence", "file": file}, options)  # type: ignore[arg-type]

        reply = self._sdk.ask(response.deadline_s, act)
        bad = reply if isinstance(reply, Answer) else failed(reply)
        if bad is not None:
            return replace(bad, outcome=Outcome.NOT_SENT) if bad.outcome is Outcome.UNKNOWN else bad
        assert isinstance(reply, Reply)
        found = (read(reply) or {}).get("id")
        return str(found) if found else replace(unreadable(reply), outcome=Outcome.NOT_SENT)


def _answer(reply: Reply | Answer) -> Answer:
    if isinstance(reply, Answer):
        return reply
    bad = failed(reply)
    if bad is not None:
        return bad
    data = read(reply)
    if data is None or data.get("object") != "dispute":
        return unreadable(reply)
    return _told(data, reply)


def _told(data: Mapping[str, Any], reply: Reply) -> Answer:
    try:
        dispute = _dispute(data)
    except (KeyError, TypeError, ValueError, AttributeError):
        return unreadable(reply, "a dispute without its fields")
    return Answer(
        Outcome.SUCCEEDED, provider_reference=dispute.reference, dispute=dispute,
        http_status=reply.status, latency_ms=reply.latency_ms, exchange=reply.exchange,
    )  # fmt: skip


def _dispute(data: Mapping[str, Any]) -> Dispute:
    currency = str(data["currency"]).upper()
    intent = data.get("payment_intent")
    intent = intent.get("id") if isinstance(intent, dict) else intent
    due = (data.get("evidence_details") or {}).get("due_by")
    amount = from_stripe(int(data["amount"]), currency)
    moves = data.get("balance_transactions") or []
    return Dispute(
        reference=str(data["id"]),
        payment=Reference(provider_reference=str(intent) if intent else str(data["charge"])),
        amount_minor=amount,
        currency=currency,
        status=STATUSES.get(str(data["status"]), DisputeStatus.UNDER_REVIEW),
        reason=str(data.get("reason") or ""),
        due_at=datetime.fromtimestamp(int(due), UTC) if due else None,
        withdrawn_minor=_withdrawn(moves, amount, currency),
        fees=_fees(moves),
    )


def _withdrawn(moves: list[Mapping[str, Any]], amount_minor: int, currency: str) -> int:
    if not moves:
        return 0
    total = -sum(int(move["amount"]) for move in moves)
    if str(moves[0]["currency"]).upper() == currency:
        return max(from_stripe(total, currency), 0) if total > 0 else 0
    return amount_minor if total > 0 else 0


def _fees(moves: list[Mapping[str, Any]]) -> tuple[Fee, ...]:
    """A fee for each movement that had one: contesting may cost another, winning give one back."""
    return tuple(
        Fee(_signed(int(move["fee"]), currency), currency, str(move["id"]))
        for move in moves
        if int(move.get("fee") or 0)
        for currency in (str(move["currency"]).upper(),)
    )


def _signed(amount: int, currency: str) -> int:
    return from_stripe(amount, currency) if amount > 0 else -from_stripe(-amount, currency)
