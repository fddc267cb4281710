"""What MTN accepts in a message and as an amount."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, InvalidOperation

from payctl.money import EXPONENTS

#: Letters that Unicode does not take apart.
_SPELT = str.maketrans(
    {"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE", "ß": "ss", "ø": "o", "Ø": "O", "đ": "d",
     "€": "EUR", "&": " et "}
)  # fmt: skip
_FORBIDDEN = re.compile(r"[^A-Za-z0-9 .,:/-]+")
MAX_MESSAGE = 160


def message(text: str) -> str:
    """*text* without accents, apostrophes and signs, at most 160 letters.

    A message with an apostrophe is refused with 400 ("Billet d'entrée"), and the payment with it.
    """
    apart = unicodedata.normalize("NFKD", text.translate(_SPELT))
    plain = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return " ".join(_FORBIDDEN.sub(" ", plain).split())[:MAX_MESSAGE].strip()


def amount_text(amount_minor: int, currency: str) -> str:
    """The amount as MTN wants it: a string in main units, without decimals where there are none."""
    exponent = EXPONENTS[currency]
    if not exponent:
        return str(amount_minor)
    whole, rest = divmod(amount_minor, 10**exponent)
    return f"{whole}.{rest:0{exponent}d}" if rest else str(whole)


def amount_minor(text: object, currency: str) -> int:
    """Minor units of an amount as MTN writes it.

    Raises:
        ValueError: it is no amount, or has more decimals than the currency.
    """
    try:
        scaled = Decimal(str(text)).scaleb(EXPONENTS[currency])
    except (InvalidOperation, KeyError) as error:
        raise ValueError(f"no amount: {text!r} {currency}") from error
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise ValueError(f"no amount in {currency}: {text!r}")
    return int(scaled)
