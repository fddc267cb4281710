"""What happens to an approved payment later: captures of an authorisation, its release, refunds.

Each begins with a look at the order where it can: a capture or refund that went through although
its answer was lost is found there by our reference, and is not sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from payctl.gateways import paypal_requests as requests
from payctl.gateways.base import (
    Answer,
    CaptureRequest,
    Outcome,
    Reference,
    RefundRequest,
    RejectKind,
)
from payctl.gateways.checks import rejected
from payctl.gateways.http import Reply
from payctl.gateways.paypal_answers import (
    CAPTURE,
    CAPTURED,
    ORDER,
    REFUSED,
    Order,
    decline_code,
    fee_of,
    of_refund,
    read_order,
)
from payctl.gateways.paypal_api import BROKEN, Api, dressed, failed, link, unreadable
from payctl.gateways.paypal_money import STEPS, from_money
from payctl.gateways.paypal_reports import Reports
from payctl.gateways.rest import json_object

#: Refunds in these states took nothing from what may still be given back.
_VAIN = frozenset({"FAILED", "CANCELLED"})


@dataclass(frozen=True, slots=True)
class Seen:
    """An order, and the reply that showed it."""

    order: Order
    reply: Reply


class Payments:
    """Payments v2 of one account. ``left`` is the time that remains, see :meth:`Api.until`."""

    def __init__(self, api: Api, reports: Reports) -> None:
        self._api = api
        self._reports = reports

    # --- authorisations -------------------------------------------------------------------------

    def capture(self, seen: Seen, request: CaptureRequest, left: Callable[[], float]) -> Answer:
        """Take a part of what the order's authorisation holds."""
        order = seen.order
        held = order.authorization
        if held is None:
            return rejected("not_authorized", order.status, RejectKind.STATE)
        ours = [each for each in order.captures if each.get("invoice_id") == request.our_reference]
        if ours:
            return _captured(order, ours[-1], order.paid_minor, seen.reply)
        step = STEPS.get(request.currency, 1)
        if request.amount_minor % step:
            return rejected("amount_off_step", f"multiples of {step}")
        rest = from_money(held["amount"])[0] - order.paid_minor
        if request.amount_minor > rest:
            return rejected("amount_too_large", f"largest {rest}")
        path = f"/v2/payments/authorizations/{quote(str(held['id']), safe='')}/capture"
        reply = self._api.post(
            path, requests.capture(request), left(), request_id=request.idempotency_key, whole=True
        )
        if answer := failed(reply):
            return answer
        try:
            made = json_object(reply)
            return _captured(order, made, order.paid_minor + from_money(made["amount"])[0], reply)
        except BROKEN:
            return unreadable(reply, "a capture without its fields")

    def void(self, seen: Seen, left: Callable[[], float]) -> Answer:
        """Release what the order's authorisation still holds. PayPal takes no key for this, and a
        second release is refused as done.
        """
        order = seen.order
        held = order.authorization
        if held is None:
            why = "an order nobody captures takes no money; its page closes by itself"
            return rejected("not_revocable", why, RejectKind.STATE)
        path = f"/v2/payments/authorizations/{quote(str(held['id']), safe='')}/void"
        reply = self._api.post(path, {}, left(), whole=True)
        if answer := failed(reply):
            return replace(answer, provider_reference=order.id)
        ended = reply.status == 204 or json_object(reply).get("status") == "VOIDED"
        if not ended:
            return unreadable(reply)
        return dressed(
            Answer(
                Outcome.CANCELED, provider_reference=order.id, captured_minor=order.paid_minor,
                our_reference=order.custom_id, provider_code="VOIDED",
            ),
            reply,
        )  # fmt: skip

    # --- refunds --------------------------------------------------------------------------------

    def known_capture(self, request: RefundRequest) -> str | None:
        """The one capture of a payment, where it was stored when it was made: an order that PayPal
        shows no longer can still be refunded.
        """
        return request.payment.provider_data.get(CAPTURE)

    def refund_of(self, seen: Seen, request: RefundRequest, left: Callable[[], float]) -> Answer:
        """Give back from the capture of the order that has enough left."""
        order = seen.order
        for each in order.refunds:
            if each.get("custom_id") == request.our_reference:
                return of_refund(each, seen.reply, order.id)
        if not order.done:
            return rejected("nothing_captured", order.status, RejectKind.STATE)
        if len(order.done) == 1:
            return self.refund(str(order.done[0]["id"]), request, left)
        rests = sorted((_rest(order, each), str(each["id"])) for each in order.done)
        enough = [pair for pair in rests if pair[0] >= request.amount_minor]
        if not enough:
            why = f"largest {rests[-1][0]}: PayPal refunds one capture at a time"
            return rejected("amount_too_large", why, RejectKind.STATE)
        return self.refund(enough[0][1], request, left)

    def refund(self, capture_id: str, request: RefundRequest, left: Callable[[], float]) -> Answer:
        """Give back from one capture. Whatever comes of it, the order's id is kept with it: there a
        refund whose answer was lost is found.
        """
        order_id = request.payment.provider_reference
        reply = self._api.post(
            f"/v2/payments/captures/{quote(capture_id, safe='')}/refund",
            requests.refund(request),
            left(),
            request_id=request.idempotency_key,
            whole=True,
        )
        answer = _refund(reply, order_id)
        if answer.outcome is Outcome.NOT_FOUND:
            return replace(answer, outcome=Outcome.REJECTED, reject=RejectKind.VALIDATION,
                           code="payment_not_found")  # fmt: skip
        return replace(answer, provider_data={ORDER: order_id} if order_id else {})

    def query_refund(self, reference: Reference) -> Answer:
        """Ask by the refund's id; else look through the refunds of its order; else, where the
        process died before the order's id was kept with it, through the reports (3 hours late).
        """
        if refund_id := reference.provider_reference:
            path = f"/v2/payments/refunds/{quote(refund_id, safe='')}"
            reply = self._api.get(path, reference.deadline_s)
            return _refund(reply, reference.provider_data.get(ORDER))
        if not reference.our_reference:
            return rejected("not_supported", "query by this reference")
        order_id = reference.provider_data.get(ORDER)
        if order_id is None:
            return self._reports.find(reference, "T11")
        reply = self._api.get(f"/v2/checkout/orders/{quote(order_id, safe='')}",
                              reference.deadline_s)  # fmt: skip
        if answer := failed(reply):
            # The order is not the refund: that it cannot be seen says nothing about that.
            gone = answer.outcome is Outcome.NOT_FOUND
            return self._reports.find(reference, "T11") if gone else answer
        try:
            for each in read_order(json_object(reply)).refunds:
                if each.get("custom_id") == reference.our_reference:
                    return of_refund(each, reply, order_id)
        except BROKEN:
            return unreadable(reply)
        return dressed(Answer(Outcome.NOT_FOUND), reply)


def _refund(reply: Reply, order_id: str | None) -> Answer:
    if answer := failed(reply):
        return answer
    try:
        return of_refund(json_object(reply), reply, order_id)
    except BROKEN:
        return unreadable(reply, "a refund without its fields")


def _captured(
    order: Order, capture: Mapping[str, Any], captured_minor: int, reply: Reply
) -> Answer:
    status = str(capture["status"])
    amount, currency = from_money(capture["amount"])
    answer = Answer(
        Outcome.PENDING,
        provider_reference=order.id,
        our_reference=order.custom_id,
        provider_code=status,
    )
    if status in CAPTURED:
        answer = replace(
            answer, outcome=Outcome.SUCCEEDED, amount_minor=amount, currency=currency,
            captured_minor=captured_minor, fee=fee_of(capture),
        )  # fmt: skip
    elif status in REFUSED:
        answer = replace(answer, outcome=Outcome.DECLINED, code=decline_code(capture))
    return dressed(answer, reply)


def _rest(order: Order, capture: Mapping[str, Any]) -> int:
    """What may still be given back of one capture of several."""
    back = [
        from_money(each["amount"])[0]
        for each in order.refunds
        if (link(each, "up") or "").rstrip("/").endswith(f"/{capture['id']}")
        and each.get("status") not in _VAIN
    ]
    return from_money(capture["amount"])[0] - sum(back)
