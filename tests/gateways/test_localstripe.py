"""Stripe's adapter against localstripe, an outside opinion in a process of its own.

It ignores idempotency keys, allows refunds above the charge, says no ``amount_received`` and
refuses newer parameters, so what money safety depends on is tested against our own fake instead.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from payctl.gateways.base import CaptureRequest
from payctl.gateways.registry import build
from payctl.gateways.stripe import StripeGateway
from tests.gateways.harnesses import free_port
from tests.gateways.stripe_calls import by_ours, known, refund, request

pytestmark = pytest.mark.gateways


#: Runs the program as it is, except that it listens on loopback: it has no option for that.
ON_LOOPBACK = """
import runpy, socket
bind = socket.socket.bind
def loopback(self, address):
    if self.family == socket.AF_INET6:
        self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        address = ("::ffff:127.0.0.1", *address[1:])
    return bind(self, address)
socket.socket.bind = loopback
runpy.run_module("localstripe", run_name="__main__")
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StripeGateway]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_LOOPBACK, "--port", str(port), "--from-scratch"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path_factory.mktemp("localstripe"),
    )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.5).close()
                break
            except OSError:
                assert process.poll() is None, "localstripe has ended"
                assert time.monotonic() < until, "localstripe does not answer"
                time.sleep(0.1)
        made = build(
            "stripe",
            "st",
            {
                "secret_key": "env:KEY",
                "api_base": f"http://127.0.0.1:{port}",
                "plain_requests": True,
            },
            lambda _: "sk_test_12345",
        )
        assert isinstance(made, StripeGateway)
        yield made
        made.close()
    finally:
        process.terminate()
        process.wait(20)


def test_pay_ask_and_refund(gateway: StripeGateway) -> None:
    assert gateway.ping().ok
    paid = gateway.create_payment(request("ls1"))
    assert (paid.outcome, paid.amount_minor, paid.currency) == ("succeeded", 2500, "EUR")
    assert gateway.query_payment(known(paid)).amount_minor == 2500
    assert gateway.query_payment(by_ours("ls1")).provider_reference == paid.provider_reference
    given = gateway.refund_payment(refund(known(paid), 1000, "ls1"))
    assert (given.outcome, given.amount_minor, given.currency) == ("succeeded", 1000, "EUR")
    assert gateway.query_refund(known(given)).our_reference == "rfd_ls1"
    assert gateway.query_refund(by_ours("ls1", our_reference="rfd_ls1")).outcome == "succeeded"


def test_zero_decimals(gateway: StripeGateway) -> None:
    paid = gateway.create_payment(request("ls2", amount_minor=15_000, currency="XOF"))
    assert (paid.outcome, paid.amount_minor, paid.currency) == ("succeeded", 15_000, "XOF")


def test_authorise_capture_and_cancel(gateway: StripeGateway) -> None:
    held = gateway.create_payment(request("ls3", manual_capture=True))
    assert (held.outcome, held.amount_minor) == ("authorized", 2500)
    taken = gateway.capture_payment(CaptureRequest(known(held), "cap", "key_cap", 2500, "EUR"))
    assert (taken.outcome, taken.captured_minor) == ("succeeded", 2500)
    other = gateway.create_payment(request("ls4", manual_capture=True))
    assert gateway.cancel_payment(known(other), "key_cancel").outcome == "canceled"
    assert gateway.query_payment(known(other)).outcome == "canceled"


def test_a_payment_that_waits_for_the_customer_s_page(gateway: StripeGateway) -> None:
    page = gateway.create_payment(request("ls6", payment_token=None))
    assert page.outcome == "requires_action"
    assert page.next_action is not None and page.next_action.client_secret


def test_lists_and_customers(gateway: StripeGateway) -> None:
    now = datetime.now(UTC)
    gateway.create_payment(request("ls7"))
    listed = list(gateway.list_payments(now - timedelta(hours=1), now + timedelta(hours=1)))
    assert "att_ls7" in [one.our_reference for one in listed]
    made = gateway.customers.create(email="a@example.com", idempotency_key="key_customer")
    assert gateway.customers.get(made.id).email == "a@example.com"
    assert made.id in [one.id for one in gateway.customers.list()]
