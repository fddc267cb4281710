"""Disputes of the emulated PayPal: opened by a customer, answered by the merchant, decided.

Shapes: Customer Disputes v1 (spec 1.10) ``dispute``, ``dispute_search``, ``subsequent_action``. An
``INTERNAL`` dispute holds the money back until it is decided; an ``EXTERNAL`` one, a chargeback of
a card, takes it at once with a fee.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from payctl.testing.emulators.core import Request, Response
from payctl.testing.emulators.paypal_state import (
    Movement,
    Object,
    State,
    amount_of,
    missing,
    money,
    new_id,
    refuse,
)

#: What PayPal charges for a dispute that is lost, and for a chargeback, in hundredths.
DISPUTE_FEE, CHARGEBACK_FEE = 1500, 2000
#: How long the merchant has to answer.
ANSWER_WITHIN = timedelta(days=10)
_PATH = "/v1/customer/disputes"
_FILES = ("pdf", "png", "gif", "jpg", "jpeg")
_DOCUMENT = re.compile(r"[A-Za-z0-9-_,\s]+[.][A-Za-z]+")
_INVOICE = re.compile(r"[A-Za-z0-9:\-|]+")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart body."""

    name: str
    file_name: str | None
    content_type: str
    content: bytes


class Disputes:
    """The endpoints below ``/v1/customer/disputes``.

    Attributes:
        as_seen: answer as PayPal's sandbox was seen to in 2026 and not as the specification has it:
            ``fund_movements`` with the holds among them, links with underscores.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.as_seen = False
        self.files: list[Part] = []

    # -- what customers, banks and PayPal do ------------------------------------------------------

    def open(
        self, capture_id: str, amount: int | None = None, *, inquiry: bool = False,
        external: bool = False, reason: str = "UNAUTHORISED", names_us: bool = True,
    ) -> str:  # fmt: skip
        """A customer contests a capture; returns the dispute's id.

        Args:
            amount: in PayPal's smallest unit; all of the capture when not given.
            names_us: whether the dispute tells our ``custom_id``.
        """
        capture = self._state.captures[capture_id]
        gross, currency = amount_of(capture["amount"])
        dispute_id = f"PP-R-{new_id(3)}-{len(self._state.disputes) + 10_190_228}"
        about: Object = {
            "buyer_transaction_id": new_id(), "seller_transaction_id": capture_id,
            "create_time": capture["create_time"], "transaction_status": "COMPLETED",
            "gross_amount": money(gross, currency), "buyer": {"name": "Awa Diop"},
            "seller": {"merchant_id": "QF4TD2JHSNF5C", "name": "Billetterie"},
        }  # fmt: skip
        if names_us and capture.get("custom_id"):
            about["custom"] = capture["custom_id"]
        if _INVOICE.fullmatch(str(capture.get("invoice_id"))):
            about["invoice_number"] = capture["invoice_id"]
        self._state.disputes[dispute_id] = {
            "dispute_id": dispute_id,
            "create_time": self._state.stamp(),
            "update_time": self._state.stamp(),
            "disputed_transactions": [about],
            "reason": reason,
            "status": "OPEN",
            "dispute_amount": money(amount or gross, currency),
            "dispute_life_cycle_stage": "INQUIRY" if inquiry else "CHARGEBACK",
            "dispute_channel": "EXTERNAL" if external else "INTERNAL",
            "_moves": [], "_evidences": [], "_info": [], "_at": self._state.now(),
        }  # fmt: skip
        if external:
            self.move(dispute_id, -(amount or gross))
            self.charge(dispute_id, CHARGEBACK_FEE, "CHARGEBACK_FEE")
        elif not inquiry:
            self._hold(dispute_id, "HOLD_PLACED")
        self._turn(dispute_id, "OPEN" if inquiry else "WAITING_FOR_SELLER_RESPONSE", "CREATED")
        return dispute_id

    def escalate(self, dispute_id: str) -> None:
        """The customer makes a claim of the inquiry."""
        dispute = self._find(dispute_id)
        dispute["dispute_life_cycle_stage"] = "CHARGEBACK"
        self._hold(dispute_id, "HOLD_PLACED")
        self._turn(dispute_id, "WAITING_FOR_SELLER_RESPONSE")

    def ask_again(self, dispute_id: str) -> None:
        """PayPal wants more evidence."""
        self._turn(dispute_id, "WAITING_FOR_SELLER_RESPONSE")

    def decide(
        self, dispute_id: str, outcome: str, amount: int | None = None, *, tell_money: bool = True
    ) -> None:
        """The end, in the specification's words (``RESOLVED_BUYER_FAVOUR``, ...).

        Args:
            amount: what the customer gets, less than the contested amount.
            tell_money: whether the money moves with it; else :meth:`move` does later.
        """
        dispute = self._find(dispute_id)
        contested, currency = amount_of(dispute["dispute_amount"])
        taken = -sum(amount for kind, amount, _at in dispute["_moves"]
                     if kind == "DISPUTE_SETTLEMENT")  # fmt: skip
        lost = outcome in ("RESOLVED_BUYER_FAVOUR", "ACCEPTED")
        given = (amount or contested) if lost else 0
        dispute["dispute_outcome"] = {"outcome_code": outcome}
        if not lost and taken <= 0:
            self._hold(dispute_id, "HOLD_RELEASED")
        if lost:
            dispute["dispute_outcome"]["amount_refunded"] = money(given, currency)
        if tell_money:
            if taken != given:
                self.move(dispute_id, taken - given)
            if lost and dispute["dispute_channel"] == "INTERNAL" and "_accepted" not in dispute:
                self.charge(dispute_id, DISPUTE_FEE, "DISPUTE_FEE")
        self._turn(dispute_id, "RESOLVED", "RESOLVED")

    def move(self, dispute_id: str, amount: int) -> None:
        """The merchant's balance loses *amount* (below zero) or gets it back."""
        self._booked(dispute_id, "DISPUTE_SETTLEMENT", amount, "T1201" if amount < 0 else "T1202")
        about = self._find(dispute_id)["disputed_transactions"][0]
        about["transaction_status"] = "REVERSED" if amount < 0 else "COMPLETED"

    def charge(self, dispute_id: str, fee: int, reason: str) -> None:
        self._booked(dispute_id, reason, -fee, "T0106")

    def _hold(self, dispute_id: str, reason: str) -> None:
        """A hold moves no money."""
        dispute = self._find(dispute_id)
        amount, _currency = amount_of(dispute["dispute_amount"])
        sign = -1 if reason == "HOLD_PLACED" else 1
        dispute["_moves"].append((reason, sign * amount, self._state.stamp()))
        held = "HELD" if sign < 0 else "COMPLETED"
        dispute["disputed_transactions"][0]["transaction_status"] = held

    def _booked(self, dispute_id: str, reason: str, amount: int, code: str) -> None:
        dispute = self._find(dispute_id)
        currency = dispute["dispute_amount"]["currency_code"]
        dispute["_moves"].append((reason, amount, self._state.stamp()))
        about = dispute["disputed_transactions"][0]
        self._state.movements.append(
            Movement(self._state.now(), new_id(), code, "S", currency, amount, 0,
                     about.get("custom"), None, about["seller_transaction_id"])
        )  # fmt: skip

    def _turn(self, dispute_id: str, status: str, event: str = "UPDATED") -> None:
        dispute = self._find(dispute_id)
        dispute["status"], dispute["update_time"] = status, self._state.stamp()
        dispute.pop("seller_response_due_date", None)
        if status == "WAITING_FOR_SELLER_RESPONSE":
            dispute["seller_response_due_date"] = self._state.stamp(ANSWER_WITHIN)
        self._state.emit(f"CUSTOMER.DISPUTE.{event}", "dispute", self._shown(dispute_id))

    # -- what the merchant asks -------------------------------------------------------------------

    def get(self, dispute_id: str) -> Response:
        """``disputes.get``."""
        return Response(200, self._shown(dispute_id))

    def listed(self, query: Mapping[str, str]) -> Response:
        """``disputes.list``, newest first."""
        since = datetime.fromisoformat(query.get("update_time_after", "2000-01-01T00:00:00Z"))
        size, start = int(query.get("page_size", "10")), int(query.get("next_page_token", "0"))
        if not 1 <= size <= 50:
            raise refuse("INVALID_PARAMETER_VALUE")
        found = [key for key, each in self._state.disputes.items()
                 if datetime.fromisoformat(each["update_time"]) >= since][::-1]  # fmt: skip
        names = ("dispute_id", "create_time", "update_time", "reason", "status", "dispute_amount",
                 "dispute_life_cycle_stage", "dispute_channel", "seller_response_due_date",
                 "links")  # fmt: skip
        items = [{name: part for name, part in self._shown(key).items() if name in names}
                 for key in found[start : start + size]]  # fmt: skip
        links = [self._state.link(_PATH, "self")]
        if start + size < len(found):
            links.append(self._state.link(f"{_PATH}?next_page_token={start + size}", "next"))
        return Response(200, {"links": links} | ({"items": items} if items else {}))

    def accept(self, dispute_id: str, body: Object) -> Response:
        """``disputes.accept-claim``."""
        dispute = self._find(dispute_id)
        self._allowed(dispute_id, "accept-claim")
        if body.get("accept_claim_type") not in dispute.get("_accept", ["REFUND"]):
            raise refuse("INVALID_ACCEPT_CLAIM_TYPE")
        dispute["_accepted"] = True
        self.decide(dispute_id, "RESOLVED_BUYER_FAVOUR")
        return self._done(dispute_id)

    def answer(self, dispute_id: str, verb: str, request: Request) -> Response:
        """``disputes.provide-evidence`` and ``disputes.provide-supporting-info``."""
        dispute = self._find(dispute_id)
        self._allowed(dispute_id, verb)
        parts = parts_of(request)
        said = next((json.loads(each.content) for each in parts if each.name == "input"), None)
        files = [each for each in parts if each.file_name]
        for each in files:
            name = str(each.file_name)
            if not _DOCUMENT.fullmatch(name) or name.rpartition(".")[2].lower() not in _FILES:
                raise refuse("INVALID_FILE_TYPE")
        if not isinstance(said, dict):
            raise refuse("MISSING_OR_INVALID_REQUEST_BODY", 400)
        documents = {"documents": [{"name": each.file_name} for each in files]} if files else {}
        self.files += files
        if verb == "provide-evidence":
            for number, each in enumerate(said["evidences"]):
                shown = {**each, **(documents if number == 0 else {}), "date": self._state.stamp()}
                dispute["_evidences"].append(shown | {"source": "SUBMITTED_BY_SELLER"})
            self._turn(dispute_id, "UNDER_REVIEW")
        else:
            dispute["_info"].append(
                {"notes": said["notes"], **documents, "source": "SUBMITTED_BY_SELLER",
                 "provided_time": self._state.stamp()}
            )  # fmt: skip
            self._turn(dispute_id, dispute["status"])
        return self._done(dispute_id)

    # -- inside -----------------------------------------------------------------------------------

    def _find(self, dispute_id: str) -> Object:
        found = self._state.disputes.get(dispute_id)
        if found is None:
            raise missing()
        return found

    def _allowed(self, dispute_id: str, verb: str) -> None:
        if verb not in self._verbs(self._find(dispute_id)):
            raise refuse("ACTION_NOT_ALLOWED_IN_CURRENT_DISPUTE_STATE")

    def _verbs(self, dispute: Object) -> list[str]:
        """What may be done; observed in the sandbox, accepting stays possible during a review."""
        claim = dispute["dispute_life_cycle_stage"] != "INQUIRY"
        if dispute["status"] == "WAITING_FOR_SELLER_RESPONSE":
            return ["provide-evidence", "accept-claim"]
        if dispute["status"] == "UNDER_REVIEW" and claim:
            return ["provide-supporting-info", "accept-claim"]
        return ["accept-claim", "send-message"] if dispute["status"] == "OPEN" else []

    def _shown(self, dispute_id: str) -> Object:
        held = self._find(dispute_id)
        shown = {name: copy.deepcopy(part) for name, part in held.items() if name[0] != "_"}
        moves = [self._movement(held, *each) for each in held["_moves"]
                 if self.as_seen or not each[0].startswith("HOLD_")]  # fmt: skip
        if moves:
            shown["fund_movements" if self.as_seen else "money_movements"] = moves
        if held["_evidences"]:
            shown["evidences"] = copy.deepcopy(held["_evidences"])
        if held["_info"]:
            shown["supporting_info"] = copy.deepcopy(held["_info"])
        verbs, path = self._verbs(held), f"{_PATH}/{dispute_id}"
        if "accept-claim" in verbs:
            kinds = held.get("_accept", ["REFUND"])
            shown["allowed_response_options"] = {"accept_claim": {"accept_claim_types": kinds}}
        shown["links"] = [self._state.link(path, "self")] + [
            self._state.link(f"{path}/{each}", each.replace("-", "_") if self.as_seen else each,
                             "POST")
            for each in verbs
        ]  # fmt: skip
        return shown

    def _movement(self, dispute: Object, reason: str, amount: int, at: str) -> Object:
        currency = dispute["dispute_amount"]["currency_code"]
        party = (
            {"party": "RECEIVER"} if reason.startswith("HOLD_") else {"affected_party": "SELLER"}
        )
        return {
            **party, "amount": money(abs(amount), currency), "initiated_time": at,
            "type": "DEBIT" if amount < 0 else "CREDIT", "reason": reason,
        }  # fmt: skip

    def _done(self, dispute_id: str) -> Response:
        return Response(200, {"links": [self._state.link(f"{_PATH}/{dispute_id}", "self")]})


def parts_of(request: Request) -> list[Part]:
    """The parts of a multipart body; none where it is no such body."""
    kind = request.headers.get("content-type", "")
    found = re.search(r"boundary=([^;]+)", kind)
    if not kind.startswith("multipart/form-data") or found is None:
        return []
    out = []
    for piece in request.body.split(b"--" + found[1].encode())[1:-1]:
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        about = head.decode()
        name = re.search(r'[; ]name="([^"]*)"', about)
        file = re.search(r'filename="([^"]*)"', about)
        typed = re.search(r"(?i)content-type: *(\S+)", about)
        out.append(
            Part(name[1] if name else "", file[1] if file else None, typed[1] if typed else "",
                 content.removesuffix(b"\r\n"))
        )  # fmt: skip
    return out
