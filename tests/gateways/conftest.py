"""The gateways that several files here test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from payctl.clock import ManualClock
from payctl.gateways.sandbox import SandboxGateway
from payctl.testing.emulators.momo import MomoEmulator
from payctl.testing.stripe_fake import StripeFake
from tests.gateways.harnesses import START, StripeHarness, resources, sandbox
from tests.gateways.momo_harness import MomoHarness
from tests.gateways.paypal_harness import PaypalHarness


@pytest.fixture
def gateway(tmp_path: Path, clock: ManualClock) -> Iterator[SandboxGateway]:
    """A sandbox with fees: 1.4 % and 0.25 EUR."""
    made = sandbox(tmp_path, clock, fee_ppm=14_000, fee_fixed={"EUR": 25})
    yield made
    made.close()


@pytest.fixture
def stripe() -> Iterator[StripeHarness]:
    """Stripe's adapter and the fake it talks to."""
    with StripeFake(resources()) as fake:
        harness = StripeHarness(fake)
        yield harness
        harness.close()


@pytest.fixture
def paypal() -> Iterator[PaypalHarness]:
    """PayPal's adapter and the emulator it talks to, at one time for both."""
    harness = PaypalHarness(ManualClock(START))
    yield harness
    harness.close()


@pytest.fixture(scope="module")
def _momo() -> Iterator[MomoHarness]:
    made = MomoHarness()
    yield made
    made.close()


@pytest.fixture
def momo(_momo: MomoHarness) -> Iterator[MomoHarness]:
    """MTN's adapter and its emulator, empty: one provider serves a whole file."""
    _momo.emulator.asked.clear()
    yield _momo
    _momo.emulator.clear_faults()


@pytest.fixture
def abidjan() -> Iterator[MomoHarness]:
    """The live market of Côte d'Ivoire, collection only."""
    emulator = MomoEmulator(currency="XOF", target="mtnivorycoast")
    made = MomoHarness(emulator, environment="mtnivorycoast", products=("collection",))
    yield made
    made.close()
