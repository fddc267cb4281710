"""Many payments at once: each gets what it would get alone, whatever happens to the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.errors import Conflict
from payctl.payments import tables as t
from payctl.payments.first_answer import FirstAnswers
from payctl.payments.pipeline import Pipeline
from payctl.payments.requests import Line, PaymentInput
from payctl.payments.results import PaymentResult
from tests.payments.kit import OPERATOR, Kit, states

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]
BROKEN = "broken"


def run(kit: Kit, wanted: Sequence[PaymentInput], workers: int = 4) -> list[Any]:
    """The results of all of *wanted*, in order."""
    results: dict[int, Any] = {}
    app = kit.app

    def done(tag: int, result: PaymentResult | Exception) -> None:
        assert tag not in results, "answered twice"
        results[tag] = result

    pipeline = Pipeline(
        app.payments, app.intake, app.first_answers, OPERATOR, kit.clock, done,
        workers=workers, in_flight=64,
    )  # fmt: skip
    for tag, each in enumerate(wanted):
        pipeline.submit(tag, each)
    pipeline.close()
    return [results[tag] for tag in range(len(wanted))]


TOKENS = {
    None: ["succeeded"],
    "tok_decline_insufficient_funds": ["declined"],
    "tok_decline_gateway_specific": ["declined", "declined"],
    "tok_not_sent:1": ["succeeded"],
    "tok_lost_answer": ["unknown"],
    "tok_3ds": ["requires_action"],
    "tok_rejected": ["rejected"],
}


def test_mixed_company(kit: Kit) -> None:
    wanted = [
        kit.input(f"k{turn}-{n}", token, preferred=("cards", "momo"))
        for turn in range(3)
        for n, token in enumerate(TOKENS)
    ]
    results = run(kit, wanted)
    assert [states(each) for each in results] == list(TOKENS.values()) * 3
    for each in results:
        seen = kit.show(each)
        assert (seen.payment.status, states(seen)) == (each.payment.status, states(each))
    kit.wait(seconds=30)
    kit.wait(minutes=30)
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


def test_a_repeat_does_not_keep_a_worker_from_its_original(kit: Kit) -> None:
    """The original needs the only worker once more, for the next gateway."""
    first = kit.input("k1", "tok_decline_gateway_specific", preferred=("cards", "momo"))
    wanted = [first, first, replace(first, amount_minor=5), first]
    one, two, other, three = run(kit, wanted, workers=1)
    assert [one.replayed, two.replayed, three.replayed] == [False, True, True]
    assert states(one) == states(two) == states(three) == ["declined", "declined"]
    assert isinstance(other, Conflict) and other.code == "key.reused"


def test_what_cannot_be_written_is_the_matter_of_one(kit: Kit) -> None:
    """A number no database holds, past every check: in one commit with others, but not for long."""
    wrong = kit.input(BROKEN, lines=(Line("x", 2**70, 0),))
    wanted = [kit.input("k1"), kit.input("k2"), wrong, kit.input("k3")]
    one, two, failed, three = run(kit, wanted)
    assert isinstance(failed, Exception)
    assert [states(each) for each in (one, two, three)] == [["succeeded"]] * 3
    with kit.app.db.read() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(t.payment)) == 3
    kit.check()


def test_what_cannot_be_applied_goes_the_long_way(kit: Kit, monkeypatch: Any) -> None:
    apply = FirstAnswers.apply

    def fails(self: FirstAnswers, actor: Any, answered: Any) -> Any:
        if any(each.payment.order_ref == "o-k2" for each in answered):
            raise RuntimeError("nobody foresaw this")
        return apply(self, actor, answered)

    monkeypatch.setattr(FirstAnswers, "apply", fails)
    results = run(kit, [kit.input(f"k{n}") for n in range(5)])
    assert [states(each) for each in results] == [["succeeded"]] * 5
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


def test_an_adapter_that_fails_fails_one(kit: Kit, monkeypatch: Any) -> None:
    create = kit.gateways["cards"].create_payment

    def fails(request: Any) -> Any:
        answer = create(request)
        if request.description == BROKEN:
            raise RuntimeError("nobody foresaw this")
        return answer

    monkeypatch.setattr(kit.gateways["cards"], "create_payment", fails)
    wanted = [kit.input("k1"), kit.input("k2", description=BROKEN), kit.input("k3")]
    one, failed, three = run(kit, wanted)
    assert isinstance(failed, RuntimeError)
    assert states(one) == states(three) == ["succeeded"]
    kit.wait(minutes=2)
    again = kit.pay("k2", description=BROKEN)
    assert again.replayed and again.payment.status == "succeeded"
    assert kit.our_totals() == kit.provider_totals()
    kit.check()
