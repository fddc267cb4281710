"""Webhooks through the ASGI application into the inbox, on both engines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from payctl.app import App
from payctl.clock import ManualClock
from payctl.errors import Unavailable
from payctl.receiver import intake
from payctl.receiver.application import Receiver
from payctl.receiver.writer import Writer
from payctl.webhooks.reception import Incoming
from tests.receiver.kit import Answered, ask, event, play, signed

pytestmark = [pytest.mark.integration, pytest.mark.webhooks]


def deliver(
    receiver: Receiver, path: str, body: bytes, headers: object = (), **more: object
) -> Answered:
    return play(receiver, lambda r: ask(r, path, body, headers, **more))  # type: ignore[arg-type]


def test_what_is_answered_200_is_stored_as_it_came(
    app: App, receiver: Receiver, clock: ManualClock
) -> None:
    body = event()
    told = {**signed(body, clock), "X-Request-ID": "provider-0001", "Authorization": "Bearer x"}
    answer = deliver(receiver, "/webhooks/box", body, told)
    assert (answer.status, answer.json["received"]) == (200, True)
    (stored,) = app.inbox.list()
    assert (stored.body, stored.event_id, stored.proof) == (body, "evt_1", "signature")
    assert stored.headers["x-request-id"] == "provider-0001" == answer.headers["x-request-id"]
    assert "authorization" not in stored.headers


def test_waiting_requests_share_a_commit(app: App, clock: ManualClock) -> None:
    """While one commit is under way, the others queue up: 40 webhooks need few commits."""
    first, released = threading.Event(), threading.Event()
    batches: list[int] = []

    def store(batch: Sequence[Incoming]) -> set[UUID]:
        first.set()
        assert released.wait(10)
        batches.append(len(batch))
        return app.reception.store(batch)

    writer = Writer(store)
    receiver = Receiver(app, writer=writer)

    async def story(_: Receiver) -> list[Answered]:
        asked = []
        for number in range(40):
            body = event(number)
            asked.append(asyncio.create_task(
                ask(receiver, "/webhooks/box", body, signed(body, clock))))  # fmt: skip
            if not number:
                await asyncio.to_thread(first.wait, 10)
        while writer.waiting < 39:
            await asyncio.sleep(0)
        released.set()
        return await asyncio.gather(*asked)

    answers = play(receiver, story)
    assert {answer.status for answer in answers} == {200}
    assert batches == [1, 39]
    assert len(app.inbox.list(limit=100)) == 40


def test_the_answer_waits_for_the_commit(app: App, clock: ManualClock) -> None:
    inside, released = threading.Event(), threading.Event()

    def store(batch: Sequence[Incoming]) -> set[UUID]:
        inside.set()
        assert released.wait(10)
        return app.reception.store(batch)

    receiver = Receiver(app, writer=Writer(store))
    body = event()

    async def story(_: Receiver) -> tuple[bool, int]:
        task = asyncio.create_task(ask(receiver, "/webhooks/box", body, signed(body, clock)))
        await asyncio.to_thread(inside.wait, 10)
        early = task.done()
        released.set()
        return early, (await task).status

    assert play(receiver, story) == (False, 200)


def test_the_same_event_again_is_answered_200_and_stored_once(
    app: App, receiver: Receiver, clock: ManualClock
) -> None:
    body = event()

    async def story(_: Receiver) -> list[Answered]:
        return await asyncio.gather(
            *(ask(receiver, "/webhooks/box", body, signed(body, clock)) for _ in range(6))
        )

    assert {answer.status for answer in play(receiver, story)} == {200}
    assert len(app.inbox.list()) == 1


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_what_is_not_true_is_refused_and_not_stored(
    app: App, receiver: Receiver, clock: ManualClock
) -> None:
    body = event()
    true = signed(body, clock)
    ten_minutes_on = ManualClock(clock.now() + timedelta(minutes=10))
    wanted = [
        ("/webhooks/box", body + b" ", true, "event.bad_signature", 400),
        ("/webhooks/box", body, {}, "event.bad_signature", 400),
        ("/webhooks/box", body, signed(body, clock, "other"), "event.bad_signature", 400),
        ("/webhooks/box", body, signed(body, ten_minutes_on), "event.stale", 400),
        ("/webhooks/nobody", body, true, "request.not_found", 404),
        ("/webhooks/path", body, {}, "request.not_found", 404),
        ("/webhooks/path/another-token-here", body, {}, "request.not_found", 404),
        ("/webhooks/box/token-in-the-path", body, true, "request.not_found", 404),
        ("/webhooks/box/box/box/box", body, true, "request.not_found", 404),
        ("/webhooks/listed", body, {}, "request.forbidden", 403),
        ("/webhooks/bare", b"what is this", {}, "event.unreadable", 400),
        ("/webhooks/bare", b"[" * 100_000, {}, "event.unreadable", 400),
        ("/webhooks/box", b"x" * 262_145, true, "webhook.too_large", 413),
    ]

    async def story(_: Receiver) -> None:
        for number, (path, content, headers, code, status) in enumerate(wanted):
            answer = await ask(receiver, path, content, headers, client=f"203.0.113.{number}")
            assert (answer.status, answer.code) == (status, code), path
            assert set(answer.json) == {"error"}
            assert answer.json["error"]["request_id"] == answer.headers["x-request-id"]

    play(receiver, story)
    assert app.inbox.list() == []
    refused = receiver.intake.counts.by_outcome
    assert refused["box", "event.bad_signature"] == 3


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_the_limit_holds_for_a_body_that_does_not_say_its_length(
    app: App, receiver: Receiver, clock: ManualClock
) -> None:
    piece = b"x" * 65_536
    whole = piece * 4
    long = [piece] * 5

    async def story(_: Receiver) -> tuple[int, int]:
        fits = await ask(receiver, "/webhooks/box", [piece] * 4, signed(whole, clock))
        # The rest is not even read: the pieces that never come would be waited for.
        over = await ask(receiver, "/webhooks/box", long, signed(piece * 5, clock), hangs=True)
        assert over.headers["connection"] == "close"
        return fits.status, over.status

    assert play(receiver, story) == (200, 413)


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_body_that_does_not_come_is_not_waited_for(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "ANSWER_S", 0.02)
    answer = play(receiver, lambda r: ask(r, "/webhooks/box", [b"x"], hangs=True))
    assert (answer.status, answer.code) == (408, "request.unfinished")


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("path", ["/webhooks/path", "/webhooks/sandbox/path"])
def test_a_path_with_the_accounts_token_is_proof(app: App, receiver: Receiver, path: str) -> None:
    """MTN sends by PUT and signs nothing."""

    async def story(_: Receiver) -> set[int]:
        asked = [
            ask(receiver, f"{path}/token-in-the-path", event(n), method="PUT") for n in range(9)
        ]
        unread = await ask(receiver, f"{path}/token-in-the-path", b"a new shape")
        return {each.status for each in await asyncio.gather(*asked)} | {unread.status}

    assert play(receiver, story) == {200}
    assert len(app.inbox.list()) == 10


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_only_what_proves_nothing_is_throttled(
    app: App, receiver: Receiver, clock: ManualClock
) -> None:
    async def story(_: Receiver) -> None:
        statuses = [(await ask(receiver, "/webhooks/bare", event(n))).status for n in range(7)]
        assert statuses == [200] * 5 + [429] * 2
        throttled = await ask(receiver, "/webhooks/box", event(), {})
        assert throttled.status == 429
        assert int(throttled.headers["retry-after"]) == 900
        # The same address: a true signature passes all the same.
        body = event(50)
        assert (await ask(receiver, "/webhooks/box", body, signed(body, clock))).status == 200
        assert (await ask(receiver, "/webhooks/bare", event(8), client="203.0.113.8")).status == 200
        listed = [
            (await ask(receiver, "/webhooks/listed", event(n), client="198.51.100.7")).status
            for n in range(20)
        ]
        assert set(listed) == {200}
        clock.advance(timedelta(minutes=15))
        assert (await ask(receiver, "/webhooks/bare", event(60))).status == 200

    play(receiver, story)


def test_a_token_that_was_given_to_an_attempt_is_never_throttled(
    app: App, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its attempt is looked up, but only for an address that is over its limit."""
    looked: list[bytes] = []
    token = "given-with-the-first-answer"

    def knows(account: str, hashed: bytes) -> bool:
        from payctl.payments.provider_tokens import token_hash

        looked.append(hashed)
        return account == "token" and hashed == token_hash(token)

    monkeypatch.setattr(receiver.intake, "_knows_token", knows)

    async def story(_: Receiver) -> list[int]:
        wrong = [
            (await ask(receiver, "/webhooks/token", event(n, token="x" * 20))).status
            for n in range(6)
        ]
        right = await ask(receiver, "/webhooks/token", event(7, token=token))
        return [*wrong, right.status]

    assert play(receiver, story) == [200] * 5 + [429, 200]
    assert len(looked) == 2
    assert all(token.encode() not in each.body for each in app.inbox.list())


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_database_that_is_gone_is_503_and_comes_back(app: App, clock: ManualClock) -> None:
    gone = [True]

    def store(batch: Sequence[Incoming]) -> set[UUID]:
        if gone[0]:
            raise Unavailable("database.unreachable", detail="")
        return app.reception.store(batch)

    receiver = Receiver(app, writer=Writer(store))
    body = event()

    async def story(_: Receiver) -> Answered:
        refused = await ask(receiver, "/webhooks/box", body, signed(body, clock))
        gone[0] = False
        assert (await ask(receiver, "/webhooks/box", body, signed(body, clock))).status == 200
        return refused

    refused = play(receiver, story)
    assert (refused.status, refused.code) == (503, "service.unavailable")
    assert refused.headers["retry-after"]


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_one_that_cannot_be_stored_takes_no_other_with_it(app: App, clock: ManualClock) -> None:
    inside, released = threading.Event(), threading.Event()

    def store(batch: Sequence[Incoming]) -> set[UUID]:
        inside.set()
        assert released.wait(10)
        if any(each.values["event_id"] == "evt_3" for each in batch):
            raise ZeroDivisionError
        return app.reception.store(batch)

    writer = Writer(store)
    receiver = Receiver(app, writer=writer)

    async def story(_: Receiver) -> list[int]:
        asked = []
        for number in range(6):
            body = event(number)
            one = ask(receiver, "/webhooks/box", body, signed(body, clock))
            asked.append(asyncio.create_task(one))
            if not number:
                await asyncio.to_thread(inside.wait, 10)
        while writer.waiting < 5:
            await asyncio.sleep(0)
        released.set()
        return [each.status for each in await asyncio.gather(*asked)]

    assert play(receiver, story) == [200, 200, 200, 503, 200, 200]


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_an_early_forgery_does_not_keep_the_true_event_from_being_heard(
    app: App, receiver: Receiver
) -> None:
    """Nothing signs it, so anybody may send the same bytes before they are true."""
    body = event()
    assert deliver(receiver, "/webhooks/bare", body).status == 200
    (first,) = app.inbox.list()
    from tests.webhooks.test_service import WORKER

    assert app.inbox.apply(WORKER) == {"nothing_new": 1}
    assert deliver(Receiver(app), "/webhooks/bare", body).status == 200
    (again,) = app.inbox.list()
    assert (again.id, again.state) == (first.id, "received")
    assert app.inbox.apply(WORKER) == {"nothing_new": 1}


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_fault_of_ours_shows_nothing_of_itself(
    receiver: Receiver, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a secret of ours")

    monkeypatch.setattr(receiver.intake._reception, "check", broken)
    answer = deliver(receiver, "/webhooks/box", event())
    assert (answer.status, answer.code) == (500, "request.failed")
    assert b"secret" not in answer.body and b"Zero" not in answer.body
