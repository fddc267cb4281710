"""Orange Money's three APIs as their documents describe them, in one process.

``/orange-money-webpay/{dev|cc}/v1`` (Web Payment: developer.orange.com), ``/omcoreapis/1.0.2``
(Cameroon: the operator's guide) and ``/api/eWallet`` (Sonatel: developer.orange-sonatel.com), each
with its own token call. Web Payment's pages are paid with :meth:`OrangeEmulator.pay` or refused;
pushes in Cameroon end by their number: one that ends in 00 is refused for lack of money, in 01 by
the customer, in 02 waits for ever. Notifications come as each API sends them.

Faults of its own: ``pending`` (a push waits for :meth:`OrangeEmulator.end`), ``failed`` (it is
refused), ``expire_token`` (this call finds its token expired).
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import unquote_plus

from payctl.testing.emulators.core import Delivery, Emulator, Request, Response

CLIENT_ID, CLIENT_SECRET = "orange-client", "orange-client-secret-0001"
MERCHANT_KEY = "0f1e2d3c4b5a"
API_USER, API_PASSWORD = "channel-user", "channel-password-0001"
CHANNEL, PIN = "691000001", "4471"
TOKEN_LIFE_S = 3600
PAGE_LIFE = timedelta(minutes=10)
_WEBPAY = re.compile(r"/orange-money-webpay/(\w+)/v1/(webpayment|transactionstatus)")
_CAMEROON = re.compile(
    r"/omcoreapis/1\.0\.2/(mp|cashout|cashin|ic2c)/(init|pay|paymentstatus)(/.*)?"
)
_KINDS = {"mp": "payment"}


@dataclass(slots=True)
class Order:
    """A payment or payout at any of the APIs; ``amount`` in main units."""

    api: str
    kind: str
    order_id: str
    amount: int
    status: str
    made_at: datetime
    currency: str = "XOF"
    pay_token: str = ""
    notif_token: str = ""
    notify: str = ""
    party: str = ""
    txnid: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


class OrangeEmulator(Emulator):
    """See the module.

    Args:
        currency: of Web Payment; the sandbox takes ``OUV``.
        funds: what payouts can take, in main units.
    """

    name = "orange"

    def __init__(self, *, currency: str = "OUV", funds: int = 1_000_000, **given: Any) -> None:
        super().__init__(**given)
        self.currency = currency
        self.funds = funds
        self.orders: dict[str, Order] = {}
        self.tokens: dict[str, datetime] = {}

    # -- for tests ----------------------------------------------------------------------------

    def pay(self, order_id: str, status: str = "SUCCESS") -> None:
        """The customer pays a page or a code, or it fails."""
        with self.lock:
            order = next(o for o in self.orders.values() if o.order_id == order_id)
            if order.status in ("INITIATED", "PENDING"):
                self._end(order, status)

    def end(self, order_id: str, status: str) -> None:
        """A push that was waiting ends."""
        self.pay(order_id, status)

    def moved(self, kind: str, currency: str) -> int:
        """What payments or payouts have moved, in main units."""
        done = ("SUCCESS", "SUCCESSFULL")
        return sum(
            o.amount for o in self.orders.values()
            if o.kind == kind and o.status in done and o.currency == currency
        )  # fmt: skip

    def known(self, order_id: str) -> bool:
        return any(o.order_id == order_id for o in self.orders.values())

    # -- what a provider is -------------------------------------------------------------------

    def operation(self, request: Request) -> str:
        path, verb = request.path, request.method
        if path in ("/oauth/v3/token", "/token", "/oauth/token"):
            return "token"
        if found := _WEBPAY.fullmatch(path):
            return "payment.create" if found[2] == "webpayment" else "payment.show"
        if found := _CAMEROON.fullmatch(path):
            kind = _KINDS.get(found[1], "payout")
            return f"{kind}.{({'pay': 'create', 'init': 'init'}).get(found[2], 'show')}"
        return {
            ("POST", "/api/eWallet/v4/qrcode"): "payment.create",
            ("POST", "/api/eWallet/v1/cashins"): "payout.create",
            ("GET", "/api/eWallet/v1/transactions"): "transactions",
            ("GET", "/api/account/v1/publicKeys"): "keys",
        }.get((verb, path), "unknown")

    def handle(self, request: Request, fault: str | None) -> Response:
        if self.operation(request) == "token":
            return self._token(request)
        if fault == "expire_token":
            self.tokens.clear()
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens.get(token, self.now()) <= self.now():
            return self.problem(401)
        if found := _WEBPAY.fullmatch(request.path):
            create = found[2] == "webpayment"
            return self._page(request, fault) if create else self._page_status(request)
        if found := _CAMEROON.fullmatch(request.path):
            return self._cameroon(request, found[1], found[2], (found[3] or "")[1:], fault)
        return self._sonatel(request, fault)

    def problem(self, status: int) -> Response:
        """The gateway in front: ``{"code", "message", "description"}``."""
        headers = {"Retry-After": "1"} if status == 429 else {}
        code = {401: 42, 403: 50, 404: 60, 400: 23}.get(status, 5)
        words = {401: "Expired credentials", 400: "Missing body field"}.get(status, "Error")
        body = {"code": code, "message": words, "description": words}
        return Response(status, body, headers)

    def state(self) -> Mapping[str, Any]:
        return {
            "orders": [
                {"api": o.api, "kind": o.kind, "order_id": o.order_id, "amount": o.amount,
                 "currency": o.currency, "status": o.status}
                for o in self.orders.values()
            ],
            "funds": self.funds,
        }  # fmt: skip

    def tick(self) -> None:
        super().tick()
        for order in self.orders.values():
            over = order.made_at + PAGE_LIFE <= self.now()
            if order.api == "webpay" and order.status == "INITIATED" and over:
                order.status = "EXPIRED"

    # -- tokens -------------------------------------------------------------------------------

    def _token(self, request: Request) -> Response:
        form = request.form()
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        given = (form.get("client_id"), form.get("client_secret"))
        if kind == "Basic":
            user, _, secret = base64.b64decode(text).decode().partition(":")
            given = (user, secret)
        if given != (CLIENT_ID, CLIENT_SECRET):
            return Response(401, {"error": "invalid_client", "error_description": "refused"})
        if form.get("grant_type") != "client_credentials":
            return self.problem(400)
        token = f"orange-token-{uuid.uuid4().hex}"
        self.tokens[token] = self.now() + timedelta(seconds=TOKEN_LIFE_S)
        life: Any = str(TOKEN_LIFE_S) if request.path == "/oauth/v3/token" else TOKEN_LIFE_S
        body = {"token_type": "Bearer", "access_token": token, "expires_in": life}
        return Response(200, body)

    # -- Web Payment --------------------------------------------------------------------------

    def _page(self, request: Request, fault: str | None) -> Response:
        """``webpayment``: 201 with ``pay_token``, ``payment_url``, ``notif_token``."""
        given = request.json() or {}
        needed = ("merchant_key", "currency", "order_id", "amount", "return_url", "cancel_url",
                  "notif_url", "lang")  # fmt: skip
        if any(not given.get(name) for name in needed):
            return self.problem(400)
        if given["merchant_key"] != MERCHANT_KEY:
            return Response(403, {"code": 50, "message": "Access denied", "description": "key"})
        whole = isinstance(given["amount"], int) and given["amount"] > 0
        if given["currency"] != self.currency or not whole or len(str(given["order_id"])) > 30:
            return self.problem(400)
        if self.known(str(given["order_id"])):
            return self.problem(400)
        order = Order(
            "webpay", "payment", str(given["order_id"]), given["amount"], "INITIATED", self.now(),
            self.currency, f"v1{uuid.uuid4().hex}", uuid.uuid4().hex, str(given["notif_url"]),
        )  # fmt: skip
        self.orders[order.pay_token] = order
        if fault == "failed":
            order.meta = {"fails": True}
        url = f"https://webpayment-sb.orange-money.com/payment/pay_token/{order.pay_token}"
        body = {"status": 201, "message": "OK", "pay_token": order.pay_token, "payment_url": url,
                "notif_token": order.notif_token}  # fmt: skip
        return Response(201, body)

    def _page_status(self, request: Request) -> Response:
        """``transactionstatus``: all three keys must be those of one order."""
        given = request.json() or {}
        order = self.orders.get(str(given.get("pay_token")))
        if order is None or order.order_id != given.get("order_id"):
            return self.problem(404)
        if order.amount != given.get("amount"):
            return self.problem(400)
        body = {"status": order.status, "order_id": order.order_id, "txnid": order.txnid}
        return Response(201, body)

    # -- Cameroon -----------------------------------------------------------------------------

    def _cameroon(
        self, request: Request, operation: str, step: str, token: str, fault: str | None
    ) -> Response:
        login = base64.b64encode(f"{API_USER}:{API_PASSWORD}".encode()).decode()
        if request.headers.get("x-auth-token") != login:
            return Response(401, {"message": "Bad X-AUTH-TOKEN", "data": None})
        kind = _KINDS.get(operation, "payout")
        if step == "init":
            fresh = f"MP{uuid.uuid4().hex[:18].upper()}"
            order = Order("cameroon", kind, "", 0, "INITIATED", self.now(), "XAF", fresh)
            self.orders[fresh] = order
            return Response(
                200, {"message": "Payment request initiated", "data": {"payToken": fresh}}
            )
        if step == "paymentstatus":
            found = self.orders.get(token)
            if found is None:
                return Response(404, {"message": "payToken not found", "data": None})
            return Response(200, {"message": "Transaction status", "data": _shown(found)})
        return self._push(request, kind, fault)

    def _push(self, request: Request, kind: str, fault: str | None) -> Response:
        given = request.json() or {}
        order = self.orders.get(str(given.get("payToken")))
        party = str(given.get("subscriberMsisdn") or given.get("toChannelMsisdn") or "")
        amount = str(given.get("amount", ""))
        sound = re.fullmatch(r"6\d{8}", party) and amount.isdigit() and given.get("orderId")
        if order is None or order.kind != kind or not sound or given.get("pin") != PIN:
            return Response(417, {"message": "Expectation failed", "data": None})
        if order.order_id:
            return Response(417, {"message": "payToken already used", "data": _shown(order)})
        order.order_id, order.amount, order.party = str(given["orderId"]), int(amount), party
        order.notify, order.status = str(given.get("notifUrl") or ""), "PENDING"
        fate = {"00": "funds", "01": "canceled", "02": "pending"}.get(party[-2:], "")
        fate = {"failed": "failed", "pending": "pending"}.get(fault or "", fate)
        if kind == "payout" and int(amount) > self.funds:
            fate = "funds"
        if fate == "pending":
            return Response(200, {"message": "Initiated", "data": _shown(order)})
        ends = {"": "SUCCESSFULL", "canceled": "CANCELLED"}.get(fate, "FAILED")
        words = "Solde insuffisant" if fate == "funds" else "Transaction refused"
        self._end(order, ends, "" if ends == "SUCCESSFULL" else words)
        return Response(200, {"message": "Transaction ended", "data": _shown(order)})

    # -- Sonatel ------------------------------------------------------------------------------

    def _sonatel(self, request: Request, fault: str | None) -> Response:
        match self.operation(request):
            case "payment.create":
                return self._code(request)
            case "payout.create":
                return self._cash_in(request, fault)
            case "transactions":
                return Response(200, self._listed(request.query))
            case "keys":
                return Response(200, {"keyId": "1", "keyType": "RSA", "keySize": 2048,
                                      "key": self._public})  # fmt: skip
            case _:
                return self.problem(404)

    def _code(self, request: Request) -> Response:
        """``qrcode`` v4: links into the app, good for ``validity`` seconds."""
        given = request.json() or {}
        money, order = given.get("amount") or {}, (given.get("metadata") or {}).get("order")
        bad = money.get("unit") != "XOF" or not isinstance(money.get("value"), int)
        if bad or not given.get("code") or not order or not 0 < given.get("validity", 0) <= 86_400:
            return Response(400, {"code": "27", "detail": "Bad request", "title": "Bad Request"})
        number = uuid.uuid4().hex[:20]
        self.orders[number] = Order(
            "sonatel", "payment", str(order), money["value"], "INITIATED", self.now(),
            meta=given["metadata"], notify=str(given.get("callbackSuccessUrl") or ""),
        )  # fmt: skip
        body = {
            "qrId": number, "qrCode": "aGVsbG8=", "validity": given["validity"],
            "deepLink": f"https://orange.example/{number}", "metadata": given["metadata"],
            "deepLinks": {"OM": f"https://om.example/{number}", "MAXIT": "https://maxit.example"},
        }  # fmt: skip
        return Response(200, body)

    def _cash_in(self, request: Request, fault: str | None) -> Response:
        given = request.json() or {}
        partner, customer = given.get("partner") or {}, given.get("customer") or {}
        money, reference = given.get("amount") or {}, str(given.get("reference") or "")
        if not reference or self._decrypted(str(partner.get("encryptedPinCode"))) != PIN:
            return Response(400, {"code": "2011", "detail": "Invalid PIN", "title": "Bad Request"})
        party = str(customer.get("id"))
        refusal = {"00": "2020", "01": "2000", "02": "2013"}.get(party[-2:])
        if int(money.get("value", 0)) > self.funds:
            refusal = "2020"
        if refusal:
            return Response(400, {"code": refusal, "detail": "refused", "title": "Bad Request"})
        if any(o.order_id == reference and o.kind == "payout" for o in self.orders.values()):
            return Response(400, {"code": "2073", "detail": "Duplicate reference"})
        order = Order(
            "sonatel", "payout", reference, int(money["value"]), "PENDING", self.now(), party=party
        )
        self.orders[uuid.uuid4().hex] = order
        if fault != "pending":
            self._end(order, "SUCCESS")
        return Response(200, _transaction(order))

    def _listed(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        kind = "payout" if query.get("type") == "CASHIN" else "payment"
        found = [
            _transaction(o) for o in self.orders.values()
            if o.api == "sonatel" and o.kind == kind and o.txnid
            and query.get("reference", o.order_id) == o.order_id
        ]  # fmt: skip
        page, size = int(query.get("page", 0)), int(query.get("size", 20))
        return found[page * size : (page + 1) * size]

    @cached_property
    def _private(self) -> Any:
        from cryptography.hazmat.primitives.asymmetric import rsa

        return rsa.generate_private_key(65537, 2048)

    @cached_property
    def _public(self) -> str:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        der = self._private.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        return base64.b64encode(der).decode()

    def _decrypted(self, text: str) -> str:
        from cryptography.hazmat.primitives.asymmetric import padding

        try:
            plain: bytes = self._private.decrypt(base64.b64decode(text), padding.PKCS1v15())
        except ValueError:
            return ""
        return plain.decode("utf-8", "replace")

    # -- ends ---------------------------------------------------------------------------------

    def _end(self, order: Order, status: str, message: str = "") -> None:
        order.status = status
        order.txnid = f"MP260928.1029.C{len(self.orders):05d}"
        if message:
            order.meta = {**order.meta, "message": message}
        if status in ("SUCCESS", "SUCCESSFULL") and order.kind == "payout":
            self.funds -= order.amount
        if not order.notify:
            return
        body: Mapping[str, Any] = _transaction(order)
        if order.api == "webpay":
            body = {"status": status, "notif_token": order.notif_token, "txnid": order.txnid}
        elif order.api == "cameroon":
            body = {"payToken": order.pay_token, "status": status, "message": message}
        headers = {"Content-Type": "application/json"}
        self.deliveries.append(
            Delivery("POST", unquote_plus(order.notify), headers, json.dumps(body).encode())
        )


def _shown(order: Order) -> dict[str, Any]:
    """``data`` of Cameroon; its time is local (UTC+1) and says no offset."""
    local = order.made_at + timedelta(hours=1)
    return {
        "createtime": local.strftime("%d-%m-%Y %H:%M:%S"), "payToken": order.pay_token,
        "subscriberMsisdn": order.party, "amount": order.amount or None,
        "channelUserMsisdn": CHANNEL,
        "orderId": order.order_id or None, "txnid": order.txnid or None, "status": order.status,
        "inittxnmessage": "", "confirmtxnmessage": order.meta.get("message", ""),
    }  # fmt: skip


def _transaction(order: Order) -> dict[str, Any]:
    """A transaction of Sonatel's list, its callback and its cash-in answer."""
    payout = order.kind == "payout"
    return {
        "amount": {"unit": "XOF", "value": order.amount}, "channel": "API",
        "type": "CASHIN" if payout else "MERCHANT_PAYMENT", "status": order.status,
        "transactionId": order.txnid or f"pending-{order.order_id}", "paymentMethod": "QRCODE",
        "reference": order.order_id if payout else "", "metadata": dict(order.meta),
        "customer": {"idType": "MSISDN", "id": order.party or "771000001"},
        "createdAt": order.made_at.isoformat(),
    }  # fmt: skip
