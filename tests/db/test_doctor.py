"""The doctor: each illness is found, told in a sentence, and comes with its remedy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.cli.messages import catalogue
from payctl.clock import ManualClock
from payctl.config import Config, load
from payctl.db import migrate
from payctl.db.engine import Database
from payctl.db.job_runs import JobRuns
from payctl.db.leases import Leases
from payctl.db.operators import job_actor
from payctl.errors import NotConfigured
from payctl.gateways import base
from payctl.insight import book_checks
from payctl.insight import health as module
from payctl.insight.findings import Finding, Schedule
from payctl.insight.health import Health
from payctl.payments.gateway_tables import breaker
from payctl.payments.tables import attempt, payment
from payctl.webhooks.tables import webhook_event

pytestmark = pytest.mark.integration


def config() -> Config:
    return load(environ={"HOME": "/nonexistent"})


def gateway(ok: bool) -> Any:
    return SimpleNamespace(ping=lambda: base.Health(ok, 12, "refused" if not ok else ""))


def examine(
    db: Database,
    *,
    gateways: Mapping[str, Any] | None = None,
    jobs: tuple[Schedule, ...] = (),
    settings: Config | None = None,
) -> list[Finding]:
    runs = JobRuns(db, Leases(db))
    doctor = Health(settings or config(), db, lambda: gateways or {}, lambda: list(jobs), runs.last)
    return list(doctor.findings())


def of(found: list[Finding], check: str) -> list[tuple[str, str]]:
    return [(each.status, each.code) for each in found if each.check == check]


@pytest.fixture
def ready(db: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The book of the tests is built from declarations: let it count as migrated."""
    monkeypatch.setattr(
        module.migrate, "status", lambda _: migrate.Status(migrate.HEAD, migrate.HEAD)
    )
    return db


def test_every_sentence_exists_in_both_languages() -> None:
    import inspect
    import re

    source = inspect.getsource(module) + inspect.getsource(book_checks)
    codes = set(re.findall(r'"(doctor\.[a-z_]+)"', source))
    assert len(codes) > 30
    for lang in ("en", "fr"):
        assert codes <= set(catalogue(lang))


def test_a_healthy_installation(ready: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examine(ready, gateways={"good": gateway(True)})
    statuses = {each.check: each.status for each in found if each.check != "clock"}
    assert set(statuses.values()) == {"ok"}, found
    assert {"config", "database", "jobs", "breakers", "unknown", "dead_letters", "gateways"} <= {
        *statuses, "jobs"
    }  # fmt: skip


def test_a_book_that_was_not_upgraded_ends_the_questions_to_it(db: Database) -> None:
    found = examine(db, gateways={"good": gateway(True)})
    assert of(found, "database") == [("ok", "doctor.database_ok")]
    assert of(found, "migrations") == [("fail", "doctor.database_behind")]
    assert of(found, "breakers") == []
    assert of(found, "gateways") == [("ok", "doctor.gateway_ok")]
    (behind,) = [each for each in found if each.check == "migrations"]
    assert behind.fix == "payctl db upgrade"


def test_a_database_that_is_gone() -> None:
    db = Database("postgresql://x@127.0.0.1:1/x")
    assert of(examine(db), "database") == [("fail", "database.unreachable")]
    db.dispose()


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize(("seconds", "status"), [(0, "ok"), (5, "warn"), (-60, "fail")])
def test_a_clock_that_is_wrong(
    ready: Database, clock: ManualClock, seconds: int, status: str
) -> None:
    with ready.read() as tx:
        now = tx.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    clock.advance(now - clock.now() + timedelta(seconds=seconds))
    assert of(examine(ready), "clock") == [(status, "doctor.clock")]


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    ("free", "status"), [(100 * 1024**3, "ok"), (1024**3, "warn"), (1024**2, "fail")]
)
def test_a_disk_that_fills(
    ready: Database, monkeypatch: pytest.MonkeyPatch, free: int, status: str
) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert of(examine(ready), "disk") == [(status, "doctor.disk")]


def test_jobs_that_never_ran_failed_or_are_late(ready: Database, clock: ManualClock) -> None:
    runs, job = JobRuns(ready, Leases(ready)), (Schedule("test", 600),)
    actor = job_actor("test", "job.sync")
    assert of(examine(ready, jobs=job), "jobs") == [("warn", "doctor.job_never")]
    with pytest.raises(KeyError), runs.run("test", actor):
        raise KeyError("x")
    assert of(examine(ready, jobs=job), "jobs") == [("fail", "doctor.job_failed")]
    clock.advance(timedelta(seconds=1))
    with runs.run("test", actor):
        pass
    assert of(examine(ready, jobs=job), "jobs") == [("ok", "doctor.job_ok")]
    clock.advance(timedelta(seconds=1201))
    assert of(examine(ready, jobs=job), "jobs") == [("warn", "doctor.job_late")]


def test_gateways_that_do_not_answer_or_cannot_be_built(ready: Database) -> None:
    both = {"good": gateway(True), "bad": gateway(False)}
    assert of(examine(ready, gateways=both), "gateways") == [
        ("ok", "doctor.gateway_ok"),
        ("fail", "doctor.gateway_down"),
    ]

    def broken() -> Mapping[str, Any]:
        raise NotConfigured("gateway.setting_missing", field="secret_key", account="stripe")

    doctor = Health(config(), ready, broken, list, dict)
    found = list(doctor.findings())
    assert of(found, "gateways") == [("fail", "gateway.setting_missing")]
    offline = set(of(list(doctor.findings(network=False)), "gateways"))
    assert offline == {("ok", "doctor.gateway_unseen")}, "nobody is asked"


def test_a_wrong_configuration_is_a_finding(ready: Database) -> None:
    settings = load(environ={"HOME": "/nonexistent", "PAYCTL_LIVE": "perhaps"}, strict=False)
    assert of(examine(ready, settings=settings), "config")[0][0] == "fail"


def test_open_breakers_and_dead_letters(ready: Database, clock: ManualClock) -> None:
    with ready.transaction() as tx:
        tx.execute(
            sa.insert(breaker).values(
                account="stripe", op_class="collect", state="open", since=clock.now(),
                next_probe_at=clock.now(), reason="5 in a row",
            )
        )  # fmt: skip
        tx.execute(
            sa.insert(webhook_event).values(
                id=ready.ids.new(), account="stripe", dedupe="e1", body=b"{}", headers={},
                received_at=clock.now(), state="dead", tries=9, waits=0, reason="unreadable",
                settled_at=clock.now(),
            )
        )  # fmt: skip
    found = examine(ready)
    assert of(found, "breakers") == [("warn", "doctor.breaker_open")]
    assert of(found, "dead_letters") == [("fail", "doctor.dead_letters")]


@pytest.mark.parametrize(
    ("age", "status"), [(59 * 60, "ok"), (61 * 60, "warn"), (25 * 3600, "fail")]
)
def test_outcomes_that_stay_unknown(
    ready: Database, clock: ManualClock, age: int, status: str
) -> None:
    payment_id, now = ready.ids.new(), clock.now()
    with ready.transaction() as tx:
        tx.execute(
            sa.insert(payment).values(
                id=payment_id, status="unknown", amount_minor=100, currency="XOF", method="card",
                sale_type="ticket_sale", manual_capture=False, organiser="o", description="",
                metadata={}, preferred=[], needs_review=False, late=False, created_by="t",
                created_at=now, updated_at=now, next_check_at=now,
            )
        )  # fmt: skip
        tx.execute(
            sa.insert(attempt).values(
                id=ready.ids.new(), payment_id=payment_id, operation="collect",
                subject_id=payment_id, no=1, gateway_account="stripe", our_reference="r",
                idempotency_key="k", request_hash=bytes(32), amount_minor=100, currency="XOF",
                state="unknown", next_check_at=now, quarantine_until=now, created_at=now,
                updated_at=now,
            )
        )  # fmt: skip
    clock.advance(timedelta(seconds=age))
    code = "doctor.unknown_none" if status == "ok" else "doctor.unknown_old"
    assert of(examine(ready), "unknown") == [(status, code)]
