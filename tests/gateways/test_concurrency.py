"""A slow provider: bounded connections, and all done in about the time of their waves."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from payctl.db.engine import Database
from payctl.gateways.base import Outcome, PaymentRequest
from payctl.gateways.registry import GROUP
from payctl.payments.pipeline import Pipeline
from payctl.testing.emulators.server import EmulatorServer
from tests.gateways.example_gateway import ExampleGateway
from tests.gateways.slow_provider import SlowProvider, rush
from tests.payments.kit import CARDS, OPERATOR, Kit, make_kit

pytestmark = pytest.mark.gateways
PAYMENTS, CONNECTIONS, ANSWER_S = 40, 10, 0.2
#: So many waves of answers, if every connection is always in use.
WAVES_S = PAYMENTS / CONNECTIONS * ANSWER_S
#: What a busy machine may add to that; one after the other would take ten times the waves.
LONGEST_S = 5 * WAVES_S


def test_more_callers_than_connections_wait_their_turn() -> None:
    provider = SlowProvider(ANSWER_S)
    with EmulatorServer(provider) as server:
        gateway = ExampleGateway("slow", server.url, max_connections=CONNECTIONS)

        def pay(number: int) -> Outcome:
            name = f"r-{number}"
            request = PaymentRequest(name, name, 1500, "XOF", "mobile_money")
            return gateway.create_payment(request).outcome

        done = rush(provider, PAYMENTS, PAYMENTS, pay)
        gateway.close()
    assert done.results == [Outcome.SUCCEEDED] * PAYMENTS
    assert done.connections == CONNECTIONS
    assert WAVES_S <= done.seconds < LONGEST_S


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


def test_the_whole_way_of_many_payments_is_as_quick_as_the_provider(
    db: Database, tmp_path: Path
) -> None:
    kit: Kit = make_kit(db, tmp_path, {"cards": CARDS})
    provider, ends = SlowProvider(ANSWER_S), list[str]()
    with EmulatorServer(provider) as server:
        gateway = ExampleGateway("slow", server.url, max_connections=CONNECTIONS)
        kit.app.__dict__["gateways"] = {"slow": gateway}
        app = kit.app
        pipeline = Pipeline(
            app.payments, app.intake, app.first_answers, OPERATOR, db.clock,
            lambda _tag, result: ends.append(getattr(result, "payment", result).status),
            workers=CONNECTIONS,
        )  # fmt: skip

        def submit(number: int) -> None:
            wanted = kit.input(f"k{number}", currency="XOF", method="mobile_money", preferred=())
            pipeline.submit(None, wanted)
            if number == PAYMENTS - 1:
                pipeline.close()

        done = rush(provider, PAYMENTS, 1, submit)
        gateway.close()
    assert ends == ["succeeded"] * PAYMENTS and done.taken == PAYMENTS
    assert done.connections == CONNECTIONS
    assert WAVES_S <= done.seconds < LONGEST_S
    kit.gateways["cards"].close()


HEAVY = ("httpx", "stripe", "sqlalchemy", "requests")
PROBE = "import sys, importlib; importlib.import_module(sys.argv[1]); print(*sys.modules)"


@pytest.mark.parametrize("name", sorted({point.name for point in entry_points(group=GROUP)}))
def test_importing_an_adapter_loads_no_http_library(name: str) -> None:
    (point,) = entry_points(group=GROUP, name=name)
    done = subprocess.run(
        [sys.executable, "-c", PROBE, point.module], capture_output=True, text=True, check=True
    )
    assert [each for each in HEAVY if each in done.stdout.split()] == []
