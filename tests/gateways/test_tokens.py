"""Access tokens: asked for once, kept between processes, renewed once when refused."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from payctl import secret
from payctl.app import App
from payctl.clock import ManualClock, SystemClock
from payctl.config import load
from payctl.gateways import registry
from payctl.gateways.base import Outcome
from payctl.gateways.http import Http, Reply, answer_without_success
from payctl.gateways.rest import Rest, json_object
from payctl.gateways.token_files import ABANDONED_S, FileTokens
from payctl.gateways.tokens import EARLY_S, MemoryTokens, Token, Tokens, TokenStore, token_key
from payctl.testing.emulators.example import CREDENTIALS, TOKEN_LIFE_S, ExampleEmulator
from payctl.testing.emulators.server import EmulatorServer
from tests.gateways.harnesses import free_port

pytestmark = pytest.mark.gateways
END = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
TOKEN = Token("a-token-that-is-long-enough", END)
KEY = token_key("https://example.test", "id", "secret")


class Client:
    """What an adapter makes of ``Rest`` and ``Tokens``, for the example provider."""

    def __init__(self, url: str, store: TokenStore, credentials: str = CREDENTIALS) -> None:
        clock = SystemClock()
        self.http = Http(clock, connect_s=1.0)
        self.tokens = Tokens(
            store, lambda: token_key(url, credentials), self._fetch, self._read, clock
        )
        self.rest = Rest(self.http, url, clock, self.tokens)
        self._plain = Rest(self.http, url, clock)
        self._user, _, self._password = credentials.partition(":")

    def pay(self, reference: str = "r-1", deadline_s: float = 3.0) -> Reply:
        body = {"reference": reference, "amount": 1500, "currency": "XOF"}
        return self.rest.call("POST", "/payments", deadline_s=deadline_s, body=body)

    def _fetch(self, deadline_s: float) -> Reply:
        basic = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        return self._plain.call(
            "POST", "/token", deadline_s=deadline_s, form={"grant_type": "client_credentials"},
            headers={"Authorization": f"Basic {basic}"},
        )  # fmt: skip

    @staticmethod
    def _read(reply: Reply) -> tuple[str, int] | None:
        data = json_object(reply)
        text, life = data.get("access_token"), data.get("expires_in")
        return (text, life) if isinstance(text, str) and isinstance(life, int) else None


@pytest.fixture
def provider() -> ExampleEmulator:
    made = ExampleEmulator()
    made.default_wait_s = 0.05
    return made


@pytest.fixture
def url(provider: ExampleEmulator) -> Iterator[str]:
    with EmulatorServer(provider) as server:
        yield server.url


@pytest.fixture
def client(url: str, tmp_path: Path) -> Iterator[Client]:
    made = Client(url, FileTokens(tmp_path / "tokens"))
    yield made
    made.http.close()


def asked(provider: ExampleEmulator, operation: str) -> int:
    return sum(provider.operation(each) == operation for each in provider.requests)


# -- one token for many calls ---------------------------------------------------------------------


def test_a_token_is_asked_for_once(provider: ExampleEmulator, client: Client) -> None:
    assert [client.pay(f"r-{number}").status for number in range(3)] == [201] * 3
    assert asked(provider, "token") == 1


def test_another_process_uses_the_same_token(
    provider: ExampleEmulator, client: Client, url: str, tmp_path: Path
) -> None:
    client.pay()
    later = Client(url, FileTokens(tmp_path / "tokens"))
    assert later.pay("r-2").status == 201
    assert asked(provider, "token") == 1
    later.http.close()


def test_other_credentials_never_use_it(
    provider: ExampleEmulator, client: Client, url: str, tmp_path: Path
) -> None:
    client.pay()
    other = Client(url, FileTokens(tmp_path / "tokens"), "demo:another-secret")
    assert other.pay("r-2").status == 401
    assert "r-2" not in provider.payments and asked(provider, "token") == 2
    other.http.close()


def test_a_refused_token_is_renewed_once_and_the_call_made_again(
    provider: ExampleEmulator, client: Client
) -> None:
    client.pay()
    provider.advance(TOKEN_LIFE_S)
    assert client.pay("r-2").status == 201
    assert asked(provider, "token") == 2


def test_a_second_refusal_is_the_answer(provider: ExampleEmulator, client: Client) -> None:
    provider.fault("401", "payment.create", times=9)
    assert client.pay().status == 401
    assert asked(provider, "payment.create") == 2 and asked(provider, "token") == 2


def test_no_call_but_a_refused_one_is_repeated(provider: ExampleEmulator, client: Client) -> None:
    for fault in ("drop_after", "503", "429", "html_after"):
        before = asked(provider, "payment.create")
        provider.fault(fault, "payment.create")
        client.pay(fault)
        assert asked(provider, "payment.create") == before + 1, fault


def test_a_token_is_renewed_before_it_ends(clock: ManualClock) -> None:
    fetched: list[float] = []

    def fetch(deadline_s: float) -> Reply:
        fetched.append(deadline_s)
        return Reply(200, {}, b"{}")

    tokens = Tokens(MemoryTokens(), lambda: KEY, fetch, lambda _reply: ("t", 600), clock)
    tokens.current(5)
    clock.advance(timedelta(seconds=600 - EARLY_S - 1))
    tokens.current(5)
    assert len(fetched) == 1
    clock.advance(timedelta(seconds=1))
    tokens.current(5)
    assert len(fetched) == 2


# -- no token -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "outcome"),
    [
        ("drop_after", None, Outcome.NOT_SENT),
        ("html", None, Outcome.NOT_SENT),
        ("truncated_after", None, Outcome.NOT_SENT),
        ("503", None, Outcome.NOT_SENT),
        ("404", None, Outcome.NOT_SENT),
        ("400", 401, Outcome.REJECTED),
        ("403", 403, Outcome.REJECTED),
        ("429", 429, Outcome.REJECTED),
    ],
)
def test_without_a_token_nothing_of_the_call_was_sent(
    provider: ExampleEmulator, client: Client, fault: str, status: int | None, outcome: Outcome
) -> None:
    provider.fault(fault, "token")
    reply = client.pay()
    answer = answer_without_success(reply)
    assert answer is not None
    assert (reply.status, answer.outcome) == (status, outcome)
    assert reply.error and reply.error.startswith("no token")
    assert asked(provider, "payment.create") == 0


def test_an_unreachable_provider_is_not_sent(tmp_path: Path) -> None:
    client = Client(f"http://127.0.0.1:{free_port()}", FileTokens(tmp_path))
    assert client.pay().fault is Outcome.NOT_SENT


def test_the_record_of_a_token_call_holds_no_token(
    provider: ExampleEmulator, client: Client
) -> None:
    fetched = client._fetch(3.0)
    text = json_object(fetched)["access_token"]
    assert text not in json.dumps(fetched.exchange) and "redacted" in json.dumps(fetched.exchange)
    assert text not in json.dumps(client.pay().exchange)


def test_threads_ask_for_one_token(provider: ExampleEmulator, client: Client) -> None:
    provider.fault("slow:0.1", "token")
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(client.pay, [f"r-{number}" for number in range(8)]))
    assert [each.status for each in replies] == [201] * 8
    assert asked(provider, "token") == 1


def test_waiting_for_another_threads_token_counts_against_the_deadline(
    provider: ExampleEmulator, client: Client
) -> None:
    provider.fault("hang:0.6", "token", times=4)

    def timed(number: int) -> tuple[float, Outcome | None]:
        started = time.monotonic()
        reply = client.pay(f"r-{number}", 0.3)
        return time.monotonic() - started, reply.fault

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(timed, range(4)))
    assert {fault for _, fault in seen} == {Outcome.NOT_SENT}
    assert max(seconds for seconds, _ in seen) < 0.3 * 2 + 0.25


# -- the files ------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> FileTokens:
    return FileTokens(tmp_path / "state" / "tokens")


def files(store: FileTokens) -> list[Path]:
    return sorted(store._folder.iterdir())


def test_a_token_comes_back_as_it_was_expired_or_not(store: FileTokens) -> None:
    assert store.get(KEY) is None
    store.put(KEY, TOKEN)
    assert FileTokens(store._folder).get(KEY) == TOKEN
    store.put(KEY, Token("another", END - timedelta(days=400)))
    assert store.get(KEY) == Token("another", END - timedelta(days=400))
    store.drop(KEY)
    store.drop(KEY)
    assert store.get(KEY) is None and files(store) == []


def test_nobody_else_can_read_it_and_its_name_tells_nothing(store: FileTokens) -> None:
    previous = os.umask(0)
    try:
        store.put("../../id:secret", TOKEN)
    finally:
        os.umask(previous)
    (file,) = files(store)
    assert file.stat().st_mode & 0o777 == 0o600
    assert store._folder.stat().st_mode & 0o777 == 0o700
    assert "secret" not in file.name
    assert store.get("../../id:secret") == TOKEN


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o606])
def test_a_file_that_others_could_read_or_write_is_thrown_away(
    store: FileTokens, mode: int
) -> None:
    store.put(KEY, TOKEN)
    (file,) = files(store)
    file.chmod(mode)
    assert store.get(KEY) is None
    assert not file.exists()


def test_a_link_is_not_followed(store: FileTokens, tmp_path: Path) -> None:
    store.put(KEY, TOKEN)
    (file,) = files(store)
    elsewhere = tmp_path / "elsewhere.json"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert store.get(KEY) is None
    store.put(KEY, Token("new", END))
    assert not file.is_symlink() and "new" not in elsewhere.read_text()
    file.unlink()
    os.link(elsewhere, file)
    assert store.get(KEY) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"token": "t"}', b'{"token": 1, "expires_at": "2026-11-02"}',
     b'{"token": "t", "expires_at": "2026-11-02T10:00:00"}', b'{"token": "t", "expires_at": 1}',
     b'{"token": "", "expires_at": "2026-11-02T10:00:00+00:00"}', b"\xff\xfe", b"\0" * 200_000],
)  # fmt: skip
def test_what_cannot_be_believed_counts_as_absent(store: FileTokens, content: bytes) -> None:
    store.put(KEY, TOKEN)
    (file,) = files(store)
    file.write_bytes(content)
    assert store.get(KEY) is None
    store.put(KEY, TOKEN)
    assert store.get(KEY) == TOKEN


def test_a_folder_others_could_enter_is_closed(store: FileTokens) -> None:
    store._folder.mkdir(parents=True)
    store._folder.chmod(0o755)
    store.put(KEY, TOKEN)
    assert store._folder.stat().st_mode & 0o777 == 0o700


def test_without_a_folder_a_token_lives_as_long_as_the_process(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    store = FileTokens(tmp_path / "state" / "tokens")
    store.put(KEY, TOKEN)
    assert store.get(KEY) == TOKEN
    assert FileTokens(tmp_path / "state" / "tokens").get(KEY) is None
    store.drop(KEY)
    assert store.get(KEY) is None


def test_a_token_is_concealed_wherever_texts_are_printed(store: FileTokens) -> None:
    store.put(KEY, TOKEN)
    assert TOKEN.text not in secret.conceal(f"Bearer {TOKEN.text}")
    assert TOKEN.text not in repr(TOKEN)


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from payctl.gateways.token_files import FileTokens
from payctl.gateways.tokens import Token
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
FileTokens(Path(sys.argv[1])).put(sys.argv[2], Token("half-done", datetime(2030, 1, 1, tzinfo=UTC)))
"""


def test_a_process_killed_before_the_rename_leaves_the_old_token(store: FileTokens) -> None:
    store.put(KEY, TOKEN)
    done = subprocess.run([sys.executable, "-c", KILLED, str(store._folder), KEY], check=False)
    assert done.returncode == -9
    assert store.get(KEY) == TOKEN
    left = [each for each in files(store) if each.suffix == ".new"]
    assert [each.stat().st_mode & 0o777 for each in left] == [0o600]
    store.put(KEY, TOKEN)
    assert left[0].exists(), "it may be another process's that is just writing"
    old = left[0].stat().st_mtime - ABANDONED_S - 1
    os.utime(left[0], (old, old))
    store.put(KEY, Token("new", END))
    assert [each.suffix for each in files(store)] == [".json"]
    assert store.get(KEY) == Token("new", END)


def test_many_writers_at_once_never_leave_half_a_token(store: FileTokens) -> None:
    stop = threading.Event()
    wrong: list[object] = []
    store.put(KEY, TOKEN)

    def write(letter: str) -> None:
        for number in range(100):
            store.put(KEY, Token(letter * (1000 + number), END))

    def read() -> None:
        other = FileTokens(store._folder)
        while not stop.is_set():
            found = other.get(KEY)
            if found is None or (len(set(found.text)) != 1 and found != TOKEN):
                wrong.append(found)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert len(files(store)) == 1


RENEWING = """
import sys
from pathlib import Path
from payctl.gateways.token_files import FileTokens
from tests.gateways.test_tokens import Client
client = Client(sys.argv[1], FileTokens(Path(sys.argv[2])))
sys.stdin.readline()
print([client.pay(f"{sys.argv[3]}-{number}").status for number in range(3)])
"""


def test_two_processes_that_renew_at_once_both_go_on(
    provider: ExampleEmulator, url: str, tmp_path: Path
) -> None:
    provider.fault("slow:0.3", "token", times=2)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", RENEWING, url, str(tmp_path / "tokens"), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in "ab"
    ]  # fmt: skip
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[0].strip() for process in running] == ["[201, 201, 201]"] * 2
    assert len(provider.payments) == 6
    last = FileTokens(tmp_path / "tokens").get(token_key(url, CREDENTIALS))
    assert last is not None and last.text in provider.tokens


def test_the_composition_root_hands_out_one_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[TokenStore] = []
    build = registry.build

    def watched(*args: Any, **more: Any) -> Any:
        given.append(more["tokens"])
        return build(*args, **more)

    monkeypatch.setattr(registry, "build", watched)
    app = App(load(environ={"HOME": str(tmp_path)}, folder=tmp_path))
    assert len(app.gateways) == len(given) > 1
    app.close()
    (store,) = set(given)
    assert isinstance(store, FileTokens)
    assert store._folder == tmp_path / ".local" / "state" / "payctl" / "tokens"
