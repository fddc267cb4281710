"""``payctl webhooks`` from the command line to the inbox, with the sandbox as provider."""

from __future__ import annotations

import json
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
from payctl.gateways.registry import build
from payctl.gateways.signature import sign
from tests.cli.runner import run
from tests.cli.schemas import check

pytestmark = [pytest.mark.integration, pytest.mark.webhooks]


@pytest.fixture
def engine_name() -> str:
    """The service runs on both engines in its own tests; here one is enough."""
    return "sqlite"


@pytest.fixture
def app(db: Database, tmp_path: Path, clock: ManualClock) -> App:
    services = App(load(environ={"HOME": str(tmp_path)}), db)
    settings = {"book": str(tmp_path / "provider.sqlite3"), "webhook_secrets": ["secret"]}
    gateway = build("sandbox", "box", settings, lambda reference: reference, clock=clock)
    services.__dict__["gateways"] = {"box": gateway}
    return services


def receive(app: App, clock: ManualClock, number: int = 1, kind: str = "payment") -> str:
    """An event about an object that is not ours."""
    body = json.dumps(
        {
            "id": f"evt_{number}", "type": f"{kind}.succeeded",
            "created": "2026-11-02T09:00:00+00:00",
            "object": {"kind": kind, "id": f"sb_{number}", "our_reference": f"ref-{number}"},
        }
    ).encode()  # fmt: skip
    headers = {"Sandbox-Signature": sign(body, "secret", clock.now())}
    return ids.encode("event", app.inbox.receive("box", body, headers))


def unreadable(app: App, clock: ManualClock) -> str:
    headers = {"Sandbox-Signature": sign(b"?", "secret", clock.now())}
    event = ids.encode("event", app.inbox.receive("box", b"?", headers))
    for _ in range(3):
        run("webhooks", "apply", event, app=app)
    return event


def test_list_show_apply(app: App, clock: ManualClock) -> None:
    first, second = receive(app, clock, 1, "other"), receive(app, clock, 2, "other")
    listed = check(run("webhooks", "list", "--json", app=app).json)
    assert [item["id"] for item in listed["items"]] == [second, first]
    page = check(run("webhooks", "list", "--limit", "1", "--json", app=app).json)
    assert page["next"] == second
    dry = run("webhooks", "apply", "--dry-run", "--json", app=app)
    assert check(dry.json)["counts"] == {"received": 2}
    one = run("webhooks", "apply", first, "--json", app=app)
    assert (one.code, check(one.json)["counts"]) == (0, {"nothing_new": 1})
    rest = run("webhooks", "apply", "--json", app=app)
    assert rest.json["counts"] == {"nothing_new": 1}
    again = run("webhooks", "apply", first, "--json", app=app)
    assert (again.code, again.error["code"]) == (5, "webhook.settled")
    shown = check(run("webhooks", "show", first, "--json", app=app).json)
    assert (shown["status"], shown["our_reference"]) == ("applied", "ref-1")
    assert max(map(len, run("webhooks", "list", "-o", "table", app=app).out.splitlines())) <= 80


def test_an_object_that_is_not_ours_waits_as_an_orphan(app: App, clock: ManualClock) -> None:
    event = receive(app, clock)
    for expected in ("waiting", "waiting", "waiting", "orphan"):
        result = run("webhooks", "apply", event, "--json", app=app)
        assert result.json["counts"] == {expected: 1}
    (case,) = run("cases", "list", "--json", app=app).json["items"]
    assert (case["kind"], case["subject_id"]) == ("orphan", event)


def test_dead_letters(app: App, clock: ManualClock) -> None:
    event = unreadable(app, clock)
    assert run("webhooks", "dead", "list", "-q", app=app).out.split() == [event]
    retry = ("webhooks", "dead", "retry", event, "--reason", "new release", "--json")
    assert check(run(*retry, "--dry-run", app=app).json)["status"] == "received"
    assert run("webhooks", "dead", "list", "-q", app=app).out.split() == [event]
    assert run(*retry, app=app).code == 0
    assert run(*retry, app=app).error["code"] == "webhook.not_dead"
    results = [run("webhooks", "apply", event, "--json", app=app) for _ in range(3)]
    assert [result.code for result in results] == [0, 0, 9]
    drop = run("webhooks", "dead", "drop", event, "--reason", "noise", "--json", app=app)
    assert check(drop.json)["status"] == "dropped"


def test_the_body_is_shown_on_purpose_and_audited(
    app: App, db: Database, clock: ManualClock
) -> None:
    event = receive(app, clock)
    assert "body" not in run("webhooks", "show", event, "--json", app=app).json
    shown = check(run("webhooks", "show", event, "--body", "--json", app=app).json)
    assert json.loads(shown["body"])["id"] == "evt_1"
    with db.read() as tx:
        seen = tx.execute(sa.select(audit.c.action, audit.c.subject_id)).all()
    assert ("revealed", ids.decode(event)) in [tuple(row) for row in seen]


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (("show", "evt_00000000000000000000000000"), 3, "webhook.not_found"),
        (("list", "--status", "lost"), 2, "webhook.unknown_state"),
        (("dead", "drop", "EVENT", "--reason", " "), 2, "reason.missing"),
        (("dead", "drop", "EVENT", "--reason", "x"), 5, "webhook.not_dead"),
    ],
)
def test_mistakes(
    app: App, clock: ManualClock, words: tuple[str, ...], exit_code: int, code: str
) -> None:
    event = receive(app, clock)
    line = ("webhooks", *(event if word == "EVENT" else word for word in words))
    result = run(*line, "--json", app=app)
    assert (result.code, result.error["code"]) == (exit_code, code)
    assert "{" not in run(*line, "--lang", "fr", app=app).err


def test_the_job_applies_what_is_due(app: App, clock: ManualClock) -> None:
    for number in range(3):
        receive(app, clock, number, "other")
    report = jobs.run(app, "webhook_apply", limit=2)
    assert (dict(report.counts), report.failed) == ({"nothing_new": 2}, 0)
    assert dict(jobs.run(app, "webhook_apply").counts) == {"nothing_new": 1}
