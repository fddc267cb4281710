"""CinetPay: mobile money, cards and wallets of West and Central Africa behind one page.

Two generations of its API are in use, and the merchant's account decides which: ``api = "v2"``
(checkout with an API key and a site; :mod:`payctl.gateways.cinetpay_v2`) or ``api = "v1"`` (the new
API with a key and a password per country; :mod:`payctl.gateways.cinetpay_v1`). Both give a page to
send the customer to, so a creation moves no money, and neither has refunds: money goes back by a
payout to the payer.

CinetPay takes whole units in multiples of five. A payout from a server whose address CinetPay has
not been told waits for somebody to confirm it by mail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from payctl.clock import Clock
from payctl.errors import NotConfigured, NotSent
from payctl.gateways.base import (
    Answer,
    BalanceLine,
    Capabilities,
    Event,
    Health,
    PaymentRequest,
    PayoutRequest,
    Probe,
    Reference,
)
from payctl.gateways.checks import (
    Refusing,
    refuse_payment,
    refuse_payout,
    refuse_query,
    rejected,
)
from payctl.gateways.cinetpay_terms import (
    CHANNELS,
    CURRENCIES,
    LIMITS,
    MARKETS,
    PAYOUT_LIMITS,
    STEPS,
    Site,
    whole,
)
from payctl.gateways.cinetpay_transfers import Transfers
from payctl.gateways.cinetpay_v1 import MAX_URL, V1
from payctl.gateways.cinetpay_v2 import V2
from payctl.gateways.http import Http, Reply
from payctl.gateways.settings import Settings

CHECKOUT_URL = "https://api-checkout.cinetpay.com/v2"
TRANSFER_URL = "https://client.cinetpay.com/v1"
#: How long after our last byte a page may still be opened and paid.
LATE_HORIZON_S = 1800


class Api(Protocol):
    """What either generation does; requests have been checked before."""

    @property
    def live(self) -> bool: ...
    def create_payment(self, request: PaymentRequest) -> Answer: ...
    def query_payment(self, reference: Reference) -> Answer: ...
    def create_payout(self, request: PayoutRequest) -> Answer: ...
    def query_payout(self, reference: Reference) -> Answer: ...
    def balance(self) -> tuple[Reply, list[BalanceLine] | None]: ...
    def ping(self) -> Health: ...
    def parse_event(self, body: bytes, headers: Mapping[str, str]) -> Event: ...


class CinetPayGateway(Refusing):
    """See the module; settings are listed in ``docs/gateways/cinetpay.md``."""

    name = "cinetpay"

    def __init__(self, account: str, api: Api, capabilities: Capabilities, http: Http) -> None:
        self.account = account
        self.capabilities = capabilities
        self._api = api
        self._http = http

    @classmethod
    def from_settings(cls, settings: Settings, *, clock: Clock, probe: Probe) -> CinetPayGateway:
        api = settings.one_of("api", "v2", ("v2", "v1"))
        build = _build_v2 if api == "v2" else _build_v1
        gateway = build(settings, clock, probe)
        settings.done()
        return gateway

    @property
    def live(self) -> bool:
        return self._api.live

    def create_payment(self, request: PaymentRequest) -> Answer:
        if refusal := refuse_payment(self.capabilities, request):
            return refusal
        if whole(request.amount_minor, request.currency) is None:
            return rejected("amount_not_representable", request.currency)
        return self._api.create_payment(request)

    def query_payment(self, reference: Reference) -> Answer:
        return refuse_query(self.capabilities, reference) or self._api.query_payment(reference)

    def create_payout(self, request: PayoutRequest) -> Answer:
        if refusal := refuse_payout(self.capabilities, request):
            return refusal
        if whole(request.amount_minor, request.currency) is None:
            return rejected("amount_not_representable", request.currency)
        return self._api.create_payout(request)

    def query_payout(self, reference: Reference) -> Answer:
        if not self.capabilities.payouts:
            return rejected("not_supported", "payouts")
        return refuse_query(self.capabilities, reference) or self._api.query_payout(reference)

    def balance(self) -> list[BalanceLine]:
        """What the account that payouts are made from holds; payments have no balance to ask for.

        Raises:
            NotConfigured: ``gateway.not_supported`` (no transfer account is set up),
                ``gateway.refused_credentials``.
            NotSent: ``gateway.unreachable``.
        """
        reply, lines = self._api.balance()
        if lines is not None:
            return lines
        if reply.status in (401, 403):
            raise NotConfigured("gateway.refused_credentials", account=self.account)
        why = reply.error or (f"status {reply.status}" if reply.status != 200 else "unreadable")
        raise NotSent("gateway.unreachable", account=self.account, why=why)

    def ping(self) -> Health:
        return self._api.ping()

    def parse_event(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> Event:
        """See :mod:`payctl.gateways.cinetpay_events`. No callback of CinetPay's has a time, so
        *received_at* has nothing to be held against."""
        return self._api.parse_event(body, headers)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()


def _build_v2(settings: Settings, clock: Clock, probe: Probe) -> CinetPayGateway:
    apikey, secret_key = settings.secret("apikey"), settings.secret_or_none("secret_key")
    password = settings.secret_or_none("api_password")
    currencies = _words(settings, "currencies", CURRENCIES, ("XOF",))
    countries = _words(
        settings, "countries", MARKETS, [c for c, took in MARKETS.items() if set(took) & currencies]
    )
    methods = _words(settings, "methods", CHANNELS, ("mobile_money",))
    site = _site(settings, currencies, countries, longest_url=2000)
    http = Http(
        clock, probe=probe,
        secrets=lambda: (each() for each in (apikey, secret_key, password) if each is not None),
    )  # fmt: skip
    transfer_url = settings.text("transfer_base", TRANSFER_URL)
    transfers = None
    if password is not None:
        transfers = Transfers(
            site, http, clock, base_url=transfer_url, apikey=apikey, password=password,
            store=settings.tokens,
        )  # fmt: skip
    api = V2(
        site, http, clock, base_url=settings.text("api_base", CHECKOUT_URL), apikey=apikey,
        site_id=settings.text("site_id"), secret_key=secret_key, transfers=transfers,
        live=not _test_server(settings),
    )  # fmt: skip
    pays_out = transfers is not None
    can = _capabilities(settings, methods, currencies, countries, v1=False, pays_out=pays_out)
    own = site.balance_currency
    can = replace(can, payout_limits={own: can.payout_limits[own]})
    return CinetPayGateway(settings.account, api, can, http)


def _build_v1(settings: Settings, clock: Clock, probe: Probe) -> CinetPayGateway:
    key, password = settings.secret("api_key"), settings.secret("api_password")
    country = settings.text("country")
    if country not in MARKETS:
        raise _bad(settings, "country", " | ".join(sorted(MARKETS)))
    currencies = _words(settings, "currencies", MARKETS[country], MARKETS[country])
    methods = _words(settings, "methods", CHANNELS, ("mobile_money",))
    http = Http(clock, probe=probe, secrets=lambda: (key(), password()))
    api = V1(
        _site(settings, currencies, frozenset({country}), longest_url=MAX_URL), http, clock,
        base_url=settings.text_or_none("api_base"), api_key=key, api_password=password,
        store=settings.tokens,
    )  # fmt: skip
    can = _capabilities(settings, methods, currencies, frozenset({country}), v1=True, pays_out=True)
    return CinetPayGateway(settings.account, api, can, http)


def _site(
    settings: Settings, currencies: frozenset[str], countries: frozenset[str], *, longest_url: int
) -> Site:
    only = next(iter(currencies)) if len(currencies) == 1 else None
    own = settings.text("balance_currency", only)
    if own not in currencies:
        raise _bad(settings, "balance_currency", " | ".join(sorted(currencies)))
    return Site(
        account=settings.account,
        lang=settings.one_of("lang", "fr", ("fr", "en")),
        notify_url=settings.web_address("notify_url", longest_url),
        return_url=settings.web_address("return_url", longest_url),
        countries=countries,
        balance_currency=own,
        lock_phone=settings.flag("lock_phone_number", False),
        payout_methods=settings.texts("payout_methods"),
    )


def _capabilities(
    settings: Settings,
    methods: frozenset[str],
    currencies: frozenset[str],
    countries: frozenset[str],
    *,
    v1: bool,
    pays_out: bool,
) -> Capabilities:
    steps = {**STEPS, **settings.amounts("steps")}
    limits = {**LIMITS, **settings.ranges("limits")}
    payout_limits = {**PAYOUT_LIMITS, **settings.ranges("payout_limits")}
    own_steps = {code: max(step, 1) for code, step in steps.items() if code in currencies}
    return Capabilities(
        methods=methods,
        currencies=currencies,
        countries=countries,
        resend_window_s=None,
        query_by=frozenset({"our_reference", "provider_reference"}),
        late_horizon_s=settings.whole("late_horizon_s", LATE_HORIZON_S),
        create_moves_money=False,
        refunds="none",
        payouts=frozenset({"msisdn"}) if pays_out else frozenset(),
        balance=pays_out,
        reference_format="plain30",
        status_reports_amount=not v1,
        reports_payer=v1,
        limits={code: pair for code, pair in limits.items() if code in currencies},
        steps=own_steps,
        payout_limits={code: pair for code, pair in payout_limits.items() if code in currencies},
        payout_steps=own_steps,
    )


def _test_server(settings: Settings) -> bool:
    """Whether the account is one of a test server. CinetPay's own v2 has no test mode: each of its
    keys moves real money, so both addresses must be others than CinetPay's."""
    wanted = settings.flag("test_server", False)
    if wanted and CHECKOUT_URL == settings.text("api_base", CHECKOUT_URL):
        raise _bad(settings, "test_server", "false (or another api_base)")
    if wanted and TRANSFER_URL == settings.text("transfer_base", TRANSFER_URL):
        raise _bad(settings, "test_server", "false (or another transfer_base)")
    return wanted


def _words(
    settings: Settings, key: str, allowed: Iterable[str], default: Iterable[str]
) -> frozenset[str]:
    """A list of words out of *allowed*; *default* when the setting is absent or empty."""
    given = settings.words(key) or tuple(default)
    known = frozenset(allowed)
    if not set(given) <= known:
        raise _bad(settings, key, " | ".join(sorted(known)))
    return frozenset(given)


def _bad(settings: Settings, key: str, wanted: str) -> NotConfigured:
    return NotConfigured("gateway.bad_setting", field=key, account=settings.account, wanted=wanted)
