"""Finding gateways, reading their settings, and what importing costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from payctl.clock import ManualClock
from payctl.errors import NotConfigured
from payctl.gateways.registry import build, names
from tests.gateways.harnesses import sandbox

pytestmark = pytest.mark.unit


def test_our_gateways_are_entry_points() -> None:
    assert {"sandbox", "stripe"} <= set(names())


@pytest.mark.parametrize(
    "code",
    [
        "import payctl.gateways.registry",
        "from payctl.gateways.registry import build;"
        " build('sandbox', 's', {'book': '/nope/x'}, str)",
        "from payctl.gateways.registry import build;"
        " build('stripe', 's', {'secret_key': 'env:X'}, str)",
    ],
)
def test_building_loads_no_heavy_library(code: str) -> None:
    heavy = "sorted({'stripe', 'httpx', 'requests', 'sqlalchemy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print({heavy})"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_only_the_asked_adapter_is_imported() -> None:
    code = (
        "from payctl.gateways.registry import build; import sys;"
        "build('stripe', 's', {'secret_key': 'env:X'}, str);"
        "print('payctl.gateways.sandbox' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("name", "settings", "code", "field"),
    [
        ("nosuch", {}, "gateway.not_installed", "type"),
        ("sandbox", {}, "gateway.setting_missing", "book"),
        ("sandbox", {"book": 3}, "gateway.bad_setting", "book"),
        ("sandbox", {"book": "x", "fee_pmm": 1}, "gateway.unknown_setting", "fee_pmm"),
        ("sandbox", {"book": "x", "fee_ppm": -1}, "gateway.bad_setting", "fee_ppm"),
        ("sandbox", {"book": "x", "fee_ppm": True}, "gateway.bad_setting", "fee_ppm"),
        ("sandbox", {"book": "x", "fee_ppm": 1.5}, "gateway.bad_setting", "fee_ppm"),
        ("sandbox", {"book": "x", "lost_rate": 2}, "gateway.bad_setting", "lost_rate"),
        ("sandbox", {"book": "x", "lost_rate": True}, "gateway.bad_setting", "lost_rate"),
        ("sandbox", {"book": "x", "completes": "never"}, "gateway.bad_setting", "completes"),
        ("sandbox", {"book": "x", "currencies": "EUR XOF"}, None, None),
        ("sandbox", {"book": "x", "currencies": [1]}, "gateway.bad_setting", "currencies"),
        ("sandbox", {"book": "x", "limits": {"EUR": 5}}, "gateway.bad_setting", "limits"),
        ("sandbox", {"book": "x", "fee_fixed": {"EUR": "5"}}, "gateway.bad_setting", "fee_fixed"),
        ("sandbox", {"book": "x", "script": ["create sing"]}, "gateway.bad_script", "script"),
        ("sandbox", {"book": "x", "script": ["dance ok"]}, "gateway.bad_script", "script"),
        ("sandbox", {"book": "x", "script": ["create ok x0"]}, "gateway.bad_script", "script"),
        ("sandbox", {"book": "x", "script": "/nope"}, "gateway.script_unreadable", "script"),
        ("sandbox", {"book": "x", "outages": ["tomorrow"]}, "gateway.bad_setting", "outages"),
        ("sandbox", {"book": "x", "type": "sandbox", "priority": 3}, None, None),
        ("stripe", {}, "gateway.setting_missing", "secret_key"),
        ("stripe", {"secret_key": "env:X", "webhook_secret": "y"}, "gateway.unknown_setting",
         "webhook_secret"),
    ],
)  # fmt: skip
def test_settings_are_read_strictly(
    name: str, settings: dict[str, Any], code: str | None, field: str | None
) -> None:
    if code is None:
        assert build(name, "acc", settings, str).account == "acc"
        return
    with pytest.raises(NotConfigured) as caught:
        build(name, "acc", settings, str)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert caught.value.params["account"] == "acc"


def test_values_from_the_environment_come_as_text(tmp_path: Path, clock: ManualClock) -> None:
    gateway = sandbox(tmp_path, clock, fee_ppm="14000", revocable="false", currencies="EUR, XOF")
    assert gateway.terms.rules.fee_ppm == 14_000
    assert gateway.capabilities.revocable is False
    assert gateway.capabilities.currencies == frozenset({"EUR", "XOF"})


def test_a_secret_is_resolved_on_first_use_and_once() -> None:
    asked: list[str] = []

    def secrets(reference: str) -> str:
        asked.append(reference)
        return "sk_live_x"

    gateway = build("stripe", "acc", {"secret_key": "cmd:pass show stripe"}, secrets)
    assert asked == []
    assert gateway.live and gateway.live
    assert asked == ["cmd:pass show stripe"]


@pytest.mark.parametrize(
    ("key", "live"),
    [("sk_test_1", False), ("rk_test_1", False), ("sk_live_1", True), ("rk_live_1", True),
     ("unheard_of", True)],
)  # fmt: skip
def test_a_key_that_is_not_one_of_test_mode_is_live(key: str, live: bool) -> None:
    assert build("stripe", "acc", {"secret_key": "env:K"}, lambda _: key).live is live


def test_the_sandbox_is_never_live(tmp_path: Path, clock: ManualClock) -> None:
    assert sandbox(tmp_path, clock).live is False
