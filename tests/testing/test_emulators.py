"""Emulators: each common fault through real HTTP, what the client sees and whether it happened;
steering from outside; and the command that serves them.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from payctl.testing.emulators.__main__ import discovered, main
from payctl.testing.emulators.core import Emulator, Response
from payctl.testing.emulators.example import CREDENTIALS, ExampleEmulator
from payctl.testing.emulators.scenario import play
from payctl.testing.emulators.server import EmulatorServer

pytestmark = pytest.mark.gateways
AUTH = tuple(CREDENTIALS.split(":"))
#: What hangs or is late waits this long, in seconds.
WAIT_S = 0.05


@pytest.fixture
def provider() -> ExampleEmulator:
    made = ExampleEmulator()
    made.default_wait_s = WAIT_S
    return made


@pytest.fixture
def client(provider: ExampleEmulator) -> Iterator[httpx.Client]:
    with EmulatorServer(provider) as server, httpx.Client(base_url=server.url, timeout=5) as made:
        form = {"grant_type": "client_credentials"}
        token = made.post("/token", data=form, auth=AUTH).json()["access_token"]
        made.headers["Authorization"] = f"Bearer {token}"
        yield made


def pay(client: httpx.Client, reference: str = "r-1", **more: Any) -> httpx.Response:
    body = {"reference": reference, "amount": 1500, "currency": "XOF", **more}
    return client.post("/payments", json=body)


def test_without_a_fault_it_is_a_provider(client: httpx.Client) -> None:
    made = pay(client)
    assert (made.status_code, made.json()["status"]) == (201, "paid")
    assert client.get("/payments/r-1").json() == made.json()
    assert pay(client).status_code == 409
    assert client.get("/payments/r-2").status_code == 404


#: fault, what the client sees (a status, or the exception), whether the payment was made
FAULTS = [
    ("drop", httpx.RemoteProtocolError, False),
    ("drop_after", httpx.RemoteProtocolError, True),
    (f"hang:{WAIT_S}", httpx.RemoteProtocolError, False),
    ("hang_after", httpx.RemoteProtocolError, True),
    ("late:30", httpx.RemoteProtocolError, False),
    (f"slow:{WAIT_S}", 201, True),
    ("reset_after", httpx.ReadError, True),
    ("html", 200, False),
    ("html_after", 200, True),
    ("empty_after", 201, True),
    ("truncated_after", 201, True),
    ("429", 429, False),
    ("401", 401, False),
    ("503", 503, False),
    ("503_after", 503, True),
    ("advance:60", 201, True),
]


@pytest.mark.parametrize(("fault", "seen", "made"), FAULTS, ids=[name for name, *_ in FAULTS])
def test_each_common_fault(
    provider: ExampleEmulator,
    client: httpx.Client,
    fault: str,
    seen: int | type[Exception],
    made: bool,
) -> None:
    provider.fault(fault, "payment.create")
    if isinstance(seen, int):
        assert pay(client).status_code == seen
    else:
        with pytest.raises(seen):
            pay(client)
    assert ("r-1" in provider.payments) is made
    assert pay(client, "r-2").status_code == 201, "the fault is over"


def test_bodies_that_cannot_be_read(provider: ExampleEmulator, client: httpx.Client) -> None:
    for number, fault in enumerate(("html_after", "empty_after", "truncated_after")):
        provider.fault(fault, "payment.create")
        with pytest.raises(ValueError):
            pay(client, f"r-{number}").json()


def test_waits_are_real_and_hold_nobody_else_up(
    provider: ExampleEmulator, client: httpx.Client
) -> None:
    provider.fault("slow:0.4", "payment.create")
    first = threading.Thread(target=pay, args=(client, "r-slow"))
    first.start()
    while "r-slow" not in provider.payments:
        first.join(0.01)
    assert pay(client, "r-quick").elapsed.total_seconds() < 0.3
    assert first.is_alive()
    first.join()


def test_a_late_effect_happens_when_the_providers_time_has_come(
    provider: ExampleEmulator, client: httpx.Client
) -> None:
    provider.fault("late:30", "payment.create")
    with pytest.raises(httpx.RemoteProtocolError):
        pay(client)
    provider.advance(29)
    assert client.get("/payments/r-1").status_code == 404
    provider.advance(1)
    assert client.get("/payments/r-1").json()["status"] == "paid"


def test_a_fault_waits_for_its_operation_and_its_turn(
    provider: ExampleEmulator, client: httpx.Client
) -> None:
    provider.fault("503", "payment.create", times=2, after=1)
    seen = [pay(client, f"r-{number}").status_code for number in range(4)]
    assert seen == [201, 503, 503, 201]
    assert client.get("/payments/r-0").status_code == 200
    provider.fault("429", times=9)
    provider.clear_faults()
    assert client.get("/payments/r-0").status_code == 200


def test_a_token_ends_in_the_middle_of_a_run(
    provider: ExampleEmulator, client: httpx.Client
) -> None:
    provider.fault("advance:3600", "payment.create", after=1)
    assert [pay(client, f"r-{number}").status_code for number in range(2)] == [201, 401]


def test_faults_of_its_own(provider: ExampleEmulator, client: httpx.Client) -> None:
    provider.fault("decline", "payment.create")
    assert pay(client).json()["status"] == "declined"
    provider.fault("pending", "payment.create")
    assert pay(client, "r-2").json()["status"] == "pending"
    provider.advance(60)
    assert client.get("/payments/r-2").json()["status"] == "paid"


def test_several_emulators_share_a_server() -> None:
    class Other(ExampleEmulator):
        name = "other"

    one, two = ExampleEmulator(), Other()
    with EmulatorServer(one, two) as server:
        assert httpx.post(f"{server.url_of(two)}/token", auth=AUTH).status_code == 400
        assert (len(one.requests), len(two.requests)) == (0, 1)
        assert two.requests[0].path == "/token"
        nowhere = httpx.get(f"{server.url}/nobody/x")
        assert nowhere.status_code == 404 and "example, other" in nowhere.json()["error"]


# -- steering from another process ----------------------------------------------------------------


def steer(client: httpx.Client, method: str, verb: str, body: Any = None) -> httpx.Response:
    return client.request(method, f"/_emulator/example/{verb}", json=body)


def test_steering_over_http(provider: ExampleEmulator, client: httpx.Client) -> None:
    fault = {"fault": "drop_after", "operation": "payment.create", "times": 2, "after": 1}
    assert steer(client, "POST", "faults", fault).json() == {"armed": "drop_after"}
    assert pay(client).status_code == 201
    with pytest.raises(httpx.RemoteProtocolError):
        pay(client, "r-2")
    assert steer(client, "DELETE", "faults").status_code == 200
    assert pay(client, "r-3").status_code == 201
    before = provider.now()
    steer(client, "POST", "advance", {"seconds": 90})
    assert (provider.now() - before).total_seconds() >= 90
    held = steer(client, "GET", "state").json()["payments"]
    assert [each["reference"] for each in held] == ["r-1", "r-2", "r-3"]
    assert steer(client, "GET", "requests").json()[-1] == ["POST", "/payments"]
    assert "pending" in steer(client, "GET", "help").text


@pytest.mark.parametrize(
    ("method", "verb", "body", "status"),
    [
        ("POST", "faults", {}, 400),
        ("POST", "faults", {"fault": "drop", "times": "many"}, 400),
        ("POST", "advance", {"seconds": "soon"}, 400),
        ("GET", "nothing", None, 404),
        ("POST", "state", None, 404),
    ],
)
def test_bad_steering_is_refused(
    client: httpx.Client, method: str, verb: str, body: Any, status: int
) -> None:
    assert steer(client, method, verb, body).status_code == status
    assert client.get("/_emulator/momo/state").status_code == 404


@contextmanager
def listener() -> Iterator[tuple[str, list[bytes]]]:
    """Somebody who receives webhooks: the address, and what came."""
    received: list[bytes] = []

    class Receiver(ExampleEmulator):
        def receive(self, request: Any) -> Any:
            received.append(request.body)
            return super().receive(request)

        def handle(self, request: Any, fault: str | None) -> Response:
            return Response(204)

    with EmulatorServer(Receiver()) as server:
        yield f"{server.url}/hook?a=1", received


def test_webhooks_are_made_once_when_asked(client: httpx.Client) -> None:
    with listener() as (url, received):
        pay(client, callback_url=url)
        kept = steer(client, "GET", "deliveries").json()
        assert [each[1] for each in kept] == [url] and not received
        assert steer(client, "POST", "deliver").json() == [{"url": url, "status": 204}]
        assert steer(client, "POST", "deliver").json() == []
    assert [json.loads(each) for each in received] == [{"reference": "r-1"}]


def test_webhooks_reach_nobody_but_this_machine(client: httpx.Client) -> None:
    pay(client, callback_url="http://198.51.100.7/hook")
    pay(client, "r-2", callback_url=f"http://127.0.0.1:{free_port()}/hook")
    refused, gone = steer(client, "POST", "deliver").json()
    assert "this machine" in refused["error"]
    assert gone["error"] == "ConnectionRefusedError"


# -- the command ----------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_every_emulator_is_found_and_can_be_made() -> None:
    found = discovered()
    assert found["example"] is ExampleEmulator
    assert set(found) >= {"cinetpay", "momo", "orange", "paypal", "stripe"}
    for name, kind in found.items():
        made = kind()
        assert isinstance(made, Emulator) and made.name == name
        assert json.dumps(made.state())


def test_the_command_serves_a_scenario(tmp_path: Path) -> None:
    scenario = tmp_path / "bad-day.json"
    steps = [
        {"emulator": "example", "operation": "token", "fault": "503", "times": 1, "after": 1},
        {"emulator": "example", "advance": 7200},
    ]
    scenario.write_text(json.dumps(steps))
    command = [sys.executable, "-m", "payctl.testing.emulators", "example", "--port", "0"]
    with subprocess.Popen(
        [*command, "--scenario", str(scenario)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            said = [process.stdout.readline()]
            while not said[-1].startswith("Ctrl-C"):
                said.append(process.stdout.readline())
                assert said[-1], said
            url = said[0].split()[1]
            form = {"grant_type": "client_credentials"}
            answers = [httpx.post(f"{url}/token", data=form, auth=AUTH) for _ in range(3)]
            assert [each.status_code for each in answers] == [200, 503, 200]
            control = next(line for line in said if "its time" in line).split("curl ")[1].split()[0]
            assert control == f"{url}/_emulator/example/advance"
        finally:
            process.terminate()


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ("{", "Expecting"),
        ({}, "a list of steps"),
        ([1], "step 1: an object"),
        ([{"emulator": "nobody", "fault": "drop"}], "emulator must be one of example"),
        ([{"emulator": "example"}], "fault or advance is missing"),
        ([{"emulator": "example", "fault": 429}], "must be texts"),
        ([{"emulator": "example", "fault": "drop", "when": 1}], "unknown: when"),
        ([{"emulator": "example", "fault": "drop", "times": 0}], "times must be"),
        ([{"emulator": "example", "fault": "drop", "after": True}], "after must be"),
        ([{"emulator": "example", "advance": "1h"}], "advance must be seconds"),
    ],
)
def test_a_wrong_scenario_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: Any, why: str
) -> None:
    scenario = tmp_path / "s.json"
    scenario.write_text(steps if isinstance(steps, str) else json.dumps(steps))
    assert main(["example", "--port", "0", "--scenario", str(scenario)]) == 2
    assert why in capsys.readouterr().err


def test_the_scenario_on_the_page_can_be_played(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "howto" / "emulators.md"
    shown = page.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0]
    scenario = tmp_path / "s.json"
    scenario.write_text(shown)
    provider = ExampleEmulator()
    before = provider.now()
    assert play(scenario, {"example": provider}) == 3
    assert (provider.now() - before).total_seconds() >= 86400


def test_an_unknown_emulator_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nobody"]) == 2
    assert "no emulator nobody; there are" in capsys.readouterr().err


def test_a_taken_port_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["example", "--port", str(taken.getsockname()[1])]) == 2
    assert "in use" in capsys.readouterr().err
