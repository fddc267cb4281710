"""Orange Money's APIs against the contract that every gateway keeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from payctl.testing.gateway_contract import GatewayContract
from payctl.testing.payout_contract import PayoutContract
from tests.gateways.orange_harness import OrangeHarness

pytestmark = pytest.mark.gateways


class TestWebPayment(GatewayContract):
    @pytest.fixture
    def harness(self) -> Iterator[OrangeHarness]:
        harness = OrangeHarness("webpay")
        yield harness
        harness.close()


class TestCameroon(GatewayContract, PayoutContract):
    @pytest.fixture
    def harness(self) -> Iterator[OrangeHarness]:
        harness = OrangeHarness("cameroon")
        yield harness
        harness.close()


class TestSonatel(GatewayContract, PayoutContract):
    @pytest.fixture
    def harness(self) -> Iterator[OrangeHarness]:
        harness = OrangeHarness("sonatel")
        yield harness
        harness.close()
