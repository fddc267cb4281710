"""What MTN accepts in a message and as an amount."""

from __future__ import annotations

import re

from payctl.money import EXPONENTS

#: Letters that Unicode does not take apart.
_SPELT = str.maketrans(
    {"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE", "ß": "ss", "ø": "o", "Ø": "O", "đ": "d",
     "Đ": "D", "ł": "l", "Ł": "L", "ı": "i", "þ": "th", "Þ": "TH", "€": " EUR ", "&": " et "}
)  # fmt: skip
_FORBIDDEN = r"[^A-Za-z0-9 ]+"
#: An amount as MTN writes it. An exponent could mean a number of any size.
_AMOUNT = r"-?[0-9]{1,15}(\.[0-9]{1,6})?"
MAX_MESSAGE = 160


def message(text: str) -> str:
    """*text* in letters, digits and spaces of ASCII, at most 160 of them; it may become empty.

    A message with an apostrophe or another special character is refused with 400, and the payment
    with it ("Billet d'entrée" becomes "Billet d entree"). MTN does not say which signs it takes, so
    none is sent.
    """
    import unicodedata

    apart = unicodedata.normalize("NFKD", text)
    bare = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return " ".join(re.sub(_FORBIDDEN, " ", bare.translate(_SPELT)).split())[:MAX_MESSAGE].strip()


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
    from decimal import Decimal

    exponent = EXPONENTS.get(currency)
    if exponent is None or not re.fullmatch(_AMOUNT, str(text)):
        raise ValueError(f"no amount: {str(text)[:40]!r} {currency[:10]}")
    scaled = Decimal(str(text)).scaleb(exponent)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"no amount in {currency}: {text!r}")
    return int(scaled)
