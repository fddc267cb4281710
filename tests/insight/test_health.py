"""The checks that doctor, health and alerts share: each illness is found and comes with its fix."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

import jobs
from payctl.app import App
from payctl.config import load
from payctl.db.engine import Database
from payctl.insight import book_checks
from payctl.insight.findings import Finding
from payctl.insight.health import DATABASE, GATEWAYS, PING_KEPT_S
from payctl.notifications.lag import Lag
from payctl.webhooks.tables import webhook_event
from tests import books
from tests.cli.runner import run
from tests.cli.schemas import check, validator
from tests.payments.kit import Kit

pytestmark = pytest.mark.integration
#: Where the database does not matter.
embedded = pytest.mark.parametrize("engine_name", ["sqlite"])


@pytest.fixture
def kit(kit: Kit) -> Kit:
    books.stamp(kit.app.db)
    return kit


def found(kit: Kit, name: str) -> list[tuple[str, str, str]]:
    report = kit.app.health.report([name])
    validator("payctl.health/1").validate(report.as_json())
    assert {each.check for each in report.findings} <= {name}
    for each in report.findings:
        assert each.status == "ok" or each.fix, each
    return [(each.status, each.code, each.about) for each in report.findings]


def receive(kit: Kit, at: datetime, state: str = "applied") -> None:
    db = kit.app.db
    open_ = state in ("received", "waiting")
    with db.transaction() as tx:
        tx.execute(
            sa.insert(webhook_event).values(
                id=db.ids.new(), account="cards", dedupe=db.ids.token(), body=b"{}", headers={},
                received_at=at, state=state, tries=1, waits=0, reason="r",
                settled_at=None if open_ else at, next_try_at=at if open_ else None,
            )
        )  # fmt: skip


def test_a_provider_that_usually_writes_and_does_not(kit: Kit) -> None:
    """Its longest pause was 20 minutes: an hour of silence is thrice that, if a payment waits."""
    start = kit.clock.now()
    for minutes in (0, 20, 25):
        receive(kit, start + timedelta(minutes=minutes))
    kit.clock.advance(timedelta(minutes=25))
    fine = [("ok", "doctor.webhooks_ok", "")]
    kit.clock.advance(timedelta(hours=5))
    assert found(kit, "webhooks") == fine, "nothing waits for its word"
    kit.pay("k1", "tok_pending:9000000")
    assert found(kit, "webhooks") == fine, "the payment has only just been made"
    kit.clock.advance(timedelta(minutes=50))
    assert found(kit, "webhooks") == fine, "it usually takes its time"
    kit.clock.advance(timedelta(minutes=11))
    assert found(kit, "webhooks") == [("warn", "doctor.webhooks_silent", "cards")]
    receive(kit, kit.clock.now())
    assert found(kit, "webhooks") == fine


@pytest.mark.parametrize(("minutes", "status"), [(4, "ok"), (6, "warn"), (61, "fail")])
def test_events_that_are_not_applied(kit: Kit, minutes: int, status: str) -> None:
    receive(kit, kit.clock.now(), "received")
    kit.clock.advance(timedelta(minutes=minutes))
    assert [each[0] for each in found(kit, "inbox")] == [status]


@embedded
@pytest.mark.parametrize(("minutes", "status"), [(4, "ok"), (6, "warn"), (61, "fail")])
def test_notifications_that_are_not_delivered(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, minutes: int, status: str
) -> None:
    lag = Lag(3, kit.clock.now(), dead=2, disabled=True)
    monkeypatch.setattr(book_checks, "outbox_lag", lambda *_: lag)
    kit.clock.advance(timedelta(minutes=minutes))
    assert [each[0] for each in found(kit, "outbox")] == [status, "fail"]
    assert found(kit, "dead_letters") == [("fail", "doctor.dead_notifications", "outbox")]


def test_a_ledger_that_is_broken(kit: Kit) -> None:
    assert found(kit, "ledger") == []
    kit.pay("k1")
    jobs.run(kit.app, "ledger_check")
    assert found(kit, "ledger") == [("ok", "doctor.ledger_ok", "")]
    with kit.app.db.transaction() as tx:
        tx.exec_driver_sql("UPDATE balance SET posted_minor = posted_minor + 1")
    kit.clock.advance(timedelta(seconds=1))
    jobs.run(kit.app, "ledger_check")
    assert found(kit, "ledger") == [("fail", "doctor.ledger_broken", "")]


@embedded
def test_providers_are_asked_only_on_request_and_not_too_often(kit: Kit) -> None:
    asked: list[str] = []
    for name, gateway in kit.gateways.items():
        ping = gateway.ping
        gateway.ping = lambda name=name, ping=ping: (asked.append(name), ping())[1]  # type: ignore
    health = kit.app.health
    health.detailed()
    health.report(GATEWAYS)
    assert asked == []
    for _ in range(3):
        report = health.report(GATEWAYS, network=True)
    assert sorted(asked) == ["cards", "momo"]
    kinds = {each.code for each in report.findings if each.check == "gateways"}
    assert kinds == {"doctor.gateway_ok"}
    kit.clock.advance(timedelta(seconds=PING_KEPT_S + 1))
    health.report(GATEWAYS, network=True)
    assert len(asked) == 4


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_a_book_that_takes_no_writes_is_not_ready(db: Database, kit: Kit) -> None:
    assert kit.app.health.readiness().ok
    url = db.url.set(drivername="postgresql").render_as_string(hide_password=False)
    name = db.url.database
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')  # type: ignore[arg-type]
        db.dispose()
        try:
            report = kit.app.health.report(DATABASE)
        finally:
            other.execute("SET default_transaction_read_only = off")
            other.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')  # type: ignore[arg-type]
            db.dispose()
    assert not report.ok
    assert ("fail", "database.read_only") in [(f.status, f.code) for f in report.findings]


@embedded
def test_a_check_that_fails_in_the_middle_says_so_once(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from payctl.errors import Unavailable

    def broken(_tx: Any) -> Iterator[Finding]:
        raise Unavailable("database.locked")

    monkeypatch.setattr(book_checks.signs, "inbox", broken)
    assert found(kit, "inbox") == [("fail", "database.locked", "error")]
    assert found(kit, "unknown") == [("ok", "doctor.unknown_none", "")]


def test_from_the_command_line(kit: Kit) -> None:
    ready = check(run("health", "--json", app=kit.app).json)
    assert [item["check"] for item in ready["checks"]] == ["database", "migrations"]
    assert ready["status"] == "ok" and all(item["text"] for item in ready["checks"])
    kit.pay("k1", "tok_lost_answer")
    kit.clock.advance(timedelta(hours=30))
    whole = run("health", "--detailed", "--json", app=kit.app)
    assert whole.code == 9
    items = {item["check"]: item for item in check(whole.json)["checks"]}
    assert items["unknown"]["fix"] == "payctl payments sync"
    assert run("health", app=kit.app).code == 0, "payments can be taken all the same"
    with kit.app.db.transaction() as tx:
        tx.exec_driver_sql("UPDATE alembic_version SET version_num = '0001_core'")
    behind = run("health", "--json", app=kit.app)
    assert behind.code == 9
    assert behind.json["checks"][-1]["fix"] == "payctl db upgrade"


def test_to_look_at_a_book_does_not_make_it(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "PAYCTL_DATABASE_URL": f"sqlite:///{tmp_path}/none.sqlite3"}
    asked = run("health", "--detailed", "--json", environ=environ)
    assert asked.code == 9
    codes = {item["code"] for item in asked.json["checks"] if item["status"] == "fail"}
    assert codes == {"doctor.database_behind"}
    assert run("metrics", environ=environ).out.count("payctl_up 0.0") == 1
    assert not (tmp_path / "none.sqlite3").exists()


def test_a_job_that_needs_a_setting_is_expected_where_it_is_set(db: Database) -> None:
    def never(**environ: str) -> set[str]:
        app = App(load(environ={"HOME": "/nonexistent", **environ}), db)
        return {found.about for found in app.health.report(["jobs"]).findings}

    books.stamp(db)
    assert never(PAYCTL_ALERTS_COMMAND="tell us") - never() == {"alerts"}
    assert "payment_sync" in never()


def test_a_process_that_built_no_book_looks_all_the_same(tmp_path: Path) -> None:
    """Who only reads has not asked for the declarations of a whole book, as the tests have."""
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    for words in (
        ["payments", "list"],
        ["health", "--detailed", "--json"],
        ["metrics"],
        ["doctor"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "payctl", *words], env=environ, cwd=tmp_path,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode in (0, 9) and "Traceback" not in done.stderr, done.stderr
        assert "bug" not in done.stderr
