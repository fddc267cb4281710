"""CinetPay's markets, amounts and operators, as data.

CinetPay takes whole units in every currency, also where ISO 4217 has two decimals (CDF, USD), and
multiples of five (docs.cinetpay.com, "Initiating a payment"). The ledger keeps minor units; an
amount that is no whole number of what CinetPay counts in is refused, never rounded.

Smallest amounts: cinetpay.com/developer/api/paiement; 0.2 USD, as written there, cannot be asked
for in fives, so five dollars are the smallest here. Largest ones are the operators' and change
without notice: they stand where no operator takes more, and an account's settings narrow them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from payctl.gateways.base import Answer, Destination, PayoutRequest
from payctl.gateways.checks import rejected
from payctl.gateways.numbering import Number, read
from payctl.money import exponent

#: Country to the currencies CinetPay takes there.
MARKETS: Mapping[str, tuple[str, ...]] = {
    "BF": ("XOF",), "BJ": ("XOF",), "CD": ("CDF", "USD"), "CI": ("XOF",), "CM": ("XAF",),
    "GN": ("GNF",), "ML": ("XOF",), "NE": ("XOF",), "SN": ("XOF",), "TG": ("XOF",),
}  # fmt: skip
CURRENCIES = frozenset(currency for each in MARKETS.values() for currency in each)

#: Currency to smallest and largest payment, in ISO minor units.
LIMITS: Mapping[str, tuple[int, int]] = {
    "XOF": (100, 2_000_000), "XAF": (100, 2_000_000), "GNF": (1_000, 15_000_000),
    "CDF": (40_000, 200_000_000), "USD": (500, 300_000),
}  # fmt: skip
#: The same of payouts ("Transfer", tranches by country).
PAYOUT_LIMITS: Mapping[str, tuple[int, int]] = {
    "XOF": (500, 1_500_000), "XAF": (500, 1_500_000), "GNF": (5_000, 15_000_000),
    "CDF": (100_000, 200_000_000), "USD": (500, 300_000),
}  # fmt: skip
#: Amounts are multiples of this many minor units: five francs, five dollars.
STEPS: Mapping[str, int] = {"XOF": 5, "XAF": 5, "GNF": 5, "CDF": 500, "USD": 500}

#: Our methods to the checkout's ``channels``.
CHANNELS: Mapping[str, str] = {
    "mobile_money": "MOBILE_MONEY", "card": "CREDIT_CARD", "wallet": "WALLET",
}  # fmt: skip

#: The new API's ``payment_method`` of a transfer, by our word for the operator, and where only
#: leading digits tell the operator, by those. An account's ``payout_methods`` go before.
_OPERATORS: Mapping[str, str] = {"orange": "OM", "mtn": "MTN", "moov": "MOOV"}
_BY_PREFIX: Mapping[str, Mapping[str, str]] = {
    "CD": {"81": "MPESA", "82": "MPESA", "83": "MPESA", "97": "AIRTEL", "98": "AIRTEL",
           "99": "AIRTEL", "90": "AFRICELL", "91": "AFRICELL"},
    "SN": {"70": "EXPRESSO", "76": "FREE"},
    "TG": {"70": "TMONEY", "71": "TMONEY", "72": "TMONEY", "73": "TMONEY", "90": "TMONEY",
           "91": "TMONEY", "92": "TMONEY", "93": "TMONEY"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Site:
    """What every request of one account is made with.

    Attributes:
        countries: where payees may be.
        balance_currency: what the transfer account is kept in; CinetPay does not name it.
        payout_methods: operator (``orange``) to the new API's name of it (``OM_CI``).
    """

    account: str
    lang: str
    notify_url: str
    return_url: str
    countries: frozenset[str]
    balance_currency: str
    lock_phone: bool = False
    payout_methods: Mapping[str, str] | None = None


def whole(amount_minor: int, currency: str) -> int | None:
    """*amount_minor* as CinetPay counts, or ``None`` when a fraction would be left."""
    units, rest = divmod(amount_minor, 10 ** exponent(currency))
    return None if rest else units


def minor(said: object, currency: str) -> int | None:
    """An amount as CinetPay says it (``100``, ``"100"``, ``"100.00"``) in minor units; ``None`` for
    anything that is no such amount."""
    from decimal import Decimal, InvalidOperation

    if isinstance(said, bool) or not isinstance(said, int | float | str) or currency not in LIMITS:
        return None
    try:
        amount = Decimal(str(said)).scaleb(exponent(currency))
    except InvalidOperation:
        return None
    if not amount.is_finite() or amount < 0 or amount != amount.to_integral_value():
        return None
    return int(amount)


def payer(prefix: object, phone: object, name: object = "") -> Destination | None:
    """Whom an answer names as the one who paid; ``None`` when it names nobody we can pay back."""
    text = f"{phone or ''}".strip()
    if not text.startswith("+") and prefix:
        text = f"+{prefix}{text}"
    number = read(text) if text.startswith("+") else ""
    if isinstance(number, str):
        return None
    named = name if isinstance(name, str) else ""
    return Destination("msisdn", number.e164, named, number.country)


def payee(request: PayoutRequest, site: Site) -> Number | Answer:
    """The number to pay to, or why nothing may be sent there: a transfer names no currency, so the
    same digits would be francs of another kind in another country."""
    number = read(request.destination.value, request.destination.country)
    if isinstance(number, str):
        return rejected(number, "payee")
    if number.country not in site.countries:
        return rejected("country_not_supported", number.country)
    if request.currency not in MARKETS[number.country]:
        return rejected("currency_not_supported", f"{request.currency} in {number.country}")
    return number


def payout_method(number: Number, site: Site) -> str | None:
    """The new API's name of the operator that *number* seems to be with."""
    given = site.payout_methods or {}
    if number.operator is not None and number.operator in given:
        return given[number.operator]
    by_prefix = _BY_PREFIX.get(number.country, {})
    operator = by_prefix.get(number.national[:2]) or _OPERATORS.get(number.operator or "")
    return f"{operator}_{number.country}" if operator else None
