"""Payouts of the emulated PayPal: batches of items, worked off some time later.

Shapes: Payouts v1 (spec 1.9) ``payout``, ``payout_batch``, ``payout_item-2``.
"""

from __future__ import annotations

import copy
from datetime import datetime, timedelta

from payctl.testing.emulators.core import Response
from payctl.testing.emulators.paypal_state import (
    PAYOUT_KEYS,
    WHOLE,
    Movement,
    Object,
    SaysNo,
    State,
    amount_of,
    missing,
    new_id,
    refusal,
    value,
)

#: How long PayPal works on a batch, and how long money waits for a receiver without an account.
WORKS, WAITS = timedelta(seconds=30), timedelta(days=30)
FEE = 25
_MOVED = {"SUCCESS": "S", "PENDING": "P", "UNCLAIMED": "P", "ONHOLD": "P"}
_EVENTS = {"SUCCESS": "SUCCEEDED", "ONHOLD": "HELD"}


class Payouts:
    """The endpoints below ``/v1/payments/payouts``.

    Attributes:
        receivers: what happens to an item for this receiver: its status, and the error's name.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.receivers: dict[str, tuple[str, str | None]] = {}

    def create(self, body: Object, request_id: str | None) -> Response:
        """``payouts.post``."""
        before = self._state.remembered("payout.create", request_id, PAYOUT_KEYS)
        if before is not None:
            return Response(201, self._created(before))
        ours = str((body.get("sender_batch_header") or {}).get("sender_batch_id") or "")
        items = body.get("items")
        if not ours or not isinstance(items, list) or not items:
            raise SaysNo(refusal(400, "MISSING_REQUIRED_PARAMETER", "VALIDATION_ERROR"))
        self._refuse_duplicate(ours)
        sums = [amount_of(each.get("amount"), "currency") for each in items]
        currency = sums[0][1]
        if sum(amount for amount, _ in sums) > self._state.holds(currency) - self._held(currency):
            raise SaysNo(refusal(422, None, "INSUFFICIENT_FUNDS"))
        batch_id = new_id(13)
        self._state.batches[batch_id] = {
            "id": batch_id,
            "ours": ours,
            "status": "PENDING",
            "at": self._state.now(),
            "items": [self._item(batch_id, ours, each) for each in items],
        }
        self._state.remember("payout.create", request_id, batch_id)
        self._tell_batch(batch_id)
        return Response(201, self._created(batch_id))

    def get(self, batch_id: str) -> Response:
        """``payouts.get``."""
        batch = self._find(batch_id)
        body = {
            "total_items": len(batch["items"]),
            "total_pages": 1,
            "batch_header": self._header(batch),
            "items": [self._shown(each) for each in batch["items"]],
            "links": [self._state.link(f"/v1/payments/payouts/{batch_id}", "self")],
        }
        return Response(200, body)

    def get_item(self, item_id: str) -> Response:
        """``payouts-item.get``."""
        batch, item = self._find_item(item_id)
        return Response(200, {**self._shown(item), "sender_batch_id": batch["ours"]})

    def cancel_item(self, item_id: str) -> Response:
        """``payouts-item.cancel``: only what nobody has claimed yet."""
        _batch, item = self._find_item(item_id)
        if item["transaction_status"] != "UNCLAIMED":
            raise SaysNo(refusal(400, None, "ITEM_INCORRECT_STATUS"))
        self.settle(item_id, "RETURNED")
        return self.get_item(item_id)

    def settle(self, item_id: str, status: str, error: str | None = None) -> None:
        """What an item comes to, whatever it was."""
        batch, item = self._find_item(item_id)
        item["transaction_status"] = status
        item["time_processed"] = self._state.stamp()
        item.pop("errors", None)
        if error:
            item["errors"] = {"name": error, "message": error, "debug_id": "f0f0f0f0f0f0f"}
        row = self._state.moved(item["transaction_id"])
        row.status = _MOVED.get(status, "D")
        row.fee = -FEE if status == "SUCCESS" and row.currency not in WHOLE else 0
        item["payout_item_fee"] = {"currency": row.currency, "value": value(-row.fee, row.currency)}
        name = _EVENTS.get(status, status)
        resource = {**self._shown(item), "sender_batch_id": batch["ours"]}
        self._state.emit(f"PAYMENT.PAYOUTS-ITEM.{name}", "payouts_item", resource)

    def work(self) -> None:
        """Work off what is due: batches after a while, money nobody claimed after 30 days."""
        for batch in list(self._state.batches.values()):
            if batch["status"] == "PENDING" and self._state.now() - batch["at"] >= WORKS:
                self.finish(batch["id"])
            overdue = self._state.now() - batch["at"] >= WAITS
            for item in batch["items"]:
                if overdue and item["transaction_status"] == "UNCLAIMED":
                    self.settle(item["payout_item_id"], "RETURNED")

    def finish(self, batch_id: str) -> None:
        """Work off a batch now; the batch succeeds whatever its items come to."""
        batch = self._find(batch_id)
        if batch["status"] != "PENDING":
            return
        for item in batch["items"]:
            receiver = item["payout_item"]["receiver"]
            self.settle(item["payout_item_id"], *self.receivers.get(receiver, ("SUCCESS", None)))
        batch["status"] = "SUCCESS"
        self._tell_batch(batch_id)

    def deny(self, batch_id: str) -> None:
        """Refuse a whole batch; none of its items is paid."""
        batch = self._find(batch_id)
        for item in batch["items"]:
            self.settle(item["payout_item_id"], "FAILED")
        batch["status"] = "DENIED"
        self._tell_batch(batch_id)

    # -- inside -----------------------------------------------------------------------------------

    def _refuse_duplicate(self, ours: str) -> None:
        """A ``sender_batch_id`` of the last 30 days is refused with a link to its batch."""
        for batch in self._state.batches.values():
            fresh: bool = self._state.now() - batch["at"] < PAYOUT_KEYS
            if batch["ours"] == ours and fresh:
                links = [self._state.link(f"/v1/payments/payouts/{batch['id']}", "self")]
                raise SaysNo(refusal(400, None, "USER_BUSINESS_ERROR", links))

    def _item(self, batch_id: str, ours: str, asked: Object) -> Object:
        amount, currency = amount_of(asked["amount"], "currency")
        transaction_id = new_id()
        self._state.movements.append(
            Movement(self._state.now(), transaction_id, "T0001", "P", currency, -amount,
                     custom_id=asked.get("sender_item_id"))
        )  # fmt: skip
        return {
            "payout_item_id": new_id(13),
            "transaction_id": transaction_id,
            "transaction_status": "PENDING",
            "payout_batch_id": batch_id,
            "payout_item": {**copy.deepcopy(asked), "recipient_wallet": "PAYPAL"},
        }

    def _held(self, currency: str) -> int:
        """What is on its way, and so not to be spent again."""
        return sum(
            -each.amount
            for each in self._state.movements
            if each.code == "T0001" and each.status == "P" and each.currency == currency
        )

    def _find(self, batch_id: str) -> Object:
        if batch_id not in self._state.batches:
            raise missing()
        return self._state.batches[batch_id]

    def _find_item(self, item_id: str) -> tuple[Object, Object]:
        for batch in self._state.batches.values():
            for item in batch["items"]:
                if item["payout_item_id"] == item_id:
                    return batch, item
        raise missing()

    def _created(self, batch_id: str) -> Object:
        header = self._header(self._find(batch_id))
        kept = ("payout_batch_id", "batch_status", "sender_batch_header")
        return {
            "batch_header": {name: header[name] for name in kept},
            "links": [self._state.link(f"/v1/payments/payouts/{batch_id}", "self")],
        }

    def _header(self, batch: Object) -> Object:
        made: datetime = batch["at"]
        return {
            "payout_batch_id": batch["id"],
            "batch_status": batch["status"],
            "time_created": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "sender_batch_header": {"sender_batch_id": batch["ours"]},
            "funding_source": "BALANCE",
            "amount": batch["items"][0]["payout_item"]["amount"],
        }

    def _shown(self, item: Object) -> Object:
        path = f"/v1/payments/payouts-item/{item['payout_item_id']}"
        return {**copy.deepcopy(item), "links": [self._state.link(path, "item")]}

    def _tell_batch(self, batch_id: str) -> None:
        batch = self._find(batch_id)
        name = {"PENDING": "PROCESSING"}.get(batch["status"], batch["status"])
        resource = {"batch_header": self._header(batch)}
        self._state.emit(f"PAYMENT.PAYOUTSBATCH.{name}", "payouts", resource)
