"""PayPal's adapter against the contract that every gateway keeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from payctl.testing.gateway_contract import GatewayContract
from payctl.testing.payout_contract import PayoutContract
from tests.gateways.paypal_harness import PaypalHarness, PaypalPayoutHarness

pytestmark = pytest.mark.gateways


class TestPaypal(GatewayContract):
    @pytest.fixture
    def harness(self) -> Iterator[PaypalHarness]:
        harness = PaypalHarness()
        yield harness
        harness.close()


class TestPaypalPayouts(PayoutContract):
    @pytest.fixture
    def harness(self) -> Iterator[PaypalPayoutHarness]:
        harness = PaypalPayoutHarness()
        yield harness
        harness.close()
