"""Health, the pages for insiders, and what every answer has."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from payctl.app import App
from payctl.config import load
from payctl.db.engine import Database
from payctl.errors import Unavailable
from payctl.receiver.application import Receiver
from payctl.receiver.openapi import document
from payctl.receiver.options import Doors, Options
from tests import books
from tests.receiver.kit import ABROAD, LOOPBACK, Answered, ask, play

pytestmark = [pytest.mark.integration, pytest.mark.webhooks]

INNER = ("/health/detailed", "/health/database", "/metrics")


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


def get(receiver: Receiver, path: str, *, client: str = ABROAD, **headers: str) -> Answered:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return play(
        receiver, lambda r: ask(r, path, headers=named, method="GET", client=client)
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_health_is_for_everybody(receiver: Receiver, path: str) -> None:
    answer = get(receiver, path)
    assert (answer.status, answer.json["status"]) == (200, "ok")


def test_a_book_that_is_not_there_is_not_ready(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_most: int) -> None:
        raise Unavailable("database.unreachable", detail="host, port and all")

    monkeypatch.setattr(app.inbox, "due", gone)
    for path in ("/health", "/health/ready"):
        answer = get(Receiver(app), path)
        assert (answer.status, answer.json["database"]) == (503, "unreachable")
    assert get(Receiver(app), "/health/live").status == 200


@pytest.mark.parametrize("path", INNER)
def test_inner_pages_are_for_insiders(app: App, path: str) -> None:
    def status(client: str, **headers: str) -> int:
        return get(Receiver(app), path, client=client, **headers).status

    assert status(LOOPBACK) == 200
    assert status("::1") == 200
    assert status(ABROAD, Authorization="Bearer token-of-the-receiver") == 200
    for headers in (
        {}, {"Authorization": "Bearer token-of-the-receive"}, {"Authorization": "Bearer "},
        {"Authorization": "token-of-the-receiver"}, {"X_Forwarded_For": "127.0.0.1"},
    ):  # fmt: skip
        assert status(ABROAD, **headers) == 401
    # A proxy on the same machine speaks for the whole world.
    assert status(LOOPBACK, X_Forwarded_For="203.0.113.1") == 401
    assert status(LOOPBACK, Forwarded="for=203.0.113.1") == 401
    assert status("10.0.0.1", X_Forwarded_For="127.0.0.1") == 401


def test_inner_pages_say_what_there_is(app: App) -> None:
    books.stamp(app.db)
    found = get(Receiver(app), "/health/detailed", client=LOOPBACK).json
    assert {"config", "database", "outbox"} <= {each["check"] for each in found["checks"]}
    assert found["inbox"] == {}
    for path, names in (("database", {"database", "migrations"}), ("providers", {"gateways"})):
        checks = get(Receiver(app), f"/health/{path}", client=LOOPBACK).json["checks"]
        assert names <= {each["check"] for each in checks}
    metrics = get(Receiver(app), "/metrics", client=LOOPBACK)
    assert b"payctl_up 1.0" in metrics.body
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_what_was_answered_is_counted_by_route_and_never_by_path(app: App) -> None:
    books.stamp(app.db)
    for path in ("/health/live", "/secret-1", "/secret-2", "/webhooks/nobody-3"):
        get(Receiver(app), path)
    body = get(Receiver(app), "/metrics", client=LOOPBACK).body.decode()
    counted = {line for line in body.splitlines() if line.startswith("payctl_http_requests_total")}
    assert counted == {
        'payctl_http_requests_total{route="/health/live",status="200"} 1.0',
        'payctl_http_requests_total{route="other",status="404"} 2.0',
        'payctl_http_requests_total{route="/webhooks/{gateway}",status="404"} 1.0',
    }


def test_metrics_can_be_switched_off(db: Database, tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "PAYCTL_METRICS_ENABLED": "false"}
    app = App(load(environ=environ, folder=tmp_path), db)
    assert get(Receiver(app), "/metrics", client=LOOPBACK).status == 404


def test_every_answer_has_the_same_headers(receiver: Receiver) -> None:
    for path in ("/health", "/nothing", "/webhooks/nobody", "/health/detailed"):
        headers = get(Receiver(receiver._app), path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert headers["x-request-id"]
        assert not any(name.startswith("access-control") for name in headers)


@pytest.mark.parametrize(
    "given", ["short", "x" * 65, "has space", "a;b=c-----", "4242424242424242"]
)
def test_an_id_that_is_not_sane_is_replaced(receiver: Receiver, given: str) -> None:
    assert get(receiver, "/health/live", X_Request_ID=given).headers["x-request-id"] != given


def test_ids_are_not_repeated(app: App) -> None:
    seen = {get(Receiver(app), "/health/live").headers["x-request-id"] for _ in range(20)}
    assert len(seen) == 20


def test_cors_is_off_until_an_origin_is_named(app: App) -> None:
    origin = "https://status.example"
    named = Receiver(app, Options(Doors([]), cors_origin=origin))
    allowed = get(named, "/health", Origin=origin).headers
    assert allowed["access-control-allow-origin"] == origin
    other = get(Receiver(app, Options(Doors([]), cors_origin=origin)), "/health",
                Origin="https://evil.example").headers  # fmt: skip
    assert other.get("access-control-allow-origin") != "https://evil.example"


def test_a_long_page_is_compressed_for_who_wants_it(receiver: Receiver) -> None:
    answer = get(receiver, "/openapi.json", Accept_Encoding="gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.body)) == document()


def test_the_document_tells_of_every_page(app: App, receiver: Receiver) -> None:
    paths = set(document()["paths"])
    for path in sorted(paths - {p for p in paths if "{" in p}):
        assert get(Receiver(app), path, client=LOOPBACK).status == 200, path
    assert set(receiver.pages._inner) <= paths
    for path in ("/docs", "/", "/webhooks", "/health/", "/metrics/"):
        answer = get(Receiver(app), path, client=LOOPBACK)
        assert (answer.status, answer.code) == (404, "request.not_found")


def test_pages_are_read_not_written(receiver: Receiver) -> None:
    answer = play(receiver, lambda r: ask(r, "/health", method="DELETE"))
    assert (answer.status, answer.code) == (405, "request.method")
