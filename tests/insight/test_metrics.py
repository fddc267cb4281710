"""What Prometheus is shown: read by its own parser, against what happened in the book."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families as parsed

import jobs
from payctl.db import migrate
from payctl.db.engine import Database
from payctl.db.tally import metric_delta
from payctl.errors import Unavailable
from payctl.insight import metrics as module
from payctl.insight.metric_names import BY_NAME, METRICS, SAMPLES
from payctl.insight.metrics import render
from payctl.payments.gateway_tables import breaker
from payctl.webhooks.tables import webhook_event
from tests import books
from tests.cli.runner import run
from tests.cli.schemas import check
from tests.payments.kit import OPERATOR, Kit

pytestmark = pytest.mark.integration
#: Where the database does not matter.
embedded = pytest.mark.parametrize("engine_name", ["sqlite"])


@pytest.fixture
def kit(kit: Kit) -> Kit:
    """The book of the tests is built from declarations: let it count as migrated. A restriction to
    the accounts of the kit: a profile of its own names others.
    """
    books.stamp(kit.app.db)
    kit.app.metrics._names = list(kit.gateways)
    return kit


def values(kit: Kit) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels, in order of the labels' names."""
    found = {}
    for family in parsed(render(kit.app).decode()):
        for sample in family.samples:
            labels = [value for _, value in sorted(sample.labels.items())]
            found[(sample.name, *labels)] = sample.value
    return found


@embedded
def test_every_metric_is_exposed_with_its_kind_and_its_help(kit: Kit) -> None:
    kit.pay("k1")
    text = render(kit.app).decode()
    for metric in METRICS:
        assert f"# HELP {metric.name} {metric.help}\n" in text
        assert f"# TYPE {metric.name} {metric.kind}\n" in text
    names = {sample.name for family in parsed(text) for sample in family.samples}
    assert names <= SAMPLES
    assert "60 minutes" in BY_NAME["payment_success_rate"].help


def test_a_day_of_payments(kit: Kit) -> None:
    kit.pay("k1", amount_minor=10_000)
    kit.pay("k2", amount_minor=150, currency="XOF")
    kit.pay("k3", "tok_decline_insufficient_funds")
    lost = kit.pay("k4", "tok_lost_answer")
    kit.app.refunds.create(OPERATOR, kit.pay("k5").payment.id, key="r", reason="x")
    kit.clock.advance(timedelta(minutes=2))
    seen = values(kit)
    transactions, paid = "payment_transactions_total", "payment_service_payments_total"
    assert seen[transactions, "create", "succeeded", "cards"] == 3
    assert seen[transactions, "create", "declined", "cards"] == 1
    assert seen[transactions, "refund", "succeeded", "cards"] == 1
    assert seen["payment_errors_total", "unknown", "create", "cards"] == 1
    assert seen["payment_errors_total", "rejected", "create", "cards"] == 0
    assert seen[paid, "EUR", "cards", "processing"] == 4
    assert seen[paid, "EUR", "cards", "succeeded"] == 2
    assert seen[paid, "XOF", "cards", "succeeded"] == 1
    assert seen["payment_service_refunds_total", "EUR", "cards", "succeeded"] == 1
    assert seen["payment_success_rate", "cards"] == pytest.approx(3 / 4)
    amount = "payment_service_payment_amount"
    assert seen[f"{amount}_sum", "EUR", "cards"] == 20_000
    assert seen[f"{amount}_bucket", "EUR", "5000", "cards"] == 0
    assert seen[f"{amount}_bucket", "EUR", "10000", "cards"] == 2
    assert seen[f"{amount}_bucket", "XOF", "200", "cards"] == 1
    assert seen["payment_gateway_response_time_count", "create", "cards"] == 5
    assert seen["payment_gateway_response_time_bucket", "+Inf", "create", "cards"] == 5
    assert seen["payctl_unknown_outcomes", "cards"] == 1
    assert seen["payctl_unknown_outcome_age_seconds", "cards"] == 120
    assert seen["payctl_unknown_outcomes", "momo"] == 0
    assert seen[("payctl_up",)] == 1
    kit.wait(minutes=30)
    later = values(kit)
    assert kit.show(lost).payment.status == "succeeded"
    assert later["payctl_unknown_outcomes", "cards"] == 0
    assert later[paid, "EUR", "cards", "succeeded"] == 3
    falls = {name for name in seen if name[0].endswith(("_total", "_bucket", "_count", "_sum"))
             and later[name] < seen[name]}  # fmt: skip
    assert falls == set()


def test_money_that_belongs_to_no_order(kit: Kit) -> None:
    kit.pay("k1", "tok_wrong_amount")
    seen = values(kit)
    got = kit.balance("unapplied:cards")
    assert got > 0 and seen["payctl_unapplied_receipts_minor", "EUR", "cards"] == got
    assert seen["payctl_open_cases", "wrong_amount"] == 1


def test_breakers_events_jobs_and_the_ledger_check(kit: Kit) -> None:
    db, now = kit.app.db, kit.clock.now()
    with db.transaction() as tx:
        tx.execute(
            sa.insert(breaker).values(account="cards", op_class="collect", state="open",
                                      since=now, next_probe_at=now, reason="in_a_row")
        )  # fmt: skip
        for number, state in enumerate(("received", "dead", "dead", "orphan", "applied")):
            open_ = state == "received"
            tx.execute(
                sa.insert(webhook_event).values(
                    id=db.ids.new(), account="cards", dedupe=f"e{number}", body=b"{}", headers={},
                    received_at=now, state=state, tries=1, waits=0, reason="r",
                    settled_at=None if open_ else now, next_try_at=now if open_ else None,
                )
            )  # fmt: skip
    jobs.run(kit.app, "ledger_check")
    kit.clock.advance(timedelta(seconds=90))
    seen = values(kit)
    state = {key[3]: value for key, value in seen.items() if key[0] == "payctl_breaker_state"}
    assert state == {"closed": 0, "open": 1, "half_open": 0}
    assert seen["payctl_inbox_waiting", "cards"] == 1
    assert seen["payctl_inbox_lag_seconds", "cards"] == 90
    assert (seen["payctl_inbox_dead", "cards"], seen["payctl_inbox_orphans", "cards"]) == (2, 1)
    assert seen["payctl_webhook_last_timestamp_seconds", "cards"] == now.timestamp()
    assert seen["payctl_job_runs_total", "ledger_check", "done"] == 1
    assert seen["payctl_job_last_success_timestamp_seconds", "ledger_check"] == now.timestamp()
    assert seen["payctl_job_last_success_timestamp_seconds", "payment_sync"] == 0
    assert seen["payctl_job_period_seconds", "payment_sync"] == 60
    assert seen[("payctl_ledger_check_ok",)] == 1
    kit.pay("k1")
    with db.transaction() as tx:
        tx.exec_driver_sql("UPDATE balance SET posted_minor = posted_minor + 1")
    kit.clock.advance(timedelta(seconds=1))
    assert jobs.run(kit.app, "ledger_check").failed > 0
    assert values(kit)[("payctl_ledger_check_ok",)] == 0


@embedded
def test_what_the_receiver_answered(kit: Kit) -> None:
    seen = kit.app.metrics.requests
    seen.observe("/webhooks/{account}", 200, 0.031)
    seen.observe("/webhooks/{account}", 503, 0.4)
    shown = values(kit)
    assert shown["payctl_http_requests_total", "/webhooks/{account}", "503"] == 1
    assert shown["payctl_http_request_seconds_bucket", "0.05", "/webhooks/{account}"] == 1
    assert shown["payctl_http_request_seconds_sum", "/webhooks/{account}"] == pytest.approx(0.431)
    assert values(kit) == shown, "what was written is not written again"

    def gone(_work: Any) -> None:
        raise Unavailable("database.unreachable")

    seen.observe("/health", 200, 0.001)
    run_ = kit.app.db.run
    kit.app.db.run = gone  # type: ignore[assignment]
    assert ("payctl_http_requests_total", "/health", "200") not in values(kit)
    kit.app.db.run = run_  # type: ignore[method-assign]
    assert values(kit)["payctl_http_requests_total", "/health", "200"] == 1


@embedded
def test_a_book_that_cannot_be_read_is_told_and_nothing_else(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.pay("k1")
    monkeypatch.setattr(module.migrate, "status", lambda _: migrate.Status("0001_core", "0002_x"))
    assert values(kit) == {("payctl_up",): 0}

    def gone(_db: Database) -> None:
        raise Unavailable("database.unreachable")

    monkeypatch.setattr(module.migrate, "status", gone)
    assert values(kit) == {("payctl_up",): 0}


def test_the_job_moves_everything_and_changes_nothing(kit: Kit) -> None:
    for number in range(3):
        kit.pay(f"k{number}")
    before = values(kit)
    kit.pay("k9", "tok_rejected")
    report = jobs.run(kit.app, "metrics_fold")
    assert report.counts["rows"] >= 2
    with kit.app.db.read() as tx:
        # The run counts its own end.
        assert tx.scalar(sa.select(sa.func.count()).select_from(metric_delta)) == 1
    assert values(kit)["payment_service_payments_total", "EUR", "cards", "processing"] == 4
    assert before["payment_service_payments_total", "EUR", "cards", "processing"] == 3


@pytest.fixture
def shell(kit: Kit) -> Iterator[Any]:
    yield lambda *words: run(*words, app=kit.app)


def test_from_the_command_line(kit: Kit, shell: Any, tmp_path: Path) -> None:
    kit.pay("k1")
    text = shell("metrics").out
    assert (
        'payment_transactions_total{operation="create",outcome="succeeded",provider="cards"} 1'
        in (text)
    )
    items = check(shell("metrics", "--json").json)["items"]
    assert {item["name"] for item in items} <= SAMPLES
    file = tmp_path / "payctl.prom"
    file.write_text("old")
    assert shell("metrics", "--textfile", str(file)).code == 0
    assert "payctl_up 1.0" in file.read_text() and file.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in tmp_path.glob("*payctl.prom*")] == ["payctl.prom"]
    refused = shell("metrics", "--textfile", str(tmp_path / "no" / "x.prom"), "--json")
    assert (refused.code, refused.error["code"]) == (2, "metrics.unwritable")
