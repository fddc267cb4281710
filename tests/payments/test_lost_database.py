"""The database goes away at the worst moments: what is said, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.errors import OutcomeOpen, Unavailable
from payctl.payments import service
from payctl.payments.model import PaymentStatus
from tests.payments.kit import OPERATOR, Kit

pytestmark = pytest.mark.crash


def lose(db: Database, monkeypatch: pytest.MonkeyPatch, when: Callable[[], bool]) -> None:
    """Every transaction fails as an unreachable server does while *when* says so."""
    begin = db.engine.connect

    def connect(*args: Any, **options: Any) -> Any:
        if when():
            raise sa.exc.TimeoutError("the server does not answer")
        return begin(*args, **options)

    monkeypatch.setattr(db.engine, "connect", connect)


def test_lost_before_sending_says_that_nothing_was_sent(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(kit.app.db, monkeypatch, lambda: True)
    with pytest.raises(Unavailable, match=r"database\.unreachable"):
        kit.pay()
    assert kit.gateways["cards"].payments() == []


def test_lost_after_sending_says_that_money_may_have_moved(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = [True]
    lose(kit.app.db, monkeypatch, lambda: gone[0] and bool(kit.gateways["cards"].payments()))
    with pytest.raises(OutcomeOpen, match=r"database\.lost_after_send"):
        kit.pay()
    gone[0] = False
    again = kit.app.payments.process(OPERATOR, kit.input())
    assert again.replayed and again.payment.status is PaymentStatus.PROCESSING
    kit.wait(seconds=60)
    assert kit.show(again).payment.status is PaymentStatus.SUCCEEDED
    assert len(kit.gateways["cards"].payments()) == 1
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


def test_a_repeat_that_cannot_be_answered_does_not_say_that_nothing_was_sent(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call may have sent it: whoever believed 7 would pay anew."""
    kit.pay()

    def gone(*_: object, **__: object) -> None:
        raise Unavailable("database.unreachable")

    monkeypatch.setattr(service, "view", gone)
    with pytest.raises(OutcomeOpen, match=r"database\.lost_after_send"):
        kit.pay()
