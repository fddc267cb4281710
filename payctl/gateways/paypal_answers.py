"""What PayPal's orders, captures, authorisations and refunds mean in our words. Pure.

Sources: Orders v2 ``order``, ``payment_collection``; Payments v2 ``capture``, ``authorization-2``,
``refund`` and their status enums. A status that is not in those enums is pending, never failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from payctl.gateways.base import Answer, Destination, Fee, NextAction, Outcome
from payctl.gateways.http import Reply
from payctl.gateways.paypal_api import dressed, link
from payctl.gateways.paypal_money import from_money

#: How long after an order was made its page may be opened (Orders v2, ``order.links``).
PAGE_OPENS = timedelta(hours=3)
#: Names in :attr:`Answer.provider_data`.
ORDER, CAPTURE, INTENT = "order_id", "capture_id", "intent"

CAPTURED = frozenset({"COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED"})
REFUSED = frozenset({"DECLINED", "FAILED"})
#: Orders without any payment on them.
ORDER_STATES: Mapping[str, Outcome] = {
    "CREATED": Outcome.REQUIRES_ACTION,
    "SAVED": Outcome.REQUIRES_ACTION,
    "PAYER_ACTION_REQUIRED": Outcome.REQUIRES_ACTION,
    "APPROVED": Outcome.APPROVED,
    "VOIDED": Outcome.CANCELED,
    "COMPLETED": Outcome.PENDING,
}
AUTHORIZATION_STATES: Mapping[str, Outcome] = {
    "CREATED": Outcome.AUTHORIZED,
    "PARTIALLY_CAPTURED": Outcome.AUTHORIZED,
    "CAPTURED": Outcome.SUCCEEDED,
    "PENDING": Outcome.PENDING,
    "DENIED": Outcome.DECLINED,
    "VOIDED": Outcome.CANCELED,
}
REFUND_STATES: Mapping[str, Outcome] = {
    "COMPLETED": Outcome.SUCCEEDED,
    "PENDING": Outcome.PENDING,
    "FAILED": Outcome.DECLINED,
    "CANCELLED": Outcome.CANCELED,
}
#: ``status_details.reason`` of a capture or authorisation that was refused.
REASONS: Mapping[str, str] = {
    "BUYER_COMPLAINT": "card_declined",
    "CHARGEBACK": "card_declined",
    "DECLINED_BY_RISK_FRAUD_FILTERS": "fraud_suspected",
    "PENDING_REVIEW": "fraud_suspected",
    "ECHECK": "insufficient_funds",
    "INTERNATIONAL_WITHDRAWAL": "gateway_specific",
    "OTHER": "card_declined",
    "RECEIVING_PREFERENCE_MANDATES_MANUAL_ACTION": "gateway_specific",
    "REFUNDED": "card_declined",
    "TRANSACTION_APPROVED_AWAITING_FUNDING": "insufficient_funds",
    "UNILATERAL": "gateway_specific",
    "VERIFICATION_REQUIRED": "gateway_specific",
}


class Order(NamedTuple):
    """The parts of an order that decisions are made from.

    ``asked`` is the amount it was made for, ``paid_minor`` the sum captured, in minor units. A
    minimal answer has only id and status.
    """

    id: str
    status: str
    intent: str
    custom_id: str | None
    asked: tuple[int, str] | None
    captures: tuple[Mapping[str, Any], ...]
    authorizations: tuple[Mapping[str, Any], ...]
    refunds: tuple[Mapping[str, Any], ...]

    @property
    def done(self) -> list[Mapping[str, Any]]:
        """Captures whose money came, refunded since or not."""
        return [each for each in self.captures if each.get("status") in CAPTURED]

    @property
    def paid_minor(self) -> int:
        return sum(from_money(each["amount"])[0] for each in self.done)

    @property
    def waits(self) -> bool:
        """Whether a capture is undecided: pending, or in a state we do not know."""
        known = CAPTURED | REFUSED
        return any(each.get("status") not in known for each in self.captures)

    @property
    def authorization(self) -> Mapping[str, Any] | None:
        """The newest authorisation."""
        return self.authorizations[-1] if self.authorizations else None


def read_order(data: Mapping[str, Any]) -> Order:
    """Read an order.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not what the specification says.
    """
    units = data.get("purchase_units") or [{}]
    payments = units[0].get("payments") or {}
    captures = tuple(payments.get("captures") or ())
    authorizations = tuple(payments.get("authorizations") or ())
    about = [units[0], *authorizations, *captures]
    return Order(
        id=str(data["id"]),
        status=str(data["status"]),
        intent=str(data.get("intent") or ""),
        custom_id=next((each["custom_id"] for each in about if each.get("custom_id")), None),
        asked=from_money(units[0]["amount"]) if units[0].get("amount") else None,
        captures=captures,
        authorizations=authorizations,
        refunds=tuple(payments.get("refunds") or ()),
    )


def of_order(data: Mapping[str, Any], reply: Reply) -> Answer:
    """A payment. The captures decide, then the authorisation, and only without either the order:
    a COMPLETED order may hold a capture that is pending or was declined.
    """
    order = read_order(data)
    answer = Answer(
        Outcome.PENDING,
        provider_reference=order.id,
        our_reference=order.custom_id,
        provider_code=order.status,
        payer=payer_of(data),
        provider_data=_data_of(order),
    )
    if order.authorization is not None:
        return dressed(_authorized(answer, order, order.authorization), reply)
    if order.captures:
        return dressed(_captured(answer, order), reply)
    outcome = ORDER_STATES.get(order.status, Outcome.PENDING)
    action = _page(data) if outcome is Outcome.REQUIRES_ACTION else None
    return dressed(replace(answer, outcome=outcome, next_action=action), reply)


def _captured(answer: Answer, order: Order) -> Answer:
    if order.done:
        return _with_money(replace(answer, outcome=Outcome.SUCCEEDED), order, order.done[0])
    last = order.captures[-1]
    answer = replace(answer, provider_code=_reason(last) or str(last.get("status")))
    if order.waits:
        return answer
    return replace(answer, outcome=Outcome.DECLINED, code=decline_code(last))


def _authorized(answer: Answer, order: Order, held: Mapping[str, Any]) -> Answer:
    """An authorisation with its captures. After a final capture, or a release of the rest, it is
    over and what was captured is what was paid; PayPal leaves its status PARTIALLY_CAPTURED.
    """
    outcome = AUTHORIZATION_STATES.get(str(held.get("status")), Outcome.PENDING)
    answer = replace(answer, provider_code=str(held.get("status")))
    over = outcome in (Outcome.SUCCEEDED, Outcome.CANCELED) or any(
        each.get("final_capture") is True for each in order.done
    )
    if order.waits:
        return replace(answer, captured_minor=order.paid_minor)
    if over and order.done:
        return _with_money(replace(answer, outcome=Outcome.SUCCEEDED), order, order.done[0])
    if outcome is Outcome.AUTHORIZED:
        answer = _with_money(replace(answer, outcome=outcome), order, held)
        return replace(answer, amount_minor=from_money(held["amount"])[0])
    if outcome is Outcome.SUCCEEDED:
        return answer  # captured, it says, and shows no capture yet
    code = decline_code(held) if outcome is Outcome.DECLINED else None
    return replace(answer, outcome=outcome, code=code)


def _with_money(answer: Answer, order: Order, about: Mapping[str, Any]) -> Answer:
    """With amounts, and the fee where one capture made it: of several each tells its own."""
    return replace(
        answer,
        amount_minor=order.paid_minor,
        currency=from_money(about["amount"])[1],
        captured_minor=order.paid_minor,
        fee=fee_of(order.done[0]) if len(order.captures) == len(order.done) == 1 else None,
    )


def of_refund(data: Mapping[str, Any], reply: Reply, order_id: str | None = None) -> Answer:
    """A refund; one that failed, or was cancelled, gave nothing back."""
    status = str(data["status"])
    amount, currency = from_money(data["amount"])
    outcome = REFUND_STATES.get(status, Outcome.PENDING)
    return dressed(
        Answer(
            outcome,
            provider_reference=str(data["id"]),
            amount_minor=amount,
            currency=currency,
            code="processing_error" if outcome is Outcome.DECLINED else None,
            provider_code=_reason(data) or status,
            our_reference=data.get("custom_id"),
            provider_data={ORDER: order_id} if order_id else {},
        ),
        reply,
    )


def fee_of(capture: Mapping[str, Any]) -> Fee | None:
    """The fee PayPal kept of a capture, under the capture's id; never computed."""
    breakdown = capture.get("seller_receivable_breakdown")
    shown = breakdown if isinstance(breakdown, dict) else {}
    given = shown.get("paypal_fee_in_receivable_currency") or shown.get("paypal_fee")
    if given is None:
        return None
    amount, currency = from_money(given)
    return Fee(amount, currency, str(capture["id"])) if amount else None


def payer_of(data: Mapping[str, Any]) -> Destination | None:
    """Who paid: the account's id, which stays when its owner changes the address, else that."""
    source = data.get("payment_source")
    wallet = source.get("paypal") if isinstance(source, dict) else None
    about = wallet if isinstance(wallet, dict) else {}
    former = data.get("payer")
    older = former if isinstance(former, dict) else {}
    account = about.get("account_id") or older.get("payer_id")
    email = about.get("email_address") or older.get("email_address")
    if data.get("status") not in ("APPROVED", "COMPLETED") or not (account or email):
        return None  # until it is approved, the address is the one we sent
    name = about.get("name") or older.get("name")
    parts = name if isinstance(name, dict) else {}
    full = " ".join(str(parts[key]) for key in ("given_name", "surname") if parts.get(key))
    return Destination("paypal_id" if account else "email", str(account or email), full)


def decline_code(data: Mapping[str, Any]) -> str:
    """Our code for a capture or authorisation that was refused."""
    return REASONS.get(_reason(data) or "", "card_declined")


def _data_of(order: Order) -> dict[str, str]:
    """What later questions need: how to complete it, and what to refund."""
    kept = {INTENT: order.intent} if order.intent else {}
    if len(order.captures) == 1 and order.done and not order.authorizations:
        kept[CAPTURE] = str(order.done[0]["id"])
    return kept


def _page(data: Mapping[str, Any]) -> NextAction:
    made = data.get("create_time")
    opens = datetime.fromisoformat(str(made)) + PAGE_OPENS if made else None
    return NextAction("redirect", url=link(data, "payer-action", "approve"), expires_at=opens)


def _reason(data: Mapping[str, Any]) -> str | None:
    details = data.get("status_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    return str(reason) if reason else None
