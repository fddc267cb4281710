"""Deliveries over a real connection, checked by the published library of Standard Webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook, WebhookVerificationError

from payctl import ids, log
from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.db.tables import audit
from payctl.errors import Conflict
from payctl.notifications.desk import Deliveries
from payctl.notifications.lag import lag as lag_of
from payctl.notifications.schedule import DELAYS_S, JITTER
from tests.db.people import ADMIN
from tests.notifications.kit import (
    ACTOR,
    OTHER,
    SECRET,
    Receiver,
    Request,
    receiving,
    relaying,
    tell,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def clock() -> ManualClock:
    """Near the library's own, which checks how old a delivery is."""
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def test_the_published_library_takes_it(db: Database, receiver: Receiver) -> None:
    [notified] = tell(db, db.ids.new())
    with relaying(db, receiver.url) as relay:
        assert relay.run(ACTOR) == {"delivered": 1}
        assert relay.run(ACTOR) == {}
    [request] = receiver.requests
    assert request.path == "/hooks?from=payctl"
    assert request.id == ids.encode("notification", notified)
    payload = Webhook(SECRET).verify(request.body, dict(request.headers))
    made = Deliveries(db).get(notified)
    assert payload == json.loads(json.dumps(made.notification.payload()))
    assert (made.state, made.tries, made.settled_at) == ("delivered", 1, db.clock.now())
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body + b" ", dict(request.headers))


def test_two_secrets_while_one_is_replaced(db: Database, receiver: Receiver) -> None:
    tell(db, db.ids.new())
    with relaying(db, receiver.url, OTHER, SECRET) as relay:
        relay.run(ACTOR)
    [request] = receiver.requests
    for known in (SECRET, OTHER):
        Webhook(known).verify(request.body, dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 40).verify(request.body, dict(request.headers))


def test_again_with_the_same_id_and_body_at_another_time(
    db: Database, receiver: Receiver, clock: ManualClock
) -> None:
    [notified] = tell(db, db.ids.new())
    receiver.reply = lambda request: (500 if len(receiver.requests) == 1 else 204, {})
    with relaying(db, receiver.url) as relay:
        assert relay.run(ACTOR) == {"failed": 1}
        assert relay.run(ACTOR) == {}
        waiting = Deliveries(db).get(notified)
        assert waiting.next_try_at is not None
        wait = (waiting.next_try_at - clock.now()).total_seconds()
        assert DELAYS_S[1] <= wait <= DELAYS_S[1] * (1 + JITTER)
        clock.advance(timedelta(seconds=wait))
        assert relay.run(ACTOR) == {"delivered": 1}
    first, second = receiver.requests
    assert (first.id, first.body) == (second.id, second.body)
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    Webhook(SECRET).verify(second.body, dict(second.headers))


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_redirect_is_a_failure_and_not_followed(db: Database, receiver: Receiver) -> None:
    [notified] = tell(db, db.ids.new())
    receiver.reply = lambda request: (302, {"Location": receiver.url})
    with relaying(db, receiver.url) as relay:
        assert relay.run(ACTOR) == {"failed": 1}
    assert len(receiver.requests) == 1
    found = Deliveries(db).get(notified)
    assert (found.state, found.tries, found.reason) == ("pending", 1, "status 302")


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_gone_ends_it_until_an_operator_enables_it(db: Database, receiver: Receiver) -> None:
    notified = tell(db, *(db.ids.new() for _ in range(3)))
    receiver.reply = lambda request: (410, {})
    desk = Deliveries(db)
    with relaying(db, receiver.url, width=1) as relay:
        assert relay.run(ACTOR) == {"gone": 1}
        receiver.reply = lambda request: (200, {})
        assert relay.run(ACTOR) == {}
        lag = desk.lag()
        assert (lag.count, lag.dead, lag.disabled, lag.reason) == (3, 0, True, "status 410")
        assert desk.enable(ADMIN, "it is back").disabled is False
        with pytest.raises(Conflict) as error:
            desk.enable(ADMIN, "again")
        assert error.value.code == "notification.endpoint_up"
        assert relay.run(ACTOR) == {"delivered": 3}
    assert desk.lag().count == 0
    assert [desk.get(each).tries for each in notified] == [1, 1, 1]
    with db.read() as tx:
        acts = tx.scalars(sa.select(audit.c.action).order_by(audit.c.seq)).all()
    assert acts == ["outbox.disabled", "outbox.enabled"]


def test_lag_counts_what_is_pending_and_what_no_relay_has_seen(
    db: Database, receiver: Receiver, clock: ManualClock
) -> None:
    """In each state of a relay: before the first one ran, after it, while others wait."""
    started, one = clock.now(), db.ids.new()
    tell(db, one, db.ids.new())

    def lag() -> tuple[int, datetime | None, timedelta, int]:
        with db.read() as tx:
            found = lag_of(tx, clock.now())
        return found.count, found.oldest_at, found.age, found.dead

    assert lag() == (2, started, timedelta(), 0)
    with relaying(db, receiver.url) as relay:
        relay.run(ACTOR)
        assert lag() == (0, None, timedelta(), 0)
        clock.advance(timedelta(minutes=5))
        tell(db, db.ids.new())
        assert lag() == (1, clock.now(), timedelta(), 0)
        receiver.reply = lambda _: (400, {})
        for _ in range(10):
            relay.run(ACTOR)
            clock.advance(timedelta(hours=27))
        assert lag() == (0, None, timedelta(), 1)
        receiver.reply = lambda _: (503, {})
        tell(db, one)
        waiting = clock.now()
        relay.run(ACTOR)
        clock.advance(timedelta(minutes=1))
        tell(db, one)
        assert lag() == (2, waiting, timedelta(minutes=1), 1)


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_it_waits_as_long_as_it_is_asked_to(
    db: Database, receiver: Receiver, clock: ManualClock
) -> None:
    notified = tell(db, *(db.ids.new() for _ in range(3)))
    receiver.reply = lambda request: (429, {"Retry-After": "100"})
    with relaying(db, receiver.url, width=1) as relay:
        assert relay.run(ACTOR) == {"throttled": 1}
        receiver.reply = lambda request: (200, {})
        clock.advance(timedelta(seconds=99))
        assert relay.run(ACTOR) == {}
        clock.advance(timedelta(seconds=1))
        assert relay.run(ACTOR) == {"delivered": 3}
    assert [Deliveries(db).get(each).tries for each in notified] == [1, 1, 1]


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_connections_are_kept(db: Database, receiver: Receiver) -> None:
    tell(db, *(db.ids.new() for _ in range(40)))
    with relaying(db, receiver.url, width=3) as relay:
        assert relay.run(ACTOR) == {"delivered": 40}
        tell(db, db.ids.new())
        assert relay.run(ACTOR) == {"delivered": 1}
    assert len({request.peer for request in receiver.requests}) <= 3
    assert len(set(receiver.ids())) == 41


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_the_receiving_end_of_the_documents(db: Database, receiver: Receiver) -> None:
    page = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)
    store: dict[str, set[Any]] = {"seen": set(), "payments": set()}

    def reply(request: Request) -> tuple[int, dict[str, str]]:
        return names["receive"](request.body, dict(request.headers), [OTHER, SECRET], store), {}

    receiver.reply = reply
    payment = db.ids.new()
    tell(db, payment)
    with relaying(db, receiver.url) as relay:
        assert relay.run(ACTOR) == {"delivered": 1}
        tell(db, payment, type="payment.expired")
        assert relay.run(ACTOR) == {"delivered": 1}
    public = ids.encode("payment", payment)
    assert store["payments"] == {(public, "payment.succeeded"), (public, "payment.expired")}
    assert store["seen"] == set(receiver.ids())
    tell(db, payment)
    with relaying(db, receiver.url, "whsec_" + "A" * 40) as relay:
        assert relay.run(ACTOR) == {"failed": 1}


def test_the_log_says_what_became_of_each_under_the_id_of_who_made_the_change(
    db: Database, receiver: Receiver, tmp_path: Path
) -> None:
    path = tmp_path / "payctl.log"
    log.configure(path)
    try:
        with log.correlated("core-1"):
            tell(db, db.ids.new())
        receiver.reply = lambda _: (500 if len(receiver.requests) == 1 else 204, {})
        with relaying(db, receiver.url) as relay:
            relay.run(ACTOR)
            db.clock.sleep(3600)
            relay.run(ACTOR)
    finally:
        log.configure(None)
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["event"], line["level"], line["correlation_id"]) for line in written] == [
        ("notification.failed", "warning", "core-1"),
        ("notification.delivered", "info", "core-1"),
    ]
