"""MTN Mobile Money as its sandbox and documents describe it (momodeveloper.mtn.com).

===========================================  =======================================================
``/v1_0/apiuser``, ``…/{id}/apikey``         provisioning, see :mod:`.momo_access`
``POST /{product}/token/``                   a token of that product; the slash is part of it
``POST /collection/v1_0/requesttopay``       202 and an empty body; ``GET …/{ref}`` tells its state
``POST /disbursement/v1_0/transfer``         the same; ``deposit`` and ``refund`` too
``GET /{product}/v1_0/account/balance``      with or without ``/{currency}``
``GET …/accountholder/msisdn/{n}/active``    and ``…/basicuserinfo``
===========================================  =======================================================

A request ends by its number, see :mod:`.momo_tables`. References are unique for ever (409). Errors
carry ``{"code", "message"}``; wrong configuration comes as status 500, as it does there. Callbacks
are unsigned PUTs to ``X-Callback-Url``, whose host must be the user's (``localhost``).

Credentials: users ``5f3c7a10-…01`` (collection) and ``…02`` (disbursement); all are constants of
:mod:`.momo_access`.

Faults of its own: ``pending`` (the customer does nothing until :meth:`MomoEmulator.settle`),
``reason:CODE`` (it fails with that reason), ``reason_object:CODE`` (the same, told as an object, as
the schema has it), ``expire_token`` (this call finds its token expired).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from payctl.testing.emulators import momo_tables as tables
from payctl.testing.emulators.core import Delivery, Emulator, Request, Response
from payctl.testing.emulators.momo_access import Access, is_uuid4
from payctl.testing.emulators.momo_tables import error

#: What each product can be asked to do, and what that is called here.
_KINDS: Mapping[tuple[str, str], str] = {
    ("collection", "requesttopay"): "payment",
    ("disbursement", "transfer"): "payout",
    ("disbursement", "deposit"): "payout",
    ("disbursement", "refund"): "refund",
}
_OTHERS: Mapping[str, str] = {"account": "balance", "accountholder": "payee"}
_MONEY = re.compile(r"\d{1,12}(\.\d{1,2})?", re.ASCII)
#: "No special characters": which ones pass is not published, so none that could matter does.
_WORDS = re.compile(r"[A-Za-z0-9 .,:_-]{0,160}")
_PATH = re.compile(r"/(collection|disbursement)/v[12]_0/(\w+)(?:/(.*))?")
_TOKEN = re.compile(r"/(collection|disbursement)/token/")


@dataclass(slots=True)
class Asked:
    """A request that was accepted. ``body`` as it came: its amount is a text in main units."""

    kind: str
    reference: str
    body: Mapping[str, Any]
    made_at: datetime
    callback: str = ""
    status: str = "PENDING"
    reason: str = ""
    as_object: bool = False
    #: what it will end as; empty while nobody decides
    ends_as: str = ""
    financial_id: str = ""


class MomoEmulator(Emulator):
    """See the module.

    Args:
        currency: what is taken; the sandbox takes euros only.
        target: the ``X-Target-Environment`` it answers to.
        delay_s: how long the customer takes to confirm.
        funds: what the disbursement account holds, in main units.
    """

    name = "momo"

    def __init__(
        self, *, currency: str = "EUR", target: str = "sandbox", delay_s: float = 0.0,
        funds: str = "1000000", **given: Any,
    ) -> None:  # fmt: skip
        super().__init__(**given)
        self.currency = currency
        self.delay_s = delay_s
        self.funds = Decimal(funds)
        self.asked: dict[str, Asked] = {}
        self.access = Access(target, self.now)

    # -- for tests ----------------------------------------------------------------------------

    def settle(self, reference: str, status: str = "SUCCESSFUL", reason: str = "") -> None:
        """The customer confirms, refuses, or time ends it."""
        with self.lock:
            self._end(self.asked[reference], status, reason)

    def moved(self, kind: str, currency: str) -> Decimal:
        """What requests of *kind* have moved, in main units."""
        done = [a for a in self.asked.values() if a.kind == kind and a.status == "SUCCESSFUL"]
        found = [Decimal(a.body["amount"]) for a in done if a.body["currency"] == currency]
        return sum(found, Decimal())

    # -- what a provider is -------------------------------------------------------------------

    def operation(self, request: Request) -> str:
        if request.path.startswith("/v1_0/apiuser"):
            return "provision"
        if _TOKEN.fullmatch(request.path):
            return "token"
        found = _PATH.fullmatch(request.path)
        if found is None:
            return "unknown"
        kind = _KINDS.get((found[1], found[2]))
        if kind is None:
            return _OTHERS.get(found[2], "unknown")
        return f"{kind}.{'create' if request.method == 'POST' else 'show'}"

    def handle(self, request: Request, fault: str | None) -> Response:
        operation = self.operation(request)
        if operation == "provision":
            return self.access.provision(request)
        if token := _TOKEN.fullmatch(request.path):
            return self.access.token(request, token[1])
        found = _PATH.fullmatch(request.path)
        if found is None or operation == "unknown":
            # Not MTN's services but the wall before them: its own shape, without a code.
            return Response(404, {"statusCode": 404, "message": "Resource not found"})
        if fault == "expire_token":
            self.access.expire()
        if (refused := self.access.refused(request, found[1])) is not None:
            return refused
        rest = found[3] or ""
        if operation.endswith(".create"):
            return self._create(request, found[2], fault or "")
        if operation.endswith(".show"):
            return self._show(found[2], rest)
        return self._balance(found[1], rest) if operation == "balance" else _payee(rest)

    def problem(self, status: int) -> Response:
        return error(status, headers={"Retry-After": "1"} if status == 429 else {})

    def state(self) -> Mapping[str, Any]:
        asked = [
            {"kind": a.kind, "reference": a.reference, **_shown(a)} for a in self.asked.values()
        ]
        return {"asked": asked, "funds": str(self.funds)}

    def tick(self) -> None:
        super().tick()
        wait = timedelta(seconds=self.delay_s)
        for asked in self.asked.values():
            if asked.status == "PENDING" and asked.ends_as and asked.made_at + wait <= self.now():
                self._decide(asked)

    # -- requests -----------------------------------------------------------------------------

    def _create(self, request: Request, kind: str, fault: str) -> Response:
        reference, body = request.headers.get("x-reference-id", ""), request.json()
        if not is_uuid4(reference) or not _sound(body, kind):
            return error(400)
        if reference in self.asked:
            return error(409)
        if body["currency"] != self.currency:
            return error(500, "INVALID_CURRENCY")
        ordered, _, code = fault.partition(":")
        fate = code or _fate(kind, body)
        if fate in tables.AT_ONCE and not code:
            return error(tables.AT_ONCE[fate], fate)
        still = ordered == "pending" or fate in tables.OPEN
        asked = Asked(
            kind, reference, body, self.now(), request.headers.get("x-callback-url", ""),
            reason=fate if still else "", as_object=ordered == "reason_object",
            ends_as="" if still else fate or "SUCCESSFUL",
        )  # fmt: skip
        self.asked[reference] = asked
        if asked.ends_as and not self.delay_s:
            self._decide(asked)
        return Response(202)

    def _show(self, kind: str, reference: str) -> Response:
        if not is_uuid4(reference):
            return error(400)
        asked = self.asked.get(reference)
        if asked is None or asked.kind != kind:
            return error(404)
        return Response(200, _shown(asked))

    def _decide(self, asked: Asked) -> None:
        fate = asked.ends_as
        if fate == "SUCCESSFUL" and asked.kind == "refund":
            fate = self._refundable(asked)
        if fate == "SUCCESSFUL" and asked.kind != "requesttopay":
            amount = Decimal(asked.body["amount"])
            if amount > self.funds:
                fate = "NOT_ENOUGH_FUNDS"
            else:
                self.funds -= amount
        ended = ("SUCCESSFUL", "") if fate == "SUCCESSFUL" else ("FAILED", fate)
        self._end(asked, *ended)

    def _refundable(self, asked: Asked) -> str:
        about = asked.body["referenceIdToRefund"]
        paid = self.asked.get(about)
        if paid is None or (paid.kind, paid.status) != ("requesttopay", "SUCCESSFUL"):
            return "RESOURCE_NOT_FOUND"
        given = [
            Decimal(a.body["amount"])
            for a in self.asked.values()
            if a.status == "SUCCESSFUL" and a.body.get("referenceIdToRefund") == about
        ]
        total = sum(given, Decimal(asked.body["amount"]))
        return "SUCCESSFUL" if total <= Decimal(paid.body["amount"]) else "NOT_ALLOWED"

    def _end(self, asked: Asked, status: str, reason: str) -> None:
        asked.status, asked.reason, asked.ends_as = status, reason, ""
        if status == "SUCCESSFUL":
            asked.financial_id = str(363_000_000 + list(self.asked).index(asked.reference))
        if asked.callback:
            content = json.dumps(_shown(asked)).encode()
            headers = {"Content-Type": "application/json"}
            self.deliveries.append(Delivery("PUT", asked.callback, headers, content))

    def _balance(self, product: str, rest: str) -> Response:
        place, _, currency = rest.partition("/")
        if place != "balance":
            return error(404)
        if currency not in ("", self.currency):
            return error(500, "INVALID_CURRENCY")
        taken = self.moved("requesttopay", self.currency)
        held = taken if product == "collection" else self.funds
        return Response(200, {"availableBalance": str(held), "currency": self.currency})


def _payee(rest: str) -> Response:
    found = re.fullmatch(r"(?:msisdn|MSISDN)/(\d+)/(active|basicuserinfo)", rest, re.ASCII)
    if found is None:
        return error(400)
    fate = tables.of_number(found[1], tables.ACTIVE)
    if fate == "NOT_FOUND":
        return error(404)
    if fate and fate != "NOT_ACTIVE":
        return error(tables.AT_ONCE.get(fate, 500), fate)
    if found[2] == "active":
        return Response(200, {"result": fate != "NOT_ACTIVE"})
    return Response(200, {"given_name": "Sand", "family_name": "Box", "status": "ACTIVE"})


def _fate(kind: str, body: Mapping[str, Any]) -> str:
    if kind == "refund":
        return tables.of_refund(body["referenceIdToRefund"])
    party = body["payer" if kind == "requesttopay" else "payee"]
    return tables.of_number(party["partyId"], tables.BY_KIND[kind])


def _shown(asked: Asked) -> dict[str, Any]:
    """The status body (RequestToPayResult, TransferResult, RefundResult)."""
    out = {name: value for name, value in asked.body.items() if name != "referenceIdToRefund"}
    out["status"] = asked.status
    if asked.financial_id:
        out["financialTransactionId"] = asked.financial_id
    if asked.reason:
        told = {"code": asked.reason, "message": asked.reason.replace("_", " ").capitalize()}
        out["reason"] = told if asked.as_object else asked.reason
    return out


def _sound(body: Any, kind: str) -> bool:
    """What MTN validates: a text amount, a currency, plain words, a party of digits."""
    if not isinstance(body, dict):
        return False
    amount, currency = body.get("amount"), body.get("currency")
    if not isinstance(amount, str) or not _MONEY.fullmatch(amount) or not Decimal(amount):
        return False
    words = (body.get("payerMessage", ""), body.get("payeeNote", ""))
    if not isinstance(currency, str) or not currency:
        return False
    if not all(isinstance(each, str) and _WORDS.fullmatch(each) for each in words):
        return False
    if kind == "refund":
        about = body.get("referenceIdToRefund")
        return isinstance(about, str) and bool(about)
    party = body.get("payer" if kind == "requesttopay" else "payee")
    if not isinstance(party, dict) or party.get("partyIdType") != "MSISDN":
        return False
    return re.fullmatch(r"[0-9]{5,15}", str(party.get("partyId"))) is not None
