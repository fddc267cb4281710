"""CinetPay's transfers v1: contacts, payouts, balance, unsigned form callbacks.

Shapes: docs.cinetpay.com, transfer, "Using the API" (login, balance, contact, send: ``data`` is a
list of lists), "Steps" (726 inside a success), "Annexe" (codes: the success is the number 0, errors
are texts), "Notification", "Status", "White-listing". The check's answer is a list of one, as
clients record it. ``transaction_id`` has the form ``EA230301.165358.X622533``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from payctl.testing.emulators.core import Delivery, Request, Response

if TYPE_CHECKING:
    from payctl.testing.emulators.cinetpay import CinetPayEmulator

MESSAGES: Mapping[str, str] = {
    "602": "INSUFFICIENT_BALANCE", "701": "INVALID_CREDENTIALS", "705": "EXPIRED_TOKEN",
    "706": "INVALID_TOKEN", "716": "DATA_NOT_VALID", "717": "ERROR_PHONE_NOT_PARTICULAR",
    "718": "JSON_PARSE_ERROR", "719": "AMOUNT_TOO_SMALL", "720": "AMOUNT_TOO_LARGE",
    "723": "NOT_FOUND", "724": "ERROR_PHONE_NOT_MY_CONTACT", "725": "MISSING_NOTIFY_URL",
    "801": "INVALID_AMOUNT", "802": "INVALID_PHONE", "805": "CLIENT_TRANSACTION_ID_EXIST",
}  # fmt: skip
_LIFE = timedelta(minutes=5)
_SMALLEST, _LARGEST = 500, 1_500_000


@dataclass(slots=True)
class Transfer:
    """One payout. ``amount`` in whole units."""

    transaction_id: str
    client_transaction_id: str
    lot: str
    amount: int
    prefix: str
    phone: str
    notify_url: str
    treatment_status: str = "NEW"
    sending_status: str = "PENDING"
    comment: str = ""
    validated_at: str = ""


class Transfers:
    """The transfer account of one API key.

    Attributes:
        knows_server: whether the merchant's server is white-listed; if not, transfers wait.
    """

    def __init__(
        self, emulator: CinetPayEmulator, apikey: str, password: str, float_units: int
    ) -> None:
        self._emulator = emulator
        self._apikey, self._password = apikey, password
        self.float_units = float_units
        self.knows_server = True
        self.contacts: set[tuple[str, str]] = set()
        self.transfers: dict[str, Transfer] = {}
        self._tokens: dict[str, datetime] = {}

    def handle(self, operation: str, request: Request) -> Response:
        if operation == "transfer.login":
            return self._login(request)
        token = request.query.get("token", "")
        ends = self._tokens.get(token)
        if ends is None:
            return self.error("706")
        if ends <= self._emulator.now():
            return self.error("705")
        if operation == "transfer.balance":
            return self._balance()
        if operation == "transfer.check":
            return self._check(request)
        try:
            items = json.loads(request.form().get("data", ""))
        except ValueError:
            return self.error("718")
        if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
            return self.error("716")
        act = self._contact if operation == "transfer.contact" else self._send
        return _success([[{**each, **act(each)} for each in items]])

    def error(self, code: str) -> Response:
        body = {"code": code, "message": MESSAGES.get(code, f"CODE_{code}"), "data": []}
        return Response(self._emulator.error_status, body | {"description": f"code {code}"})

    # -- what happens outside --------------------------------------------------------------------

    def settle(self, client_transaction_id: str, status: str = "VAL", comment: str = "") -> None:
        """The operator accepts (``VAL``) or rejects (``REJ``) a transfer; CinetPay calls back."""
        transfer = self.transfers[client_transaction_id]
        if transfer.treatment_status in ("VAL", "REJ"):
            return
        transfer.treatment_status, transfer.comment = status, comment
        transfer.sending_status = "CONFIRM"
        transfer.validated_at = f"{self._emulator.now():%Y-%m-%d %H:%M:%S}"
        if status == "REJ":
            self.float_units += transfer.amount
        self._emulator.deliveries.append(self.callback(client_transaction_id))

    def paid_out(self) -> int:
        """What reached payees, in whole units."""
        return sum(t.amount for t in self.transfers.values() if t.treatment_status == "VAL")

    def forget_tokens(self) -> None:
        """All tokens end now."""
        self._tokens = dict.fromkeys(self._tokens, self._emulator.now())

    def state(self) -> dict[str, Any]:
        return {name: asdict(transfer) for name, transfer in self.transfers.items()}

    def callback(self, client_transaction_id: str) -> Delivery:
        """The unsigned form callback about a transfer."""
        transfer = self.transfers[client_transaction_id]
        fields = {
            "transaction_id": transfer.transaction_id,
            "client_transaction_id": transfer.client_transaction_id,
            "lot": transfer.lot,
            "amount": str(transfer.amount),
            "receiver": transfer.phone,
            "sending_status": transfer.sending_status,
            "comment": transfer.comment,
            "treatment_status": transfer.treatment_status,
            "operator_transaction_id": "",
            "validated_at": transfer.validated_at,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Delivery("POST", transfer.notify_url, headers, urlencode(fields).encode())

    # -- requests --------------------------------------------------------------------------------

    def _login(self, request: Request) -> Response:
        form = request.form()
        if (form.get("apikey"), form.get("password")) != (self._apikey, self._password):
            return self.error("701")
        token = f"emulatedtoken{len(self._tokens):04d}abcdef"
        self._tokens[token] = self._emulator.now() + _LIFE
        return _success({"token": token})

    def _balance(self) -> Response:
        held = sum(
            t.amount for t in self.transfers.values() if t.treatment_status not in ("VAL", "REJ")
        )
        amount = self.float_units + held
        return _success({"amount": amount, "inUsing": held, "available": self.float_units})

    def _contact(self, item: Mapping[str, Any]) -> dict[str, Any]:
        prefix, phone = str(item.get("prefix", "")), str(item.get("phone", ""))
        if not (prefix.isdigit() and phone.isdigit() and item.get("name") and item.get("email")):
            return {"code": 716, "status": "DATA_NOT_VALID"}
        if (prefix, phone) in self.contacts:
            return {"code": 726, "status": "ERROR_PHONE_ALREADY_MY_CONTACT"}
        self.contacts.add((prefix, phone))
        return {"code": 0, "status": "success", "lot": self._lot()}

    def _send(self, item: Mapping[str, Any]) -> dict[str, Any]:
        if (code := self._refusal(item)) is not None:
            return {"code": code, "status": MESSAGES[str(code)]}
        name, amount = str(item["client_transaction_id"]), int(item["amount"])
        self.float_units -= amount
        now = self._emulator.now()
        made = Transfer(
            f"EA{now:%y%m%d.%H%M%S}.X{len(self.transfers):06d}", name, self._lot(), amount,
            str(item["prefix"]), str(item["phone"]), str(item["notify_url"]),
        )  # fmt: skip
        if self.knows_server:
            made.sending_status = "CONFIRM"
        self.transfers[name] = made
        return {
            "code": 0,
            "status": "success",
            "treatment_status": made.treatment_status,
            "transaction_id": made.transaction_id,
            "lot": made.lot,
        }

    def _refusal(self, item: Mapping[str, Any]) -> int | None:
        amount = item.get("amount")
        if type(amount) is not int or amount % 5:
            return 801
        if not item.get("notify_url"):
            return 725
        if (str(item.get("prefix")), str(item.get("phone"))) not in self.contacts:
            return 724
        if item.get("client_transaction_id") in self.transfers:
            return 805
        if not _SMALLEST <= amount <= _LARGEST:
            return 719 if amount < _SMALLEST else 720
        return 602 if amount > self.float_units else None

    def _check(self, request: Request) -> Response:
        ours, theirs = (
            request.query.get("client_transaction_id"),
            request.query.get("transaction_id"),
        )
        found = self.transfers.get(ours or "") or next(
            (t for t in self.transfers.values() if theirs and t.transaction_id == theirs), None
        )
        if found is None:
            return self.error("723")
        said = asdict(found) | {
            "amount": str(found.amount),
            "receiver": found.phone,
            "receiver_e164": f"+{found.prefix}{found.phone}",
            "operator": "OMCI",
            "transfer_valid": "Y" if found.sending_status == "CONFIRM" else "N",
        }
        for name in ("phone", "prefix", "notify_url"):
            del said[name]
        return _success([said])

    def _lot(self) -> str:
        return f"{int(self._emulator.now().timestamp() * 1_000_000):024d}"


def _success(data: Any) -> Response:
    return Response(200, {"code": 0, "message": "OPERATION_SUCCES", "data": data})
