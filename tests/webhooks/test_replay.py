"""Replaying stored events, with real payments behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from payctl import ids
from payctl.db.engine import Database
from payctl.db.metadata import load
from payctl.gateways.signature import sign
from tests.cli.runner import run
from tests.cli.schemas import check
from tests.payments.kit import JANITOR, Kit, make_kit

pytestmark = [pytest.mark.integration, pytest.mark.webhooks]


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


@pytest.fixture
def kit(db: Database, tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(db, tmp_path)
    yield made
    for gateway in made.gateways.values():
        gateway.close()


def paid_by_the_customer(kit: Kit) -> str:
    """A payment that the provider has as paid and we have as open; its event lies in the inbox."""
    result = kit.pay("k1", "tok_3ds:3600")
    assert kit.gateways["cards"].customer_acts(result.attempts[-1].our_reference)
    for body, headers in kit.gateways["cards"].deliveries():
        kit.app.inbox.receive("cards", body, headers)
    stored = kit.app.inbox.list()
    return ids.encode("event", next(e.id for e in stored if e.type == "payment.succeeded"))


def contents(db: Database) -> dict[str, list[tuple[object, ...]]]:
    """Every row of the book."""
    with db.read() as tx:
        return {
            table.name: sorted(map(tuple, tx.execute(sa.select(table))), key=repr)
            for table in load().sorted_tables
        }


def test_a_dry_run_asks_the_provider_and_writes_nothing(kit: Kit, db: Database) -> None:
    event = paid_by_the_customer(kit)
    line = ("webhooks", "replay", event, "--dry-run", "--json")
    run(*line, app=kit.app)  # whoever acts first on an embedded book becomes its operator
    before = contents(db)
    shown = check(run(*line, app=kit.app).json)
    (row,) = shown["items"]
    assert row["outcome"] == "applied"
    assert (row["status_before"], row["status_after"]) == ("requires_action", "succeeded")
    assert (row["captured_before_minor"], row["captured_after_minor"]) == (0, 10_000)
    assert row["journals"] >= 1
    assert contents(db) == before


def test_the_act_does_what_the_dry_run_said_and_then_nothing_more(kit: Kit) -> None:
    event = paid_by_the_customer(kit)
    line = ("webhooks", "replay", event, "--reason", "was down", "--json")
    done = check(run(*line, app=kit.app).json)
    assert [row["outcome"] for row in done["items"]] == ["applied"]
    assert kit.our_totals() == kit.provider_totals() != {}
    again = run("webhooks", "replay", event, "--dry-run", "--json", app=kit.app).json
    assert [row["outcome"] for row in again["items"]] == ["nothing_new"]
    assert [row["outcome"] for row in run(*line, app=kit.app).json["items"]] == ["nothing_new"]
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


def test_events_are_chosen_and_a_replay_needs_a_choice(kit: Kit) -> None:
    event = paid_by_the_customer(kit)
    kit.app.inbox.apply(JANITOR)

    def chosen(*words: str) -> list[str]:
        line = ("webhooks", "replay", *words, "--dry-run", "--json")
        return [row["id"] for row in run(*line, app=kit.app).json["items"]]

    assert event in chosen("--type", "payment.succeeded")
    assert chosen("--gateway", "momo") == []
    assert chosen("--since", "1h", "--limit", "1") == [max(chosen("--since", "1h"))]
    refused = run("webhooks", "replay", "--json", app=kit.app)
    assert (refused.code, refused.error["code"]) == (2, "webhook.replay_what")


def test_an_event_of_nobody_we_know_stays_one(kit: Kit) -> None:
    result = kit.pay("k1", "tok_3ds:3600")
    assert kit.gateways["cards"].customer_acts(result.attempts[-1].our_reference)
    body, _ = list(kit.gateways["cards"].deliveries())[-1]
    headers = {"Sandbox-Signature": sign(body, "sandbox momo", kit.clock.now())}
    event = ids.encode("event", kit.app.inbox.receive("momo", body, headers))
    shown = run("webhooks", "replay", event, "--dry-run", "--json", app=kit.app).json
    assert [row["outcome"] for row in shown["items"]] == ["orphan"]
