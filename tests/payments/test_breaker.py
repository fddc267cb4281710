"""Breakers in the database: several processes, one truth."""

from __future__ import annotations

import threading
from datetime import timedelta
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs import JobOptions
from jobs.breaker_prune import JOB
from payctl.app import App
from payctl.clock import ManualClock
from payctl.config import load
from payctl.db.engine import Database
from payctl.db.operators import job_actor
from payctl.gateways.base import Answer, Outcome, RejectKind
from payctl.payments import breaker_store
from payctl.payments.breaker import Breakers
from payctl.payments.breaker_model import Verdict, closed, forced_open, lease_of
from payctl.payments.gateway_tables import breaker, breaker_change, breaker_sample

pytestmark = pytest.mark.integration

OK = Answer(Outcome.SUCCEEDED)
DECLINED = Answer(Outcome.DECLINED, code="insufficient_funds")
INVALID = Answer(Outcome.REJECTED, reject=RejectKind.VALIDATION)
UNKNOWN = Answer(Outcome.UNKNOWN)
NOT_SENT = Answer(Outcome.NOT_SENT)
AUTH = Answer(Outcome.REJECTED, reject=RejectKind.AUTH)
SLOW_DOWN = Answer(Outcome.REJECTED, reject=RejectKind.RATE, retry_after_s=5.0)
SOUND = (OK, DECLINED, INVALID)
BAD = (UNKNOWN, NOT_SENT)
KEY = ("a", "collect")


def wipe(db: Database) -> None:
    """Between the examples of one test: the book is made once per test."""
    with db.transaction() as tx:
        tx.execute(breaker.delete())
        tx.execute(breaker_sample.delete())


def send(db: Database, breakers: Breakers, answer: Answer, op_class: str = "collect") -> Verdict:
    verdict = breakers.decide(None, "a", op_class)
    if verdict.allow:
        with db.transaction() as tx:
            breakers.record(tx, "a", op_class, answer, verdict.probe)
    return verdict


def row(db: Database, op_class: str = "collect") -> sa.RowMapping | None:
    with db.read() as tx:
        query = sa.select(breaker).where(breaker.c.account == "a", breaker.c.op_class == op_class)
        return tx.execute(query).mappings().one_or_none()


class Processes(RuleBasedStateMachine):
    """Three processes call one gateway, die, sleep and wake; an operator steps in."""

    db: Database
    clock: ManualClock

    @initialize()
    def start(self) -> None:
        wipe(self.db)
        self.processes = [Breakers(self.db, random=Random(n)) for n in range(3)]
        #: calls under way: process, probe token
        self.calls: list[tuple[int, str]] = []
        self.holder = ""
        self.holder_until = self.clock.now()
        self.auth = False
        self.good_probes = 0
        self.was_open = False

    @rule(number=st.integers(0, 2))
    def call(self, number: int) -> None:
        verdict = self.processes[number].decide(None, *KEY)
        if not verdict.allow:
            return
        if verdict.probe:
            held = self.holder and self.clock.now() < self.holder_until
            assert not held, "two processes probe at once"
            self.holder, self.holder_until = verdict.probe, self.clock.now() + lease_of("collect")
        self.calls.append((number, verdict.probe))

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 50), answer=st.sampled_from((*SOUND, *BAD, SLOW_DOWN, AUTH)))
    def end(self, which: int, answer: Answer) -> None:
        number, probe = self.calls.pop(which % len(self.calls))
        with self.db.transaction() as tx:
            self.processes[number].record(tx, *KEY, answer, probe)
        self.auth = self.auth or answer is AUTH
        if probe and probe == self.holder:
            self.holder = ""
            self.good_probes = self.good_probes + 1 if answer in SOUND else self.good_probes

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 50))
    def die(self, which: int) -> None:
        self.calls.pop(which % len(self.calls))

    @precondition(lambda self: self.holder)
    @rule()
    def give_back(self) -> None:
        for number, probe in self.calls:
            if probe == self.holder:
                self.processes[number].release(None, *KEY, probe)
                self.calls.remove((number, probe))
                self.holder = ""
                return

    @rule(seconds=st.sampled_from((0.4, 1, 5, 20, 31, 70, 400)))
    def wait(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @rule(minutes=st.sampled_from((None, 1, 30)))
    def force(self, minutes: int | None) -> None:
        until = None if minutes is None else self.clock.now() + timedelta(minutes=minutes)
        with self.db.transaction() as tx:
            before, now = breaker_store.lock(self.db, tx, *KEY)
            after = forced_open(before, "ama", now, until)
            breaker_store.write(self.db, tx, before, after, actor="ama", now=now, detail={})
        self.holder, self.auth = "", False

    @rule()
    def reset(self) -> None:
        with self.db.transaction() as tx:
            before, now = breaker_store.lock(self.db, tx, *KEY)
            after = closed(before, now)
            breaker_store.write(self.db, tx, before, after, actor="ama", now=now, detail={})
        self.holder, self.auth, self.was_open = "", False, False

    @invariant()
    def it_is_sane(self) -> None:
        found = row(self.db)
        if found is None:
            return
        is_open = found["state"] != "closed"
        if self.was_open and not is_open:
            assert self.good_probes >= 3, "closed without three good probes"
        if not is_open or (is_open and not self.was_open):
            self.good_probes = 0
        self.was_open = is_open
        if found["state"] == "open":
            self.good_probes = 0
            if found["reason"] not in ("auth", "forced"):
                wait = found["next_probe_at"] - found["since"]
                assert timedelta(seconds=48) <= wait <= timedelta(seconds=1080)
        if self.auth and found["reason"] == "auth":
            assert found["state"] == "open"
            assert not Breakers(self.db).decide(None, *KEY).allow

    def teardown(self) -> None:
        """A gateway that is well again is used again, unless a person has to decide."""
        if not hasattr(self, "processes"):
            return
        found = row(self.db)
        waits = found is not None and found["state"] == "open" and found["next_probe_at"] is None
        self.clock.advance(timedelta(minutes=35))
        fresh = Breakers(self.db)
        if waits:
            assert not send(self.db, fresh, OK).allow
            return
        for _ in range(4):
            assert send(self.db, fresh, OK).allow
        last = row(self.db)
        assert last is None or last["state"] == "closed"


def test_processes_share_one_breaker(db: Database, clock: ManualClock) -> None:
    def machine() -> Processes:
        made = Processes()
        made.db, made.clock = db, clock
        return made

    examples = 60 if db.is_sqlite else 25
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("engine_name", ["sqlite"])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from((*SOUND, *BAD, SLOW_DOWN)), st.integers(0, 100)),
        min_size=1,
        max_size=60,
    )
)
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_it_opens_exactly_when_the_rules_say(
    db: Database, clock: ManualClock, steps: list[tuple[Answer, int]]
) -> None:
    wipe(db)
    breakers = Breakers(db)
    seen: list[tuple[int, bool]] = []
    for answer, seconds in steps:
        clock.advance(timedelta(seconds=seconds))
        minute = int(clock.now().timestamp()) // 60
        with db.transaction() as tx:
            breakers.record(tx, *KEY, answer)
        if answer is not SLOW_DOWN:
            seen.append((minute, answer in BAD))
        window = [bad for at, bad in seen if at > minute - 5]
        in_a_row = len(seen) >= 5 and all(bad for _, bad in seen[-5:])
        rate = len(window) >= 10 and sum(window) * 2 >= len(window)
        expected = answer in BAD and (in_a_row or rate)
        found = row(db)
        assert (found is not None and found["state"] == "open") is expected
        if expected:
            return


@pytest.mark.parametrize(("minutes", "opens"), [(4, True), (5, False)])
def test_the_window_is_five_minutes(
    db: Database, clock: ManualClock, minutes: int, opens: bool
) -> None:
    breakers = Breakers(db)
    for answer in (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, OK):
        send(db, breakers, answer)
    clock.advance(timedelta(minutes=minutes))
    for answer in (UNKNOWN, OK, UNKNOWN, UNKNOWN, UNKNOWN):
        send(db, breakers, answer)
    found = row(db)
    assert found is not None and (found["state"] == "open") is opens


def test_declines_never_open_it(db: Database) -> None:
    breakers = Breakers(db)
    for _ in range(40):
        assert send(db, breakers, DECLINED).allow
        assert send(db, breakers, INVALID).allow
    assert row(db) is None, "a breaker nothing failed on costs no row"


def test_reading_goes_on_while_collecting_is_held(db: Database) -> None:
    breakers = Breakers(db)
    for _ in range(5):
        send(db, breakers, UNKNOWN)
    assert not breakers.decide(None, *KEY).allow
    assert send(db, breakers, OK, "read").allow


def test_a_call_that_rolls_back_leaves_no_trace(db: Database) -> None:
    breakers = Breakers(db)
    for _ in range(6):
        with pytest.raises(RuntimeError), db.transaction() as tx:
            breakers.record(tx, *KEY, UNKNOWN)
            raise RuntimeError("the outcome could not be stored")
    assert row(db) is None
    with db.read() as tx:
        assert tx.execute(sa.select(breaker_sample)).all() == []


def test_several_answers_of_one_transaction_count_in_their_order(db: Database) -> None:
    breakers = Breakers(db)
    with db.transaction() as tx:
        for answer in (UNKNOWN, UNKNOWN, UNKNOWN, OK, UNKNOWN, UNKNOWN):
            breakers.record(tx, *KEY, answer)
    found = row(db)
    assert found is not None and found["failed_in_row"] == 2


def test_another_process_breaks_the_row_of_failures(db: Database) -> None:
    one, other = Breakers(db, random=Random(1)), Breakers(db, random=Random(2))
    for _ in range(4):
        send(db, one, UNKNOWN)
    send(db, other, DECLINED)
    send(db, one, UNKNOWN)
    found = row(db)
    assert found is not None and (found["state"], found["failed_in_row"]) == ("closed", 1)


def test_sound_answers_are_held_back_and_a_failure_is_not(db: Database, clock: ManualClock) -> None:
    breakers = Breakers(db, flush_every=100)

    def counted() -> int:
        with db.read() as tx:
            return int(
                tx.execute(
                    sa.select(sa.func.coalesce(sa.func.sum(breaker_sample.c.ok), 0))
                ).scalar_one()
            )

    for _ in range(99):
        send(db, breakers, OK)
    assert counted() == 0
    send(db, breakers, OK)
    assert counted() == 100
    send(db, breakers, OK)
    send(db, breakers, UNKNOWN)
    assert counted() == 101
    send(db, breakers, OK)
    clock.advance(timedelta(seconds=2))
    send(db, breakers, OK)
    assert counted() == 103
    send(db, breakers, OK)
    breakers.flush()
    assert counted() == 104


def test_sixteen_processes_race_for_one_probe(db: Database, clock: ManualClock) -> None:
    first = Breakers(db)
    for _ in range(5):
        send(db, first, NOT_SENT)
    clock.advance(timedelta(minutes=2))
    start = threading.Barrier(16)
    verdicts: list[Verdict] = []

    def race() -> None:
        own = Breakers(db)
        start.wait()
        verdicts.append(own.decide(None, *KEY))

    threads = [threading.Thread(target=race) for _ in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(verdict.allow for verdict in verdicts) == [False] * 15 + [True]
    assert sum(bool(verdict.probe) for verdict in verdicts) == 1


def test_writers_of_one_hot_gateway_do_not_deadlock(db: Database) -> None:
    start = threading.Barrier(8)
    failures: list[BaseException] = []
    classes = ("collect", "refund", "read")

    def work(number: int) -> None:
        own, random = Breakers(db, random=Random(number % 2)), Random(number)
        start.wait()
        try:
            for _ in range(15):
                with db.transaction() as tx:
                    for op_class in random.sample(classes, 3):
                        own.record(tx, "a", op_class, random.choice((OK, UNKNOWN)))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []
    with db.read() as tx:
        totals = breaker_store.totals(tx, "collect", 0)["a"]
    assert totals["ok"] + totals["tech_fail"] == 8 * 15


def test_samples_are_kept_for_a_week(db: Database, clock: ManualClock) -> None:
    breakers = Breakers(db)
    send(db, breakers, OK)
    clock.advance(timedelta(days=7))
    send(db, breakers, OK)
    assert breakers.prune() == 0
    clock.advance(timedelta(minutes=1))
    report = JOB.run(App(load(environ={}), db), job_actor(JOB.name, JOB.role), JobOptions())
    assert (report.counts, breakers.prune()) == ({"deleted": 1}, 0)


def test_every_change_of_state_is_written_down(db: Database, clock: ManualClock) -> None:
    breakers = Breakers(db)
    for _ in range(5):
        send(db, breakers, UNKNOWN)
    clock.advance(timedelta(minutes=2))
    for _ in range(3):
        assert send(db, breakers, OK).probe
    with db.read() as tx:
        changes = tx.execute(
            sa.select(
                breaker_change.c.from_state, breaker_change.c.to_state, breaker_change.c.reason
            ).order_by(breaker_change.c.id)
        ).all()
    assert [tuple(each) for each in changes] == [
        ("closed", "open", "in_a_row"),
        ("open", "half_open", "in_a_row"),
        ("half_open", "closed", None),
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"state": "open", "reason": "in_a_row"},
        {"state": "closed", "probe_owner": "t"},
        {"state": "half_open", "probe_owner": "t"},
        {"state": "ajar"},
    ],
)
def test_the_database_itself_refuses_a_breaker_that_could_never_close(
    db: Database, values: dict[str, Any]
) -> None:
    with pytest.raises(sa.exc.IntegrityError), db.transaction() as tx:
        tx.execute(
            breaker.insert().values(account="a", op_class="read", since=db.clock.now(), **values)
        )


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_a_skewed_clock_of_one_process_does_not_matter_on_a_server(db_url: str) -> None:
    """Samples and leases take the server's time when the process runs on the machine's clock."""
    db = Database(db_url)
    try:
        with db.read() as tx:
            minute = tx.execute(sa.select(breaker_store.server_minute(db))).scalar_one()
            now = tx.execute(sa.select(breaker_store.server_time(db))).scalar_one()
        assert minute == int(now.timestamp()) // 60
        breakers = Breakers(db)
        for _ in range(5):
            send(db, breakers, NOT_SENT)
        assert not Breakers(db).decide(None, *KEY).allow
    finally:
        db.dispose()
