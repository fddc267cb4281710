"""The shipped contract suite, run against what we ship."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from payctl.testing.gateway_contract import GatewayContract
from payctl.testing.payout_contract import PayoutContract
from payctl.testing.stripe_fake import StripeFake
from tests.gateways.harnesses import (
    ApprovingSandboxHarness,
    CheckoutHarness,
    ConnectHarness,
    SandboxHarness,
    StripeHarness,
    resources,
)

pytestmark = pytest.mark.gateways


class TestSandbox(GatewayContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[SandboxHarness]:
        harness = SandboxHarness(tmp_path)
        yield harness
        harness.provider.close()


class TestSandboxThatCanDoLittle(GatewayContract):
    """Like a mobile money push: no key twice, no cancelling, no capture by hand, no refunds."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[SandboxHarness]:
        harness = SandboxHarness(
            tmp_path,
            resend_window_s=0,
            revocable=False,
            manual_capture=False,
            refunds="none",
            query_refunds=False,
            reports_balance=False,
            lists_payments=False,
            status_reports_amount=True,
            currencies=["EUR", "XOF"],
            limits={"EUR": [100, 500_000]},
        )
        yield harness
        harness.provider.close()


class TestSandboxThatPaysOut(GatewayContract, PayoutContract):
    """Like mobile money with a prefunded float; it names the payer, who has no refund."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[SandboxHarness]:
        harness = SandboxHarness(
            tmp_path,
            refunds="none",
            query_refunds=False,
            reports_payer=True,
            currencies=["EUR", "XOF"],
            payouts=["msisdn"],
            payout_limits={"EUR": [100, 500_000], "XOF": [500, 1_000_000]},
            payout_steps={"XOF": 5},
            float={"EUR": 1_000_000, "XOF": 1_000_000},
        )
        yield harness
        harness.provider.close()


class TestSandboxThatWaitsForApproval(GatewayContract):
    """The customer agrees, and ``complete_payment`` takes the money."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[ApprovingSandboxHarness]:
        harness = ApprovingSandboxHarness(tmp_path)
        yield harness
        harness.provider.close()


class TestStripe(GatewayContract):
    @pytest.fixture
    def harness(self) -> Iterator[StripeHarness]:
        with StripeFake(resources()) as fake:
            harness = StripeHarness(fake)
            yield harness
            harness.close()


class TestStripeCheckout(GatewayContract):
    @pytest.fixture
    def harness(self) -> Iterator[CheckoutHarness]:
        with StripeFake(resources()) as fake:
            harness = CheckoutHarness(fake)
            yield harness
            harness.close()


class TestStripeConnect(PayoutContract):
    @pytest.fixture
    def harness(self) -> Iterator[ConnectHarness]:
        with StripeFake(resources()) as fake:
            harness = ConnectHarness(fake)
            yield harness
            harness.close()
