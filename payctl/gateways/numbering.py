"""Telephone numbering of the countries we take mobile money in, as data.

Sources: the national numbering plans as each regulator publishes them, and ITU operational
bulletins for the two changes of length (Côte d'Ivoire to ten digits on 2021-01-31, Benin on
2024-11-30). A prefix is a hint only, because numbers can be carried to another operator; where a
provider can be asked about a payee, ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: What people write between the digits.
_BETWEEN = " .-()/\u00a0\u2007\u2009\u202f\u2010\u2011\u2013"
#: Longest number with its country code (ITU-T E.164).
_MAX_DIGITS = 15
#: Operators as the gateways call them.
MTN, ORANGE, MOOV, OTHER = "mtn", "orange", "moov", "other"


@dataclass(frozen=True, slots=True)
class Plan:
    """Numbers of one country: calling code, digits after it, and leading digits per operator.

    ``old_digits`` is the length before a change of plan, to recognise numbers that were stored
    before it and must be migrated. ``trunk`` is what is dialled before a national number inside
    the country and left out after the calling code.
    """

    calling_code: str
    digits: int
    prefixes: Mapping[str, tuple[str, ...]]
    old_digits: int | None = None
    trunk: str = ""


def _spread(first: str, last: str) -> tuple[str, ...]:
    return tuple(str(n).zfill(len(first)) for n in range(int(first), int(last) + 1))


PLANS: Mapping[str, Plan] = {
    "CI": Plan("225", 10, {MTN: ("05",), ORANGE: ("07",), MOOV: ("01",)}, old_digits=8),
    "SN": Plan("221", 9, {ORANGE: ("77", "78"), OTHER: ("70", "76")}),
    "CM": Plan(
        "237",
        9,
        {MTN: ("67", "68", *_spread("650", "654")), ORANGE: ("69", "64", *_spread("655", "659"))},
    ),
    "BJ": Plan(
        "229",
        10,
        {
            MTN: (
                "0142", "0146", *_spread("0150", "0154"), "0161", "0162", "0166", "0167", "0169",
                "0190", "0191", "0196", "0197",
            ),
            OTHER: ("01",),
        },
        old_digits=8,
    ),
    "BF": Plan(
        "226",
        8,
        {
            ORANGE: (*_spread("04", "07"), *_spread("54", "57"), *_spread("64", "67"),
                     *_spread("74", "77")),
            MOOV: (*_spread("01", "03"), *_spread("50", "53"), *_spread("60", "63"),
                   *_spread("70", "73")),
        },
    ),
    "ML": Plan("223", 8, {ORANGE: ("7", "8", "9"), MOOV: ("6",)}),
    "TG": Plan(
        "228", 8, {OTHER: (*_spread("70", "73"), *_spread("90", "93")),
                   MOOV: ("79", *_spread("96", "99"))},
    ),
    "GN": Plan("224", 9, {ORANGE: ("61", "62"), MTN: ("66",)}),
    "CD": Plan(
        "243",
        9,
        {ORANGE: ("80", "84", "85", "89"),
         OTHER: ("81", "82", "83", "90", "91", "97", "98", "99")},
        trunk="0",
    ),
    "CG": Plan("242", 9, {MTN: ("06",), OTHER: ("04", "05")}),
    "MG": Plan("261", 9, {ORANGE: ("32", "37")}, trunk="0"),
    "GH": Plan("233", 9, {MTN: ("24", "25", "53", "54", "55", "59")}, trunk="0"),
    "UG": Plan("256", 9, {MTN: ("76", "77", "78", "39")}, trunk="0"),
    "RW": Plan("250", 9, {MTN: ("78", "79")}, trunk="0"),
    "ZM": Plan("260", 9, {MTN: ("76", "96")}, trunk="0"),
    "SZ": Plan("268", 8, {MTN: ("76", "78")}),
    "LR": Plan("231", 9, {MTN: ("88", "55"), ORANGE: ("77",)}, trunk="0"),
    "SS": Plan("211", 9, {MTN: ("92",)}, trunk="0"),
    "NG": Plan(
        "234",
        10,
        {MTN: ("702", "703", "704", "706", "707", "803", "806", "810", "813", "814", "816", "903",
               "906", "913", "916")},
        trunk="0",
    ),
    "ZA": Plan("27", 9, {MTN: ("63", "73", "78", "83")}, trunk="0"),
}  # fmt: skip
_COUNTRY_OF = {plan.calling_code: country for country, plan in PLANS.items()}


@dataclass(frozen=True, slots=True)
class Number:
    """A telephone number read with its country's plan. ``e164`` starts with ``+``."""

    e164: str
    country: str
    national: str
    operator: str | None

    @property
    def digits(self) -> str:
        """Country code and number without ``+``, as MTN wants it."""
        return self.e164[1:]


def read(text: str, country: str | None = None) -> Number | str:
    """*text* as a number, or a code that says what is wrong with it: ``phone_unreadable``,
    ``phone_unknown_country``, ``phone_wrong_length``, ``phone_old_plan``.

    Args:
        text: ``+225 07 08 09 10 11``, ``002250708091011``, or a national number when *country* is
            given. Spaces, dots, dashes and brackets are ignored.
        country: ISO 3166-1 alpha-2, of a national number.
    """
    digits = digits_of(text)
    if digits is None:
        return "phone_unreadable"
    international = _plain(text).startswith(("+", "00"))
    if not international and country is not None:
        if country not in PLANS:
            return "phone_unknown_country"
        digits = _with_country(digits, PLANS[country])
    found = next((_COUNTRY_OF[digits[:n]] for n in (3, 2) if digits[:n] in _COUNTRY_OF), None)
    if found is None:
        return "phone_unknown_country"
    plan = PLANS[found]
    national = digits.removeprefix(plan.calling_code)
    if len(national) != plan.digits:
        return "phone_old_plan" if len(national) == plan.old_digits else "phone_wrong_length"
    return Number("+" + digits, found, national, _operator(plan, national))


def digits_of(text: str) -> str | None:
    """The digits of *text* without the sign of an international number; ``None`` where it holds
    anything that no telephone number has, or more digits than E.164 allows.
    """
    plain = _plain(text)
    digits = plain[1:] if plain.startswith("+") else plain.removeprefix("00")
    readable = digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
    return digits if readable else None


def _plain(text: str) -> str:
    return "".join(letter for letter in text if letter not in _BETWEEN)


def _with_country(digits: str, plan: Plan) -> str:
    """A number that was given without sign, with its calling code: it may have it already."""
    national = digits.removeprefix(plan.trunk)
    if len(national) in (plan.digits, plan.old_digits):
        return plan.calling_code + national
    spelt_out = any(
        digits.startswith(each.calling_code)
        and len(digits) - len(each.calling_code) in (each.digits, each.old_digits)
        for each in PLANS.values()
    )
    return digits if spelt_out else plan.calling_code + national


def _operator(plan: Plan, national: str) -> str | None:
    matches = [
        (len(prefix), operator)
        for operator, prefixes in plan.prefixes.items()
        for prefix in prefixes
        if national.startswith(prefix)
    ]
    return max(matches)[1] if matches else None
