"""CinetPay's transfers, ``client.cinetpay.com/v1``: payouts of accounts that use the checkout v2.

A payee must be a contact of the account before money can be sent, so a payout is two requests: the
contact, which moves nothing and may exist already, and the transfer under our reference. Sending
the same ``client_transaction_id`` again is refused with 805 and has no effect, so a repetition
cannot pay twice. The access token lives five minutes and travels in the address.

``data`` comes as an object, a list, or a list of lists; each item has its own code. From a server
whose address CinetPay has not been told, a transfer waits for somebody to confirm it by mail.

Sources: docs.cinetpay.com, "Transfer": "Using the API", "Steps", "Annexe", "White-listing".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from payctl.clock import Clock
from payctl.gateways.base import Answer, BalanceLine, Outcome, PayoutRequest, Reference
from payctl.gateways.checks import rejected
from payctl.gateways.cinetpay_answers import (
    answered,
    by_http,
    by_meaning,
    code_of,
    meaning_of,
    unreadable,
)
from payctl.gateways.cinetpay_codes import (
    ASKING,
    MAKING,
    TRANSFER,
    TRANSFER_TOKEN,
    TREATMENT,
    Kind,
    Proof,
)
from payctl.gateways.cinetpay_terms import Site, minor, payee, whole
from payctl.gateways.http import Http, Reply
from payctl.gateways.numbering import Number
from payctl.gateways.rest import Rest, json_object
from payctl.gateways.tokens import Tokens, TokenStore, token_key

TOKEN_LIFE_S = 300
#: What a contact is called where the payee's name is not known; CinetPay wants one.
_NAMELESS = "Beneficiaire"
_NO_MAIL = "payee@example.com"
#: A transfer is not begun with less time than this left: its answer would be missed.
_ENOUGH_S = 1.0
_UNCONFIRMED = "waits to be confirmed by mail: CinetPay does not know this server's address"


class Transfers:
    """The transfer account that belongs to one API key."""

    def __init__(
        self,
        site: Site,
        http: Http,
        clock: Clock,
        *,
        base_url: str,
        apikey: Callable[[], str],
        password: Callable[[], str],
        store: TokenStore,
    ) -> None:
        self._site = site
        self._clock = clock
        self._login = Rest(http, base_url, clock)
        self._apikey = apikey
        self._password = password
        tokens = Tokens(
            store, lambda: token_key(base_url, apikey(), password()), self._fetch, _token, clock
        )
        self._rest = Rest(
            http, base_url, clock, tokens, refused=_token_refused, query_parameter="token"
        )

    def create(self, request: PayoutRequest) -> Answer:
        if request.currency != self._site.balance_currency:
            return rejected("currency_not_supported", f"transfers in {request.currency}")
        number = payee(request, self._site)
        if isinstance(number, Answer):
            return number
        until = self._clock.monotonic() + request.deadline_s
        if (failed := self._contact(request, number)) is not None:
            return failed
        left = until - self._clock.monotonic()
        if left < min(_ENOUGH_S, request.deadline_s / 2):
            return Answer(Outcome.NOT_SENT, message="no time was left after the contact step")
        item = {
            "prefix": number.e164[1:4],
            "phone": number.national,
            "amount": whole(request.amount_minor, request.currency),
            "notify_url": self._site.notify_url,
            "client_transaction_id": request.our_reference,
        }
        reply = self._post("/transfer/money/send/contact", item, left)
        return _transfer(reply, MAKING, request.currency)

    def query(self, reference: Reference) -> Answer:
        asked = {"lang": self._site.lang}
        if reference.our_reference:
            asked["client_transaction_id"] = reference.our_reference
        else:
            asked["transaction_id"] = reference.provider_reference or ""
        reply = self._rest.call(
            "GET", f"/transfer/check/money?{urlencode(asked)}", deadline_s=reference.deadline_s
        )
        currency = reference.currency or self._site.balance_currency
        return _transfer(reply, ASKING, currency)

    def balance(self) -> tuple[Reply, list[BalanceLine] | None]:
        """The reply, and the one line in it when it can be read."""
        path = f"/transfer/check/balance?lang={self._site.lang}"
        reply = self._rest.call("GET", path, deadline_s=10.0)
        data = json_object(reply)
        meaning = meaning_of(data, TRANSFER)
        if meaning is not None and meaning.kind is Kind.SETUP:
            return replace(reply, status=401), None
        found = data.get("data")
        if code_of(data) != "0" or not isinstance(found, dict):
            return reply, None
        currency = self._site.balance_currency
        free, held = minor(found.get("available"), currency), minor(found.get("inUsing"), currency)
        return reply, None if free is None else [BalanceLine(currency, free, held or 0)]

    def _contact(self, request: PayoutRequest, number: Number) -> Answer | None:
        """Make the payee a contact; ``None`` when they are one now, or were before."""
        name = request.destination.name.strip() or _NAMELESS
        first, _, last = name.partition(" ")
        item = {
            "prefix": number.e164[1:4],
            "phone": number.national,
            "name": last.strip() or first,
            "surname": first,
            "email": _NO_MAIL,
        }
        reply = self._post("/transfer/contact", item, request.deadline_s)
        data = json_object(reply)
        each = _item(data)
        about = each if code_of(data) == "0" and "code" in each else data
        meaning = meaning_of(about, TRANSFER)
        if by_http(reply, meaning) is None and meaning and meaning.kind is Kind.DONE:
            return None
        answer = by_meaning(reply, about, meaning, MAKING)
        if answer.outcome in (Outcome.DECLINED, Outcome.REJECTED):
            return answer
        # No transfer has left, whatever became of the contact.
        return replace(answer, outcome=Outcome.NOT_SENT, code=None, reject=None)

    def _post(self, path: str, item: Mapping[str, Any], deadline_s: float) -> Reply:
        form = {"data": json.dumps([item], ensure_ascii=False)}
        return self._rest.call(
            "POST", f"{path}?lang={self._site.lang}", form=form, deadline_s=deadline_s
        )

    def _fetch(self, deadline_s: float) -> Reply:
        """A token. Wrong credentials come with a 200; nothing else of that answer matters."""
        reply = self._login.call(
            "POST",
            f"/auth/login?lang={self._site.lang}",
            form={"apikey": self._apikey(), "password": self._password()},
            deadline_s=deadline_s,
        )
        meaning = meaning_of(json_object(reply), TRANSFER)
        refused = meaning is not None and meaning.kind is Kind.SETUP
        return replace(reply, status=401) if refused and reply.fault is None else reply


def _token(reply: Reply) -> tuple[str, int] | None:
    data = json_object(reply)
    found = data.get("data")
    token = found.get("token") if isinstance(found, dict) else None
    told = code_of(data) == "0" and isinstance(token, str) and token
    return (str(token), TOKEN_LIFE_S) if told else None


def _token_refused(reply: Reply) -> bool:
    return reply.status == 401 or code_of(json_object(reply)) in TRANSFER_TOKEN


def _item(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one item of ``data``, however deep CinetPay has put it."""
    found = data.get("data")
    for _depth in range(3):
        if isinstance(found, list) and found:
            found = found[0]
    return found if isinstance(found, dict) else {}


def _transfer(reply: Reply, proofs: Mapping[Kind, Proof], currency: str) -> Answer:
    """What an answer says about a transfer: the whole's code, the item's, then its treatment."""
    data = json_object(reply)
    item = _item(data)
    for each in (data, item):
        if each is item and "code" not in item:
            continue  # the answer to a question has no code in its items
        meaning = meaning_of(each, TRANSFER)
        if by_http(reply, meaning) is not None or meaning is None or meaning.kind is not Kind.DONE:
            return by_meaning(reply, each, meaning, proofs)
    status = str(item.get("treatment_status"))
    kind = TREATMENT.get(status)
    outcome = {Kind.DONE: Outcome.SUCCEEDED, Kind.DECLINED: Outcome.DECLINED}.get(
        kind or Kind.WAITS, Outcome.PENDING
    )
    theirs = item.get("transaction_id")
    if not isinstance(theirs, str) or not theirs:
        return unreadable(reply, "a transfer without its id")
    said = minor(item.get("amount"), currency)
    return answered(
        reply,
        outcome,
        provider_reference=theirs,
        our_reference=_our(item),
        amount_minor=said,
        currency=currency if said is not None else None,
        code="unknown_reason" if outcome is Outcome.DECLINED else None,
        provider_code=status,
        message=_message(item, kind),
    )


def _our(item: Mapping[str, Any]) -> str | None:
    ours = item.get("client_transaction_id")
    return ours if isinstance(ours, str) and ours else None


def _message(item: Mapping[str, Any], kind: Kind | None) -> str | None:
    if kind is Kind.WAITS and item.get("sending_status") == "PENDING":
        return _UNCONFIRMED
    comment = item.get("comment")
    return comment[:200] if isinstance(comment, str) and comment else None
