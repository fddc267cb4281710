"""What each failure of a real socket proves, and what is kept of an exchange."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.clock import SystemClock
from payctl.gateways import exchange
from payctl.gateways.base import Outcome, RejectKind
from payctl.gateways.http import Http, Reply, answer_without_success
from tests.gateways.harnesses import KEY, free_port

pytestmark = pytest.mark.gateways

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that treats every connection as *serve* does; yields its address."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    listening.settimeout(0.05)
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def handle(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(5)
            try:
                serve(connection)
            except OSError:
                return  # the client has gone, which is what some tests want

    def accept() -> None:
        while not stop.is_set():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            threads.append(threading.Thread(target=handle, args=(connection,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1/pay"
    finally:
        stop.set()
        accepting.join()
        for thread in threads:
            thread.join(10)
        listening.close()


@pytest.fixture
def http() -> Iterator[Http]:
    client = Http(SystemClock())
    yield client
    client.close()


def post(http: Http, url: str, deadline_s: float = 2.0, **headers: str) -> Reply:
    return http.send("POST", url, headers=headers, body=b"a=1", deadline_s=deadline_s)


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"a=1" not in data:
        part = connection.recv(4096)
        if not part:
            raise ConnectionError("the client has gone")
        data += part
    return data


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# --- nothing was sent ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",  # refused
        "http://no-such-host.invalid/",  # no such name
        "https://127.0.0.1:{plain}/",  # no TLS there
        "ftp://127.0.0.1/",
        "http://[::bad/",
    ],
)
def test_not_sent(http: Http, url: str) -> None:
    with server(lambda connection: connection.sendall(b"hello, no TLS here\r\n")) as plain:
        port = plain.split(":")[2].split("/")[0]
        reply = post(http, url.format(port=free_port(), plain=port))
    assert reply.fault is Outcome.NOT_SENT
    assert reply.status is None and reply.error
    answer = answer_without_success(reply)
    assert answer is not None and answer.outcome is Outcome.NOT_SENT


def test_no_free_connection_is_not_sent() -> None:
    http = Http(SystemClock(), max_connections=1)
    entered, leave = threading.Event(), threading.Event()

    def slow(connection: socket.socket) -> None:
        read_request(connection)
        entered.set()
        leave.wait(10)
        connection.sendall(OK)

    with server(slow) as url:
        first = threading.Thread(target=post, args=(http, url, 10.0))
        first.start()
        assert entered.wait(5)
        reply = post(http, url, 0.3)
        leave.set()
        first.join()
    http.close()
    assert (reply.fault, reply.error) == (Outcome.NOT_SENT, "PoolTimeout")


# --- it may have happened -----------------------------------------------------------------------


def hang(connection: socket.socket) -> None:
    read_request(connection)
    connection.recv(1)


def close_at_once(connection: socket.socket) -> None:
    read_request(connection)


def reset_before_answer(connection: socket.socket) -> None:
    read_request(connection)
    reset(connection)


def reset_in_the_middle(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    reset(connection)


def end_too_early(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


def speak_another_language(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"220 mail.example ESMTP\r\n")


def drip_headers(connection: socket.socket) -> None:
    read_request(connection)
    for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 200:
        connection.sendall(bytes([letter]))
        time.sleep(0.05)


def drip_body(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    for _ in range(200):
        connection.sendall(b" ")
        time.sleep(0.05)


def endless_body(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
    while True:
        connection.sendall(b" " * 65_536)


@pytest.mark.parametrize(
    "serve",
    [
        hang, close_at_once, reset_before_answer, reset_in_the_middle, end_too_early,
        speak_another_language, drip_headers, drip_body, endless_body,
    ],
)  # fmt: skip
def test_unknown_and_never_later_than_the_deadline(
    http: Http, serve: Callable[[socket.socket], None]
) -> None:
    started = time.monotonic()
    with server(serve) as url:
        reply = post(http, url, 1.0)
        took = time.monotonic() - started
        http.close()
    assert reply.fault is Outcome.UNKNOWN, reply
    assert took < 2.5


def test_a_body_without_end_is_not_kept(http: Http) -> None:
    with server(endless_body) as url:
        reply = post(http, url, 20.0)
        http.close()
    assert (reply.fault, reply.error, reply.body) == (Outcome.UNKNOWN, "ReadError", b"")


def test_a_kept_connection_that_died_is_unknown_and_the_request_is_not_repeated(
    http: Http,
) -> None:
    seen: list[bytes] = []

    def once_then_die(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(OK)
        seen.append(read_request(connection))
        reset(connection)

    with server(once_then_die) as url:
        assert post(http, url).status == 200
        reply = post(http, url)
    assert (reply.fault, len(seen)) == (Outcome.UNKNOWN, 2)


def test_redirects_are_not_followed(http: Http) -> None:
    seen: list[bytes] = []

    def redirect(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(
            b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
        )

    with server(redirect) as url:
        reply = post(http, url)
        http.close()
    answer = answer_without_success(reply)
    assert answer is not None
    assert (answer.outcome, len(seen)) == (Outcome.UNKNOWN, 1)


def test_a_child_process_does_not_share_its_parent_s_connections(http: Http) -> None:
    addresses: list[tuple[str, int]] = []

    def serve(connection: socket.socket) -> None:
        addresses.append(connection.getpeername())
        for _ in range(3):
            read_request(connection)
            connection.sendall(OK)

    with server(serve) as url:
        assert post(http, url).status == 200
        child = os.fork()
        if child == 0:
            os._exit(0 if post(http, url).status == 200 else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert post(http, url).status == 200
        http.close()
    assert len(addresses) == 2  # the child's own, and the parent's still alive


@pytest.mark.parametrize(
    ("status", "outcome", "reject"),
    [
        (200, None, None), (201, None, None), (301, Outcome.UNKNOWN, None),
        (400, Outcome.REJECTED, RejectKind.VALIDATION), (401, Outcome.REJECTED, RejectKind.AUTH),
        (403, Outcome.REJECTED, RejectKind.AUTH), (404, Outcome.REJECTED, RejectKind.VALIDATION),
        (408, Outcome.UNKNOWN, None), (409, Outcome.EXISTS, None),
        (422, Outcome.REJECTED, RejectKind.VALIDATION), (429, Outcome.REJECTED, RejectKind.RATE),
        (500, Outcome.UNKNOWN, None), (502, Outcome.UNKNOWN, None), (503, Outcome.UNKNOWN, None),
        (504, Outcome.UNKNOWN, None), (599, Outcome.UNKNOWN, None),
    ],
)  # fmt: skip
def test_what_a_status_proves(
    status: int, outcome: Outcome | None, reject: RejectKind | None
) -> None:
    answer = answer_without_success(Reply(status, {"Retry-After": "7"}, b""))
    if outcome is None:
        assert answer is None
        return
    assert answer is not None
    assert (answer.outcome, answer.reject, answer.retry_after_s) == (outcome, reject, 7.0)


@pytest.mark.parametrize("text", ["soon", "-1", "1e9", "", "99999999", "٣"])
def test_a_senseless_retry_after_is_unsaid(text: str) -> None:
    assert Reply(429, {"retry-after": text}, b"").retry_after_s is None


# --- records ------------------------------------------------------------------------------------


def test_the_record_of_a_real_exchange() -> None:
    http = Http(SystemClock(), secrets=lambda: ("s3cr3t-of-ours",))

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        body = json.dumps(
            {
                "client_secret": "pi_1_secret_2",
                "card": {"number": "4242424242424242", "cvc": "123"},
                "note": "s3cr3t-of-ours, 4242-4242-4242-4242, pi_9_secret_abc",
                "phone": "0708091011",
            }
        ).encode()
        connection.sendall(
            b"HTTP/1.1 400 Bad\r\nRequest-Id: req_1\r\nSet-Cookie: session=1\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    with server(serve) as url:
        reply = http.send(
            "POST",
            url + "?api_key=abc",
            headers={
                "Authorization": f"Bearer {KEY}",
                "Idempotency-Key": "key_1",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            body=b"card[number]=4242424242424242&phone=%2B2250708091011&x=a=1",
            deadline_s=2,
        )
        http.close()
    kept = json.dumps(reply.exchange)
    for hidden in (
        KEY, "s3cr3t", "4242424242424242", "4242-4242", "secret_2", "secret_abc", "0708091011",
        "session=1", '"123', "api_key=abc", "Bearer",
    ):  # fmt: skip
        assert hidden not in kept, hidden
    assert reply.exchange["request_headers"]["idempotency-key"] == "key_1"
    assert reply.exchange["response_headers"]["request-id"] == "req_1"
    assert reply.exchange["status"] == 400


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(["4242424242424242"]))
def test_no_card_survives_whatever_surrounds_it(before: str, after: str, card: str) -> None:
    words = f"{before} {card} {after}"
    assert card not in exchange.text(words)
    assert card not in json.dumps(exchange.tree({"note": [words]}))


@pytest.mark.parametrize(
    "text",
    ["sk_" + "live_abcDEF123", "rk_" + "test_abcDEF123", "whsec_abcDEF+/=", "Basic dXNlcjpwYXNz",
     "Bearer abc.def-ghi", '{"password": "hunter2"}', '{"access_token" : "abc\\"def"}',
     "https://h.example/?client_secret=abc&x=1", "pay_token=abc"],
)  # fmt: skip
def test_what_looks_like_a_secret_is_not_kept(text: str) -> None:
    kept = exchange.text(text)
    assert exchange.REDACTED in kept
    for part in ("abc", "hunter2", "dXNl", "def"):
        assert part not in kept


def test_long_bodies_are_cut() -> None:
    assert len(exchange.text("x" * 10**6)) < exchange.MAX_TEXT + 10
