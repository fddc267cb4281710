"""The emulated Stripe as a process offers it: payctl's own adapter pays there and gives back."""

from __future__ import annotations

import io
import threading
import urllib.request
from contextlib import redirect_stdout
from typing import Any

import pytest

from payctl.gateways.base import PaymentRequest, Reference, RefundRequest
from payctl.gateways.registry import build
from payctl.testing.emulators.__main__ import described, discovered, main
from payctl.testing.emulators.server import EmulatorServer

pytestmark = pytest.mark.gateways


@pytest.fixture
def server() -> Any:
    found = discovered()
    with EmulatorServer(found["stripe"](), found["paypal"]()) as server:
        yield server


def adapter(server: EmulatorServer, key: str) -> Any:
    return build("stripe", "st", {"secret_key": "env:K", "api_base": f"{server.url}/stripe"},
                 lambda _: key)  # fmt: skip


def test_the_adapter_pays_and_gives_back_beside_another_provider(server: EmulatorServer) -> None:
    gateway = adapter(server, "sk_test_any")
    request = PaymentRequest("att_1", "k1", 2500, "EUR", "card", payment_token="pm_card_visa")
    paid = gateway.create_payment(request)
    assert (paid.outcome, paid.amount_minor) == ("succeeded", 2500)
    about = Reference("att_1", paid.provider_reference)
    back = gateway.refund_payment(RefundRequest(about, "rfd_1", "k2", 1000, "EUR"))
    assert back.outcome == "succeeded"
    with urllib.request.urlopen(f"{server.url}/_emulator/stripe/state") as answer:
        assert paid.provider_reference in answer.read().decode()
    refused = adapter(server, "sk_live_never").create_payment(request)
    assert (refused.outcome, refused.reject) == ("rejected", "auth")


def test_its_faults_are_armed_from_outside(server: EmulatorServer) -> None:
    told = described(server, discovered()["stripe"]())
    armed = told.partition("-d '")[2].partition("'")[0].encode()
    address = f"{server.url}/_emulator/stripe/faults"
    assert urllib.request.urlopen(address, data=armed).status < 300
    request = PaymentRequest("att_2", "k9", 2500, "EUR", "card", payment_token="pm_card_visa")
    gateway = adapter(server, "sk_test_any")
    assert gateway.create_payment(request).outcome == "unknown"
    assert gateway.create_payment(request).outcome == "succeeded"  # the same key, the first effect


def test_the_process_offers_it() -> None:
    stop, out = threading.Event(), io.StringIO()
    stop.set()
    with redirect_stdout(out):
        assert main(["stripe", "--port", "0"], stop) == 0
    assert out.getvalue().startswith("stripe: http://127.0.0.1:")
