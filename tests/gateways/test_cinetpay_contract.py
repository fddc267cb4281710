"""The shipped contract suites against both generations of CinetPay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from payctl.testing.gateway_contract import GatewayContract
from payctl.testing.harness import Harness
from payctl.testing.payout_contract import PayoutContract
from tests.gateways.cinetpay_harness import V1Harness, V2Harness

pytestmark = pytest.mark.gateways


class TestV2(GatewayContract, PayoutContract):
    @pytest.fixture
    def harness(self) -> Iterator[V2Harness]:
        harness = V2Harness()
        yield harness
        harness.close()


class TestV1(GatewayContract, PayoutContract):
    @pytest.fixture
    def harness(self) -> Iterator[V1Harness]:
        harness = V1Harness()
        yield harness
        harness.close()

    def test_no_answer_to_a_payout_without_effect_is_unknown_too(self, harness: Harness) -> None:
        """No document says that a transfer can be asked about by our reference, so that nothing is
        found by it proves nothing."""
        request = self.payout(harness, "no_effect")
        assert harness.gateway.create_payout(request).outcome == "unknown"
        assert self.asked(harness, request).outcome == "unknown"
        assert harness.paid_out(request.currency) == 0
