"""Disputes of :class:`payctl.testing.stripe_fake.StripeFake`: opened by a test, then answered."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

Params = dict[str, str]
Result = tuple[int, dict[str, Any]]
#: What Stripe charges for a dispute here, in the currency's own integers.
FEE = 2000


class FakeDisputes:
    """Holds disputes and their balance transactions (docs.stripe.com/api/disputes).

    Args:
        new: makes an object of a kind from Stripe's samples, with a fresh id.
    """

    def __init__(self, new: Callable[[str, str], dict[str, Any]]) -> None:
        self._new = new
        self.held: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}

    def open(
        self, intent: Mapping[str, Any], amount: int | None = None, *, inquiry: bool = False
    ) -> str:
        """The customer's bank contests *intent*; an inquiry takes no money yet."""
        dispute = self._new("dispute", "dp")
        dispute |= {
            "amount": amount or int(intent["amount_received"]), "currency": intent["currency"],
            "payment_intent": intent["id"], "charge": "ch_of_it", "reason": "fraudulent",
            "status": "warning_needs_response" if inquiry else "needs_response",
            "balance_transactions": [],
        }  # fmt: skip
        dispute["evidence_details"] = {
            "due_by": dispute["created"] + 7 * 86_400, "has_evidence": False, "past_due": False,
            "submission_count": 0,
        }  # fmt: skip
        self.held[dispute["id"]] = dispute
        if not inquiry:
            self.move(dispute["id"], -int(dispute["amount"]), FEE)
        return str(dispute["id"])

    def move(self, dispute_id: str, amount: int, fee: int = 0) -> None:
        """The balance loses *amount* (below zero) or gets it back."""
        dispute = self.held[dispute_id]
        booked = self._new("balance_transaction", "txn")
        booked |= {
            "amount": amount, "fee": fee, "net": amount - fee, "currency": dispute["currency"],
            "type": "adjustment",
        }  # fmt: skip
        dispute["balance_transactions"].append(booked)

    def decide(self, dispute_id: str, status: str, *, reinstate: bool = True) -> None:
        """The bank's word: ``won`` gives the money back, at once unless *reinstate* is false."""
        dispute = self.held[dispute_id]
        dispute["status"] = status
        if status == "won" and reinstate:
            self.move(dispute_id, int(dispute["amount"]))

    def retrieve(self, params: Params, dispute_id: str) -> Result:
        del params
        if dispute_id not in self.held:
            return 404, {"error": {"message": "no such dispute", "code": "resource_missing"}}
        return 200, copy.deepcopy(self.held[dispute_id])

    def update(self, params: Params, dispute_id: str) -> Result:
        dispute = self.held.get(dispute_id)
        if dispute is None:
            return self.retrieve(params, dispute_id)
        if dispute["status"] not in ("needs_response", "warning_needs_response"):
            error = {"message": "This dispute is already closed", "type": "invalid_request_error"}
            return 400, {"error": error}
        for name, value in params.items():
            if name.startswith("evidence["):
                dispute["evidence"][name[9:-1]] = value
        dispute["evidence_details"]["has_evidence"] = True
        if params.get("submit") == "true":
            warning = "warning_" if dispute["status"].startswith("warning") else ""
            dispute["status"] = f"{warning}under_review"
            dispute["evidence_details"]["submission_count"] += 1
        return 200, copy.deepcopy(dispute)

    def close(self, params: Params, dispute_id: str) -> Result:
        dispute = self.held.get(dispute_id)
        if dispute is not None:
            dispute["status"] = "lost"
        return self.retrieve(params, dispute_id)

    def upload(self, params: Params) -> Result:
        del params
        file = self._new("file", "file") | {"purpose": "dispute_evidence"}
        self.files[file["id"]] = file
        return 200, copy.deepcopy(file)
