"""``payctl momo`` against MTN's emulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from payctl.db.engine import Database
from tests.cli.runner import Result, run
from tests.cli.schemas import check
from tests.gateways.momo_harness import MomoHarness
from tests.payments.kit import Kit, make_kit

pytestmark = pytest.mark.gateways


@pytest.fixture
def engine_name() -> str:
    """The services run on both engines in their own tests; here one is enough."""
    return "sqlite"


@pytest.fixture
def shop(db: Database, tmp_path: Path) -> Iterator[tuple[Kit, MomoHarness]]:
    kit, harness = make_kit(db, tmp_path), MomoHarness()
    kit.app.__dict__["gateways"]["mtn"] = harness.gateway
    yield kit, harness
    harness.close()


def momo(kit: Kit, *words: str) -> Result:
    return run("momo", *words, "--json", app=kit.app)


def test_a_payee_is_asked_about_and_its_number_masked(shop: tuple[Kit, MomoHarness]) -> None:
    kit, _harness = shop
    good = momo(kit, "payee", "+46733000001")
    assert (good.code, check(good.json)["active"]) == (0, True)
    assert "46733000001" not in good.out
    absent = momo(kit, "payee", "+46733123450")
    assert (absent.code, absent.json["active"], absent.json["code"]) == (
        9,
        False,
        "payer_not_found",
    )


def test_balances_are_told_apart(shop: tuple[Kit, MomoHarness]) -> None:
    lines = check(momo(shop[0], "balance").json)["items"]
    assert [each["part"] for each in lines] == ["collect", "float"]


def test_a_user_of_the_sandbox_is_made_and_can_log_in(shop: tuple[Kit, MomoHarness]) -> None:
    kit, harness = shop
    before = len(harness.emulator.access.users)
    dry = momo(kit, "provision", "--host", "pay.example", "--dry-run")
    assert (dry.code, len(harness.emulator.access.users)) == (0, before)
    done = momo(kit, "provision", "--host", "pay.example")
    made = check(done.json)
    assert done.code == 0
    assert made["api_key"] in harness.emulator.access.users[made["user"]].keys
    harness.emulator.fault("401", "provision")
    refused = momo(kit, "provision", "--host", "pay.example")
    assert (refused.code, refused.error["code"]) == (6, "momo.refused")
