"""``payctl paypal`` against the emulated PayPal over real HTTP: no side door to the provider."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from payctl.db.engine import Database
from payctl.ids import encode
from tests.cli.runner import Result, run
from tests.cli.schemas import check
from tests.gateways.paypal_harness import PaypalHarness
from tests.payments.kit import Kit, make_kit

pytestmark = pytest.mark.gateways


@pytest.fixture
def engine_name() -> str:
    """The services run on both engines in their own tests; here one is enough."""
    return "sqlite"


@dataclass
class Shop:
    kit: Kit
    harness: PaypalHarness

    def run(self, *words: str) -> Result:
        return run("paypal", *words, "--json", app=self.kit.app)

    def create(self, *words: str, key: str = "k1") -> Any:
        line = ["orders", "create", "--amount", "25.00", "--currency", "EUR", "--organiser",
                "org-1", "--country", "FR", "--return-url", "https://shop.example/back", "--key",
                key]  # fmt: skip
        return self.run(*line, *words)

    def sent(self, ending: str) -> int:
        """How many POSTs went to an address that ends so."""
        return sum(each.method == "POST" and each.path.endswith(ending)
                   for each in self.harness.provider.requests)  # fmt: skip


@pytest.fixture
def shop(db: Database, tmp_path: Path) -> Iterator[Shop]:
    kit = make_kit(db, tmp_path)
    harness = PaypalHarness(kit.clock)
    kit.app.__dict__["gateways"]["pp"] = harness.gateway
    yield Shop(kit, harness)
    harness.close()
    for gateway in kit.gateways.values():
        gateway.close()


def test_an_order_is_a_payment_that_waits_for_its_customer(shop: Shop) -> None:
    planned = shop.create("--dry-run")
    assert (planned.code, shop.sent("/orders")) == (0, 0)
    done = shop.create()
    shown = check(done.json)
    assert (done.code, shown["status"], shown["gateway"]) == (8, "requires_action", "pp")
    assert "checkoutnow?token=" in shown["next_action"]["url"]
    assert shop.create().json["replayed"] and shop.sent("/orders") == 1
    order = shown["provider_reference"]
    assert order in shop.harness.provider.books.orders
    by_order = check(shop.run("orders", "show", order).json)
    assert by_order["id"] == shown["id"]
    assert shop.run("orders", "show", "NOSUCHORDER").code == 3


def test_capturing_takes_what_the_customer_approved_once(shop: Shop) -> None:
    order = shop.create().json["provider_reference"]
    early = shop.run("orders", "capture", order)
    assert (early.code, early.json["status"], shop.sent("/capture")) == (8, "requires_action", 0)
    shop.harness.provider.approve(order)
    planned = shop.run("orders", "capture", order, "--dry-run")
    assert (planned.code, shop.sent("/capture")) == (0, 0)
    done = shop.run("orders", "capture", order)
    assert (done.code, check(done.json)["status"]) == (0, "succeeded")
    again = shop.run("orders", "capture", order)
    assert (again.code, again.json["status"], shop.sent("/capture")) == (0, "succeeded", 1)
    assert shop.harness.taken("EUR") == 2500
    assert shop.kit.balance("gateway:pp:collect") == 2500 - 107
    assert shop.kit.balance("wallet:org-1:pending") == 2350


@pytest.mark.parametrize("fault", ["drop_after", "503_after", "html_after"])
def test_a_lost_answer_to_the_capture_takes_the_money_once(shop: Shop, fault: str) -> None:
    order = shop.create().json["provider_reference"]
    shop.harness.provider.approve(order)
    shop.harness.provider.fault(fault, "order.capture")
    shop.run("orders", "capture", order)
    again = shop.run("orders", "capture", order)
    assert (again.code, again.json["status"]) == (0, "succeeded")
    assert shop.harness.taken("EUR") == 2500
    assert shop.kit.balance("wallet:org-1:pending") == 2350


def test_a_declined_capture_ends_the_payment(shop: Shop) -> None:
    order = shop.create().json["provider_reference"]
    shop.harness.provider.approve(order)
    shop.harness.provider.fault("issue:PAYER_CANNOT_PAY", "order.capture")
    done = shop.run("orders", "capture", order)
    assert (done.code, done.json["status"]) == (6, "failed")
    assert shop.harness.taken("EUR") == 0 == shop.kit.balance("wallet:org-1:pending")


def test_a_payment_of_another_gateway_is_no_order(shop: Shop) -> None:
    other = encode("payment", shop.kit.pay().payment.id)
    for verb in ("show", "capture"):
        done = shop.run("orders", verb, other)
        assert (done.code, done.error["code"]) == (5, "provider.other_gateway")


def test_status_and_balance_ask_paypal(shop: Shop) -> None:
    order = shop.create().json["provider_reference"]
    shop.harness.provider.approve(order)
    [row] = check(shop.run("status", order).json)["items"]
    assert (row["status"], row["says"]) == ("requires_action", "approved")
    [line] = check(shop.run("balance").json)["items"]
    assert (line["gateway"], line["currency"], line["available_minor"]) == ("pp", "EUR", 10_000_000)


def test_without_an_account_of_paypal_it_says_so(kit: Kit) -> None:
    for words in (("balance",), ("orders", "show", "X"), ("orders", "capture", "X")):
        done = run("paypal", *words, "--json", app=kit.app)
        assert (done.code, done.error["code"]) == (4, "provider.not_configured")


@pytest.mark.parametrize("fault", ["drop_after", "503_after"])
def test_a_refund_whose_answer_was_lost_is_given_once(shop: Shop, fault: str) -> None:
    made = shop.create().json
    shop.harness.provider.approve(made["provider_reference"])
    shop.run("orders", "capture", made["id"])
    shop.harness.provider.fault(fault, "capture.refund")
    app = shop.kit.app
    first = run("refunds", "create", made["id"], "--amount", "10.00", "--reason", "called off",
                "--key", "r1", "--json", app=app)  # fmt: skip
    assert first.code == 8
    shop.kit.clock.advance(timedelta(minutes=5))
    run("payments", "sync", made["id"], "--json", app=app)
    shown = run("refunds", "show", first.json["id"], "--json", app=app).json
    assert (shown["status"], shop.harness.refunded("EUR")) == ("succeeded", 1000)
    assert shop.sent("/refund") == 1, "a question found it"


def test_a_held_order_is_taken_in_part_and_the_rest_released(shop: Shop) -> None:
    made = shop.create("--capture", "manual").json
    shop.harness.provider.approve(made["provider_reference"])
    held = shop.run("orders", "capture", made["provider_reference"])
    assert (held.code, held.json["status"], shop.harness.taken("EUR")) == (0, "authorized", 0)
    taken = run("payments", "capture", made["id"], "--amount", "20.00", "--key", "c1", "--json",
                app=shop.kit.app)  # fmt: skip
    assert (taken.code, taken.json["status"]) == (0, "succeeded")
    assert shop.harness.taken("EUR") == 2000


def test_an_open_order_cannot_be_revoked_and_nothing_is_sent(shop: Shop) -> None:
    made = shop.create().json
    before = len(shop.harness.provider.requests)
    done = run("payments", "cancel", made["id"], "--reason", "withdrawn", "--json",
               app=shop.kit.app)  # fmt: skip
    assert (done.code, done.error["code"]) == (5, "payment.not_revocable")
    assert len(shop.harness.provider.requests) == before
