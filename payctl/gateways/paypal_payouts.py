"""Payouts: a batch of one item each, to a PayPal account or a mail address.

**Never twice.** ``sender_batch_id`` is our reference, and PayPal pays one only once in 30 days;
the ``PayPal-Request-Id`` is the stored key. A repeat is answered with the same batch, or refused
with a link to it, and then the batch is adopted.

**After a lost answer** the batch's id is unknown, and PayPal has no question by our reference. We
do not ask by sending again: a question must not be able to pay. The reports name our reference
(``sender_item_id`` in ``custom_field``), up to three hours late; until then a question finds
nothing, and whoever may still send the payout again with its key learns the batch's id by that.

**The batch is not the payout.** A batch that succeeded has been worked off; whether the money
arrived, its item tells. Money for somebody without an account waits (``UNCLAIMED``) and comes back
after 30 days.

Sources: Payouts v1 ``payouts.post``, ``payout_batch``, ``batch_enum``, ``transaction_enum``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from payctl.gateways import paypal_requests as requests
from payctl.gateways.base import Answer, Fee, Outcome, PayoutRequest, Reference, RejectKind
from payctl.gateways.checks import rejected
from payctl.gateways.http import Reply
from payctl.gateways.paypal_api import BROKEN, Api, dressed, failed, unreadable
from payctl.gateways.paypal_issues import PAYOUT_ERRORS
from payctl.gateways.paypal_money import from_money
from payctl.gateways.paypal_reports import Reports
from payctl.gateways.rest import json_object

BATCHES = "/v1/payments/payouts"
#: Batches without a look at their item.
BATCH_STATES: Mapping[str, Outcome] = {
    "PENDING": Outcome.PENDING,
    "PROCESSING": Outcome.PENDING,
    "SUCCESS": Outcome.PENDING,
    "DENIED": Outcome.DECLINED,
    "CANCELED": Outcome.CANCELED,
}
ITEM_STATES: Mapping[str, Outcome] = {
    "SUCCESS": Outcome.SUCCEEDED,
    "PENDING": Outcome.PENDING,
    "UNCLAIMED": Outcome.PENDING,
    "ONHOLD": Outcome.PENDING,
    "FAILED": Outcome.DECLINED,
    "BLOCKED": Outcome.DECLINED,
    "RETURNED": Outcome.DECLINED,
    "REFUNDED": Outcome.DECLINED,
    "REVERSED": Outcome.DECLINED,
}
#: Why the money came back where the item names no error.
_BY_STATE = {
    "BLOCKED": "not_permitted",
    "RETURNED": "customer_timeout",
    "REFUNDED": "processing_error",
    "REVERSED": "processing_error",
}
_BATCH_LINK = re.compile(rf"{BATCHES}/([A-Za-z0-9_-]{{1,30}})(?:[?#]|$)")


class Payouts:
    """Payouts of one account."""

    def __init__(self, api: Api, reports: Reports) -> None:
        self._api = api
        self._reports = reports

    def create(self, request: PayoutRequest) -> Answer:
        """Send one payout; ``PENDING`` when PayPal has taken it over."""
        reply = self._api.post(
            BATCHES,
            requests.payout(request),
            request.deadline_s,
            request_id=request.idempotency_key,
        )
        if answer := failed(reply):
            return _refused(answer, reply)
        return _batch(reply)

    def query(self, reference: Reference) -> Answer:
        """Ask by the batch's id, else by the reports."""
        batch_id = reference.provider_reference
        if batch_id:
            path = f"{BATCHES}/{quote(batch_id, safe='')}?page_size=10"
            reply = self._api.get(path, reference.deadline_s)
            return failed(reply) or _batch(reply)
        if not reference.our_reference:
            return rejected("not_supported", "query by this reference")
        return self._reports.find(reference, "T0001")


def _refused(answer: Answer, reply: Reply) -> Answer:
    """A refusal of the whole batch. One that links to a batch says that it was sent before."""
    if answer.outcome not in (Outcome.REJECTED, Outcome.UNKNOWN) or (reply.status or 500) >= 500:
        return answer
    links = json_object(reply).get("links")
    for each in links if isinstance(links, list) else ():
        found = _BATCH_LINK.search(str(each.get("href"))) if isinstance(each, dict) else None
        if found is not None:
            return replace(answer, outcome=Outcome.EXISTS, provider_reference=found[1], code=None,
                           reject=None)  # fmt: skip
    code = PAYOUT_ERRORS.get(answer.provider_code or "")
    if code is not None and answer.reject is not RejectKind.AUTH:
        return replace(answer, outcome=Outcome.DECLINED, code=code, reject=None)
    return answer


def _batch(reply: Reply) -> Answer:
    try:
        data = json_object(reply)
        header, items = data["batch_header"], data.get("items") or ()
        answer = Answer(
            BATCH_STATES.get(str(header["batch_status"]), Outcome.PENDING),
            provider_reference=str(header["payout_batch_id"]),
            our_reference=(header.get("sender_batch_header") or {}).get("sender_batch_id"),
            provider_code=str(header["batch_status"]),
        )
        if items:
            answer = _item(answer, items[0])
        elif answer.outcome is Outcome.DECLINED:
            answer = replace(answer, code="gateway_specific")
        return dressed(answer, reply)
    except BROKEN:
        return unreadable(reply, "a batch without its fields")


def _item(answer: Answer, item: Mapping[str, Any]) -> Answer:
    """The batch's only item; of a batch that was denied or cancelled it only says why."""
    status = str(item.get("transaction_status"))
    ended = answer.outcome in (Outcome.DECLINED, Outcome.CANCELED)
    outcome = answer.outcome if ended else ITEM_STATES.get(status, Outcome.PENDING)
    error = str((item.get("errors") or {}).get("name") or "")
    answer = replace(answer, outcome=outcome, provider_code=error or status)
    if outcome is Outcome.DECLINED:
        code = PAYOUT_ERRORS.get(error) or _BY_STATE.get(status)
        return replace(answer, code=code or ("gateway_specific" if ended else "unknown_reason"))
    if outcome is not Outcome.SUCCEEDED:
        return answer
    amount, currency = from_money(item["payout_item"]["amount"])
    return replace(answer, amount_minor=amount, currency=currency, fee=_fee(item))


def _fee(item: Mapping[str, Any]) -> Fee | None:
    if not item.get("payout_item_fee"):
        return None
    amount, currency = from_money(item["payout_item_fee"])
    reference = item.get("transaction_id") or item["payout_item_id"]
    return Fee(amount, currency, str(reference)) if amount else None
