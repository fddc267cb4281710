"""MTN Mobile Money against the contract that every gateway keeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from payctl.testing.gateway_contract import GatewayContract
from payctl.testing.payout_contract import PayoutContract
from tests.gateways.momo_harness import MomoHarness

pytestmark = pytest.mark.gateways


class TestMomo(GatewayContract, PayoutContract):
    @pytest.fixture
    def harness(self) -> Iterator[MomoHarness]:
        harness = MomoHarness()
        yield harness
        harness.close()
