"""Orange Money Senegal (Sonatel eWallet): a QR code or link to pay by, cash-ins as payouts.

The customer pays a code that lives for a while; what was paid is found in the list of transactions,
the only list any Orange API has, by the reference put into the code's metadata. A payout is a
cash-in with our reference, and needs the merchant's PIN encrypted with the key Sonatel publishes.
Source: developer.orange-sonatel.com (eWallet v1 and v4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any, Literal
from urllib.parse import urlencode

from payctl.clock import Clock
from payctl.errors import InvalidInput, NotConfigured
from payctl.gateways import numbering
from payctl.gateways.base import (
    Answer,
    Capabilities,
    Destination,
    Event,
    Health,
    NextAction,
    Outcome,
    PaymentRequest,
    PayoutRequest,
    Probe,
    Reference,
)
from payctl.gateways.checks import rejected
from payctl.gateways.http import Http, Reply
from payctl.gateways.orange_answers import amount_number, dressed, failed, minor_of, token_of
from payctl.gateways.orange_data import SONATEL_CODES, SONATEL_SANDBOX_URL, SONATEL_URL, STATUSES
from payctl.gateways.rest import Rest, json_object
from payctl.gateways.settings import Settings
from payctl.gateways.tokens import Tokens, token_key

COUNTRY, CURRENCY = "SN", "XOF"
PAYMENT, CASHIN = "MERCHANT_PAYMENT", "CASHIN"
#: How long a code can be paid, and how much longer its payment may take to be listed.
CODE_LIFE = timedelta(minutes=15)
LISTED_WITHIN = timedelta(minutes=15)
_SLACK = timedelta(minutes=10)
_SIZE, _MAX_PAGES = 100, 50
#: Seconds for a whole list, and less than which is not worth another page.
_LIST_S, _LEAST_S = 120.0, 0.1


class Sonatel:
    """This API for one merchant."""

    name: Literal["sonatel"] = "sonatel"

    def __init__(self, settings: Settings, clock: Clock, probe: Probe) -> None:
        self.account = settings.account
        self.sandbox = settings.one_of("environment", "live", ("live", "sandbox")) == "sandbox"
        self._client = settings.secret("client_id"), settings.secret("client_secret")
        self._merchant = settings.text("merchant_code")
        self._shop = settings.text("shop_name", "payctl")
        payer = settings.text_or_none("channel_msisdn")
        self._channel = payer
        if payer is not None and find_spec("cryptography") is None:
            # Found out with the first payout, it would be found out too late.
            raise NotConfigured(
                "gateway.extra_missing", account=settings.account, extra="orange-payout"
            )
        self._pin = settings.secret("pin") if payer is not None else None
        self.capabilities = _capabilities(
            payer is not None, settings.ranges("limits"), settings.ranges("payout_limits")
        )
        default = SONATEL_SANDBOX_URL if self.sandbox else SONATEL_URL
        url = settings.text("api_base", default).rstrip("/")
        tokens = Tokens(
            settings.tokens, lambda: token_key(url, *(each() for each in self._client)),
            self._fetch, token_of, clock,
        )  # fmt: skip
        quiet = Http(clock, secrets=self._secrets)
        self._clock = clock
        self._open = Rest(quiet, url, clock)
        self._aside = Rest(quiet, url, clock, tokens)
        self._rest = Rest(Http(clock, probe=probe, secrets=self._secrets), url, clock, tokens)

    # --- payments --------------------------------------------------------------------------------

    def create(self, request: PaymentRequest) -> Answer:
        """A code with links into the customer's app."""
        body = {
            "amount": {
                "unit": CURRENCY,
                "value": amount_number(request.amount_minor, request.currency),
            },
            "code": self._merchant,
            "name": self._shop,
            "metadata": {"order": request.our_reference},
            "callbackSuccessUrl": request.return_url or "",
            "callbackCancelUrl": request.cancel_url or request.return_url or "",
            "validity": int(CODE_LIFE.total_seconds()),
        }
        reply = self._rest.call(
            "POST", "/api/eWallet/v4/qrcode", deadline_s=request.deadline_s, body=body
        )
        if (bad := failed(reply)) is not None:
            return bad
        data = json_object(reply)
        links = data.get("deepLinks")
        link = data.get("deepLink") or (links.get("OM") if isinstance(links, dict) else None)
        if not isinstance(link, str) or not data.get("qrId"):
            return dressed(Answer(Outcome.UNKNOWN, message="unreadable answer"), reply)
        shown = Answer(
            Outcome.REQUIRES_ACTION,
            provider_reference=str(data["qrId"]),
            our_reference=request.our_reference,
            next_action=NextAction("redirect", link, expires_at=self._clock.now() + CODE_LIFE),
        )
        return dressed(shown, reply)

    def query(self, reference: Reference) -> Answer:
        """What was paid with a code: the transactions that name our reference. A code may be tried
        more than once while it lives, so a try that failed decides nothing before its end, and
        nothing beside one that succeeded.
        """
        now = self._clock.now()
        made = reference.created_at or now - timedelta(days=1)
        ends, tries = made + CODE_LIFE + LISTED_WITHIN, []
        since, until = made - _SLACK, now + _SLACK
        for answer in self._transactions(PAYMENT, since, until, reference.deadline_s):
            if answer.our_reference == reference.our_reference:
                tries.append(answer)
            elif answer.provider_reference is None and answer.our_reference is None:
                return answer
        for wanted in (Outcome.SUCCEEDED, Outcome.UNKNOWN, Outcome.PENDING):
            if (
                found := next((each for each in tries if each.outcome is wanted), None)
            ) is not None:
                return found
        if tries and now >= ends:
            return tries[-1]
        if now < ends:
            waiting = NextAction("redirect")
            return Answer(
                Outcome.REQUIRES_ACTION, reference.provider_reference, next_action=waiting
            )
        return Answer(Outcome.EXPIRED, reference.provider_reference, code="customer_timeout")

    def listed(self, since: datetime, until: datetime) -> Iterator[Answer]:
        for answer in self._transactions(PAYMENT, since, until, _LIST_S):
            # One that cannot be read ends the list: what it is, nobody could say.
            unread = answer.provider_reference is None
            yield replace(answer, our_reference=None) if unread else answer
            if unread:
                return

    # --- payouts ---------------------------------------------------------------------------------

    def pay_out(self, request: PayoutRequest) -> Answer:
        number = _national(request.destination.value)
        if isinstance(number, Answer):
            return number
        pin = self._encrypted_pin(request.deadline_s / 2)
        if isinstance(pin, Answer):
            return pin
        body = {
            "partner": {"idType": "MSISDN", "id": self._channel, "encryptedPinCode": pin},
            "customer": {"idType": "MSISDN", "id": number},
            "amount": {
                "value": amount_number(request.amount_minor, request.currency), "unit": CURRENCY,
            },
            "reference": request.our_reference,
            "receiveNotification": False,
        }  # fmt: skip
        reply = self._rest.call(
            "POST", "/api/eWallet/v1/cashins", deadline_s=request.deadline_s / 2, body=body
        )
        if (bad := _failed(reply)) is not None:
            return bad
        return _read(json_object(reply), reply, ours=request.our_reference)

    def query_payout(self, reference: Reference) -> Answer:
        """A cash-in is found by the reference it was made with, and is ours only if it names that:
        a list that was not filtered as asked would show somebody else's.
        """
        ours = reference.our_reference
        if not ours:
            return rejected("not_supported", "a query without our reference")
        query = urlencode({"reference": ours, "type": CASHIN})
        reply = self._aside.call(
            "GET", f"/api/eWallet/v1/transactions?{query}", deadline_s=reference.deadline_s
        )
        if (bad := failed(reply)) is not None:
            return bad
        items = _items(reply)
        if items is None:
            return dressed(Answer(Outcome.UNKNOWN, message="unreadable answer"), reply)
        named = [each for each in items if isinstance(each, dict) and each.get("reference")]
        if len(named) < len(items):
            return dressed(Answer(Outcome.UNKNOWN, message="a cash-in without reference"), reply)
        found = next((each for each in named if str(each["reference"]) == ours), None)
        if found is None and len(items) >= _SIZE:
            return dressed(Answer(Outcome.UNKNOWN, message="a list of all cash-ins"), reply)
        return _read(found, reply, ours) if found else dressed(Answer(Outcome.NOT_FOUND), reply)

    def ping(self) -> Health:
        reply = self._fetch(5.0)
        found = token_of(reply) if reply.status is not None and reply.status < 300 else None
        detail = "sonatel" if found else reply.error or f"status {reply.status}"
        return Health(found is not None, reply.latency_ms, detail)

    def event(self, body: bytes) -> Event:
        """An unsigned callback. A short form lacks the metadata: the transaction is asked for."""
        import json

        try:
            data = json.loads(body)
            number, status = str(data["transactionId"]), str(data["status"])
            kind = "payout" if data.get("type") == CASHIN else "payment"
            ours = data.get("reference") if kind == "payout" else None
            ours = (data.get("metadata") or {}).get("order") or ours
        except (ValueError, KeyError, TypeError, AttributeError) as broken:
            raise InvalidInput("event.unreadable", field="body") from broken
        reference = Reference(str(ours) if ours else None, number)
        return Event(f"{number}:{status}", f"{kind}.{status}", kind, reference, proof="none")

    # --- exchanges -------------------------------------------------------------------------------

    def _transactions(
        self, kind: str, since: datetime, until: datetime, deadline_s: float
    ) -> Iterator[Answer]:
        """Transactions of *kind*, as far as the list goes and within *deadline_s*; a break ends
        with an answer that names none. One that cannot be read names at most our reference.
        """
        end = self._clock.monotonic() + deadline_s
        for page in range(_MAX_PAGES):
            query = urlencode(
                {"fromDateTime": _iso(since), "toDateTime": _iso(until), "type": kind,
                 "page": page, "size": _SIZE}
            )  # fmt: skip
            left = end - self._clock.monotonic()
            if page and left <= _LEAST_S:
                break
            reply = self._aside.call(
                "GET", f"/api/eWallet/v1/transactions?{query}", deadline_s=max(left, _LEAST_S)
            )
            if (bad := failed(reply)) is not None:
                yield bad
                return
            items = _items(reply)
            if items is None:
                yield dressed(Answer(Outcome.UNKNOWN, message="unreadable list"), reply)
                return
            for item in items:
                yield _read(item, reply)
            if len(items) < _SIZE:
                return
        yield Answer(Outcome.UNKNOWN, message="the list is longer than there was time to read")

    def _encrypted_pin(self, deadline_s: float) -> str | Answer:
        """The PIN as Sonatel wants it. Fetching the key moves nothing: a failure was not sent."""
        reply = self._aside.call("GET", "/api/account/v1/publicKeys", deadline_s=deadline_s)
        bad = failed(reply)
        key = json_object(reply).get("key")
        if bad is None and isinstance(key, str) and self._pin is not None:
            try:
                return _encrypt(self._pin(), key)
            except ValueError:
                bad = dressed(Answer(Outcome.NOT_SENT, message="no RSA key"), reply)
        bad = bad or dressed(Answer(Outcome.NOT_SENT, message="no public key"), reply)
        if bad.outcome is Outcome.UNKNOWN:
            return Answer(Outcome.NOT_SENT, message=bad.message, exchange=bad.exchange)
        return bad

    def _secrets(self) -> tuple[str, ...]:
        pin = (self._pin(),) if self._pin is not None else ()
        return (self._client[1](), *pin)

    def _fetch(self, deadline_s: float) -> Reply:
        user, secret = (each() for each in self._client)
        form = {"client_id": user, "client_secret": secret, "grant_type": "client_credentials"}
        return self._open.call("POST", "/oauth/token", deadline_s=deadline_s, form=form)


def _encrypt(pin: str, key: str) -> str:
    """
    Raises:
        ValueError: *key* is no RSA key.
    """
    import base64

    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        loaded = load_der_public_key(base64.b64decode(key))
    except UnsupportedAlgorithm as unknown:
        raise ValueError("no RSA key") from unknown
    if not isinstance(loaded, rsa.RSAPublicKey):
        raise ValueError("no RSA key")
    return base64.b64encode(loaded.encrypt(pin.encode(), padding.PKCS1v15())).decode()


def _items(reply: Reply) -> list[Mapping[str, Any]] | None:
    """The list of a reply, bare or under ``content``."""
    import json

    try:
        data = json.loads(reply.body)
    except ValueError:
        return None
    found = data.get("content") if isinstance(data, dict) else data
    return found if isinstance(found, list) else None


def _failed(reply: Reply) -> Answer | None:
    """As :func:`failed`; Sonatel's own codes say why it does not pay. With a server's error they
    prove nothing.
    """
    bad = failed(reply)
    if bad is None or bad.provider_code not in SONATEL_CODES or bad.outcome is Outcome.UNKNOWN:
        return bad
    declined = Answer(
        Outcome.DECLINED, code=SONATEL_CODES[str(bad.provider_code)],
        provider_code=bad.provider_code, message=bad.message,
    )  # fmt: skip
    return dressed(declined, reply)


def _read(data: Mapping[str, Any], reply: Reply, ours: str | None = None) -> Answer:
    """One transaction. A new status is still open."""
    named: Any = None
    try:
        named = (data.get("metadata") or {}).get("order") or ours
        status = str(data["status"])
        outcome = STATUSES.get(status.upper(), Outcome.PENDING)
        money = data.get("amount") or {}
        amount = minor_of(money["value"], CURRENCY) if money else None
        customer = data.get("customer") or {}
        paid = customer.get("id") if outcome is Outcome.SUCCEEDED else None
        told = Answer(
            outcome,
            provider_reference=str(data["transactionId"]),
            our_reference=str(named) if named else None,
            amount_minor=amount,
            currency=CURRENCY if amount is not None else None,
            code="card_declined" if outcome is Outcome.DECLINED else None,
            provider_code=status,
            payer=_payer(str(paid)) if paid else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        known = str(named) if named else None
        told = Answer(Outcome.UNKNOWN, message="unreadable answer", our_reference=known)
    return dressed(told, reply)


def _payer(text: str) -> Destination | None:
    """Who paid; ``None`` for what is no number, a merchant's code for one."""
    found = numbering.read(text, COUNTRY)
    if not isinstance(found, numbering.Number):
        return None
    return Destination("msisdn", found.e164, country=found.country)


def _national(phone: str) -> str | Answer:
    found = numbering.read(phone, COUNTRY)
    if isinstance(found, str):
        return rejected(found)
    if found.country != COUNTRY:
        return rejected("phone_of_another_country", found.country)
    return found.national


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _capabilities(
    pays_out: bool,
    limits: Mapping[str, tuple[int, int]],
    payout_limits: Mapping[str, tuple[int, int]],
) -> Capabilities:
    return Capabilities(
        methods=frozenset({"mobile_money"}),
        currencies=frozenset({CURRENCY}),
        countries=frozenset({COUNTRY}),
        resend_window_s=None,
        query_by=frozenset({"our_reference"}),
        late_horizon_s=1800,
        create_moves_money=False,
        lists_payments=True,
        payouts=frozenset({"msisdn"}) if pays_out else frozenset(),
        reference_format="plain30",
        reports_payer=True,
        networks=frozenset({numbering.ORANGE}),
        limits=limits,
        payout_limits=payout_limits,
    )
