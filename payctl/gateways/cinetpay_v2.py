"""CinetPay's checkout, ``api-checkout.cinetpay.com/v2``: a page for the customer, and a check.

A creation gives the address of a page and moves nothing by itself. Our reference is CinetPay's
``transaction_id`` too, unique for ever per site, so it serves as the provider's reference and a
lost answer can be asked about; a repeated creation is refused, so none is made. The check names no
payer (its answer has the operator's id and our own data, but no number), only the signed callback
does, in the event; where an account's check carries ``phone_number`` after all, it is taken.

Sources: docs.cinetpay.com, "Initiating a payment", "Check a payment", "Table of codes".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from payctl.clock import Clock
from payctl.errors import NotConfigured
from payctl.gateways.base import (
    Answer,
    BalanceLine,
    Event,
    Health,
    NextAction,
    Outcome,
    PaymentRequest,
    PayoutRequest,
    Reference,
)
from payctl.gateways.checks import rejected
from payctl.gateways.cinetpay_answers import (
    answered,
    by_http,
    by_meaning,
    code_of,
    meaning_of,
    unreadable,
    words_of,
)
from payctl.gateways.cinetpay_codes import ASKING, CHECKOUT, CHECKOUT_STATUS, MAKING, Kind, Meaning
from payctl.gateways.cinetpay_events import of_form
from payctl.gateways.cinetpay_terms import CHANNELS, Site, minor, payer, whole
from payctl.gateways.cinetpay_transfers import Transfers
from payctl.gateways.http import Http, Reply
from payctl.gateways.rest import Rest, json_object

#: "For better operation, do not put special characters in the parameter value (#,/,$,_,&)."
_SPECIAL = r"[#/$_&]+"
#: What a card payment must tell of the customer besides address and telephone; without, the answer
#: is an unexplained 624. Keys of the payment's metadata, by CinetPay's own names.
_CARD_DATA = ("customer_address", "customer_city", "customer_state", "customer_zip_code")


class V2:
    """The checkout of one site, and the transfers of its account where those are set up."""

    def __init__(
        self,
        site: Site,
        http: Http,
        clock: Clock,
        *,
        base_url: str,
        apikey: Callable[[], str],
        site_id: str,
        secret_key: Callable[[], str] | None,
        transfers: Transfers | None,
        live: bool,
    ) -> None:
        self.live = live
        self._site = site
        self._rest = Rest(http, base_url, clock)
        self._apikey = apikey
        self._site_id = site_id
        self._secret_key = secret_key
        self._transfers = transfers

    def create_payment(self, request: PaymentRequest) -> Answer:
        customer = _customer(request, lock_phone=self._site.lock_phone)
        if missing := _missing(request.method, customer):
            return rejected("customer_data_missing", ", ".join(missing))
        body = {
            **self._credentials(),
            "transaction_id": request.our_reference,
            "amount": whole(request.amount_minor, request.currency),
            "currency": request.currency,
            "description": re.sub(_SPECIAL, " ", request.description).strip() or "Paiement",
            "notify_url": self._site.notify_url,
            "return_url": request.return_url or self._site.return_url,
            "channels": CHANNELS[request.method],
            "lang": self._site.lang,
            **customer,
        }
        reply = self._rest.call("POST", "/payment", body=body, deadline_s=request.deadline_s)
        data = json_object(reply)
        meaning = meaning_of(data, CHECKOUT)
        if by_http(reply, meaning) is None and meaning and meaning.kind is Kind.CREATED:
            return _created(reply, data, request.our_reference)
        return by_meaning(reply, data, meaning, MAKING)

    def query_payment(self, reference: Reference) -> Answer:
        name = reference.our_reference or reference.provider_reference or ""
        reply = self._check(name, reference.deadline_s)
        data = json_object(reply)
        if reply.status == 404 and code_of(data):
            return answered(reply, Outcome.NOT_FOUND, provider_code=code_of(data))
        meaning = meaning_of(data, CHECKOUT)
        if (proven := by_http(reply, meaning)) is not None:
            return proven
        found = data.get("data")
        return _checked(reply, data, meaning, found if isinstance(found, dict) else {}, name)

    def create_payout(self, request: PayoutRequest) -> Answer:
        if self._transfers is None:
            return rejected("not_supported", "payouts")
        return self._transfers.create(request)

    def query_payout(self, reference: Reference) -> Answer:
        if self._transfers is None:
            return rejected("not_supported", "payouts")
        return self._transfers.query(reference)

    def balance(self) -> tuple[Reply, list[BalanceLine] | None]:
        if self._transfers is None:
            raise NotConfigured("gateway.not_supported", account=self._site.account, what="balance")
        return self._transfers.balance()

    def ping(self) -> Health:
        """Ask for a payment nobody made: CinetPay has no cheaper call, and refuses a wrong key
        before it looks."""
        reply = self._check("payctlping", 5.0)
        data = json_object(reply)
        meaning = meaning_of(data, CHECKOUT)
        known = (reply.status or 500) < 500 and (meaning is not None or reply.status == 404)
        ok = known and (meaning is None or meaning.kind not in (Kind.SETUP, Kind.UNEXPLAINED))
        detail = words_of(data) or reply.error or f"status {reply.status}"
        mode = "live" if self.live else "test server"
        return Health(ok, reply.latency_ms, mode if ok else detail)

    def parse_event(self, body: bytes, headers: Mapping[str, str]) -> Event:
        return of_form(body, headers, self._site.account, self._site_id, self._secret_key)

    def _check(self, transaction_id: str, deadline_s: float) -> Reply:
        body = {**self._credentials(), "transaction_id": transaction_id}
        return self._rest.call("POST", "/payment/check", body=body, deadline_s=deadline_s)

    def _credentials(self) -> dict[str, str]:
        return {"apikey": self._apikey(), "site_id": self._site_id}


def _customer(request: PaymentRequest, *, lock_phone: bool) -> dict[str, Any]:
    """The customer's fields. Name and first name must be there, so they have a neutral default."""
    given = request.metadata
    out: dict[str, Any] = {
        "customer_name": given.get("customer_name", "Client"),
        "customer_surname": given.get("customer_surname", "Client"),
    }
    if request.customer_reference:
        out["customer_id"] = request.customer_reference
    if request.email:
        out["customer_email"] = request.email
    if request.country:
        out["customer_country"] = request.country
    if request.phone:
        out["customer_phone_number"] = request.phone
        if lock_phone:
            out["lock_phone_number"] = True
    out.update({key: given[key] for key in _CARD_DATA if key in given})
    return out


def _missing(method: str, customer: Mapping[str, Any]) -> list[str]:
    """What a card payment lacks."""
    if method != "card":
        return []
    wanted = ("customer_email", "customer_phone_number", "customer_country", *_CARD_DATA)
    return [key for key in wanted if not customer.get(key)]


def _created(reply: Reply, data: Mapping[str, Any], our_reference: str) -> Answer:
    found = data.get("data")
    given = found if isinstance(found, dict) else {}
    token, url = given.get("payment_token"), given.get("payment_url")
    if not isinstance(url, str) or not url.startswith("http"):
        return unreadable(reply, "created, but without a payment page")
    return answered(
        reply,
        Outcome.REQUIRES_ACTION,
        provider_reference=our_reference,
        our_reference=our_reference,
        provider_code=code_of(data),
        next_action=NextAction("redirect", url=url),
        provider_data={"payment_token": token} if isinstance(token, str) else {},
    )


def _checked(
    reply: Reply,
    data: Mapping[str, Any],
    meaning: Meaning | None,
    found: Mapping[str, Any],
    name: str,
) -> Answer:
    """What a check says: its code, and where that leaves room, ``data.status``."""
    kind = CHECKOUT_STATUS.get(str(found.get("status")))
    if meaning is not None and kind is Kind.DECLINED and meaning.kind not in (
        Kind.CANCELED, Kind.EXPIRED,
    ):  # fmt: skip
        meaning = Meaning(meaning.name, Kind.DECLINED, meaning.decline)
    elif meaning is not None and kind in (Kind.WAITS, Kind.ACTION):
        meaning = Meaning(meaning.name, kind, meaning.decline)
    elif meaning is not None and meaning.kind is Kind.DONE and kind is Kind.DONE:
        return _paid(reply, data, found, name)
    return by_meaning(
        reply, data, meaning, ASKING, our_reference=name, provider_reference=name,
        provider_data=_operator(found), payer=_payer(found),
    )  # fmt: skip


def _paid(reply: Reply, data: Mapping[str, Any], found: Mapping[str, Any], name: str) -> Answer:
    currency = str(found.get("currency"))
    amount = minor(found.get("amount"), currency)
    if amount is None:
        return unreadable(reply, "paid, but without an amount that can be read")
    return answered(
        reply,
        Outcome.SUCCEEDED,
        provider_reference=name,
        our_reference=name,
        amount_minor=amount,
        currency=currency,
        provider_code=code_of(data),
        message=words_of(data) or None,
        provider_data=_operator(found),
        payer=_payer(found),
    )


def _operator(found: Mapping[str, Any]) -> dict[str, str]:
    """The operator and its own id of the payment: what its statements know it by."""
    kept = {key: found.get(key) for key in ("payment_method", "operator_id")}
    return {key: value for key, value in kept.items() if isinstance(value, str) and value}


def _payer(found: Mapping[str, Any]) -> Any:
    phone = found.get("phone_number") or found.get("cel_phone_num")
    return payer(found.get("phone_prefix") or found.get("cpm_phone_prefixe"), phone)
