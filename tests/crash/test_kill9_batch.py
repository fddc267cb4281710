"""Batch doors killed in the middle, their keys sent again, until the janitor has nothing to do."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.app import App
from payctl.clock import ManualClock
from payctl.db.tables import idempotency
from payctl.ids import encode
from payctl.payments import tables as t
from payctl.payments.checks import all_checks
from payctl.payments.model import LIVE_ATTEMPT_STATES, PaymentStatus
from tests.cli.door import PROCESS, Door, Home, request
from tests.payments.kit import JANITOR

pytestmark = [pytest.mark.crash, pytest.mark.timeout(200)]

DOORS = {"sqlite": 1, "postgresql": 2}
ROUNDS = 3
#: A door has answered so many before it is killed, some of them repeats.
AT_LEAST = 40
#: More than a door answers before it is killed.
MANY = 2000
TERMS = {
    "late_horizon_s": 60, "decline_rate": 0.05, "gateway_decline_rate": 0.1, "lost_rate": 0.1,
    "not_sent_rate": 0.02, "latency_ms": 5,
}  # fmt: skip
Answers = dict[str, list[dict[str, Any]]]


def talk(door: Door, keys: Iterable[str]) -> threading.Thread:
    """Send requests until the door is gone."""

    def send() -> None:
        with contextlib.suppress(AssertionError, ValueError):
            for key in keys:
                door.send(wanted(key))

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def wanted(key: str) -> dict[str, Any]:
    dice = Random(key)
    amount, organiser = dice.randint(500, 9000), f"org-{dice.randint(1, 4)}"
    return request(key, amount_minor=amount, organiser=organiser, preferred=[], country="FR")


def round_of(home: Home, count: int, number: int, answers: Answers, sent: set[str]) -> None:
    """Doors that are sent keys that were never answered, some that were, and new ones, all of them
    the same keys, until they are killed.
    """
    left = [*sorted(key for key in sent if key not in answers)[:100], *sorted(answers)[:20]]
    fresh = [f"r{number}-{n}" for n in range(MANY)]
    doors = [home.door(*PROCESS, module="tests.crash.batch_worker") for _ in range(count)]
    threads = []
    for door in doors:
        threads.append(talk(door, [*left, *fresh]))
    sent.update(fresh)
    for door in doors:
        for _ in range(AT_LEAST):
            first = door.answer()
            answers[first["key"]].append(first)
    time.sleep(Random(number).uniform(0.2, 0.5))
    for door in doors:
        door.kill()
        for answer in door.rest():
            answers[answer["key"]].append(answer)
    for thread in threads:
        thread.join()


def test_killed_doors_lose_double_and_contradict_nothing(
    db_url: str, engine_name: str, tmp_path: Path
) -> None:
    home = Home(db_url, tmp_path, **TERMS)
    answers: Answers = defaultdict(list)
    sent: set[str] = set()
    for number in range(ROUNDS):
        round_of(home, DOORS[engine_name], number, answers, sent)
    app = home.services(clock=ManualClock(datetime.now(UTC) + timedelta(hours=1)))
    janitor(app)
    stored = payments(app)
    again = sum(len(each) > 1 for each in answers.values())
    print(f"\n{len(stored)} payments, {len(answers)} keys answered, {again} more than once")
    assert len(answers) > 50
    for key, given in answers.items():
        uncontradicted(given, stored[key])
    sent_twice = [row for row in stored.values() if row["count"] != 1]
    assert sent_twice == []
    with app.db.read() as tx:
        failed = [v for check in all_checks() for v in check.run(tx)]
    assert failed == []
    assert [line for line in app.provider_balances().complete() if line.difference_minor] == []
    assert not app.cases.list(kind="orphan") and not app.cases.list(kind="duplicate_receipt")
    assert app.check_ledger().ok
    app.close()


def janitor(app: App) -> None:
    """Ask until nothing is open; no webhook helps."""
    live = [str(state) for state in LIVE_ATTEMPT_STATES]
    for _ in range(40):
        app.sync.run(JANITOR, limit=100_000)
        app.db.clock.sleep(120)
        with app.db.read() as tx:
            open_ = tx.scalar(sa.select(sa.func.count()).where(t.attempt.c.state.in_(live)))
        if not open_:
            return
    raise AssertionError(f"{open_} attempts are still open")


def payments(app: App) -> dict[str, Mapping[str, Any]]:
    """What the book has under each key, and how many payments are at a provider for it."""
    a, p, k = t.attempt.c, t.payment.c, idempotency.c
    at_provider = [
        row["our_reference"]
        for gateway in app.gateways.values()
        for row in gateway.payments()  # type: ignore[attr-defined]
        if row["captured_minor"]
    ]
    with app.db.read() as tx:
        paid: dict[Any, int] = defaultdict(int)
        owner = {row.our_reference: row.payment_id for row in tx.execute(
            sa.select(a.our_reference, a.payment_id))}  # fmt: skip
        for reference in at_provider:
            paid[owner[reference]] += 1
        rows = tx.execute(
            sa.select(k.key, p.id, p.status, p.captured_minor)
            .join_from(idempotency, t.payment, k.subject_id == p.id)
            .where(k.scope == "payment")
        ).all()
        assert len(rows) == tx.scalar(sa.select(sa.func.count()).select_from(t.payment))
    return {
        row.key: {
            "id": encode("payment", row.id), "status": row.status,
            "captured": row.captured_minor,
            # A payment that ended without money has none at a provider; any other has one.
            "count": paid[row.id] + (row.captured_minor == 0),
        }
        for row in rows
    }  # fmt: skip


def uncontradicted(given: list[dict[str, Any]], stored: Mapping[str, Any]) -> None:
    """An end that was told once is the end; every answer to a key is about one payment."""
    for answer in given:
        assert answer["success"], answer
        told = answer["payment"]
        assert told["id"] == stored["id"]
        if PaymentStatus(told["status"]).terminal:
            assert (told["status"], told["captured_minor"]) == (
                stored["status"], stored["captured"]
            )  # fmt: skip
