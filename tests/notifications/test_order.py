"""Nothing is lost, nothing overtakes: outages, crashes, many relays, late commits."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from random import Random
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from payctl import ids
from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.ids import seeded
from payctl.notifications import store
from payctl.notifications.desk import Deliveries
from payctl.notifications.outbox import Notification, Outbox
from payctl.notifications.relay import Relay
from payctl.notifications.schedule import LEASE_S
from payctl.notifications.tables import notification_endpoint
from tests import books
from tests.conftest import START
from tests.db.people import SUPPORT
from tests.notifications.kit import ACTOR, SECRET, Scripted, receiving, relaying, tell

pytestmark = pytest.mark.integration


def in_order(took: list[Notification]) -> bool:
    """Whether each object's notifications came by their sequence, repetitions apart."""
    by_object: dict[UUID, list[int]] = defaultdict(list)
    for each in took:
        if each.sequence not in by_object[each.object_id]:
            by_object[each.object_id].append(each.sequence)
    return all(found == sorted(found) for found in by_object.values())


@pytest.mark.parametrize(
    ("engine_name", "outcome"),
    [
        ("sqlite", "down"),
        ("sqlite", "no_answer"),
        ("sqlite", "failed"),
        ("postgresql", "throttled"),
    ],
)
def test_after_three_days_everything_comes_in_order(
    db: Database, clock: ManualClock, outcome: str
) -> None:
    told, objects = [], [db.ids.new() for _ in range(6)]
    sender = Scripted(lambda _: outcome)
    relay, desk = Relay(db, "core", sender), Deliveries(db)
    for number in range(24):
        told += tell(db, *Random(number).sample(objects, 3))
        relay.run(ACTOR)
        clock.advance(timedelta(hours=3))
    lag = desk.lag()
    assert (lag.count, lag.dead, lag.down, lag.disabled) == (72, 0, True, False)
    assert timedelta(days=2, hours=21) <= lag.age <= timedelta(days=3)
    # One probe a look, whatever lies there, once it is known to be down.
    assert len(sender.tried) <= 24 + 12
    sender.outcome = lambda _: "delivered"
    for _ in range(8):
        relay.run(ACTOR)
        clock.advance(timedelta(minutes=5))
    assert sorted(each.id for each in sender.took) == sorted(told)
    assert in_order(sender.took)
    assert desk.lag().count == 0


def test_one_that_is_refused_holds_its_own_object_up_and_no_other(
    db: Database, clock: ManualClock
) -> None:
    one, two = db.ids.new(), db.ids.new()
    [bad], [later], [other] = tell(db, one), tell(db, one), tell(db, two)
    sender = Scripted(lambda each: "refused" if each.id == bad else "delivered")
    relay, desk = Relay(db, "core", sender), Deliveries(db)
    assert relay.run(ACTOR) == {"refused": 1, "delivered": 1}
    assert [each.id for each in sender.took] == [other]
    assert desk.get(later).next_try_at is None
    tries = 1
    while desk.get(bad).state == "pending":
        clock.advance(timedelta(hours=2))
        assert [each.id for each in sender.took] == [other]
        tries += relay.run(ACTOR).get("refused", 0)
    assert tries == 10
    assert [each.id for each in sender.took] == [other, later]
    assert (desk.get(bad).state, desk.lag().dead) == ("dead", 1)


class _Crash(BaseException):
    """The process ends here."""


@settings(max_examples=5)
@given(st.integers(0, 2**32))
def test_stories_with_faults_and_crashes(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Whatever happens: each comes at least once, in order, and twice only after a crash."""
    path = tmp_path_factory.mktemp("story") / "book.sqlite3"
    shutil.copy(sqlite_template, path)
    dice, clock = Random(seed), ManualClock(START)
    db = Database(f"sqlite:///{path}", clock=clock, ids=seeded(clock, seed))
    sa.event.listen(db.engine, "connect", books.without_fsync)
    objects, told, crashes = [db.ids.new() for _ in range(4)], [], 0
    faults = ("delivered", "refused", "failed", "throttled", "no_answer", "down")

    def outcome(each: Notification) -> str:
        if dice.random() < 0.1:
            sender.took.append(each)
            raise _Crash
        return dice.choice(faults)

    sender = Scripted(outcome, stops=dice.random() < 0.5)
    relays = [Relay(db, "core", sender) for _ in range(2)]
    for _ in range(14):
        if dice.random() < 0.6:
            told += tell(db, *dice.sample(objects, dice.randint(1, 4)))
        try:
            dice.choice(relays).run(ACTOR, limit=dice.randint(1, 5))
        except _Crash:
            crashes += 1
        clock.advance(timedelta(seconds=dice.choice((0, 1, 20, LEASE_S, 4_000))))
    sender.outcome = lambda _: "delivered"
    for _ in range(4):
        clock.advance(timedelta(days=2))
        relays[0].run(ACTOR)
    db.dispose()
    times = Counter(each.id for each in sender.took)
    assert set(times) == set(told)
    assert sum(times.values()) - len(told) <= 5 * crashes
    assert in_order(sender.took)
    shutil.rmtree(path.parent)


def test_two_relays_at_once(db: Database) -> None:
    """Each notification is sent by one of them."""
    told = [each for _ in range(3) for each in tell(db, *(db.ids.new() for _ in range(60)))]
    with receiving() as receiver, relaying(db, receiver.url) as one:
        with relaying(db, receiver.url) as two, ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(_in_pieces, relay) for relay in (one, two)]
            sent = [each.result() for each in runs]
        assert sum(sent) == len(told)
        assert Counter(receiver.ids()) == Counter(ids.encode("notification", each) for each in told)


def _in_pieces(relay: Relay) -> int:
    sent = 0
    while counts := relay.run(ACTOR, limit=20):
        sent += counts["delivered"]
    return sent


# -- transactions that commit late ----------------------------------------------------------------


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize(("minutes", "adopt"), [(0, 100), (20, 100), (20, 1)])
def test_a_transaction_that_commits_late_loses_nothing(
    db: Database, clock: ManualClock, minutes: int, adopt: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id is older than others that were delivered long before it could be seen."""
    monkeypatch.setattr("payctl.notifications.relay.ADOPT", adopt)
    sender = Scripted()
    relay, outbox, late = Relay(db, "core", sender), Outbox(db), db.ids.new()
    relay.run(ACTOR)
    with db.transaction() as open_one:
        hidden = outbox.append(open_one, "payment.created", "payment", late, {})
        for _ in range(3):
            clock.advance(timedelta(minutes=minutes / 3, seconds=1))
            [seen] = tell(db, db.ids.new())
            assert hidden < seen
            assert relay.run(ACTOR) == {"delivered": 1}
    clock.advance(store.WIDE_EVERY)
    assert relay.run(ACTOR) == {"delivered": 1}
    assert sender.took[-1].id == hidden
    for _ in range(3):
        clock.advance(timedelta(minutes=5))
        assert relay.run(ACTOR) == {}
    with db.read() as tx:
        looked_to = tx.scalar(sa.select(notification_endpoint.c.looked_to))
    assert looked_to > hidden


def test_what_a_stopped_process_wrote_hours_ago_is_found(db: Database, clock: ManualClock) -> None:
    """An id made long before its transaction began: no snapshot speaks of that."""
    sender = Scripted()
    relay = Relay(db, "core", sender)
    relay.run(ACTOR)
    before = clock.now()
    for _ in range(12):
        clock.advance(timedelta(minutes=15))
        tell(db, db.ids.new())
        relay.run(ACTOR)
    sender.took.clear()
    made = ManualClock(before)
    old = Database(db.url.render_as_string(hide_password=False), clock=made, ids=seeded(made, 9))
    [hidden] = tell(old, old.ids.new())
    old.dispose()
    for _ in range(5):
        clock.advance(timedelta(minutes=15))
        relay.run(ACTOR)
    assert [each.id for each in sender.took] == [hidden]


def test_a_long_past_is_taken_up_piece_by_piece(
    db: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("payctl.notifications.relay.ADOPT", 7)
    told = []
    for _ in range(10):
        told += tell(db, *(db.ids.new() for _ in range(5)))
        clock.advance(timedelta(hours=1))
    sender = Scripted()
    assert Relay(db, "core", sender).run(ACTOR) == {"delivered": 50}
    assert [each.id for each in sender.took] == told


# -- replay ---------------------------------------------------------------------------------------


def test_replay_sends_a_range_again_under_the_same_ids(db: Database, clock: ManualClock) -> None:
    one, two = db.ids.new(), db.ids.new()
    told = []
    for each in (one, two, one, one):
        told += tell(db, each)
        clock.advance(timedelta(minutes=1))
    sender, desk = Scripted(), Deliveries(db)
    relay = Relay(db, "core", sender)
    relay.run(ACTOR)
    assert in_order(sender.took)
    sender.took.clear()

    def replay(**options: object) -> int:
        return desk.replay(SUPPORT, "they lost a day", **options)  # type: ignore[arg-type]

    until = START + timedelta(minutes=3)
    assert replay(since=START, until=until, dry_run=True) == 3
    assert relay.run(ACTOR) == {}
    assert replay(since=START, until=until) == 3
    assert desk.lag().count == 3
    assert relay.run(ACTOR) == {"delivered": 3}
    assert sorted(each.id for each in sender.took) == sorted(told[:3])
    assert in_order(sender.took)
    sender.took.clear()
    assert replay(since=START, object_id=two) == 1
    assert replay(since=START, type="refund.created") == 0
    assert replay(since=START + timedelta(minutes=2)) == 2
    relay.run(ACTOR)
    assert sorted(each.id for each in sender.took) == sorted(told[1:])


def test_a_replay_with_gaps_is_in_order_too(db: Database, clock: ManualClock) -> None:
    one = db.ids.new()
    for kind in ("payment.created", "payment.pending", "payment.succeeded"):
        tell(db, one, type=kind)
    sender, desk = Scripted(), Deliveries(db)
    relay = Relay(db, "core", sender)
    relay.run(ACTOR)
    first, second, third = sender.took
    sender.took.clear()
    for kind in (third.type, first.type):
        desk.replay(SUPPORT, "lost", since=START, type=kind)
    assert desk.get(second.id).state == "delivered"
    [later] = tell(db, one)
    sender.outcome = lambda each: "refused" if each.id == first.id else "delivered"
    relay.run(ACTOR)
    assert later not in [each.id for each in sender.took]
    sender.outcome = lambda _: "delivered"
    clock.advance(timedelta(minutes=1))
    relay.run(ACTOR)
    assert [each.id for each in sender.took][-2:] == [first.id, later]


def test_a_relay_that_comes_too_late_changes_nothing(db: Database, clock: ManualClock) -> None:
    """Its lease has ended; another one has delivered meanwhile."""
    [told] = tell(db, db.ids.new())
    quick = Relay(db, "core", Scripted())

    def slowly(_: Notification) -> str:
        clock.advance(timedelta(seconds=LEASE_S))
        assert quick.run(ACTOR) == {"delivered": 1}
        return "refused"

    Relay(db, "core", Scripted(slowly)).run(ACTOR)
    found = Deliveries(db).get(told)
    assert (found.state, found.tries, found.reason) == ("delivered", 1, None)


# -- kill -9 --------------------------------------------------------------------------------------

_CHILD = """
import sys
from payctl.db.engine import Database
from tests.notifications.kit import ACTOR, relaying

with relaying(Database(sys.argv[1]), sys.argv[2]) as relay:
    relay.run(ACTOR)
"""


def test_kill_9_between_delivering_and_marking(db: Database, clock: ManualClock) -> None:
    """It is sent again, once, under the same id."""
    told = tell(db, db.ids.new(), db.ids.new())
    url = db.url.render_as_string(hide_password=False)
    got, mutex, held = threading.Semaphore(0), threading.Lock(), ExitStack()
    with receiving() as receiver, held:

        def reply(_request: object) -> tuple[int, dict[str, str]]:
            with mutex:
                if not locked:
                    # Nobody can mark anything from here on.
                    store.lock(held.enter_context(db.transaction()), "core")
                    locked.append(True)
            got.release()
            return 200, {}

        locked: list[bool] = []
        receiver.reply = reply
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, url, receiver.url],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        try:
            assert all(got.acquire(timeout=30) for _ in told)
        finally:
            child.send_signal(signal.SIGKILL)
            assert child.wait(30) == -signal.SIGKILL
        receiver.reply = lambda _request: (200, {})
        held.close()
        clock.advance(timedelta(days=400))
        with relaying(db, receiver.url, SECRET) as relay:
            assert relay.run(ACTOR) == {"delivered": 2}
            assert relay.run(ACTOR) == {}
        wanted = Counter({ids.encode("notification", each): 2 for each in told})
        assert Counter(receiver.ids()) == wanted
