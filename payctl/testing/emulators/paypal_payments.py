"""Captures, authorisations and refunds of the emulated PayPal.

Shapes: Payments v2 (spec 2.5) ``capture-2``, ``authorization-2``, ``refund``.
"""

from __future__ import annotations

import copy
from datetime import timedelta

from payctl.testing.emulators.core import Response
from payctl.testing.emulators.paypal_state import (
    PAYMENT_KEYS,
    Movement,
    Object,
    State,
    amount_of,
    missing,
    money,
    new_id,
    refuse,
)

#: An authorisation lasts 29 days; a capture can be refunded for 180.
HELD, REFUNDABLE = timedelta(days=29), timedelta(days=180)
#: PayPal keeps 2.9 % and a fixed part, in hundredths or whole units.
FEE_PER_MILLE, FEE_FIXED = 29, 35
_DONE = ("COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED")


class Payments:
    """The endpoints below ``/v2/payments``."""

    def __init__(self, state: State) -> None:
        self._state = state

    # -- authorisations ---------------------------------------------------------------------------

    def reserve(self, order_id: str, unit: Object, status: str) -> None:
        """Reserve what an order was approved for."""
        held_id = new_id()
        self._state.authorizations[held_id] = {
            "id": held_id,
            "status": status,
            "amount": {name: unit["amount"][name] for name in ("currency_code", "value")},
            **_ours(unit),
            "seller_protection": {"status": "NOT_ELIGIBLE"},
            "expiration_time": self._state.stamp(HELD),
            "supplementary_data": {"related_ids": {"order_id": order_id}},
            "create_time": self._state.stamp(),
            "update_time": self._state.stamp(),
            "_until": self._state.now() + HELD,
        }
        self._emit("PAYMENT.AUTHORIZATION.CREATED", "authorization", held_id)

    def get_authorization(self, held_id: str) -> Response:
        return Response(200, self._shown("authorizations", held_id))

    def capture(
        self, held_id: str, body: Object, request_id: str | None, whole: bool, fault: str | None
    ) -> Response:
        """``authorizations.capture``."""
        before = self._state.remembered("authorization.capture", request_id, PAYMENT_KEYS)
        if before is not None:
            return Response(201, self._answer("captures", before, whole))
        held = self._find("authorizations", held_id)
        if held["status"] == "VOIDED":
            raise refuse("AUTHORIZATION_VOIDED")
        if held["_until"] < self._state.now():
            raise refuse("AUTHORIZATION_EXPIRED")
        earlier = [each for each in self._state.captures.values()
                   if each["_held"] == held_id and each["status"] in _DONE]  # fmt: skip
        if held["status"] == "CAPTURED" or any(each["final_capture"] for each in earlier):
            raise refuse("AUTHORIZATION_ALREADY_CAPTURED")
        amount, currency = amount_of(body.get("amount") or held["amount"])
        whole_sum, held_currency = amount_of(held["amount"])
        if currency != held_currency:
            raise refuse("AUTH_CAPTURE_CURRENCY_MISMATCH")
        taken = sum(amount_of(each["amount"])[0] for each in earlier) + amount
        if taken * 100 > whole_sum * 115:
            raise refuse("MAX_CAPTURE_AMOUNT_EXCEEDED")
        order_id = held["supplementary_data"]["related_ids"]["order_id"]
        status = "PENDING" if fault == "pending" else "COMPLETED"
        unit = {**_ours(held), **_ours(body)}
        made = self.take(order_id, unit, (amount, currency), status, held_id,
                         bool(body.get("final_capture")))  # fmt: skip
        held["status"] = "CAPTURED" if taken >= whole_sum else "PARTIALLY_CAPTURED"
        self._state.remember("authorization.capture", request_id, made)
        return Response(201, self._answer("captures", made, whole))

    def void(self, held_id: str, whole: bool) -> Response:
        """``authorizations.void``: an empty 204 unless the whole object is preferred."""
        held = self._find("authorizations", held_id)
        if held["status"] == "VOIDED":
            raise refuse("PREVIOUSLY_VOIDED")
        if held["status"] == "CAPTURED":
            raise refuse("PREVIOUSLY_CAPTURED")
        held["status"] = "VOIDED"
        self._emit("PAYMENT.AUTHORIZATION.VOIDED", "authorization", held_id)
        shown = self._shown("authorizations", held_id)
        return Response(200, shown) if whole else Response(204)

    # -- captures ---------------------------------------------------------------------------------

    def take(
        self, order_id: str, unit: Object, amount: tuple[int, str], status: str,
        held_id: str | None = None, final: bool = True,
    ) -> str:  # fmt: skip
        """Make a capture of *amount* and its row in the reports; returns its id."""
        capture_id = new_id()
        related = {"order_id": order_id} | ({"authorization_id": held_id} if held_id else {})
        self._state.captures[capture_id] = {
            "id": capture_id,
            "status": status,
            "amount": money(*amount),
            "invoice_id": None,
            **_ours(unit),
            "final_capture": final,
            "seller_protection": {"status": "NOT_ELIGIBLE"},
            "supplementary_data": {"related_ids": related},
            "create_time": self._state.stamp(),
            "update_time": self._state.stamp(),
            "_at": self._state.now(),
            "_held": held_id,
        }
        self._state.movements.append(
            Movement(
                self._state.now(), capture_id, "T0006", {"PENDING": "P"}.get(status, "S"),
                amount[1], amount[0], 0, unit.get("custom_id"), unit.get("invoice_id"), order_id,
            )
        )  # fmt: skip
        self.settle(capture_id, status)
        return capture_id

    def settle(self, capture_id: str, status: str) -> None:
        """What a capture comes to: ``COMPLETED``, ``DECLINED``, ``FAILED`` or still ``PENDING``."""
        capture = self._find("captures", capture_id)
        amount, currency = amount_of(capture["amount"])
        row = self._state.moved(capture_id)
        capture["status"], capture["update_time"] = status, self._state.stamp()
        capture.pop("status_details", None)
        if status == "COMPLETED":
            fee = min(amount * FEE_PER_MILLE // 1000 + FEE_FIXED, amount)
            capture["seller_receivable_breakdown"] = {
                "gross_amount": money(amount, currency),
                "paypal_fee": money(fee, currency),
                "net_amount": money(amount - fee, currency),
            }
            row.status, row.fee = "S", -fee
        else:
            reason = "PENDING_REVIEW" if status == "PENDING" else "OTHER"
            capture["status_details"] = {"reason": reason}
            row.status = "P" if status == "PENDING" else "D"
        name = {"COMPLETED": "COMPLETED", "PENDING": "PENDING"}.get(status, "DENIED")
        self._emit(f"PAYMENT.CAPTURE.{name}", "capture", capture_id)

    def get_capture(self, capture_id: str) -> Response:
        return Response(200, self._shown("captures", capture_id))

    # -- refunds ----------------------------------------------------------------------------------

    def refund(
        self, capture_id: str, body: Object, request_id: str | None, whole: bool, fault: str | None
    ) -> Response:
        """``captures.refund``: all of what is left, or the amount given."""
        before = self._state.remembered("capture.refund", request_id, PAYMENT_KEYS)
        if before is not None:
            return Response(201, self._answer("refunds", before, whole))
        capture = self._find("captures", capture_id)
        if capture["status"] not in _DONE:
            raise refuse("PENDING_CAPTURE")
        if self._state.now() - capture["_at"] > REFUNDABLE:
            raise refuse("REFUND_TIME_LIMIT_EXCEEDED")
        gross, currency = amount_of(capture["amount"])
        rest = gross - self._back(capture_id)
        if rest <= 0:
            raise refuse("CAPTURE_FULLY_REFUNDED")
        amount, wanted = amount_of(body.get("amount") or money(rest, currency))
        if wanted != currency:
            raise refuse("REFUND_CAPTURE_CURRENCY_MISMATCH")
        if amount > rest:
            raise refuse("REFUND_AMOUNT_EXCEEDED")
        made = self._give_back(capture, amount, currency, body.get("custom_id"))
        self._state.remember("capture.refund", request_id, made)
        self.settle_refund(made, "PENDING" if fault == "pending" else "COMPLETED")
        return Response(201, self._answer("refunds", made, whole))

    def settle_refund(self, refund_id: str, status: str) -> None:
        """What a refund comes to: ``COMPLETED``, ``PENDING``, ``FAILED`` or ``CANCELLED``."""
        refund = self._find("refunds", refund_id)
        refund["status"], refund["update_time"] = status, self._state.stamp()
        refund.pop("status_details", None)
        if status in ("PENDING", "FAILED"):
            refund["status_details"] = {"reason": "ECHECK"}
        row = self._state.moved(refund_id)
        row.status = {"COMPLETED": "S", "PENDING": "P"}.get(status, "D")
        capture = self._state.captures[refund["_capture"]]
        back, gross = self._back(refund["_capture"]), amount_of(capture["amount"])[0]
        capture["status"] = (
            "REFUNDED" if back == gross else "PARTIALLY_REFUNDED" if back else "COMPLETED"
        )
        # The resource of a refunded capture's event is the refund.
        name = "PAYMENT.CAPTURE.REFUNDED" if status == "COMPLETED" else f"PAYMENT.REFUND.{status}"
        self._state.emit(name, "refund", self._shown("refunds", refund_id))

    def get_refund(self, refund_id: str) -> Response:
        return Response(200, self._shown("refunds", refund_id))

    def _give_back(self, capture: Object, amount: int, currency: str, ours: str | None) -> str:
        refund_id = new_id()
        gross = money(amount, currency)
        self._state.refunds[refund_id] = {
            "id": refund_id,
            "status": "PENDING",
            "amount": gross,
            **_ours({"custom_id": ours or capture.get("custom_id"),
                     "invoice_id": capture.get("invoice_id")}),
            "seller_payable_breakdown": {
                "gross_amount": gross,
                "paypal_fee": money(0, currency),
                "net_amount": gross,
                "total_refunded_amount": money(self._back(capture["id"]) + amount, currency),
            },
            "create_time": self._state.stamp(),
            "update_time": self._state.stamp(),
            "_capture": capture["id"],
        }  # fmt: skip
        self._state.movements.append(
            Movement(self._state.now(), refund_id, "T1107", "P", currency, -amount, 0, ours,
                     capture.get("invoice_id"), capture["id"])
        )  # fmt: skip
        return refund_id

    # -- inside -----------------------------------------------------------------------------------

    def of_order(self, order_id: str) -> Object:
        """An order's ``payments``."""
        mine = [key for key, each in self._state.captures.items()
                if each["supplementary_data"]["related_ids"]["order_id"] == order_id]  # fmt: skip
        held = [key for key, each in self._state.authorizations.items()
                if each["supplementary_data"]["related_ids"]["order_id"] == order_id]  # fmt: skip
        back = [key for key, each in self._state.refunds.items() if each["_capture"] in mine]
        found = {"authorizations": held, "captures": mine, "refunds": back}
        return {name: [_nested(self._shown(name, key)) for key in keys]
                for name, keys in found.items() if keys}  # fmt: skip

    def _find(self, kind: str, key: str) -> Object:
        found: Object | None = getattr(self._state, kind).get(key)
        if found is None:
            raise missing()
        return found

    def _shown(self, kind: str, key: str) -> Object:
        found = self._find(kind, key)
        seen = {name: copy.deepcopy(part) for name, part in found.items()
                if name[0] != "_" and part is not None}  # fmt: skip
        return {**seen, "links": self._links(kind, key, found)}

    def _answer(self, kind: str, key: str, whole: bool) -> Object:
        shown = self._shown(kind, key)
        return shown if whole else {name: shown[name] for name in ("id", "status", "links")}

    def _links(self, kind: str, key: str, found: Object) -> list[Object]:
        links = [self._state.link(f"/v2/payments/{kind}/{key}", "self")]
        if kind == "refunds":
            links.append(self._state.link(f"/v2/payments/captures/{found['_capture']}", "up"))
        else:
            order_id = found["supplementary_data"]["related_ids"]["order_id"]
            links.append(self._state.link(f"/v2/checkout/orders/{order_id}", "up"))
        return links

    def _back(self, capture_id: str) -> int:
        return sum(
            amount_of(each["amount"])[0]
            for each in self._state.refunds.values()
            if each["_capture"] == capture_id and each["status"] in ("COMPLETED", "PENDING")
        )

    def _emit(self, name: str, kind: str, key: str) -> None:
        self._state.emit(name, kind, self._shown(f"{kind}s", key))


def _ours(unit: Object) -> Object:
    """The merchant's own references that PayPal carries along."""
    return {name: unit[name] for name in ("custom_id", "invoice_id") if unit.get(name)}


def _nested(shown: Object) -> Object:
    """Within an order, a payment does not name the order again."""
    return {name: part for name, part in shown.items() if name != "supplementary_data"}
