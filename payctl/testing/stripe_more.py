"""Checkout sessions and transfers of :class:`payctl.testing.stripe_fake.StripeFake`."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

Params = dict[str, str]
Result = tuple[int, dict[str, Any]]
#: A connected account that takes no transfers, and one that does not exist.
CLOSED, ABSENT = "acct_closed", "acct_absent"


class FakeCheckout:
    """Hosted pages (docs.stripe.com/api/checkout/sessions). An intent exists once somebody pays.

    Args:
        new: makes an object of a kind from Stripe's samples, with a fresh id.
        intent: makes the intent of a session that is being paid: parameters in, intent out.
    """

    def __init__(
        self,
        new: Callable[[str, str], dict[str, Any]],
        intent: Callable[[Params], dict[str, Any]],
        expanded: Callable[[dict[str, Any], Params], dict[str, Any]],
    ) -> None:
        self._new = new
        self._intent = intent
        self._expanded = expanded
        self.held: dict[str, dict[str, Any]] = {}
        self._asked: dict[str, Params] = {}

    def create(self, params: Params) -> Result:
        if not params.get("success_url") or params.get("mode") != "payment":
            return 400, _error("success_url and mode=payment", "parameter_missing")
        session = self._new("checkout.session", "cs_test")
        amount = int(params["line_items[0][price_data][unit_amount]"])
        session |= {
            "client_reference_id": params.get("client_reference_id"), "payment_intent": None,
            "status": "open", "payment_status": "unpaid", "amount_total": amount,
            "currency": params["line_items[0][price_data][currency]"],
            "expires_at": session["created"] + 86_400,
            "url": f"https://checkout.stripe.com/c/pay/{session['id']}",
        }  # fmt: skip
        self.held[session["id"]] = session
        self._asked[session["id"]] = params
        return 200, copy.deepcopy(session)

    def pay(self, session_id: str, means: str = "pm_card_visa") -> None:
        """The customer pays on the page with *means*; a declined card leaves the page open."""
        session, asked = self.held[session_id], self._asked[session_id]
        inside = re.compile(r"payment_intent_data\[(.+?)\](.*)")
        params = {
            f"{m[1]}{m[2]}": value for name, value in asked.items() if (m := inside.fullmatch(name))
        }
        intent = self._intent(
            params
            | {"amount": str(session["amount_total"]), "currency": session["currency"],
               "payment_method": means, "confirm": "true"}
        )  # fmt: skip
        session["payment_intent"] = intent
        if intent["status"] in ("succeeded", "requires_capture", "processing"):
            session["status"], session["url"] = "complete", None
            session["payment_status"] = "paid" if intent["status"] == "succeeded" else "unpaid"

    def run_out(self, session_id: str) -> None:
        """The page's life is over."""
        self.held[session_id] |= {"status": "expired", "url": None}

    def retrieve(self, params: Params, session_id: str) -> Result:
        session = self.held.get(session_id)
        if session is None:
            return 404, _error("no such checkout session", "resource_missing")
        out = copy.deepcopy(session)
        if isinstance(out["payment_intent"], dict):
            wanted = any(value.startswith("payment_intent") for value in params.values())
            inner = {"expand[0]": "latest_charge.balance_transaction"}
            intent = self._expanded(out["payment_intent"], inner)
            out["payment_intent"] = intent if wanted else intent["id"]
        return 200, out

    def expire(self, params: Params, session_id: str) -> Result:
        session = self.held.get(session_id)
        if session is not None and session["status"] != "open":
            return 400, _error("Only open sessions can be expired", "")
        if session is not None:
            self.run_out(session_id)
        return self.retrieve(params, session_id)


class FakeTransfers:
    """Transfers to connected accounts (docs.stripe.com/api/transfers)."""

    def __init__(self, new: Callable[[str, str], dict[str, Any]]) -> None:
        self._new = new
        self.held: dict[str, dict[str, Any]] = {}
        self.balance: int | None = None

    def create(self, params: Params) -> Result:
        amount = int(params["amount"])
        if params["destination"] == ABSENT:
            return 400, _error("No such destination", "account_invalid")
        if params["destination"] == CLOSED:
            return 400, _error("no transfers", "insufficient_capabilities_for_transfer")
        if self.balance is not None and amount > self.balance:
            return 400, _error("insufficient funds", "balance_insufficient")
        transfer = self._new("transfer", "tr")
        transfer |= {
            "amount": amount, "currency": params["currency"], "reversed": False,
            "destination": params["destination"], "transfer_group": params.get("transfer_group"),
            "metadata": {
                name[9:-1]: value for name, value in params.items() if name.startswith("metadata[")
            },
        }  # fmt: skip
        self.held[transfer["id"]] = transfer
        return 200, copy.deepcopy(transfer)

    def retrieve(self, params: Params, transfer_id: str) -> Result:
        del params
        if transfer_id not in self.held:
            return 404, _error("no such transfer", "resource_missing")
        return 200, copy.deepcopy(self.held[transfer_id])

    def listed(self, params: Params) -> Result:
        group = params.get("transfer_group")
        items = [each for each in self.held.values() if group in (None, each["transfer_group"])]
        body = {"object": "list", "data": copy.deepcopy(items[::-1]), "has_more": False}
        return 200, body


def _error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": code}}
