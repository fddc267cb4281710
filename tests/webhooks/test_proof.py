"""Which secret signs, how one is replaced, where webhooks may come from, and what was missed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from payctl.app import App
from payctl.clock import ManualClock
from payctl.config import load
from payctl.db.engine import Database
from payctl.errors import NotSent
from payctl.gateways.base import Event, Reference
from payctl.gateways.signature import sign
from payctl.webhooks.model import Stored
from tests.cli.runner import run
from tests.cli.schemas import check
from tests.webhooks.test_service import WORKER

pytestmark = [pytest.mark.integration, pytest.mark.webhooks]

PROFILE = """
[profiles.default.gateways.box]
type = "sandbox"
webhook_secrets = ["env:NEW", "env:OLD"]
webhook_addresses = ["192.0.2.0/24"]

[profiles.default.gateways.bare]
type = "sandbox"
event_proof = "none"
webhook_tokens = ["env:PATH"]
"""
ENVIRON = {
    "NEW": "the new secret", "OLD": "the old secret", "NEXT": "the next secret",
    "PATH": "the-token-in-the-path",
}  # fmt: skip


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


@pytest.fixture
def app(db: Database, clock: ManualClock, tmp_path: Path) -> Iterator[App]:
    file = tmp_path / "payctl.toml"
    file.write_text(PROFILE)
    file.chmod(0o600)
    made = App(load(environ={"HOME": str(tmp_path), **ENVIRON}, path=file), db)
    yield made
    for gateway in made.gateways.values():
        gateway.close()  # type: ignore[attr-defined]


def body_of(number: int = 1) -> bytes:
    about = {"kind": "other", "id": f"sb_{number}", "our_reference": f"ref-{number}"}
    return json.dumps(
        {"id": f"evt_{number}", "type": "other.thing", "created": "2026-11-02T09:00:00+00:00",
         "object": about}
    ).encode()  # fmt: skip


def line(app: App, *words: str) -> Any:
    return run(*words, "--json", app=app, environ=ENVIRON)


def verify(app: App, tmp_path: Path, secret: str, *words: str, at: datetime) -> Any:
    file = tmp_path / "body"
    file.write_bytes(body_of())
    header = f"Sandbox-Signature: {sign(body_of(), secret, at)}"
    return line(app, "webhooks", "verify", str(file), "--gateway", "box", "--header", header,
                *words)  # fmt: skip


@pytest.mark.parametrize(("secret", "place"), [("the new secret", 1), ("the old secret", 2)])
def test_which_secret_fits(
    app: App, tmp_path: Path, clock: ManualClock, secret: str, place: int
) -> None:
    result = verify(app, tmp_path, secret, at=clock.now())
    told = check(result.json)
    assert (told["secret"], told["secrets"], told["event"]) == (place, 2, "evt_1")
    assert secret not in result.out + result.err
    assert app.inbox.list() == []


def test_one_that_does_not_fit(app: App, tmp_path: Path, clock: ManualClock) -> None:
    wrong = verify(app, tmp_path, "another", at=clock.now())
    assert (wrong.code, wrong.error["code"]) == (4, "event.bad_signature")
    old = clock.now() - timedelta(days=1)
    assert verify(app, tmp_path, "the new secret", at=old).code == 0
    stale = verify(app, tmp_path, "the new secret", "--fresh", at=old)
    assert stale.error["code"] == "event.stale"


def test_the_events_that_came_tell_which_secret_is_in_use(app: App, clock: ManualClock) -> None:
    for number, secret in enumerate(["the old secret"] * 3 + ["the new secret"] * 2):
        body = body_of(number)
        app.inbox.receive("box", body, {"Sandbox-Signature": sign(body, secret, clock.now())})
    rows = check(line(app, "webhooks", "secret", "status", "box").json)["items"]
    assert [(row["secret"], row["events"]) for row in rows] == [(1, 2), (2, 3)]
    assert rows[0]["reference"].startswith("env:NEW (fingerprint")
    # When the old one is taken away too early, that is seen.
    app.config.gateways["box"].settings["webhook_secrets"].remove("env:OLD")  # type: ignore[index]
    after = line(app, "webhooks", "secret", "status", "box")
    assert after.code == 9
    assert "3 events" in after.err


def test_rotating_says_what_to_write(app: App) -> None:
    words = ("webhooks", "secret", "rotate", "box", "--new")
    result = line(app, *words, "env:NEXT")
    told = check(result.json)
    assert told["first"] == 'webhook_secrets = ["env:NEXT", "env:NEW", "env:OLD"]'
    assert told["then"] == 'webhook_secrets = ["env:NEXT"]'
    assert told["section"] == "[profiles.default.gateways.box]"
    assert not any(value in result.out for value in ENVIRON.values())
    assert line(app, *words, "env:OLD").error["code"] == "webhook.secret_known"
    assert line(app, *words, "env:NOWHERE").error["code"] == "secret.env_missing"
    bare = line(app, "webhooks", "secret", "rotate", "bare", "--new", "env:NEXT")
    assert bare.error["code"] == "webhook.no_secrets"


def test_where_webhooks_may_come_from(app: App) -> None:
    def rows(*words: str) -> dict[str, Any]:
        found = check(line(app, "webhooks", "allow", "list", *words).json)["items"]
        return {row["gateway"]: row for row in found}

    assert rows()["box"]["addresses"] == ["192.0.2.0/24"]
    assert (rows()["bare"]["addresses"], rows()["bare"]["path_tokens"]) == ([], 1)
    asked = rows("--address", "192.0.2.200")
    assert (asked["box"]["allowed"], asked["bare"]["allowed"]) == ("yes", "yes")
    assert rows("--address", "198.51.100.1")["box"]["allowed"] == "no"


# -- what was missed --------------------------------------------------------------------------


class Lister:
    """A provider's list of ``count`` events, which breaks off after ``cut``."""

    def __init__(self, count: int, cut: int | None = None) -> None:
        self._count, self._cut = count, cut

    def list_events(self, since: datetime) -> Iterator[tuple[Event, bytes]]:
        for number in range(self._count):
            if number == self._cut:
                raise NotSent("gateway.unreachable", account="box", why="test")
            reference = Reference(provider_reference=f"sb_{number}")
            yield Event(f"evt_{number}", "other.thing", "other", reference), body_of(number)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def fetched(app: App) -> dict[str, Stored]:
    return {str(each.event_id): each for each in app.inbox.list(limit=1_000)}


def test_missed_events_come_through_the_same_inbox(app: App, clock: ManualClock) -> None:
    body = body_of(3)
    there = app.inbox.receive(
        "box", body, {"Sandbox-Signature": sign(body, "the new secret", clock.now())}
    )
    app.gateways["box"].close()  # type: ignore[attr-defined]
    app.gateways["box"] = Lister(250)  # type: ignore[assignment]
    dry = check(line(app, "webhooks", "fetch", "box", "--since", "2d", "--dry-run").json)
    assert (dry["listed"], dry["new"], len(fetched(app))) == (250, 249, 1)
    done = check(line(app, "webhooks", "fetch", "box", "--since", "2d").json)
    assert (done["listed"], done["new"]) == (250, 249)
    assert fetched(app)["evt_3"].id == there
    assert fetched(app)["evt_4"].proof == "listed"
    assert line(app, "webhooks", "fetch", "box").json["new"] == 0
    assert app.inbox.apply(WORKER) == {"nothing_new": 250}
    del app.gateways["box"]


def test_a_list_that_breaks_off_keeps_what_was_read(app: App) -> None:
    app.gateways["box"].close()  # type: ignore[attr-defined]
    app.gateways["box"] = Lister(250, cut=120)  # type: ignore[assignment]
    broken = line(app, "webhooks", "fetch", "box")
    assert (broken.code, broken.error["code"]) == (7, "gateway.unreachable")
    assert len(fetched(app)) == 100
    with suppress(KeyError):
        del app.gateways["box"]


def test_a_provider_that_lists_nothing(app: App) -> None:
    refused = line(app, "webhooks", "fetch", "bare")
    assert (refused.code, refused.error["code"]) == (2, "webhook.not_listed")
