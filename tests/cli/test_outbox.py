"""``payctl outbox`` from the command line to a receiving end, and the job that does it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

import jobs
from payctl import ids
from payctl.app import App
from payctl.clock import ManualClock
from payctl.config import load
from payctl.db.engine import Database
from payctl.db.tables import audit
from tests import books
from tests.cli.runner import run
from tests.cli.schemas import check
from tests.notifications.kit import SECRET, Receiver, receiving, tell

pytestmark = pytest.mark.integration


@pytest.fixture
def engine_name() -> str:
    """The relay runs on both engines in its own tests; here one is enough."""
    return "sqlite"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def environ(receiver: Receiver, home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "PAYCTL_NOTIFICATIONS_URL": receiver.url,
        "PAYCTL_NOTIFICATIONS_SECRETS": SECRET,
        "PAYCTL_NOTIFICATIONS_ALLOW_PRIVATE": "true",
    }


@pytest.fixture
def app(db: Database, receiver: Receiver, tmp_path: Path) -> App:
    return App(load(environ=environ(receiver, tmp_path)), db)


def text(*found: object) -> list[str]:
    return [ids.encode("notification", each) for each in found]  # type: ignore[arg-type]


def test_list_show_relay(app: App, db: Database, receiver: Receiver) -> None:
    one, two = db.ids.new(), db.ids.new()
    first, second = text(*tell(db, one, two))
    [third] = text(*tell(db, one, type="payment.expired"))
    listed = check(run("outbox", "list", "--json", app=app).json)
    assert [item["id"] for item in listed["items"]] == [third, second, first]
    assert {item["status"] for item in listed["items"]} == {"pending"}
    page = check(run("outbox", "list", "--limit", "2", "--json", app=app).json)
    rest = run("outbox", "list", "--after", page["next"], "--json", app=app).json
    assert [item["id"] for item in rest["items"]] == [first]
    about = ("--object", ids.encode("payment", one), "--type", "payment.succeeded")
    assert run("outbox", "list", "-q", *about, app=app).out.split() == [first]
    app.deliveries.lag()
    dry = run("outbox", "relay", "--dry-run", "--json", app=app)
    assert (dry.code, receiver.requests) == (0, [])
    done = run("outbox", "relay", "--json", app=app)
    assert (done.code, check(done.json)["counts"]) == (0, {"core": {"delivered": 3}})
    assert run("outbox", "list", "--status", "pending", "-q", app=app).out.split() == []
    shown = check(run("outbox", "show", first, "--json", app=app).json)
    assert (shown["status"], shown["tries"]) == ("delivered", 1)
    assert shown["payload"]["data"]["id"] == shown["object"] == ids.encode("payment", one)
    wide = run("outbox", "list", "-o", "table", app=app).out.splitlines()
    assert max(map(len, wide)) <= 80
    assert run("outbox", "show", text(db.ids.new())[0], "--json", app=app).code == 3
    bad = run("outbox", "list", "--status", "lost", "--json", app=app)
    assert (bad.code, bad.error["code"]) == (2, "notification.unknown_state")


def test_a_dry_run_shows_what_would_be_sent(app: App, db: Database, receiver: Receiver) -> None:
    receiver.reply = lambda _: (500, {})
    [told] = text(*tell(db, db.ids.new()))
    assert run("outbox", "relay", app=app).code == 9
    assert run("outbox", "relay", "--dry-run", "-q", app=app).out.split() == []
    db.clock.sleep(6)
    assert run("outbox", "relay", "--dry-run", "-q", app=app).out.split() == [told]
    assert len(receiver.requests) == 1


def test_lag(app: App, db: Database, clock: ManualClock, receiver: Receiver) -> None:
    fresh = run("outbox", "lag", "--json", app=app)
    assert (fresh.code, check(fresh.json)["status"]) == (0, "ok")
    tell(db, db.ids.new(), db.ids.new())
    clock.advance(timedelta(seconds=100))
    waiting = run("outbox", "lag", "--json", app=app)
    assert (waiting.code, waiting.json["undelivered"], waiting.json["age_s"]) == (0, 2, 100)
    late = run("outbox", "lag", "--limit-s", "99", "--json", app=app)
    assert (late.code, check(late.json)["status"]) == (9, "late")
    receiver.reply = lambda _: (410, {})
    assert run("outbox", "relay", app=app).code == 9
    disabled = run("outbox", "lag", "--json", app=app)
    assert (disabled.code, check(disabled.json)["status"]) == (9, "disabled")
    assert disabled.json["reason"] == "status 410"
    receiver.reply = lambda _: (200, {})
    dry = run("outbox", "enable", "--reason", "back", "--dry-run", "--json", app=app)
    assert (dry.code, dry.json["endpoint"]) == (0, "up")
    assert run("outbox", "relay", "--json", app=app).json["counts"] == {"core": {}}
    enabled = run("outbox", "enable", "--reason", "back", "--json", app=app)
    assert (enabled.code, check(enabled.json)["endpoint"]) == (0, "up")
    assert run("outbox", "relay", app=app).code == 0
    assert run("outbox", "lag", "-q", app=app).out.split() == ["ok"]


def test_without_an_address_nothing_is_delivered_and_lag_says_so(db: Database) -> None:
    tell(db, db.ids.new())
    lag = run("outbox", "lag", "--json", db=db)
    assert (lag.code, check(lag.json)["status"]) == (0, "not_configured")
    assert lag.json["undelivered"] == 1
    assert "notifications.url" in lag.err
    relay = run("outbox", "relay", "--json", db=db)
    assert (relay.code, relay.json["counts"]) == (4, {})


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"PAYCTL_NOTIFICATIONS_URL": "http://core.example/"}, "notification.bad_url"),
        ({"PAYCTL_NOTIFICATIONS_SECRETS": "whsec_short"}, "notification.bad_secret"),
        ({"PAYCTL_NOTIFICATIONS_SECRETS": ""}, "notification.no_secret"),
    ],
)
def test_a_bad_configuration_sends_nothing(
    db: Database, receiver: Receiver, tmp_path: Path, changed: dict[str, str], code: str
) -> None:
    tell(db, db.ids.new())
    around = environ(receiver, tmp_path) | changed
    refused = run("outbox", "relay", "--json", db=db, environ=around)
    assert (refused.code, refused.error["code"]) == (4, code)
    assert receiver.requests == []
    assert "whsec_short" not in refused.err


def test_a_private_address_must_be_allowed(
    db: Database, receiver: Receiver, tmp_path: Path
) -> None:
    tell(db, db.ids.new())
    around = environ(receiver, tmp_path) | {"PAYCTL_NOTIFICATIONS_ALLOW_PRIVATE": "false"}
    refused = run("outbox", "relay", "--json", db=db, environ=around)
    assert (refused.code, refused.json["counts"]) == (9, {"core": {"down": 1}})
    assert receiver.requests == []


def test_dead_letters(app: App, db: Database, clock: ManualClock, receiver: Receiver) -> None:
    receiver.reply = lambda _: (400, {})
    first, second = text(*tell(db, db.ids.new(), db.ids.new()))
    for _ in range(10):
        job = jobs.run(app, "outbox_relay")
        clock.advance(timedelta(hours=27))
    assert (job.failed, dict(job.counts)) == (2, {"core_refused": 2, "core_dead": 2})
    assert run("outbox", "lag", "--json", app=app).json["status"] == "dead_letters"
    listed = check(run("outbox", "dead", "list", "--json", app=app).json)
    assert [(item["id"], item["reason"]) for item in listed["items"]] == [
        (second, "status 400"),
        (first, "status 400"),
    ]
    why = ("--reason", "mended over there")
    dry = run("outbox", "dead", "retry", first, *why, "--dry-run", "--json", app=app)
    assert (dry.code, check(dry.json)["status"]) == (0, "pending")
    retried = run("outbox", "dead", "retry", first, *why, "--json", app=app)
    assert (retried.code, check(retried.json)["tries"]) == (0, 0)
    again = run("outbox", "dead", "retry", first, *why, "--json", app=app)
    assert (again.code, again.error["code"]) == (5, "notification.not_dead")
    dropped = run("outbox", "dead", "drop", second, *why, "--json", app=app)
    assert (dropped.code, check(dropped.json)["status"]) == (0, "dropped")
    receiver.reply = lambda _: (200, {})
    receiver.requests.clear()
    assert run("outbox", "relay", app=app).code == 0
    assert receiver.ids() == [first]
    since = ("--since", "2026-11-01")
    rehearsed = run("outbox", "replay", *since, *why, "--dry-run", "--json", app=app)
    assert (rehearsed.code, check(rehearsed.json)["notifications"]) == (0, 2)
    assert run("outbox", "replay", *since, *why, "--json", app=app).json["notifications"] == 2
    assert run("outbox", "relay", app=app).code == 0
    assert sorted(receiver.ids()) == sorted([first, first, second])
    with db.read() as tx:
        acts = tx.scalars(sa.select(audit.c.action).where(audit.c.action.like("outbox.%"))).all()
    assert acts == ["outbox.retried", "outbox.dropped", "outbox.replayed"]
    assert run("outbox", "replay", *why, app=app).code == 2


def test_follow_until_it_is_told_to_stop(db: Database, receiver: Receiver, tmp_path: Path) -> None:
    """A process of its own: what is written while it runs is delivered, SIGTERM ends it well."""
    books.stamp(db)
    around = environ(receiver, tmp_path) | {"PAYCTL_DATABASE_URL": str(db.url), "LANG": "C"}
    child = subprocess.Popen(
        [sys.executable, "-m", "payctl", "outbox", "relay", "--follow", "--json"],
        env={"PATH": os.environ["PATH"], **around},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for number in (1, 2):
            tell(db, db.ids.new())
            while len(receiver.requests) < number:
                with suppress(subprocess.TimeoutExpired):
                    raise AssertionError(child.wait(0.02), child.communicate())
    finally:
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=30)
    assert child.returncode == 0, err
    assert json.loads(out)["counts"] == {"core": {"delivered": 2}}
