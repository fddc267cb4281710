"""How sales share out: agent and principal, many captures, many refunds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.commissions.model import Rate, Scope
from payctl.payments.records import Payment
from payctl.payments.sales import Sale
from tests.payments.kit import OPERATOR, Kit

pytestmark = pytest.mark.unit
ID = UUID(int=7)
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def sale(principal: bool, rate_ppm: int = 50_000, vat_ppm: int = 200_000, **other: Any) -> Sale:
    scope = Scope("template_sale", currency="EUR")
    return Sale(Rate(ID, scope, NOW, rate_ppm, "FR", vat_ppm, **other), principal)


def payment(**columns: Any) -> Payment:
    blank: dict[str, Any] = dict.fromkeys(Payment.__dataclass_fields__, 0)
    return Payment(
        **(blank | {"currency": "EUR", "organiser": "o", "sale_type": "template_sale"} | columns)
    )


RATES = st.builds(
    sale, st.booleans(), st.integers(0, 600_000), st.integers(0, 300_000),
    minimum_minor=st.none() | st.integers(0, 500),
)  # fmt: skip


@given(RATES, st.lists(st.integers(1, 5000), min_size=1, max_size=12))
def test_many_captures_share_out_like_one_and_never_take_from_the_owner(
    terms: Sale, amounts: list[int]
) -> None:
    income = vat = owner = captured = 0
    for amount in amounts:
        part = terms.captured(
            payment(captured_minor=captured, commission_minor=income, vat_minor=vat), amount
        )
        assert part.owner_minor >= 0
        parts = part.income_minor + part.vat_minor + (0 if terms.principal else part.owner_minor)
        assert parts == amount
        legs = terms.capture_legs(payment(), part, "gateway:g:collect")
        assert sum(leg.amount_minor for leg in legs) == 0
        income, vat = income + part.income_minor, vat + part.vat_minor
        owner, captured = owner + part.owner_minor, captured + amount
    once = terms.captured(payment(), captured)
    assert abs(income - once.income_minor) <= 1 and abs(vat - once.vat_minor) <= 1


@given(RATES, st.integers(1, 50_000), st.lists(st.integers(1, 20_000), max_size=8))
def test_refunds_end_exactly_at_the_sale(terms: Sale, amount: int, parts: list[int]) -> None:
    taken = terms.captured(payment(), amount)
    columns: dict[str, Any] = {
        "captured_minor": amount, "commission_minor": taken.income_minor,
        "vat_minor": taken.vat_minor,
    }  # fmt: skip
    refunded = income = vat = owner = 0
    for wish in [*parts, amount]:
        part_minor = min(wish, amount - refunded)
        if not part_minor:
            continue
        back = terms.refunded(
            payment(**columns, commission_returned_minor=income, vat_returned_minor=vat),
            refunded, part_minor,
        )  # fmt: skip
        assert min(back.owner_minor, back.income_minor, back.vat_minor) >= 0
        legs = terms.refund_legs(payment(), back, (), "refund:g:outgoing")
        assert sum(leg.amount_minor for leg in legs) == -back.owner_minor
        refunded, income = refunded + part_minor, income + back.income_minor
        vat, owner = vat + back.vat_minor, owner + back.owner_minor
    assert (income, vat, owner) == (taken.income_minor, taken.vat_minor, taken.owner_minor)


@pytest.mark.integration
def test_a_template_sold_in_our_own_name(kit: Kit) -> None:
    kit.app.commissions.set_role(OPERATOR, "template_sale", "principal", reason="finance decided")
    paid = kit.pay(amount_minor=2400, sale_type="template_sale", organiser="designer-1")
    assert kit.balance("income:template_sales") == 2000
    assert kit.balance("vat:FR") == 400
    assert kit.balance("expense:designer_share") == 1400 == kit.balance("wallet:designer-1:pending")
    kit.app.refunds.create(OPERATOR, paid.payment.id, key="r1", reason="wrong template")
    for code in ("income:template_sales", "vat:FR", "expense:designer_share",
                 "wallet:designer-1:pending", "refund:cards:outgoing"):  # fmt: skip
        assert kit.balance(code) == 0, code
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


@pytest.mark.integration
def test_a_template_sold_as_agent(kit: Kit) -> None:
    kit.pay(amount_minor=2000, sale_type="template_sale", organiser="designer-1")
    assert kit.balance("wallet:designer-1:pending") == 1280
    assert kit.balance("income:commission:template_sale") == 600
    assert kit.balance("vat:FR") == 120
