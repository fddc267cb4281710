"""Thousands of webhooks that no provider sends: through every adapter, and through the receiver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest

from payctl.app import App
from payctl.config import load
from payctl.db.engine import Database
from payctl.errors import Forbidden, InvalidInput
from payctl.receiver.application import Receiver
from payctl.receiver.options import Door, Doors, Options
from payctl.webhooks.reception import sound, understood
from tests.receiver.kit import ask, play
from tests.receiver.mutations import bent, mutated
from tests.receiver.providers import NOW, Provider, providers

ACCOUNTS = (
    "stripe", "box", "paypal", "paypal-online", "cinetpay", "cinetpay-transfers", "cinetpay-v1",
    "momo", "orange-webpay", "orange-cameroon", "orange-sonatel",
)  # fmt: skip
FEW, MANY = 300, 20_000


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Provider]]:
    with ExitStack() as stack:
        yield providers(stack, tmp_path_factory.mktemp("providers"))


@pytest.mark.unit
@pytest.mark.parametrize("account", ACCOUNTS)
def test_what_the_provider_sends_is_read(known: dict[str, Provider], account: str) -> None:
    """Else the others would show nothing."""
    each = known[account]
    event = understood(each.gateway, each.body, each.sign(each.body), NOW)
    assert event.object_kind in ("payment", "payout")
    assert (event.proof == "signature") == each.signs


@pytest.mark.unit
@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("rounds", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
def test_adapters_take_anything(known: dict[str, Provider], account: str, rounds: int) -> None:
    """An event or a refusal, never another exception, and nothing unsigned passes for signed."""
    each, dice = known[account], Random(account)
    true = each.sign(each.body)
    genuine = understood(each.gateway, each.body, true, NOW)
    seen: Counter[str] = Counter()
    for _ in range(rounds):
        body = each.body if dice.random() < 0.2 else mutated(dice, each.body)
        honest = dice.random() < 0.5
        # Signed by the provider itself, the parser behind the signature is what is tried.
        headers = each.sign(body) if honest else bent(dice, true)
        try:
            event = understood(each.gateway, body, headers, NOW)
        except Forbidden:
            seen["refused"] += 1
            assert each.signs
        except InvalidInput as unreadable:
            seen["unreadable"] += 1
            signed = unreadable.params.get("proof") == "signature"
            assert not signed or honest or body == each.body
        else:
            seen["read"] += 1
            assert sound(event) == event
            if event.proof == "signature" and not honest:
                # Some of them sign the values and not the bytes: it is the same event then.
                assert event == genuine
    assert seen["unreadable"] + seen["refused"] > rounds / 10
    assert seen["read"] > rounds / 20


@pytest.fixture
def app(db: Database, tmp_path: Path, known: dict[str, Provider]) -> App:
    made = App(load(environ={"HOME": str(tmp_path)}, folder=tmp_path), db)
    made.__dict__["gateways"] = {name: each.gateway for name, each in known.items()}
    return made


@pytest.mark.integration
@pytest.mark.webhooks
@pytest.mark.parametrize("rounds", [FEW * 4, pytest.param(MANY, marks=pytest.mark.long)])
def test_the_receiver_answers_anything(app: App, known: dict[str, Provider], rounds: int) -> None:
    """Never a 500, and what is stored and signed was signed."""
    doors = [Door(name, name) for name in known]
    receiver = Receiver(app, Options(Doors(doors), rate_limit=10**9))
    dice = Random(rounds)
    signed_bodies: set[bytes] = set()

    async def story(_: Receiver) -> Counter[int]:
        seen: Counter[int] = Counter()
        for number in range(rounds):
            path, method, body, headers = _request(dice, known, signed_bodies)
            pieces = [body[:7], body[7:]] if number % 3 == 0 else body
            answer = await ask(receiver, path, pieces, _sendable(headers), method=method)
            seen[answer.status] += 1
            assert answer.status < 500, (path, body[:200], headers)
            assert answer.status == 200 or set(answer.json) == {"error"} or method == "GET"
        return seen

    seen = play(receiver, story)
    assert {200, 400, 404, 405} <= set(seen)
    for stored in app.inbox.list(limit=rounds):
        assert stored.proof != "signature" or stored.body in signed_bodies or (
            # Card numbers and secrets are taken out before it is stored.
            "payctl-altered" in stored.headers or stored.account == "cinetpay"
        )  # fmt: skip


def _request(dice: Random, known: dict[str, Provider], signed: set[bytes]) -> Any:
    each = known[dice.choice(ACCOUNTS)]
    body = each.body if dice.random() < 0.1 else mutated(dice, each.body)
    if dice.random() < 0.4:
        headers = each.sign(body)
        signed.add(body)
    else:
        headers = bent(dice, each.sign(each.body))
        signed.add(each.body)
    path = f"/webhooks/{each.account}"
    if dice.random() < 0.1:
        path += dice.choice(("/", "//", "/x", "/../admin", "/%00", "/" + "a" * 3_000, "\0", "é"))
    method = dice.choice(("POST",) * 9 + ("PUT", "GET", "PATCH", "BREW"))
    return path, method, body, headers


def _sendable(headers: dict[str, str]) -> dict[str, str]:
    """As far as a header can be sent at all."""
    return {
        name: value.encode("latin-1", "replace").decode("latin-1")
        for name, value in headers.items()
        if name != "Content-Length" or value.isdigit()
    }
