"""Where notifications may go: nothing is sent inside because of a URL or of what a name means."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from payctl.clock import ManualClock, SystemClock
from payctl.errors import NotConfigured
from payctl.notifications.http import Channel, NoConnection
from payctl.notifications.signing import key_of
from payctl.notifications.target import ForbiddenAddress, Target, addresses, parse
from tests.notifications.kit import SECRET, Receiver, receiving

pytestmark = pytest.mark.unit
NOW = ManualClock(datetime(2026, 11, 2, 9, tzinfo=UTC))


def named(*found: str) -> Callable[..., list[tuple[Any, ...]]]:
    """A name service that knows one answer."""

    def resolve(_host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        return [(0, 0, 0, "", (each, port)) for each in found]

    return resolve


@pytest.mark.parametrize(
    "url",
    [
        "http://core.example/hooks", "ftp://core.example/", "core.example", "https://", "",
        "https://user:word@core.example/", "https://core.example/#part", "https://core.example:x/",
        "https://core.example/a b", "https://core.example/a\r\nHost: x", "http://127.0.0.2/",
        "http://localhost.example/",
    ],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(NotConfigured) as error:
        parse(url)
    assert error.value.code == "notification.bad_url"


def test_urls_that_are_taken() -> None:
    assert parse("https://core.example/hooks?a=b").path == "/hooks?a=b"
    assert parse("https://core.example").authority == "core.example"
    assert parse("https://core.example:8443/").authority == "core.example:8443"
    assert parse("http://localhost:8080/x").tls is False
    assert parse("https://[2001:db8::1]/").authority == "[2001:db8::1]"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.8", "172.16.3.4", "192.168.1.1", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0",
        "fc00::1", "ff02::1", "::ffff:10.0.0.8", "64:ff9b::a00:8", "2002:a00:8::1",
        "2001:0:4136:e378:8000:63bf:f5ff:fff7",
    ],
)  # fmt: skip
def test_a_name_that_means_a_private_address(address: str) -> None:
    target = parse("https://core.example/")
    with pytest.raises(ForbiddenAddress):
        addresses(target, allow_private=False, resolve=named(address))
    with pytest.raises(ForbiddenAddress):
        addresses(target, allow_private=False, resolve=named("93.184.215.14", address))


def test_public_addresses_and_what_the_configuration_allows() -> None:
    target = parse("https://core.example/")
    public = ("93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c")
    assert addresses(target, allow_private=False, resolve=named(*public, *public)) == [*public]
    for private in ("10.0.0.8", "127.0.0.1", "::1", "fe80::1", "fc00::1"):
        assert addresses(target, allow_private=True, resolve=named(private)) == [private]
    for never in ("224.0.0.1", "0.0.0.0", "240.0.0.1", "::ffff:224.0.0.1"):
        with pytest.raises(ForbiddenAddress):
            addresses(target, allow_private=True, resolve=named(never))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def test_nothing_reaches_a_server_inside(receiver: Receiver) -> None:
    port = parse(receiver.url).port
    target = parse(f"https://core.example:{port}/")
    channel = Channel(target, NOW, allow_private=False, resolve=named("127.0.0.1"))
    with pytest.raises(NoConnection, match="no public address"):
        channel.post(b"{}", {}, 5)
    assert receiver.requests == []


def test_the_connection_goes_to_the_address_that_was_checked(receiver: Receiver) -> None:
    """A name that means something else the second time is not asked a second time."""
    answers = iter(("127.0.0.1", "127.0.0.99"))
    calls = []

    def resolve(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        calls.append(host)
        return named(next(answers))(host, port)

    target = Target(False, "core.example", parse(receiver.url).port, "/")
    channel = Channel(target, NOW, allow_private=True, resolve=resolve)
    assert [channel.post(b"{}", {}, 5).status for _ in range(3)] == [200] * 3
    channel.close()
    assert calls == ["core.example"]
    assert receiver.requests[0].headers["host"] == target.authority


def test_a_name_nobody_knows_and_a_port_nobody_listens_on(receiver: Receiver) -> None:
    def unknown(*_: object, **__: object) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    channel = Channel(parse("https://core.example/"), NOW, allow_private=False, resolve=unknown)
    with pytest.raises(NoConnection, match="not known"):
        channel.post(b"{}", {}, 5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    channel = Channel(parse(f"http://127.0.0.1:{port}/"), NOW, allow_private=True)
    with pytest.raises(NoConnection, match="refused"):
        channel.post(b"{}", {}, 5)


def test_a_server_without_tls_gets_nothing(receiver: Receiver) -> None:
    port = parse(receiver.url).port
    target = parse(f"https://localhost:{port}/")
    context = ssl.create_default_context()
    channel = Channel(target, NOW, allow_private=True, context=context)
    with pytest.raises(NoConnection, match="SSL"):
        channel.post(b"{}", {}, 5)
    assert receiver.requests == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its certificate for ``core.example``, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "core.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("core.example")]), False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "core.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_over_tls_the_certificate_must_be_the_name_s(certificate: Path) -> None:
    """The connection goes to an address, and still the name is what the certificate is held to."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    known = ssl.create_default_context(cafile=str(certificate))
    with receiving(serving) as receiver:
        port = parse(receiver.url.replace("https://127.0.0.1", "https://localhost")).port

        def post(host: str, context: ssl.SSLContext) -> int:
            target = Target(True, host, port, "/")
            resolve = named("127.0.0.1")
            channel = Channel(target, NOW, allow_private=True, resolve=resolve, context=context)
            try:
                return channel.post(b"{}", {}, 5).status
            finally:
                channel.close()

        assert post("core.example", known) == 200
        for host, context in (
            ("other.example", known),
            ("core.example", ssl.create_default_context()),
        ):
            with pytest.raises(NoConnection, match="certificate verify failed"):
                post(host, context)
    assert len(receiver.requests) == 1


def test_a_dripping_answer_ends_with_the_deadline() -> None:
    """Each byte comes in time; all of them together never would."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n")
                while not done.wait(0.02):
                    try:
                        connection.sendall(b"X-More: y\r\n")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        channel = Channel(parse(url), SystemClock(), allow_private=True)
        with pytest.raises(TimeoutError):
            channel.post(b"{}", {}, 0.2)
        done.set()
        thread.join()


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_?" * 9,
               "whsec_" + "QUFB" * 22]
)  # fmt: skip
def test_secrets_that_are_refused(secret: str) -> None:
    with pytest.raises(NotConfigured) as error:
        key_of(secret)
    assert error.value.code == "notification.bad_secret"
    assert len(secret) < 7 or secret not in str(error.value)
    assert len(key_of(SECRET)) == 24
