"""Telephone numbering of the countries we take mobile money in, as data.

Sources: the national numbering plans as each regulator publishes them, and ITU operational
bulletins for the two changes of length (Côte d'Ivoire to ten digits on 2021-01-31, Benin on
2024-11-30). A prefix is a hint only, because numbers can be carried to another operator; where a
provider can be asked about a payee, ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Operators as the gateways call them.
MTN, ORANGE, MOOV, OTHER = "mtn", "orange", "moov", "other"


@dataclass(frozen=True, slots=True)
class Plan:
    """Numbers of one country: calling code, digits after it, and leading digits per operator.

    ``old_digits`` is the length before a change of plan, to recognise numbers that were stored
    before it and must be migrated.
    """

    calling_code: str
    digits: int
    prefixes: Mapping[str, tuple[str, ...]]
    old_digits: int | None = None


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
    ),
    "CG": Plan("242", 9, {MTN: ("06",), OTHER: ("04", "05")}),
    "MG": Plan("261", 9, {ORANGE: ("32", "37")}),
    "GH": Plan("233", 9, {MTN: ("24", "25", "53", "54", "55", "59")}),
    "UG": Plan("256", 9, {MTN: ("76", "77", "78", "39")}),
    "RW": Plan("250", 9, {MTN: ("78", "79")}),
    "ZM": Plan("260", 9, {MTN: ("76", "96")}),
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
    plain = "".join(letter for letter in text if letter not in " .-()/\u00a0\u202f")
    if plain.startswith("00"):
        plain = "+" + plain[2:]
    national_given = not plain.startswith("+")
    digits = plain.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return "phone_unreadable"
    if national_given and country is not None:
        plan_of = PLANS.get(country)
        if plan_of is None:
            return "phone_unknown_country"
        if len(digits) in (plan_of.digits, plan_of.old_digits):
            digits = plan_of.calling_code + digits
    found = _COUNTRY_OF.get(digits[:3])
    if found is None:
        return "phone_unknown_country"
    plan, national = PLANS[found], digits[3:]
    if len(national) != plan.digits:
        return "phone_old_plan" if len(national) == plan.old_digits else "phone_wrong_length"
    return Number("+" + digits, found, national, _operator(plan, national))


def _operator(plan: Plan, national: str) -> str | None:
    matches = [
        (len(prefix), operator)
        for operator, prefixes in plan.prefixes.items()
        for prefix in prefixes
        if national.startswith(prefix)
    ]
    return max(matches)[1] if matches else None
