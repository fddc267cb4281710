"""Another's client of CinetPay's checkout (``CinetPay`` 0.0.1, MIT) against our emulator.

It wants ``simplejson`` and ``pydantic``, which would change what other tests of this environment
import, so it lives in a folder of its own that is filled once, and runs in a process of its own.
Its check of a payment is broken (it asks ``//v2/payment/check``), so only its creation is tried.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from payctl.gateways.base import Reference
from payctl.testing.emulators.cinetpay import APIKEY, SITE_ID
from tests.gateways.cinetpay_harness import V2Harness
from tests.gateways.peer_clients import installed

pytestmark = [pytest.mark.gateways, pytest.mark.xdist_group("cinetpay_peer")]
PACKAGES = ("CinetPay==0.0.1", "simplejson==4.3.0", "colorlog==6.12.0", "pydantic==2.14.4",
            "pydantic-core==2.50.5", "annotated-types==0.8.0", "typing-inspection==0.4.5",
            "typing-extensions==4.16.0")  # fmt: skip
CLIENT = """
import json, sys
from cinetpay import Client, Config, Credential, Customer, Order
host, apikey, site_id, name, amount = sys.argv[1:]
client = Client(Config(
    host=host, credentials=Credential(apikey=apikey, site_id=site_id), currency="XOF",
    language="fr", channels="ALL", lock_phone_number=False, raise_on_error=False))
customer = Customer("c1", "Kone", "Awa", "+2250708091011")
order = Order(id=name, amount=int(amount), customer=customer, description="Billet",
              notify_url="https://shop.example/hook", return_url="https://shop.example/back")
answer = client.initialize_transaction(order)
print("\\n" + json.dumps([answer.response.status_code, answer.response.json()]))
"""


@pytest.fixture
def folder(pytestconfig: pytest.Config) -> Path:
    return installed(
        pytestconfig, "cinetpay-0.0.1",
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile",
         "--disable-pip-version-check", "--retries=0", *PACKAGES, "--target"],
    )  # fmt: skip


@pytest.fixture
def v2() -> Iterator[V2Harness]:
    harness = V2Harness()
    yield harness
    harness.close()


def create(folder: Path, url: str, name: str, amount: int, apikey: str = APIKEY) -> list[object]:
    line = [sys.executable, "-W", "ignore", "-c", CLIENT, url, apikey, SITE_ID, name, str(amount)]
    environ = {"PYTHONPATH": str(folder), "PATH": os.environ["PATH"]}
    done = subprocess.run(line, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    answer: list[object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_it_creates_a_payment_that_our_adapter_finds(folder: Path, v2: V2Harness) -> None:
    status, answer = create(folder, v2.server.url, "peer1", 500)
    assert isinstance(answer, dict)
    assert (status, answer["code"], answer["message"]) == (201, "201", "CREATED")
    assert answer["data"]["payment_url"].startswith(v2.server.url)
    v2.emulator.checkout.pay("peer1")
    found = v2.gateway.query_payment(Reference("peer1"))
    assert (found.outcome, found.amount_minor, found.currency) == ("succeeded", 500, "XOF")


def test_it_is_refused_as_cinetpay_would(folder: Path, v2: V2Harness) -> None:
    for name, amount, key, code in (("p2", 501, APIKEY, "628"), ("p3", 500, "wrong", "609")):
        status, answer = create(folder, v2.server.url, name, amount, key)
        assert isinstance(answer, dict)
        assert (status, answer["code"]) == (400, code)
    assert v2.emulator.checkout.payments == {}
