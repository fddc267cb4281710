"""Orders of the emulated PayPal: made, approved by the customer on PayPal's page, completed.

Shapes: Orders v2 (spec 2.13) ``order``, ``order_authorize_response``, ``payment_collection``.
"""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

from payctl.testing.emulators.core import Response
from payctl.testing.emulators.paypal_payments import Payments
from payctl.testing.emulators.paypal_state import (
    ORDER_KEYS,
    Object,
    State,
    amount_of,
    missing,
    new_id,
    refuse,
)

#: Orders v2, ``order.links``: the page may be opened for three hours; the order is kept for days.
OPENS, KEPT = timedelta(hours=3), timedelta(hours=72)
CUSTOMER: Object = {
    "email_address": "awa.kone@example.com",
    "account_id": "QYR5Z8XDVJNXQ",
    "account_status": "VERIFIED",
    "name": {"given_name": "Awa", "surname": "Koné"},
}


class Orders:
    """The endpoints below ``/v2/checkout/orders``, and the customer's page."""

    def __init__(self, state: State, payments: Payments) -> None:
        self._state = state
        self._payments = payments

    # -- what the merchant does -------------------------------------------------------------------

    def create(self, body: Object, request_id: str | None, whole: bool) -> Response:
        """``orders.create``; a repeated key shows the same order as it is now, with 200."""
        before = self._state.remembered("order.create", request_id, ORDER_KEYS)
        if before is not None and before in self._state.orders:
            return Response(200, self.shown(before, whole))
        if body.get("intent") not in ("CAPTURE", "AUTHORIZE"):
            raise refuse("INVALID_PARAMETER_VALUE")
        units = body.get("purchase_units")
        if not isinstance(units, list) or not 1 <= len(units) <= 10:
            raise refuse("MISSING_REQUIRED_PARAMETER")
        amount_of(units[0].get("amount"))
        if self._paid_invoice(units[0].get("invoice_id")):
            raise refuse("DUPLICATE_INVOICE_ID")
        wallet = (body.get("payment_source") or {}).get("paypal")
        order_id = new_id()
        source = copy.deepcopy(wallet) if isinstance(wallet, dict) else {}
        self._state.orders[order_id] = {
            "id": order_id,
            "intent": body["intent"],
            "status": "PAYER_ACTION_REQUIRED" if wallet is not None else "CREATED",
            "payment_source": {"paypal": {}},
            "purchase_units": [{"reference_id": "default", **copy.deepcopy(units[0])}],
            "create_time": self._state.stamp(),
            "_opened": self._state.now(),
            "_back": source.get("experience_context") or {},
        }
        self._state.remember("order.create", request_id, order_id)
        return Response(201 if wallet is None else 200, self.shown(order_id, whole))

    def get(self, order_id: str) -> Response:
        self.find(order_id)
        return Response(200, self.shown(order_id, True))

    def complete(
        self, order_id: str, verb: str, request_id: str | None, whole: bool, fault: str | None
    ) -> Response:
        """``orders.capture`` and ``orders.authorize``: takes, or reserves, what was approved."""
        before = self._state.remembered(f"order.{verb}", request_id, ORDER_KEYS)
        if before is not None:
            return Response(200, self.shown(before, whole))
        order = self.find(order_id)
        if order["status"] == "COMPLETED":
            already = {"capture": "ORDER_ALREADY_CAPTURED", "authorize": "ORDER_ALREADY_AUTHORIZED"}
            raise refuse(already[verb])
        if verb.upper() != order["intent"]:
            raise refuse("ACTION_DOES_NOT_MATCH_INTENT")
        if order["status"] != "APPROVED":
            raise refuse("ORDER_NOT_APPROVED")
        unit = order["purchase_units"][0]
        if self._paid_invoice(unit.get("invoice_id")):
            raise refuse("DUPLICATE_INVOICE_ID")
        if verb == "capture":
            status = {"pending": "PENDING", "declined": "DECLINED"}.get(fault or "", "COMPLETED")
            self._payments.take(order_id, unit, amount_of(unit["amount"]), status)
        else:
            self._payments.reserve(order_id, unit, "PENDING" if fault == "pending" else "CREATED")
        order["status"] = "COMPLETED"
        order["update_time"] = self._state.stamp()
        self._state.remember(f"order.{verb}", request_id, order_id)
        return Response(201, self.shown(order_id, whole))

    # -- what the customer does -------------------------------------------------------------------

    def approve(self, order_id: str, customer: Object | None = None) -> None:
        """The customer agrees on PayPal's page."""
        order = self.find(order_id)
        if order["status"] not in ("CREATED", "PAYER_ACTION_REQUIRED"):
            return
        if self._state.now() - order["_opened"] > OPENS:
            raise refuse("ORDER_EXPIRED")
        who = copy.deepcopy(customer or CUSTOMER)
        order["status"] = "APPROVED"
        order["payment_source"] = {"paypal": who}
        order["payer"] = {
            "email_address": who["email_address"],
            "payer_id": who["account_id"],
            "name": who["name"],
        }
        order["update_time"] = self._state.stamp()
        self._state.emit("CHECKOUT.ORDER.APPROVED", "checkout-order", self.shown(order_id, True))

    def page(self, query: Any) -> Response:
        """The approve link: agrees (or gives up, ``&cancel=1``) and sends the customer back."""
        order = self.find(str(query.get("token")))
        gave_up = bool(query.get("cancel"))
        if not gave_up:
            self.approve(order["id"])
        back = order["_back"].get("cancel_url" if gave_up else "return_url")
        if back is None:
            return Response(200, "<html>done</html>", {"Content-Type": "text/html"})
        joint = "&" if "?" in back else "?"
        payer = "" if gave_up else f"&PayerID={CUSTOMER['account_id']}"
        return Response(302, None, {"Location": f"{back}{joint}token={order['id']}{payer}"})

    # -- inside -----------------------------------------------------------------------------------

    def find(self, order_id: str) -> Object:
        order = self._state.orders.get(order_id)
        if order is None:
            raise missing()
        return order

    def forget_old(self) -> None:
        """PayPal keeps an order nobody completed for some days only."""
        for order_id, order in list(self._state.orders.items()):
            if order["status"] != "COMPLETED" and self._state.now() - order["_opened"] > KEPT:
                del self._state.orders[order_id]

    def shown(self, order_id: str, whole: bool) -> Object:
        """An order as it is answered; minimal unless ``Prefer: return=representation``."""
        order = self._state.orders[order_id]
        links = [self._state.link(f"/v2/checkout/orders/{order_id}", "self")]
        if order["status"] in ("CREATED", "PAYER_ACTION_REQUIRED"):
            rel = "approve" if order["status"] == "CREATED" else "payer-action"
            links.append(self._state.link(f"/checkoutnow?token={order_id}", rel))
        if order["status"] == "APPROVED":
            verb = str(order["intent"]).lower()
            path = f"/v2/checkout/orders/{order_id}/{verb}"
            links.append(self._state.link(path, verb, "POST"))
        if not whole:
            return {"id": order_id, "status": order["status"], "links": links}
        seen = {name: copy.deepcopy(part) for name, part in order.items() if name[0] != "_"}
        payments = self._payments.of_order(order_id)
        if payments:
            seen["purchase_units"][0]["payments"] = payments
        return {**seen, "links": links}

    def _paid_invoice(self, invoice_id: str | None) -> bool:
        """Whether an invoice was paid: PayPal takes none twice."""
        return invoice_id is not None and any(
            each["invoice_id"] == invoice_id and each["status"] not in ("DECLINED", "FAILED")
            for each in self._state.captures.values()
        )
