"""Other people's MTN clients against our emulator: if they work, it speaks MTN's language.

Each is installed once, into pytest's cache, from its package index; where that cannot be reached,
or where the client's language is not on this machine, its test is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from payctl.testing.emulators.core import Request
from payctl.testing.emulators.momo import MomoEmulator
from payctl.testing.emulators.momo_access import API_KEYS, SUBSCRIPTION_KEYS, USERS
from payctl.testing.emulators.server import EmulatorServer
from tests.gateways.momo_harness import PRODUCTS
from tests.gateways.peer_clients import installed

#: One process for the file: two would install at once.
pytestmark = [pytest.mark.gateways, pytest.mark.xdist_group("momo_peers")]
PEERS = Path(__file__).parent / "peers"
CREDENTIALS = [
    each[product] for product in PRODUCTS for each in (SUBSCRIPTION_KEYS, USERS, API_KEYS)
]


@pytest.fixture
def provider() -> Iterator[tuple[MomoEmulator, str]]:
    emulator = MomoEmulator()
    with EmulatorServer(emulator) as server:
        yield emulator, server.url


def played(command: Sequence[str], **environ: str) -> Any:
    """What a client's script printed on its last line."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", **environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_mtn_momo_of_npm_collects_pays_and_is_refused(
    pytestconfig: pytest.Config, provider: tuple[MomoEmulator, str]
) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("there is no node here")
    folder = installed(
        pytestconfig, "mtn-momo-2.0.0",
        [npm, "install", "mtn-momo@2.0.0", "--no-audit", "--no-fund", "--ignore-scripts",
         "--fetch-retries=0", "--loglevel=error", "--prefix"],
    )  # fmt: skip
    emulator, url = provider
    module = str(folder / "node_modules" / "mtn-momo")
    seen = played([node, str(PEERS / "mtn_momo.js"), module, url, *CREDENTIALS])
    assert seen == {
        "provisioned": 32,
        "paid": ["SUCCESSFUL", "50", "46733000001"],
        "refused": "UnspecifiedError",  # it knows no REJECTED
        "open": "PENDING",
        "down": "ServiceUnavailableError",
        "unknown": "ResourceNotFoundError",
        "collected": {"availableBalance": "50", "currency": "EUR"},
        "active": True,
        "transferred": "SUCCESSFUL",
        "again": "ResourceAlreadyExistError",
        "payee_active": True,
        "wrong_product": "UnspecifiedError",
    }
    assert (emulator.moved("requesttopay", "EUR"), emulator.moved("transfer", "EUR")) == (50, 20)
    assert [each.method for each in emulator.deliveries] == ["PUT"]


def test_mtnmomo_of_pypi_collects_and_pays(
    pytestconfig: pytest.Config, provider: tuple[MomoEmulator, str]
) -> None:
    folder = installed(
        pytestconfig, f"mtnmomo-3.0.1-{sys.version_info.major}.{sys.version_info.minor}",
        [sys.executable, "-m", "pip", "install", "mtnmomo==3.0.1", "--quiet", "--retries=0",
         "--disable-pip-version-check", "--target"],
    )  # fmt: skip
    path = str(folder)
    script = [sys.executable, "-W", "ignore", "-c"]
    ready = subprocess.run(
        [*script, "import mtnmomo.collection"], env={"PYTHONPATH": path}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    if ready.returncode:
        pytest.skip(f"it does not run on this Python: {ready.stderr.strip()[-120:]}")
    emulator, url = provider
    peer = [sys.executable, "-W", "ignore", str(PEERS / "mtnmomo_client.py")]
    seen = played([*peer, url, *CREDENTIALS], PYTHONPATH=path)
    assert "404" in seen.pop("unknown") and "INVALID_CURRENCY" in seen.pop("currency")
    assert seen == {
        "paid": ["SUCCESSFUL", "600", "256772123456"],
        "collected": {"availableBalance": "600", "currency": "EUR"},
        "transferred": "SUCCESSFUL",
        "float": {"availableBalance": "999900", "currency": "EUR"},
    }
    tokens = [each for each in emulator.requests if each.path.endswith("/token/")]
    assert len(tokens) == 8, "it asks for a token before each call"


# --- MTN's acceptance sheet (SIT): what a client must have seen before it may go live -------------

REFERENCE = "22222222-2222-4222-8222-222222222222"
BODY = {"amount": "5", "currency": "EUR", "externalId": "o-1",
        "payer": {"partyIdType": "MSISDN", "partyId": "46733000001"}}  # fmt: skip


def ask(
    emulator: MomoEmulator, method: str = "POST", path: str = "/collection/v1_0/requesttopay",
    body: Any = BODY, **headers: str,
) -> tuple[int, str]:  # fmt: skip
    """One call with good credentials, changed by *headers* (``_`` for ``-``)."""
    usual = {
        "ocp-apim-subscription-key": SUBSCRIPTION_KEYS["collection"],
        "authorization": f"Bearer {token(emulator)}", "x-target-environment": "sandbox",
        "x-reference-id": REFERENCE,
    }  # fmt: skip
    sent = usual | {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(method, path, {}, sent, json.dumps(body).encode())
    response = emulator.receive(request).response
    assert response is not None
    code = response.body.get("code", "") if isinstance(response.body, dict) else ""
    return response.status, code


def token(emulator: MomoEmulator, product: str = "collection", body: bytes = b"") -> str:
    basic = b64encode(f"{USERS[product]}:{API_KEYS[product]}".encode()).decode()
    headers = {
        "ocp-apim-subscription-key": SUBSCRIPTION_KEYS[product],
        "authorization": f"Basic {basic}",
    }
    response = emulator.receive(Request("POST", f"/{product}/token/", {}, headers, body)).response
    assert response is not None and isinstance(response.body, dict)
    return str(response.body.get("access_token", response.status))


def test_the_acceptance_sheet() -> None:
    emulator = MomoEmulator()
    bad_key = "0" * 32
    assert ask(emulator, ocp_apim_subscription_key=bad_key) == (
        401, "ACCESS_DENIED_SUBSCRIPTION_KEY",
    )  # fmt: skip
    assert ask(emulator, authorization="Bearer nonsense") == (401, "UNAUTHORIZED_TOKEN")
    assert ask(emulator, body={**BODY, "currency": None}) == (400, "BAD_REQUEST")
    assert ask(emulator, body={k: v for k, v in BODY.items() if k != "currency"})[0] == 400
    assert ask(emulator, x_target_environment="mtnmars") == (500, "NOT_ALLOWED_TARGET_ENVIRONMENT")
    known = "/collection/v1_0/requesttopay/"
    assert ask(emulator, "GET", known + REFERENCE) == (404, "RESOURCE_NOT_FOUND")
    assert ask(emulator, "GET", known + "not-a-reference") == (400, "BAD_REQUEST")
    assert not emulator.asked
    assert ask(emulator) == (202, "")
    assert ask(emulator) == (409, "RESOURCE_ALREADY_EXIST")
    assert ask(emulator, "GET", known + REFERENCE)[0] == 200
    assert len(emulator.asked) == 1


@pytest.mark.parametrize(
    "change",
    [{"payerMessage": "Billet d'entrée"}, {"payeeNote": "x" * 161}, {"amount": 5}, {"amount": "0"},
     {"amount": "-5"}, {"amount": "5.001"}, {"payer": {"partyIdType": "MSISDN",
     "partyId": "+46733000001"}}, {"payer": None}],
)  # fmt: skip
def test_what_mtn_refuses_is_refused(change: dict[str, Any]) -> None:
    emulator = MomoEmulator()
    assert ask(emulator, body={**BODY, **change}) == (400, "BAD_REQUEST")
    assert not emulator.asked


def test_nothing_of_one_product_opens_the_other() -> None:
    emulator = MomoEmulator()
    other = token(emulator, "disbursement")
    assert ask(emulator, authorization=f"Bearer {other}") == (401, "UNAUTHORIZED_TOKEN")
    assert ask(emulator) == (202, "")
    elsewhere = f"/disbursement/v1_0/transfer/{REFERENCE}"
    key = SUBSCRIPTION_KEYS["disbursement"]
    found = ask(emulator, "GET", elsewhere, authorization=f"Bearer {other}",
                ocp_apim_subscription_key=key)  # fmt: skip
    assert found == (404, "RESOURCE_NOT_FOUND")
    assert ask(emulator, "GET", "/collection/v1_0/transfer/x")[0] == 404
    assert token(emulator, body=b'{"grant_type": "x"}') == "400"


def test_callbacks_go_to_the_registered_host_only() -> None:
    emulator = MomoEmulator()
    assert ask(emulator, x_callback_url="http://elsewhere.example/x") == (
        500, "INVALID_CALLBACK_URL_HOST",
    )  # fmt: skip
    assert ask(emulator, x_callback_url="http://localhost/x") == (202, "")
    assert [each.url for each in emulator.deliveries] == ["http://localhost/x"]
