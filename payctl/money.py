"""Money: integer minor units and an ISO 4217 code. No float ever touches an amount.

Every amount in payctl is an ``int`` of minor units (EUR cents, XOF francs) beside its currency
code. This module alone knows how many decimals a currency has, how people write an amount, and how
a share is rounded.
"""

from __future__ import annotations

from payctl.errors import InvalidInput

#: ISO 4217 exponents of the currencies a book may hold (ISO 4217 list one).
EXPONENTS: dict[str, int] = {
    "AUD": 2, "BIF": 0, "BRL": 2, "CAD": 2, "CDF": 2, "CHF": 2, "CNY": 2, "CZK": 2, "DJF": 0,
    "DKK": 2, "DZD": 2, "EUR": 2, "GBP": 2, "GHS": 2, "GNF": 0, "HKD": 2, "HUF": 2, "ILS": 2,
    "JPY": 0, "KES": 2, "KMF": 0, "LRD": 2, "MAD": 2, "MGA": 2, "MRU": 2, "MXN": 2, "MYR": 2,
    "NGN": 2, "NOK": 2, "NZD": 2, "PHP": 2, "PLN": 2, "RWF": 0, "SEK": 2, "SGD": 2, "SLE": 2,
    "SSP": 2, "SZL": 2, "THB": 2, "TND": 3, "TWD": 2, "UGX": 0, "USD": 2, "XAF": 0, "XOF": 0,
    "ZAR": 2, "ZMW": 2,
}  # fmt: skip

#: Largest amount of one payment, refund or entry, in minor units. Far below 2**63, so sums of
#: millions of entries cannot overflow a bigint.
MAX_AMOUNT_MINOR = 10**14

#: Rates are integers in parts per million: 5 % is 50 000.
PPM = 1_000_000


def exponent(currency: str) -> int:
    """Number of decimals of *currency* (0 for XOF, 2 for EUR, 3 for TND).

    Raises:
        InvalidInput: ``currency.unknown`` when the code is not in the table.
    """
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise InvalidInput("currency.unknown", field="currency", currency=currency) from None


def check_amount_minor(amount_minor: int, currency: str, *, field: str = "amount") -> int:
    """Return *amount_minor* when it is a payable amount: above zero and below the limit.

    Raises:
        InvalidInput: ``amount.not_positive`` or ``amount.too_large``.
    """
    exponent(currency)
    if amount_minor <= 0:
        raise InvalidInput("amount.not_positive", field=field, amount=amount_minor)
    if amount_minor > MAX_AMOUNT_MINOR:
        raise InvalidInput(
            "amount.too_large",
            field=field,
            amount=format_money(amount_minor, currency),
            limit=format_money(MAX_AMOUNT_MINOR, currency),
        )
    return amount_minor


def parse_amount(text: str, currency: str, *, field: str = "amount") -> int:
    """Read an amount as people write it and return minor units.

    Exactly the currency's decimals are required (``25.00`` EUR, ``15000`` XOF, ``1.250`` TND), so
    that 2500 can never be read as 25.00: a bare ``2500`` with EUR is refused with both readings.

    Raises:
        InvalidInput: ``amount.not_a_number``, ``amount.decimals``, ``amount.ambiguous``,
            ``amount.not_positive``, ``amount.too_large``, ``currency.unknown``.
    """
    digits = exponent(currency)
    raw = text.strip()
    whole, dot, fraction = raw.partition(".")
    negative = whole.startswith("-")
    body = whole[1:] if negative else whole
    if not _is_digits(body) or (dot and not _is_digits(fraction)):
        raise InvalidInput(
            "amount.not_a_number", field=field, text=_shorten(raw), example=example(currency)
        )
    if not negative and digits and not dot:
        raise InvalidInput(
            "amount.ambiguous",
            field=field,
            text=_shorten(raw),
            currency=currency,
            as_major=f"{body}.{'0' * digits}",
            as_minor=_decimal(int(body[:20]), digits),
        )
    if len(fraction) != digits or (dot and digits == 0):
        raise InvalidInput(
            "amount.decimals",
            field=field,
            text=_shorten(raw),
            currency=currency,
            decimals=digits,
            example=example(currency),
        )
    if len(body) > 20:
        raise InvalidInput(
            "amount.too_large",
            field=field,
            amount=_shorten(raw),
            limit=format_money(MAX_AMOUNT_MINOR, currency),
        )
    amount = int(body + fraction)
    return check_amount_minor(-amount if negative else amount, currency, field=field)


def example(currency: str) -> str:
    """An amount written correctly for *currency*, used in hints."""
    digits = exponent(currency)
    return "25." + "0" * digits if digits else "15000"


def format_amount(amount_minor: int, currency: str) -> str:
    """Minor units as a plain decimal, without grouping: ``-12.34``, ``15000``."""
    return _decimal(amount_minor, exponent(currency))


def format_money(amount_minor: int, currency: str) -> str:
    """Minor units with thousands apart and the currency: ``1 234.50 EUR``, ``15 000 XOF``."""
    plain = format_amount(abs(amount_minor), currency)
    whole, dot, fraction = plain.partition(".")
    grouped = f"{int(whole):,}".replace(",", " ")
    return f"{'-' if amount_minor < 0 else ''}{grouped}{dot}{fraction} {currency}"


def share(amount_minor: int, rate_ppm: int) -> int:
    """``amount x rate`` rounded half up (away from zero), in minor units; rate in parts per
    million.

    The rule of the chart of accounts (postings, rule 6) for commissions and VAT on top of them.
    """
    product = abs(amount_minor) * rate_ppm
    rounded = (2 * product + PPM) // (2 * PPM)
    return -rounded if amount_minor < 0 else rounded


def format_rate(rate_ppm: int) -> str:
    """A rate in parts per million as per cent: 50 000 is ``5 %``, 12 500 is ``1.25 %``."""
    whole, rest = divmod(rate_ppm, 10_000)
    fraction = f"{rest:04d}".rstrip("0")
    return f"{whole}.{fraction} %" if fraction else f"{whole} %"


def _decimal(amount_minor: int, digits: int) -> str:
    sign = "-" if amount_minor < 0 else ""
    text = str(abs(amount_minor)).rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}" if digits else f"{sign}{text}"


def _is_digits(text: str) -> bool:
    return bool(text) and text.isascii() and text.isdigit()


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
