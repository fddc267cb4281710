"""The split of a sale and of its refunds, against the postings page's examples and at random."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from math import floor
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.commissions.model import (
    OwnSale,
    Rate,
    Scope,
    Split,
    choose,
    give_back,
    split,
    split_own_sale,
)

pytestmark = pytest.mark.unit

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def rate(
    ppm: int = 50_000,
    vat_ppm: int = 200_000,
    country: str | None = "FR",
    minimum: int | None = None,
    maximum: int | None = None,
    scope: Scope | None = None,
    at: datetime = T0,
    withdrawn: bool = False,
) -> Rate:
    return Rate(
        UUID(int=1), scope or Scope("ticket_sale", currency="EUR"), at, ppm, country, vat_ppm,
        minimum, maximum, withdrawn,
    )  # fmt: skip


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    minimum = draw(st.none() | st.integers(0, 2_000))
    maximum = draw(st.none() | st.integers(minimum or 0, 5_000))
    return rate(
        draw(st.integers(0, 1_000_000)), draw(st.integers(0, 1_000_000)), "FR", minimum, maximum
    )


amounts = st.integers(1, 10**14) | st.integers(1, 200)


def test_sale_in_eur() -> None:
    assert split(rate(), 10_000) == Split(500, 100, 9_400, "FR")


def test_sale_in_xof() -> None:
    assert split(rate(vat_ppm=180_000, country="CI"), 15_000) == Split(750, 135, 14_115, "CI")


def test_late_success_in_eur() -> None:
    assert split(rate(), 4_200) == Split(210, 42, 3_948, "FR")


def test_template_of_an_agent() -> None:
    assert split(rate(300_000), 2_000) == Split(600, 120, 1_280, "FR")


def test_template_of_a_principal() -> None:
    assert split_own_sale(rate(300_000), 2_400) == OwnSale(2_000, 400, 1_400, "FR")


@given(rates(), amounts)
def test_parts_of_an_own_sale(some: Rate, amount: int) -> None:
    sale = split_own_sale(some, amount)
    assert sale.net_minor + sale.vat_minor == amount
    assert 0 <= sale.owner_minor <= sale.net_minor
    assert sale.vat_minor >= 0


def test_refund_in_two_parts() -> None:
    assert give_back(rate(), 10_000, 0, 3_333) == Split(167, 33, 3_133, "FR")
    assert give_back(rate(), 10_000, 3_333, 6_667) == Split(333, 67, 6_267, "FR")


def test_full_refund_is_the_sale() -> None:
    assert give_back(rate(), 10_000, 0, 10_000) == split(rate(), 10_000)


def test_bounds_then_vat() -> None:
    assert split(rate(minimum=800), 10_000) == Split(800, 160, 9_040, "FR")
    assert split(rate(maximum=300), 10_000) == Split(300, 60, 9_640, "FR")
    # A minimum that is more than the sale takes all of it and not a cent more.
    assert split(rate(minimum=800), 600) == Split(500, 100, 0, "FR")


def test_rounding_is_half_up() -> None:
    assert split(rate(vat_ppm=0, country=None), 10).commission_minor == 1
    assert split(rate(vat_ppm=0, country=None), 9).commission_minor == 0


@given(rates(), amounts)
def test_parts_sum_and_none_is_negative(some: Rate, amount: int) -> None:
    parts = split(some, amount)
    assert parts.amount_minor == amount
    assert min(parts.commission_minor, parts.vat_minor, parts.owner_minor) >= 0


@given(rates(), amounts)
def test_commission_is_the_exact_share_rounded(some: Rate, amount: int) -> None:
    parts = split(some, amount)
    exact = Fraction(amount * some.rate_ppm, 1_000_000)
    if some.minimum_minor is not None:
        exact = max(exact, Fraction(some.minimum_minor))
    if some.maximum_minor is not None:
        exact = min(exact, Fraction(some.maximum_minor))
    if exact * (1 + Fraction(some.vat_ppm, 1_000_000)) + 2 <= amount:
        assert parts.commission_minor == floor(exact + Fraction(1, 2))
        vat = Fraction(parts.commission_minor * some.vat_ppm, 1_000_000)
        assert parts.vat_minor == floor(vat + Fraction(1, 2))


@given(rates(), amounts, st.data())
def test_captures_sum_to_the_sale(some: Rate, amount: int, data: st.DataObject) -> None:
    before = 0
    total = Split(0, 0, 0, "FR")
    for part in _parts(data, amount):
        piece = split(some, part, before)
        assert piece.amount_minor == part
        before += part
        total = _plus(total, piece)
    assert total == split(some, amount)


@given(rates(), amounts, st.data())
def test_refunds_end_exactly_at_the_sale(some: Rate, amount: int, data: st.DataObject) -> None:
    sale = split(some, amount)
    refunded = 0
    total = Split(0, 0, 0, "FR")
    for part in _parts(data, amount):
        piece = give_back(some, amount, refunded, part)
        assert piece.amount_minor == part
        assert min(piece.commission_minor, piece.vat_minor, piece.owner_minor) >= 0
        refunded += part
        total = _plus(total, piece)
        assert total.commission_minor <= sale.commission_minor
        assert total.vat_minor <= sale.vat_minor
        assert total.owner_minor <= sale.owner_minor
    assert total == sale


@given(rates(), st.integers(1, 400))
def test_refunds_of_one_unit_each(some: Rate, amount: int) -> None:
    pieces = [give_back(some, amount, done, 1) for done in range(amount)]
    assert all(
        sorted((p.commission_minor, p.vat_minor, p.owner_minor)) == [0, 0, 1] for p in pieces
    )
    assert sum(p.owner_minor for p in pieces) == split(some, amount).owner_minor


@given(rates())
def test_a_rate_survives_json(some: Rate) -> None:
    assert Rate.from_json(some.as_json()) == some


def test_the_most_specific_rate_counts() -> None:
    default = rate(scope=Scope("ticket_sale"))
    currency = rate(scope=Scope("ticket_sale", currency="EUR"))
    country = rate(scope=Scope("ticket_sale", country="CI"))
    both = rate(scope=Scope("ticket_sale", currency="EUR", country="CI"))
    organiser = rate(scope=Scope("ticket_sale", "org-1"))
    order = [organiser, both, country, currency, default]
    for count in range(1, len(order) + 1):
        assert choose(order[-count:]) is order[-count]
        assert choose(order[-count:][::-1]) is order[-count]
    assert choose([]) is None


def test_the_newest_row_of_a_scope_counts_and_a_withdrawn_scope_does_not() -> None:
    later = T0.replace(month=6)
    default = rate(scope=Scope("ticket_sale"))
    first = rate(10_000, scope=Scope("ticket_sale", "org-1"))
    second = rate(20_000, scope=Scope("ticket_sale", "org-1"), at=later)
    ended = rate(scope=Scope("ticket_sale", "org-1"), at=later, withdrawn=True)
    assert choose([second, first, default]) is second
    assert choose([default, first, ended]) is default


def _plus(a: Split, b: Split) -> Split:
    return Split(
        a.commission_minor + b.commission_minor,
        a.vat_minor + b.vat_minor,
        a.owner_minor + b.owner_minor,
        a.vat_country,
    )


def _parts(data: st.DataObject, amount: int) -> list[int]:
    cuts = data.draw(st.lists(st.integers(1, amount), max_size=6))
    edges = sorted({0, amount, *cuts})
    return [high - low for low, high in pairwise(edges)]
