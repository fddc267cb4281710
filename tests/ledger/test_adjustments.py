"""Corrections by hand: two persons, a reason, and refusals that stick to their key."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.db.approvals import Approvals
from payctl.db.engine import Database
from payctl.db.tables import approval_threshold, audit
from payctl.errors import Conflict, Forbidden, InvalidInput
from payctl.ledger.adjustments import Adjustments
from payctl.ledger.book import Book
from payctl.ledger.model import cr, dr
from tests.ledger import kit

pytestmark = pytest.mark.integration

GOODWILL = (dr("expense:goodwill", 500, "EUR"), cr("wallet:o:available", 500, "EUR"))
AT_PROVIDER = (dr("expense:write_off", 3, "EUR"), cr("gateway:stripe:collect", 3, "EUR"))


@pytest.fixture
def approvals(db: Database) -> Approvals:
    return Approvals(db)


@pytest.fixture
def adjustments(db: Database, approvals: Approvals) -> Adjustments:
    return Adjustments(db, Book(db), approvals)


def ask(adjustments: Adjustments, **other: Any) -> Any:
    return adjustments.request(
        kit.FINANCE, **{"legs": GOODWILL, "reason": "ticket 4711", "key": "g1", **other}
    )


def allow_alone(db: Database) -> None:
    """Set a threshold under which one person is enough."""
    with db.transaction() as tx:
        tx.execute(
            sa.insert(approval_threshold).values(
                kind="ledger_adjustment", currency="EUR", version=2, limit_minor=10_000,
                daily_limit_minor=100_000, set_at=db.clock.now(), set_by="kofi", reason="test",
            )
        )  # fmt: skip


def posted(db: Database) -> dict[str, int]:
    with db.read() as tx:
        return kit.balances(tx)


def test_a_second_person_posts_what_was_asked(
    db: Database, adjustments: Adjustments, approvals: Approvals
) -> None:
    asked = ask(adjustments)
    assert asked.posted is None and asked.approval_id is not None
    assert ask(adjustments) == asked  # asking again does not ask twice
    assert posted(db) == {}
    with pytest.raises(Conflict, match="not_granted"):
        adjustments.execute(kit.APPROVER, asked.approval_id)
    approvals.approve(kit.APPROVER, asked.approval_id, "seen the ticket")
    done = adjustments.execute(kit.APPROVER, asked.approval_id)
    assert adjustments.execute(kit.APPROVER, asked.approval_id).journal_id == done.journal_id
    assert ask(adjustments).posted.journal_id == done.journal_id
    assert posted(db) == {"expense:goodwill:EUR": 500, "wallet:o:available:EUR": -500}
    with db.read() as tx:
        stored = Book(db).get(tx, done.journal_id)
        row = tx.execute(sa.select(audit).where(audit.c.action == "ledger.adjusted")).one()
    assert (stored.kind, stored.actor, stored.reason) == ("adjustment", "awa", "ticket 4711")
    assert (row.actor, row.subject_id, row.reason) == ("kofi", done.journal_id, "ticket 4711")
    assert kit.problems(db) == []


def test_once_approved_the_asker_may_repeat_the_command(
    db: Database, adjustments: Adjustments, approvals: Approvals
) -> None:
    approvals.approve(kit.APPROVER, ask(adjustments).approval_id, "fine")
    assert ask(adjustments).posted is not None
    assert posted(db)["expense:goodwill:EUR"] == 500


OTHERS = {
    "amount": {"legs": (dr("expense:goodwill", 501, "EUR"), cr("wallet:o:available", 501, "EUR"))},
    "account": {"legs": (dr("expense:goodwill", 500, "EUR"), cr("wallet:p:available", 500, "EUR"))},
    "reason": {"reason": "another"},
    "key": {"key": "g2"},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_an_approval_is_for_exactly_what_was_asked(
    db: Database, adjustments: Adjustments, approvals: Approvals, other: dict[str, Any]
) -> None:
    first = ask(adjustments)
    approvals.approve(kit.APPROVER, first.approval_id, "fine")
    second = ask(adjustments, **other)
    assert second.posted is None and second.approval_id != first.approval_id
    assert posted(db) == {}


def test_under_the_threshold_one_person_is_enough_but_never_at_a_provider(
    db: Database, adjustments: Adjustments
) -> None:
    allow_alone(db)
    assert ask(adjustments).posted is not None
    assert ask(adjustments, legs=AT_PROVIDER, key="p").posted is None
    bank = dr("bank:main", 3, "EUR"), cr("income:difference", 3, "EUR")
    assert ask(adjustments, legs=bank, key="b").posted is None
    assert posted(db) == {"expense:goodwill:EUR": 500, "wallet:o:available:EUR": -500}


def test_a_refused_key_stays_refused(db: Database, adjustments: Adjustments) -> None:
    allow_alone(db)
    take = dr("wallet:o:available", 500, "EUR"), cr("expense:goodwill", 500, "EUR")
    with pytest.raises(Conflict, match="insufficient_funds"):
        ask(adjustments, legs=take)
    with db.transaction() as tx:
        kit.fund(Book(db), tx, "wallet:o:available", 1000)
    with pytest.raises(Conflict, match="insufficient_funds"):
        ask(adjustments, legs=take)
    with pytest.raises(Conflict, match="key_reused"):
        ask(adjustments)
    assert ask(adjustments, legs=take, key="g2").posted is not None
    with db.read() as tx:
        data = tx.scalars(
            sa.select(audit.c.data).where(audit.c.action == "ledger.adjusted").order_by(audit.c.id)
        ).all()
    assert [row.get("refused") for row in data] == ["ledger.insufficient_funds", None]
    assert kit.problems(db) == []


def test_a_rehearsal_posts_the_same_entries_and_leaves_nothing(
    db: Database, adjustments: Adjustments
) -> None:
    allow_alone(db)
    arguments: dict[str, Any] = {"legs": GOODWILL, "reason": "ticket 4711", "key": "g1"}
    rehearsed = adjustments.rehearse(kit.FINANCE, **arguments)
    assert posted(db) == {}
    real = ask(adjustments).posted
    assert [(e.account, e.amount_minor, e.balance_after_minor) for e in rehearsed.entries] == [
        (e.account, e.amount_minor, e.balance_after_minor) for e in real.entries
    ]


def test_who_may_ask_and_how(adjustments: Adjustments) -> None:
    support = Actor("ada", frozenset({"support"}))
    with pytest.raises(Forbidden):
        adjustments.request(support, legs=GOODWILL, reason="x", key="k")
    with pytest.raises(Forbidden):
        adjustments.rehearse(support, legs=GOODWILL, reason="x", key="k")
    with pytest.raises(InvalidInput, match=r"reason\.missing"):
        ask(adjustments, reason="  ")
    with pytest.raises(InvalidInput, match="unbalanced"):
        ask(adjustments, legs=(GOODWILL[0], cr("wallet:o:available", 499, "EUR")))


def test_an_approval_of_another_kind_posts_nothing(
    db: Database, adjustments: Adjustments, approvals: Approvals
) -> None:
    with db.transaction() as tx:
        other = approvals.request(
            tx, kit.FINANCE, kind="refund", subject_kind="refund", subject_id=None,
            amount_minor=1, currency="EUR", content={}, reason="x",
        )  # fmt: skip
    approvals.approve(kit.APPROVER, other, "fine")
    with pytest.raises(Conflict, match="not_granted"):
        adjustments.execute(kit.APPROVER, other)
