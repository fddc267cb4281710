"""Taking payments over scripted gateways: every outcome class, fail-over, late effects."""

from __future__ import annotations

import pytest

from payctl.payments.model import PaymentStatus
from tests.payments.kit import OPERATOR, Kit, kinds, states

pytestmark = pytest.mark.integration


def test_a_capture_shares_the_money_out(kit: Kit) -> None:
    result = kit.pay()
    assert result.payment.status is PaymentStatus.SUCCEEDED
    assert states(result) == ["succeeded"]
    assert kinds(result.journals) == ["capture", "gateway_fee"]
    assert kit.balance("wallet:org-1:pending") == 9400
    assert kit.balance("income:commission:ticket_sale") == 500
    assert kit.balance("vat:FR") == 100
    assert kit.our_totals() == kit.provider_totals()


def test_the_same_key_calls_nobody(kit: Kit) -> None:
    first, second = kit.pay(), kit.pay()
    assert second.replayed and second.payment == first.payment
    assert len(kit.gateways["cards"].payments()) == 1


def test_a_lost_answer_stays_open_until_the_provider_is_asked(kit: Kit) -> None:
    result = kit.pay(token="tok_lost_answer")
    assert result.payment.status is PaymentStatus.UNKNOWN
    assert states(result) == ["unknown"]
    assert kit.our_totals() == {}
    kit.wait(seconds=7)
    after = kit.app.payments.process(OPERATOR, kit.input(token="tok_lost_answer"))
    assert after.payment.status is PaymentStatus.SUCCEEDED and after.replayed
    assert kit.our_totals() == kit.provider_totals() != {}
