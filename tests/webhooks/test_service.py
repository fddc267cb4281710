"""The inbox on both engines, fed by the sandbox provider; the payments door is scripted here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Lock
from typing import cast
from uuid import UUID

import pytest
import sqlalchemy as sa

from payctl.cases.service import Cases
from payctl.clock import ManualClock
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.operators import job_actor
from payctl.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotConfigured,
    NotFound,
    Unavailable,
)
from payctl.gateways.base import Event, Outcome, PaymentRequest
from payctl.gateways.registry import build
from payctl.gateways.sandbox import SandboxGateway
from payctl.gateways.signature import sign
from payctl.notifications.outbox import Outbox
from payctl.webhooks.reception import Reception
from payctl.webhooks.service import Inbox

pytestmark = [pytest.mark.integration, pytest.mark.webhooks]

WORKER = job_actor("webhook_apply", "job.webhooks")
DESK = Actor("sam", frozenset({"support"}))


class Door:
    """Answers ``apply_event`` by script (the last answer repeats) and remembers who asked."""

    def __init__(self) -> None:
        self.answers: list[str | BaseException] = ["applied"]
        self.seen: Counter[str] = Counter()
        self.during: Callable[[Event], None] = lambda event: None
        self._lock = Lock()

    def apply_event(
        self, actor: Actor, account: str, event: Event, token_hash: bytes | None = None
    ) -> str:
        with self._lock:
            self.seen[event.event_id] += 1
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.during(event)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def gateway(tmp_path: Path, clock: ManualClock) -> Iterator[SandboxGateway]:
    settings = {"book": str(tmp_path / "provider.sqlite3"), "webhook_secrets": ["secret"]}
    made = cast(
        "SandboxGateway",
        build("sandbox", "box", settings, lambda reference: reference, clock=clock),
    )
    yield made
    made.close()


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def cases(db: Database) -> Cases:
    return Cases(db, Outbox(db))


@pytest.fixture
def inbox(db: Database, gateway: SandboxGateway, door: Door, cases: Cases) -> Inbox:
    return Inbox(db, Reception(db, {"box": gateway}, cases), door, cases)


def pay(gateway: SandboxGateway, count: int = 1) -> None:
    for number in range(count):
        request = PaymentRequest(f"ref-{number}", f"key-{number}", 1_000 + number, "EUR", "card")
        assert gateway.create_payment(request).outcome is Outcome.SUCCEEDED


def signed(clock: ManualClock, body: bytes, secret: str = "secret") -> dict[str, str]:
    return {"Sandbox-Signature": sign(body, secret, clock.now()), "Authorization": "Bearer x"}


def deliver(inbox: Inbox, gateway: SandboxGateway, *faults: str) -> int:
    return sum(1 for body, headers in gateway.deliveries(faults=faults)
               if inbox.receive("box", body, headers))  # fmt: skip


# -- receiving -----------------------------------------------------------------------------------


def test_an_event_is_stored_raw_and_once(inbox: Inbox, gateway: SandboxGateway) -> None:
    pay(gateway)
    sent = list(gateway.deliveries(faults=["double"]))
    assert len(sent) >= 2
    stored_ids = {inbox.receive("box", body, headers) for body, headers in sent}
    stored = inbox.list()
    assert {event.id for event in stored} == stored_ids
    assert len(stored) == len({json.loads(body)["id"] for body, _ in sent})
    bodies = {body for body, _ in sent}
    assert all(event.body in bodies and event.state == "received" for event in stored)
    assert all(event.event_id and event.our_reference == "ref-0" for event in stored)


def test_the_same_event_at_once_is_stored_once(inbox: Inbox, gateway: SandboxGateway) -> None:
    pay(gateway)
    body, headers = next(gateway.deliveries())
    start = Barrier(6)

    def work(_: int) -> object:
        start.wait()
        return inbox.receive("box", body, headers)

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(work, range(6)))) == 1
    assert len(inbox.list()) == 1


def test_a_forged_or_stale_event_is_not_stored(
    inbox: Inbox, gateway: SandboxGateway, clock: ManualClock
) -> None:
    pay(gateway)
    body, headers = next(gateway.deliveries())
    with pytest.raises(Forbidden, match=r"event\.bad_signature"):
        inbox.receive("box", body + b" ", headers)
    with pytest.raises(Forbidden, match=r"event\.bad_signature"):
        inbox.receive("box", body, {})
    clock.advance(timedelta(minutes=6))
    with pytest.raises(Forbidden, match=r"event\.stale"):
        inbox.receive("box", body, headers)
    with pytest.raises(NotFound, match=r"gateway\.not_found"):
        inbox.receive("nobody", body, headers)
    assert inbox.list() == []


def test_an_event_applies_long_after_it_came(
    inbox: Inbox, gateway: SandboxGateway, clock: ManualClock, door: Door
) -> None:
    pay(gateway)
    count = deliver(inbox, gateway)
    clock.advance(timedelta(days=3))
    assert inbox.apply(WORKER) == {"applied": count}


def test_a_body_nobody_understands_is_kept(inbox: Inbox, clock: ManualClock, door: Door) -> None:
    body = b'{"hello": "world"}'
    first = inbox.receive("box", body, signed(clock, body))
    assert inbox.receive("box", body, signed(clock, body)) == first
    stored = inbox.get(first)
    assert (stored.event_id, stored.body) == (None, body)
    assert stored.dedupe.startswith("sha256:")
    assert "authorization" not in stored.headers
    for seconds in (0, 10, 60):
        clock.advance(timedelta(seconds=seconds))
        inbox.apply(WORKER)
    assert (inbox.get(first).state, inbox.get(first).reason) == ("dead", "event.unreadable")
    assert not door.seen


def test_the_body_limit(inbox: Inbox, clock: ManualClock) -> None:
    body = b"x" * 262_144
    inbox.receive("box", body, signed(clock, body))
    with pytest.raises(InvalidInput) as error:
        inbox.receive("box", body + b"x", signed(clock, body + b"x"))
    assert error.value.code == "webhook.too_large"
    assert len(inbox.list()) == 1


def test_a_card_number_is_never_stored_and_opens_a_case(
    db: Database, inbox: Inbox, clock: ManualClock, cases: Cases
) -> None:
    body = json.dumps(
        {
            "id": "evt_9", "type": "payment.succeeded", "created": "2026-11-02T09:00:00+00:00",
            "object": {"kind": "payment", "id": "sb_1", "our_reference": "ref-1"},
            "number": 4242424242424242, "note": "paid with 4000-0566-5566-5556",
        }
    ).encode()  # fmt: skip
    stored = inbox.get(inbox.receive("box", body, signed(clock, body)))
    assert stored.event_id == "evt_9"
    assert json.loads(stored.body)["number"] == 9999999999999999
    with db.read() as tx:
        rows = tx.execute(sa.text("SELECT body FROM webhook_event")).scalars().all()
    assert not any(b"42424242" in bytes(row) or b"5556" in bytes(row) for row in rows)
    (case,) = cases.list()
    assert (case.kind, case.subject_id, case.detail["card_numbers"]) == (
        "pan_refused", stored.id, 2,
    )  # fmt: skip
    inbox.receive("box", body, signed(clock, body))
    assert len(cases.list()) == 1
    assert inbox.apply(WORKER) == {"applied": 1}


# -- applying ------------------------------------------------------------------------------------


def test_every_event_is_applied_once(inbox: Inbox, gateway: SandboxGateway, door: Door) -> None:
    pay(gateway, 5)
    deliver(inbox, gateway, "double", "reorder")
    total = len(inbox.list(limit=500))
    assert inbox.apply(WORKER, limit=2) == {"applied": 2}
    assert inbox.apply(WORKER) == {"applied": total - 2}
    assert inbox.apply(WORKER) == {}
    assert set(door.seen.values()) == {1}
    assert {event.state for event in inbox.list()} == {"applied"}


def test_workers_at_once_never_apply_one_event_twice(
    inbox: Inbox, gateway: SandboxGateway, door: Door
) -> None:
    pay(gateway, 12)
    deliver(inbox, gateway)
    total = len(inbox.list(limit=500))
    start = Barrier(4)

    def work(_: int) -> Counter[str]:
        start.wait()
        return Counter(inbox.apply(WORKER))

    with ThreadPoolExecutor(4) as pool:
        counts = sum(pool.map(work, range(4)), Counter())
    assert counts == {"applied": total}
    assert len(door.seen) == total
    assert set(door.seen.values()) == {1}


def test_an_event_in_hand_is_taken_by_nobody_else(
    inbox: Inbox, gateway: SandboxGateway, door: Door
) -> None:
    pay(gateway)
    deliver(inbox, gateway)
    inside: list[dict[str, int]] = []
    first = inbox.list()[-1]

    def during(event: Event) -> None:
        if event.event_id == first.event_id and not inside:
            inside.append({})
            with pytest.raises(Conflict, match=r"webhook\.being_applied"):
                inbox.apply(WORKER, only=first.id)
            inside.append(inbox.apply(WORKER))

    door.during = during
    inbox.apply(WORKER, limit=1)
    assert door.seen[first.event_id or ""] == 1


def test_a_worker_that_died_loses_its_event_to_the_next(
    inbox: Inbox, gateway: SandboxGateway, door: Door, clock: ManualClock
) -> None:
    class Killed(BaseException):
        pass

    pay(gateway)
    total = deliver(inbox, gateway)
    door.answers = [Killed(), "applied"]
    with pytest.raises(Killed):
        inbox.apply(WORKER)
    assert inbox.apply(WORKER) == ({"applied": total - 1} if total > 1 else {})
    clock.advance(timedelta(seconds=120))
    assert inbox.apply(WORKER) == {"applied": 1}


@pytest.mark.parametrize(
    ("meanwhile", "expected"), [("applied", ("applied", 0)), ("unreachable", ("waiting", 0))]
)
def test_a_worker_that_overslept_changes_nothing(
    inbox: Inbox,
    gateway: SandboxGateway,
    door: Door,
    clock: ManualClock,
    meanwhile: str,
    expected: tuple[str, int],
) -> None:
    pay(gateway)
    deliver(inbox, gateway)
    event = inbox.list()[-1]
    slept = []

    def during(_: Event) -> None:
        if not slept:
            slept.append(True)
            clock.advance(timedelta(seconds=121))
            assert inbox.apply(WORKER, only=event.id) == {expected[0]: 1}

    door.during = during
    door.answers = ["orphan", meanwhile]
    inbox.apply(WORKER, only=event.id)
    assert (inbox.get(event.id).state, inbox.get(event.id).tries) == expected


def test_an_unreachable_provider_costs_no_try(
    inbox: Inbox, gateway: SandboxGateway, door: Door, clock: ManualClock
) -> None:
    pay(gateway)
    deliver(inbox, gateway)
    event = inbox.list()[-1]
    door.answers = ["unreachable"]
    for _ in range(10):
        assert inbox.apply(WORKER, only=event.id) == {"waiting": 1}
    stored = inbox.get(event.id)
    assert (stored.tries, stored.waits, stored.reason) == (0, 10, "unreachable")
    assert stored.next_try_at == clock.now() + timedelta(minutes=15)
    door.answers = ["nothing_new"]
    clock.advance(timedelta(minutes=15))
    assert inbox.apply(WORKER).get("nothing_new")
    assert (inbox.get(event.id).state, inbox.get(event.id).reason) == ("applied", "nothing_new")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NotConfigured("gateway.not_supported", account="box", what="x"), "gateway.not_supported"),
        (ZeroDivisionError("card 4242424242424242"), "ZeroDivisionError"),
    ],
)
def test_an_error_of_ours_is_a_dead_letter_after_three_tries(
    inbox: Inbox,
    gateway: SandboxGateway,
    door: Door,
    clock: ManualClock,
    error: Exception,
    reason: str,
) -> None:
    pay(gateway)
    deliver(inbox, gateway)
    door.answers = [error]
    for seconds in (0, 10, 60):
        clock.advance(timedelta(seconds=seconds))
        inbox.apply(WORKER)
    dead = inbox.list(state="dead")
    assert dead
    assert len(dead) == len(inbox.list())
    assert all(str(event.reason).startswith(reason) for event in dead)
    assert not any("4242" in str(event.reason) for event in dead)
    assert set(door.seen.values()) == {3}
    assert inbox.counts() == {"dead": len(dead)}


def test_our_database_gone_ends_the_run_and_costs_nothing(
    inbox: Inbox, gateway: SandboxGateway, door: Door, clock: ManualClock
) -> None:
    pay(gateway)
    total = deliver(inbox, gateway)
    door.answers = [Unavailable("database.unreachable", detail=""), "applied"]
    with pytest.raises(Unavailable):
        inbox.apply(WORKER)
    clock.advance(timedelta(seconds=120))
    assert inbox.apply(WORKER) == {"applied": total}
    assert all(event.tries == 0 for event in inbox.list())


def test_an_orphan_opens_a_case_after_three_more_looks(
    inbox: Inbox, gateway: SandboxGateway, door: Door, clock: ManualClock, cases: Cases
) -> None:
    pay(gateway)
    deliver(inbox, gateway)
    event = inbox.list()[-1]
    door.answers = ["orphan"]
    for seconds in (0, 10, 60):
        clock.advance(timedelta(seconds=seconds))
        assert inbox.apply(WORKER, only=event.id) == {"waiting": 1}
        assert cases.list() == []
    assert inbox.apply(WORKER, only=event.id) == {"orphan": 1}
    (case,) = cases.list()
    assert (case.kind, case.gateway, case.subject_id) == ("orphan", "box", event.id)
    assert case.detail["our_reference"] == "ref-0"
    with pytest.raises(Conflict, match=r"webhook\.settled"):
        inbox.apply(WORKER, only=event.id)
    # A retry that finds the object closes the case by itself.
    door.answers = ["applied"]
    inbox.retry(DESK, event.id, "imported the missing payment")
    assert inbox.apply(WORKER, only=event.id) == {"applied": 1}
    assert cases.list() == []
    assert cases.get(case.id).resolution == "found"


# -- dead letters --------------------------------------------------------------------------------


def test_dead_letters_are_retried_or_dropped_on_purpose(
    inbox: Inbox, gateway: SandboxGateway, door: Door, clock: ManualClock
) -> None:
    pay(gateway, 2)
    deliver(inbox, gateway)
    door.answers = [ZeroDivisionError()]
    for seconds in (0, 10, 60):
        clock.advance(timedelta(seconds=seconds))
        inbox.apply(WORKER)
    one, two = inbox.list(state="dead")[:2]
    with pytest.raises(InvalidInput, match=r"reason\.missing"):
        inbox.retry(DESK, one.id, " ")
    with pytest.raises(Forbidden):
        inbox.drop(Actor("v", frozenset({"viewer"})), one.id, "x")
    assert inbox.retry(DESK, one.id, "fixed in 1.2", dry_run=True).state == "received"
    assert inbox.get(one.id).state == "dead"
    assert inbox.retry(DESK, one.id, "fixed in 1.2").tries == 0
    dropped = inbox.drop(DESK, two.id, "test event of the provider")
    assert (dropped.state, dropped.next_try_at) == ("dropped", None)
    door.answers = ["applied"]
    assert inbox.apply(WORKER) == {"applied": 1}
    for event in (one, two):
        with pytest.raises(Conflict, match=r"webhook\.not_dead"):
            inbox.retry(DESK, event.id, "again")


def test_lists(inbox: Inbox, gateway: SandboxGateway, clock: ManualClock) -> None:
    pay(gateway, 3)
    deliver(inbox, gateway)
    everything = inbox.list()
    page = inbox.list(limit=2)
    rest = inbox.list(after=page[-1].id)
    assert [e.id for e in (*page, *rest)] == [e.id for e in everything]
    assert inbox.list(account="other") == []
    assert inbox.list(since=clock.now() + timedelta(seconds=1)) == []
    assert len(inbox.list(until=clock.now() + timedelta(seconds=1))) == len(everything)
    with pytest.raises(InvalidInput, match=r"webhook\.unknown_state"):
        inbox.list(state="lost")
    with pytest.raises(NotFound, match=r"webhook\.not_found"):
        inbox.get(UUID(int=5))


def test_who_may_apply(inbox: Inbox) -> None:
    with pytest.raises(Forbidden):
        inbox.apply(Actor("v", frozenset({"viewer"})))


def test_the_database_lets_no_event_be_forgotten(
    db: Database, inbox: Inbox, gateway: SandboxGateway
) -> None:
    pay(gateway)
    deliver(inbox, gateway)
    statements = (
        "UPDATE webhook_event SET next_try_at = NULL",
        "UPDATE webhook_event SET state = 'waiting'",
        "UPDATE webhook_event SET state = 'dead', reason = 'x'",
    )
    for statement in statements:
        with pytest.raises(sa.exc.IntegrityError), db.transaction() as tx:
            tx.execute(sa.text(statement))
