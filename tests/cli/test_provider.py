"""``status`` and ``balance`` of a provider: what it says beside what we say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from payctl.db.engine import Database
from payctl.ids import encode
from tests.cli.runner import Result, run
from tests.cli.schemas import check
from tests.gateways.orange_harness import OrangeHarness
from tests.payments.kit import Kit, make_kit

pytestmark = pytest.mark.gateways


@pytest.fixture
def engine_name() -> str:
    """The services run on both engines in their own tests; here one is enough."""
    return "sqlite"


@pytest.fixture
def shop(db: Database, tmp_path: Path) -> Iterator[tuple[Kit, OrangeHarness]]:
    kit = make_kit(db, tmp_path)
    harness = OrangeHarness("sonatel", kit.clock)
    kit.app.__dict__["gateways"]["om"] = harness.gateway
    yield kit, harness
    harness.close()


def pay(kit: Kit) -> tuple[str, str]:
    """A payment that waits on Orange: its id and our reference there."""
    paid = kit.pay(
        preferred=("om",), method="mobile_money", currency="XOF", amount_minor=15_000, country="SN",
        return_url="https://shop.example/back",
    )  # fmt: skip
    return encode("payment", paid.payment.id), paid.attempts[0].our_reference


def test_status_asks_and_changes_nothing(shop: tuple[Kit, OrangeHarness]) -> None:
    kit, harness = shop
    name, reference = pay(kit)

    def status(*words: str) -> Result:
        return run("orange", "status", *words, "--json", app=kit.app)

    [row] = check(status(name).json)["items"]
    assert (row["status"], row["says"]) == ("requires_action", "requires_action")
    harness.emulator.pay(reference)
    [row] = check(status(reference).json)["items"]
    assert (row["status"], row["says"], row["amount_minor"]) == (
        "requires_action", "succeeded", 15_000,
    )  # fmt: skip
    assert kit.balance("gateway:om:collect", "XOF") == 0
    run("payments", "sync", name, app=kit.app)
    [row] = check(status(name).json)["items"]
    assert (row["status"], kit.balance("gateway:om:collect", "XOF")) == ("succeeded", 15_000)
    harness.emulator.fault("503", times=2)
    silent = status(name)
    assert (silent.code, silent.json["items"][0]["says"]) == (9, "unknown")
    elsewhere = encode("payment", kit.pay("k2").payment.id)
    assert (status(elsewhere).code, status(elsewhere).error["code"]) == (3, "provider.no_attempt")


def test_an_api_without_a_balance_says_so(shop: tuple[Kit, OrangeHarness]) -> None:
    kit, _harness = shop
    told = run("orange", "balance", "--json", app=kit.app)
    assert (told.code, told.error["code"]) == (4, "gateway.not_supported")
    wrong = run("orange", "balance", "--account", "mtn", "--json", app=kit.app)
    assert (wrong.code, wrong.error["code"]) == (2, "choice.unknown")
    del kit.app.gateways["om"]
    none = run("orange", "balance", "--json", app=kit.app)
    assert (none.code, none.error["code"]) == (4, "provider.not_configured")
