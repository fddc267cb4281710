"""Amounts between ISO 4217 minor units (ours) and the integers Stripe takes.

They are nearly always the same number; where they are not, money would be wrong by a hundred.
Source: docs.stripe.com/currencies ("Zero-decimal", "Three-decimal", "Special cases", "Minimum and
maximum charge amounts").
"""

from __future__ import annotations

from payctl.money import EXPONENTS

#: Currencies of a book that Stripe can charge in; the others are refused before any exchange.
CURRENCIES = frozenset(EXPONENTS) - {"GHS", "MRU", "SSP"}

#: Stripe's number of decimals where it is not the one of ISO 4217. The ariary has none at Stripe;
#: the Ugandan shilling has none in ISO, but Stripe wants two of them, always 00.
_DECIMALS = {"MGA": 0, "UGX": 2}
#: Amounts at Stripe must be a multiple of this: three-decimal currencies end in 0.
_STEP = {"TND": 10, "UGX": 100}
#: Smallest charge in Stripe's integers. Others depend on the settlement currency: Stripe decides.
_SMALLEST = {
    "AUD": 50, "BRL": 50, "CAD": 50, "CHF": 50, "CZK": 1500, "DKK": 250, "EUR": 50, "GBP": 30,
    "HKD": 400, "HUF": 17500, "JPY": 50, "MXN": 1000, "MYR": 200, "NOK": 300, "NZD": 50,
    "PLN": 200, "SEK": 300, "SGD": 50, "THB": 1000, "USD": 50,
}  # fmt: skip
_LARGEST = 99_999_999


def to_stripe(amount_minor: int, currency: str) -> int | None:
    """The integer to send, or ``None`` when Stripe cannot express the amount.

    Args:
        amount_minor: ISO minor units.
    """
    shift = _DECIMALS.get(currency, EXPONENTS[currency]) - EXPONENTS[currency]
    if shift >= 0:
        amount, rest = amount_minor * 10**shift, 0
    else:
        amount, rest = divmod(amount_minor, 10**-shift)
    return None if rest or amount % _STEP.get(currency, 1) else amount


def from_stripe(amount: int, currency: str) -> int:
    """ISO minor units of an integer Stripe gave; *currency* in capitals.

    A currency no book can hold is passed on unchanged: whoever compares it with what was asked
    finds the difference.
    """
    exponent = EXPONENTS.get(currency, 2)
    shift = exponent - _DECIMALS.get(currency, exponent)
    if shift >= 0:
        return int(amount * 10**shift)
    # Only a fee could have decimals here, and a fee is rounded half up like every share.
    unit = 10**-shift
    return int((2 * amount + unit) // (2 * unit))


def limits() -> dict[str, tuple[int, int]]:
    """Smallest and largest charge by currency, in ISO minor units."""
    return {
        currency: (
            max(from_stripe(_SMALLEST.get(currency, 1), currency), 1),
            from_stripe(_LARGEST // _STEP.get(currency, 1) * _STEP.get(currency, 1), currency),
        )
        for currency in CURRENCIES
    }
