"""Amounts between ISO 4217 minor units (ours) and PayPal's decimal texts.

Source: developer.paypal.com/api/rest/reference/currency-codes and the ``money`` schema of the
published specifications (``^((-?[0-9]+)|(-?([0-9]+)?[.][0-9]+))$``, 32 characters).
"""

from __future__ import annotations

import re
from typing import Any

from payctl.money import EXPONENTS

#: Currencies that only accounts of their own country may take.
IN_COUNTRY = frozenset({"BRL", "CNY", "MYR"})
#: Every currency of PayPal that a book may hold. None of them is African: XOF, XAF, MAD ... are
#: refused before anything is sent.
CURRENCIES = frozenset(
    {
        "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "JPY",
        "MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "SEK", "SGD", "THB", "TWD", "USD",
    }
)  # fmt: skip
#: Currencies that PayPal takes without decimals (``DECIMALS_NOT_SUPPORTED``). ISO 4217 has two for
#: the forint and the Taiwan dollar, so their amounts must be whole units.
WHOLE = frozenset({"HUF", "JPY", "TWD"})
STEPS = {currency: 10 ** EXPONENTS[currency] for currency in WHOLE if EXPONENTS[currency]}
_VALUE = r"(-?)([0-9]*)(?:\.([0-9]+))?"


def to_value(amount_minor: int, currency: str) -> str | None:
    """The text to send, or ``None`` when PayPal cannot express the amount.

    Args:
        amount_minor: ISO minor units, not negative.
    """
    digits = EXPONENTS[currency]
    whole, rest = divmod(amount_minor, 10**digits)
    if currency in WHOLE:
        return None if rest else str(whole)
    return f"{whole}.{rest:0{digits}d}" if digits else str(whole)


def money(amount_minor: int, currency: str) -> dict[str, str]:
    """The ``money`` object of Orders, Payments and Reports."""
    return {"currency_code": currency, "value": _value(amount_minor, currency)}


def payout_money(amount_minor: int, currency: str) -> dict[str, str]:
    """The ``currency`` object of Payouts, whose field has another name."""
    return {"currency": currency, "value": _value(amount_minor, currency)}


def from_money(data: Any) -> tuple[int, str]:
    """ISO minor units and currency of a ``money`` or ``currency`` object; may be negative.

    Raises:
        ValueError: it is none, or has more decimals than its currency.
    """
    if not isinstance(data, dict):
        raise ValueError("no amount")
    currency = data.get("currency_code") or data.get("currency")
    found = re.fullmatch(_VALUE, str(data.get("value") or ""), re.ASCII)
    if not isinstance(currency, str) or found is None:
        raise ValueError("no amount")
    sign, whole, fraction = found[1], found[2], found[3] or ""
    digits = EXPONENTS.get(currency, 2)
    if not (whole or fraction) or fraction[digits:].strip("0"):
        raise ValueError("more decimals than the currency has")
    amount = int((whole or "0") + fraction[:digits].ljust(digits, "0"))
    return (-amount if sign else amount), currency


def _value(amount_minor: int, currency: str) -> str:
    value = to_value(amount_minor, currency)
    if value is None:
        # The adapter refuses such an amount before it builds a request.
        raise ValueError(f"{amount_minor} {currency} cannot be expressed at PayPal")
    return value
