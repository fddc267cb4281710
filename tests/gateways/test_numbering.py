"""Telephone numbers: written in many ways, read in one, never taken for another country's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.gateways.numbering import MOOV, MTN, ORANGE, OTHER, PLANS, Number, digits_of, read

pytestmark = pytest.mark.unit

COUNTRIES = st.sampled_from(sorted(PLANS))
BETWEEN = st.sampled_from(["", " ", "-", ".", "\u00a0", "\u202f", ")", "("])


@st.composite
def numbers(draw: st.DrawFn) -> tuple[str, str]:
    """A country and a national number of its length. None begins with the trunk, nor with the two
    zeros that call abroad.
    """
    country = draw(COUNTRIES)
    plan = PLANS[country]
    national = draw(st.text("0123456789", min_size=plan.digits, max_size=plan.digits))
    if national.startswith(plan.trunk or "00"):
        national = "9" + national[1:]
    return country, national


@given(numbers(), st.lists(BETWEEN, min_size=20, max_size=20), st.sampled_from(["+", "00"]))
def test_however_it_is_written_it_is_read_as_the_same_number(
    number: tuple[str, str], between: list[str], sign: str
) -> None:
    country, national = number
    plain = PLANS[country].calling_code + national
    spread = sign + "".join(digit + gap for digit, gap in zip(plain, between, strict=False))
    found = read(spread)
    assert isinstance(found, Number)
    assert (found.e164, found.country, found.national) == ("+" + plain, country, national)
    assert (found.digits, digits_of(spread)) == (plain, plain)
    assert read(found.e164) == found
    # The country of somebody else does not change what an international number says.
    assert read(spread, "CI") == found


@given(numbers())
def test_a_national_number_is_read_with_its_country_trunk_or_not(number: tuple[str, str]) -> None:
    country, national = number
    found = read(national, country)
    assert isinstance(found, Number)
    assert (found.country, found.national) == (country, national)
    assert read(PLANS[country].trunk + national, country) == found


@given(st.text(max_size=20), st.sampled_from([None, *sorted(PLANS)]))
def test_any_text_is_a_number_of_its_plan_or_has_a_code(text: str, country: str | None) -> None:
    found = read(text, country)
    if isinstance(found, str):
        assert found in (
            "phone_unreadable", "phone_unknown_country", "phone_wrong_length", "phone_old_plan",
        )  # fmt: skip
        return
    plan = PLANS[found.country]
    assert found.e164 == f"+{plan.calling_code}{found.national}"
    assert found.national.isascii() and len(found.national) == plan.digits


@pytest.mark.parametrize(
    ("text", "country", "code"),
    [
        ("+22507080910", None, "phone_old_plan"),  # Côte d'Ivoire, before 2021-01-31
        ("07080910", "CI", "phone_old_plan"),
        ("22507080910", "CI", "phone_old_plan"),
        ("+22997123456", None, "phone_old_plan"),  # Benin, before 2024-11-30
        ("97 12 34 56", "BJ", "phone_old_plan"),
        ("0708091", "CI", "phone_wrong_length"),
        ("+2250708091", None, "phone_wrong_length"),
        ("+33612345678", None, "phone_unknown_country"),
        ("0612345678", "FR", "phone_unknown_country"),
        ("0708091011", None, "phone_unknown_country"),
        ("Awa", "CI", "phone_unreadable"),
        ("", "CI", "phone_unreadable"),
        ("+٢٢٥٠٧٠٨٠٩١٠١١", None, "phone_unreadable"),  # Arabic digits
        ("+22507080910²¹", None, "phone_unreadable"),
        ("+" + "2" * 16, None, "phone_unreadable"),
    ],
)
def test_what_is_wrong_with_a_number_has_a_code(text: str, country: str | None, code: str) -> None:
    assert read(text, country) == code


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        ("+2250504030201", MTN), ("+2250704030201", ORANGE), ("+2250104030201", MOOV),
        ("+221771234567", ORANGE), ("+221761234567", OTHER),
        ("+237671234567", MTN), ("+237681234567", MTN), ("+237650123456", MTN),
        ("+237654123456", MTN), ("+237655123456", ORANGE), ("+237691234567", ORANGE),
        ("+237641234567", ORANGE), ("+237231234567", None),
        ("+2290142000000", MTN), ("+2290154000000", MTN), ("+2290197000000", MTN),
        ("+2290195000000", OTHER), ("+2290160000000", OTHER),
        ("+22604123456", ORANGE), ("+22677123456", ORANGE), ("+22601123456", MOOV),
        ("+22373123456", ORANGE), ("+22360123456", MOOV),
        ("+22890123456", OTHER), ("+22879123456", MOOV), ("+22899123456", MOOV),
        ("+224610123456", ORANGE), ("+224660123456", MTN),
        ("+243840123456", ORANGE), ("+243810123456", OTHER), ("+243900123456", OTHER),
        ("+242061234567", MTN), ("+242041234567", OTHER),
        ("+261321234567", ORANGE),
    ],
)  # fmt: skip
def test_operators_by_prefix(text: str, operator: str | None) -> None:
    """Prefixes as in the national plans; the longest that fits decides."""
    found = read(text)
    assert isinstance(found, Number)
    assert found.operator == operator


def test_calling_codes_can_be_told_apart_and_every_prefix_fits_its_plan() -> None:
    codes = [plan.calling_code for plan in PLANS.values()]
    assert len(set(codes)) == len(codes)
    for code in codes:
        assert not [other for other in codes if other != code and other.startswith(code)], code
    for country, plan in PLANS.items():
        every = [prefix for prefixes in plan.prefixes.values() for prefix in prefixes]
        assert len(every) == len(set(every)), country
        for prefix in every:
            assert prefix.isdigit() and len(prefix) < plan.digits, (country, prefix)
