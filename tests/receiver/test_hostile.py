"""Whatever happens to webhooks on their way, payments and ledger end as if nothing had.

Each story is told to a book through the receiver, and ends with the providers' own totals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from payctl.db.engine import Database
from payctl.gateways.signature import sign
from payctl.receiver.application import Receiver
from payctl.receiver.options import Door, Doors, Options
from tests.payments.kit import CARDS, JANITOR, Kit, make_kit
from tests.receiver.kit import ask, play
from tests.receiver.mutations import mutated

pytestmark = [pytest.mark.integration, pytest.mark.webhooks]

#: What each customer does in the end.
ENDS = {"k0": "succeeded", "k1": "succeeded", "k2": "declined", "k3": "succeeded", "k4": "expired"}
Sent = tuple[bytes, dict[str, str]]
Story = Callable[[Kit, Random, list[Sent]], Iterator[Sent]]


@pytest.fixture(params=["signature", "none"])
def kit(request: pytest.FixtureRequest, db: Database, tmp_path: Path) -> Iterator[Kit]:
    settings = {**CARDS, "event_proof": request.param, "webhook_secrets": ["new", "old"]}
    made = make_kit(db, tmp_path, {"cards": settings})
    yield made
    for gateway in made.gateways.values():
        gateway.close()


def begin(kit: Kit) -> None:
    for key in ENDS:
        assert kit.pay(key, "tok_3ds:3600").payment.status == "requires_action"


def customers_act(kit: Kit) -> list[Sent]:
    """The customers decide; what the provider sends about it."""
    for key, end in ENDS.items():
        reference = kit.pay(key, "tok_3ds:3600").attempts[-1].our_reference
        assert kit.gateways["cards"].customer_acts(reference, end)
    return list(kit.gateways["cards"].deliveries())


def send(kit: Kit, sent: Iterator[Sent] | list[Sent]) -> list[int]:
    """Through the receiver; every answer but a 200 or a refusal is a fault."""
    receiver = Receiver(kit.app, Options(Doors([Door("cards", "sandbox")]), rate_limit=10**6))

    async def story(_: Receiver) -> list[int]:
        return [(await ask(receiver, "/webhooks/cards", *each)).status for each in sent]

    statuses = play(receiver, story)
    assert set(statuses) <= {200, 400}
    return statuses


def apply(kit: Kit) -> None:
    for _ in range(6):
        kit.app.inbox.apply(JANITOR)
        kit.clock.advance(timedelta(seconds=70))


def outcome(kit: Kit) -> dict[str, str]:
    """Where every payment is, without asking anybody."""
    return {key: str(kit.pay(key, "tok_3ds:3600").payment.status) for key in ENDS}


def again(kit: Kit, sent: list[Sent], secret: str = "new") -> list[Sent]:
    """The provider tries once more: the same bodies, signed now."""
    return [
        (body, {**headers, "Sandbox-Signature": sign(body, secret, kit.clock.now())})
        for body, headers in sent
    ]


def shuffled(kit: Kit, dice: Random, sent: list[Sent]) -> Iterator[Sent]:
    yield from dice.sample(sent, len(sent))


def tripled(kit: Kit, dice: Random, sent: list[Sent]) -> Iterator[Sent]:
    yield from dice.sample(sent * 3, len(sent) * 3)


def delayed(kit: Kit, dice: Random, sent: list[Sent]) -> Iterator[Sent]:
    """Days late: what was signed then is stale, and what is tried anew is signed anew."""
    kit.clock.advance(timedelta(days=3))
    yield from sent
    yield from again(kit, sent)


def truncated(kit: Kit, dice: Random, sent: list[Sent]) -> Iterator[Sent]:
    for body, headers in sent:
        yield body[: dice.randrange(len(body))], headers
    yield from sent


def from_the_future(kit: Kit, dice: Random, sent: list[Sent]) -> Iterator[Sent]:
    for body, headers in sent:
        at = kit.clock.now() + timedelta(hours=1)
        yield body, {**headers, "Sandbox-Signature": sign(body, "new", at)}
    yield from sent


def with_an_old_secret(kit: Kit, dice: Random, sent: list[Sent]) -> Iterator[Sent]:
    """One that is still valid, and one that is not any more."""
    yield from again(kit, sent, "older")
    yield from again(kit, sent, "old")


def bent_on_the_way(kit: Kit, dice: Random, sent: list[Sent]) -> Iterator[Sent]:
    for body, headers in sent:
        for _ in range(10):
            yield mutated(dice, body), headers
    yield from sent


STORIES: tuple[Story, ...] = (
    shuffled, tripled, delayed, truncated, from_the_future, with_an_old_secret, bent_on_the_way,
)  # fmt: skip


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_end_is_the_providers(kit: Kit, story: Story) -> None:
    begin(kit)
    sent = customers_act(kit)
    send(kit, story(kit, Random(story.__name__), sent))
    apply(kit)
    assert outcome(kit) == {
        key: "failed" if end == "declined" else end for key, end in ENDS.items()
    }
    assert kit.our_totals() == kit.provider_totals() != {}
    kit.check()


def test_no_forgery_moves_money(kit: Kit) -> None:
    """Thousands say that the customers have paid, before they have: signed by nobody, or true to
    the letter and too early.
    """
    begin(kit)
    dice, forged = Random(1), []
    for key in ENDS:
        attempt = kit.pay(key, "tok_3ds:3600").attempts[-1]
        about = {"kind": "payment", "id": attempt.provider_reference, "state": "succeeded",
                 "our_reference": attempt.our_reference, "amount_minor": 10_000}  # fmt: skip
        body = json.dumps(
            {"id": f"sbe_{key}", "type": "payment.succeeded", "object": about,
             "created": kit.clock.now().isoformat()}
        ).encode()  # fmt: skip
        forged += [(body, {"Sandbox-Signature": sign(body, "guess", kit.clock.now())})]
        forged += [(mutated(dice, body), {}) for _ in range(15)]
    send(kit, forged)
    apply(kit)
    assert set(outcome(kit).values()) == {"requires_action"}
    assert kit.our_totals() == {}
    send(kit, customers_act(kit))
    apply(kit)
    assert kit.our_totals() == kit.provider_totals() != {}
    kit.check()
