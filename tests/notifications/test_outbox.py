"""The outbox: one commit with the change, a gapless sequence per object, a thin payload."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa

from payctl import ids, log
from payctl.db.engine import Database
from payctl.errors import InvalidInput
from payctl.notifications.outbox import MAX_PAYLOAD_BYTES, Outbox

pytestmark = pytest.mark.integration


def test_payload_and_sequence(db: Database) -> None:
    outbox = Outbox(db)
    one, two = db.ids.new(), db.ids.new()
    with db.transaction() as tx:
        first = outbox.append(tx, "payment.created", "payment", one, {"amount_minor": 100})
        outbox.append(tx, "payment.created", "payment", two, {})
        outbox.append(tx, "payment.succeeded", "payment", one, {})
    found = outbox.list(object_id=one)
    assert [(n.type, n.sequence) for n in found] == [
        ("payment.created", 1),
        ("payment.succeeded", 2),
    ]
    assert found[0].id == first
    assert found[0].payload() == {
        "type": "payment.created",
        "timestamp": "2026-11-02T09:00:00Z",
        "data": {
            "amount_minor": 100,
            "object": "payment",
            "id": ids.encode("payment", one),
            "sequence": 1,
            "correlation_id": log.correlation(),
        },
    }


def test_it_is_part_of_the_callers_transaction(db: Database) -> None:
    outbox = Outbox(db)
    subject = db.ids.new()
    with pytest.raises(ZeroDivisionError), db.transaction() as tx:
        outbox.append(tx, "payment.created", "payment", subject, {})
        raise ZeroDivisionError
    assert outbox.list() == ()
    with db.transaction() as tx:
        outbox.append(tx, "payment.created", "payment", subject, {})
    assert [n.sequence for n in outbox.list()] == [1]


def test_list_pages_and_filters(db: Database) -> None:
    outbox = Outbox(db)
    subjects = [db.ids.new() for _ in range(5)]
    with db.transaction() as tx:
        for subject in subjects:
            outbox.append(tx, "payment.created", "payment", subject, {})
        outbox.append(tx, "refund.created", "refund", db.ids.new(), {})
    page = outbox.list(limit=2)
    rest = outbox.list(after=page[-1].id, type="payment.created")
    assert [n.object_id for n in (*page, *rest)] == subjects
    assert [n.type for n in outbox.list(type="refund.created")] == ["refund.created"]


def test_too_large_is_refused_whole(db: Database) -> None:
    outbox = Outbox(db)
    with pytest.raises(InvalidInput) as error, db.transaction() as tx:
        outbox.append(tx, "x", "payment", db.ids.new(), {"text": "é" * (MAX_PAYLOAD_BYTES // 2)})
    assert error.value.code == "notification.too_large"
    with db.transaction() as tx:
        outbox.append(tx, "x", "payment", db.ids.new(), {"text": "e" * (MAX_PAYLOAD_BYTES // 2)})
    assert len(outbox.list()) == 1


def test_nobody_changes_what_was_said(db: Database) -> None:
    outbox = Outbox(db)
    with db.transaction() as tx:
        outbox.append(tx, "payment.created", "payment", db.ids.new(), {})
    for statement in ("UPDATE notification SET type = 'x'", "DELETE FROM notification"):
        with pytest.raises(sa.exc.DatabaseError, match="append-only"), db.transaction() as tx:
            tx.execute(sa.text(statement))


def test_writers_of_one_object_wait_for_each_other(db: Database) -> None:
    """Without a lock of the caller's: no failure, no gap, no number twice."""
    outbox = Outbox(db)
    subject = db.ids.new()
    workers, each = 6, 5
    start = Barrier(workers)

    def work(_: int) -> None:
        start.wait()
        for _ in range(each):
            with db.transaction() as tx:
                outbox.append(tx, "payment.changed", "payment", subject, {})

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))
    numbers = sorted(n.sequence for n in outbox.list(object_id=subject, limit=100))
    assert numbers == list(range(1, workers * each + 1))
