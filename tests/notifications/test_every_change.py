"""Every state that a payment, a refund, a dispute or a case goes through is told, in order.

The book itself keeps the record that the notifications are held against: a trigger on each table.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from payctl.db.engine import Database
from tests.conftest import START
from tests.crash.approval_stories import COMPLETE_FATES, ApprovalStory
from tests.crash.explorer import AFTERWARDS, LONGEST
from tests.crash.invariants import work_off
from tests.crash.payout_stories import PAYOUT_FATES, PayoutStory
from tests.crash.stories import (
    CANCEL_FATES,
    CAPTURE_FATES,
    CREATE_FATES,
    REFUND_FATES,
    CancelStory,
    CaptureStory,
    Fate,
    RefundStory,
    Story,
)
from tests.crash.world import Stage, fast_folder
from tests.payments.dispute_kit import open_desk
from tests.payments.kit import OPERATOR

pytestmark = pytest.mark.integration
#: Where each kind of object keeps its state, and states that nobody is told of: a refund that is
#: only proposed is our own business until a second person has said yes.
KINDS = {
    "payment": ("payment", "status", ()),
    "refund": ("refund", "state", ("proposed",)),
    "dispute": ("dispute", "status", ()),
    "case": ("case_record", "state", ()),
}
#: What the notification of a state is called where it is not the state's own name.
WORDS = {"case.open": "case.opened"}
#: Every n-th story is played; ``PAYCTL_EXPLORE=all`` plays all of them.
STRIDE = 1 if os.environ.get("PAYCTL_EXPLORE") == "all" else 13


def watched(book: sqlite3.Connection) -> None:
    """Have the book write down each state of each object."""
    book.execute("CREATE TABLE change (kind TEXT, id BLOB, state TEXT)")
    for kind, (table, column, _) in KINDS.items():
        note = f"INSERT INTO change VALUES ('{kind}', NEW.id, NEW.{column}); END"
        book.execute(f"CREATE TRIGGER made_{table} AFTER INSERT ON {table} BEGIN {note}")
        book.execute(
            f"CREATE TRIGGER moved_{table} AFTER UPDATE OF {column} ON {table}"
            f" WHEN NEW.{column} IS NOT OLD.{column} BEGIN {note}"
        )


@pytest.fixture(scope="module")
def stage(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    template = tmp_path_factory.mktemp("changes") / "template.sqlite3"
    shutil.copy(sqlite_template, template)
    with sqlite3.connect(template) as book:
        watched(book)
    book.close()
    folder = fast_folder()
    yield Stage(f"sqlite:///{folder / 'book.sqlite3'}", folder, template, START)
    shutil.rmtree(folder)


def states(db: Database) -> dict[tuple[str, bytes], list[str]]:
    """What each object went through, by the book's own record."""
    found = defaultdict(list)
    with db.read() as tx:
        for kind, id_, state in tx.exec_driver_sql("SELECT * FROM change ORDER BY rowid"):
            if state not in KINDS[kind][2]:
                name = f"{kind}.{state}"
                found[kind, id_].append(WORDS.get(name, name))
    return dict(found)


def told(db: Database) -> dict[tuple[str, bytes], list[str]]:
    """What the core service is told of each object, but for a payment's captured parts, of which
    each is told by its state.
    """
    found = defaultdict(list)
    with db.read() as tx:
        for kind, id_, type_ in tx.exec_driver_sql(
            "SELECT object_kind, object_id, type FROM notification ORDER BY object_id, sequence"
        ):
            if type_ != "payment.authorized" or type_ not in found[kind, id_]:
                found[kind, id_].append(type_)
    return dict(found)


MAKES: tuple[tuple[type[Story], tuple[Fate, ...], tuple[str, ...]], ...] = (
    (Story, CREATE_FATES, ("dedupes", "push")),
    (RefundStory, REFUND_FATES, ("dedupes",)),
    (CaptureStory, CAPTURE_FATES, ("dedupes",)),
    (CancelStory, CANCEL_FATES, ("dedupes",)),
    (ApprovalStory, COMPLETE_FATES, ("page",)),
    (PayoutStory, PAYOUT_FATES, ("dedupes",)),
)
PLAYS = [
    story
    for make, fates, firsts in MAKES
    for fate in fates
    for story in (make(fate, first) for first in firsts)
    if story.sensible
][::STRIDE]


@pytest.mark.parametrize("story", PLAYS, ids=str)
def test_stories(stage: Stage, story: Story) -> None:
    with stage.world(story.accounts) as world:
        story.prepare(world)
        world.settle(story.acting, LONGEST)
        world.clock.advance(AFTERWARDS)
        world.settle(story.acting, LONGEST)
        if work_off(world):
            world.settle(lambda _: None, LONGEST)
        assert told(world.app.db) == states(world.app.db) != {}


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_disputes_and_the_cases_of_people(db: Database, tmp_path: Path) -> None:
    with sqlite3.connect(str(db.url.database)) as book:
        watched(book)
    book.close()
    with open_desk(db, tmp_path) as desk:
        desk.kit.app.operators.add(OPERATOR, "awa", ["support"])
        for inquiry, decision in ((False, "won"), (False, "lost"), (True, "warning_closed")):
            reference = desk.contested(desk.pay(f"k-{decision}"), inquiry=inquiry)
            desk.hear(reference)
            for case in desk.cases():
                desk.kit.app.cases.assign(OPERATOR, case.id, "awa")
            desk.fake.disputes.decide(reference, decision)
            desk.hear(reference)
    found = states(db)
    assert told(db) == found
    assert {kind for kind, _ in found} == {"payment", "dispute", "case"}
