"""What no gateway could ever take is refused before anything is written, and says what would do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from payctl.db.engine import Database
from payctl.errors import Conflict, InvalidInput
from tests.payments.kit import CARDS, MOMO, OPERATOR, Kit, make_kit

pytestmark = pytest.mark.integration


@pytest.fixture
def kit(db: Database, tmp_path: Path) -> Iterator[Kit]:
    cards = {**CARDS, "currencies": ["EUR"], "limits": {"EUR": [100, 50_000]}, "countries": ["FR"]}
    momo = {
        **MOMO, "methods": ["mobile_money"], "currencies": ["XOF"], "countries": ["CI"],
        "limits": {"XOF": [100, 1_500_000]}, "steps": {"XOF": 5}, "manual_capture": False,
    }  # fmt: skip
    made = make_kit(db, tmp_path, {"cards": cards, "momo": momo})
    yield made
    for gateway in made.gateways.values():
        gateway.close()


XOF = {"currency": "XOF", "method": "mobile_money", "country": "CI", "amount_minor": 15_000}


@pytest.mark.parametrize(
    ("change", "code", "field", "takers"),
    [
        ({"currency": "USD"}, "route.no_currency", "currency", "cards: EUR"),
        ({"country": "TG"}, "route.no_country", "country", "cards: FR"),
        ({**XOF, "country": "TG"}, "route.no_country", "country", "momo: CI"),
        ({"method": "paypal"}, "route.no_method", "method", "cards: card"),
        ({"amount_minor": 99}, "route.no_amount", "amount", "cards: >= 1.00 EUR"),
        ({"amount_minor": 50_001}, "route.no_amount", "amount", "cards: <= 500.00 EUR"),
        ({**XOF, "amount_minor": 1_500_005}, "route.no_amount", "amount", "momo: <= 1500000 XOF"),
        ({**XOF, "amount_minor": 15_003}, "route.no_amount", "amount", "momo: 15000, 15005 XOF"),
        ({**XOF, "manual_capture": True}, "route.no_manual_capture", "capture", "momo: -"),
    ],
)
def test_each_field(kit: Kit, change: dict[str, Any], code: str, field: str, takers: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        kit.pay(**change)
    error = refused.value
    assert (error.code, error.field, error.params["takers"]) == (code, field, takers)
    assert kit.app.queries.payments(_all()).items == []
    assert all(gateway.payments() == [] for gateway in kit.gateways.values())
    kit.pay()  # the key is free


def test_a_gateway_that_is_only_away_for_now_is_no_reason_to_refuse(kit: Kit) -> None:
    kit.app.gateway_settings.set_state(OPERATOR, "cards", "disabled", reason="incident")
    assert kit.pay().payment.failure_code == "no_route"


def test_a_key_that_stands_for_a_payment_answers_with_it(kit: Kit) -> None:
    first = kit.pay()
    kit.app.gateway_settings.set_limit(
        OPERATOR, "cards", "EUR", min_minor=None, max_minor=500, reason="new contract"
    )
    assert kit.pay().payment.id == first.payment.id
    with pytest.raises(Conflict, match=r"key\.reused"):
        kit.pay(amount_minor=9_000)
    with pytest.raises(InvalidInput, match=r"route\.no_amount"):
        kit.pay("k2")


def test_in_a_row_of_payments_only_the_impossible_one_is_refused(kit: Kit) -> None:
    wanted = [kit.input("a"), kit.input("b", currency="USD"), kit.input("b", currency="USD"),
              kit.input("c")]  # fmt: skip
    begun = kit.app.intake.begin(OPERATOR, wanted)
    assert [getattr(each, "code", "begun") for each in begun] == [
        "begun", "route.no_currency", "route.no_currency", "begun",
    ]  # fmt: skip


def _all() -> Any:
    from payctl.payments.details import PaymentFilter

    return PaymentFilter()
