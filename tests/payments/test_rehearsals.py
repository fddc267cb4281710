"""What a dry run shows is what the next real run posts, and a dry run leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payctl.db.metadata import load
from payctl.errors import Conflict
from payctl.ledger.model import Posted
from payctl.payments.model import PaymentStatus, RefundState
from tests.payments.kit import OPERATOR, Kit

pytestmark = pytest.mark.integration
_KEYS = count()
Shown = list[tuple[str, list[tuple[str, str, int]]]]


def shown(journals: Iterable[Posted]) -> Shown:
    """Entries as accounts and amounts; a provider's fee is its own fact and left out."""
    return [
        (each.kind, sorted((e.account, e.currency, e.amount_minor) for e in each.entries))
        for each in journals
        if each.kind != "gateway_fee"
    ]


def rows(kit: Kit) -> dict[str, int]:
    with kit.app.db.read() as tx:
        return {
            name: tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in load().tables.items()
        }


def key() -> str:
    return f"key-{next(_KEYS)}"


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_the_entries_of_a_dry_run_are_those_of_the_next_real_run(
    kit: Kit, data: st.DataObject
) -> None:
    amount = data.draw(st.integers(1, 15_000), "amount")
    wanted = kit.input(
        key(),
        order=None,
        amount_minor=amount,
        currency=data.draw(st.sampled_from(["EUR", "XOF"])),
        sale_type=data.draw(st.sampled_from(["ticket_sale", "template_sale"])),
        organiser=data.draw(st.sampled_from(["org-1", "org-2"])),
        country=data.draw(st.sampled_from(["FR", "CI"])),
    )
    planned = kit.app.payments.rehearse(OPERATOR, wanted)
    real = kit.app.payments.process(OPERATOR, wanted)
    assert shown(planned.result.journals) == shown(real.journals) != []
    assert planned.route["chosen"] == real.payment.gateway_account
    left = amount
    while left and data.draw(st.booleans(), "refund"):
        part = data.draw(st.integers(1, left), "part")
        keep = data.draw(st.booleans(), "keep")
        asked = {"reason": "asked", "amount_minor": part, "keep_commission": keep}
        before = kit.app.refunds.rehearse(OPERATOR, real.payment.id, key=key(), **asked)
        after = kit.app.refunds.create(OPERATOR, real.payment.id, key=key(), **asked)
        assert after.refund.state is RefundState.SUCCEEDED
        assert shown(before.journals) == shown(after.journals)
        assert [kind for kind, _ in shown(after.journals)] == ["refund_reserved", "refund_paid"]
        left -= part
    kit.check()


def test_captures_of_an_authorisation_too(kit: Kit) -> None:
    held = kit.pay(manual_capture=True)
    for part in (3_333, 3_333, None):
        asked = {"amount_minor": part, "final": part is None}
        planned = kit.app.captures.capture(
            OPERATOR, held.payment.id, key=key(), dry_run=True, **asked
        )
        real = kit.app.captures.capture(OPERATOR, held.payment.id, key=key(), **asked)
        assert shown(planned.journals) == shown(real.journals) != []
        assert planned.payment.captured_minor == real.payment.captured_minor
    assert real.payment.status is PaymentStatus.SUCCEEDED


def test_a_dry_run_writes_nothing_and_calls_nobody(kit: Kit) -> None:
    paid = kit.pay("a")
    held = kit.pay("b", manual_capture=True)
    proposed = kit.pay("c", token="tok_wrong_amount:5")
    [refund] = kit.app.queries.payment(proposed.payment.id).refunds
    calls = [len(gateway.payments()) for gateway in kit.gateways.values()]
    before, totals = rows(kit), kit.provider_totals()
    kit.app.payments.rehearse(OPERATOR, kit.input("d"))
    kit.app.refunds.rehearse(OPERATOR, paid.payment.id, key="r", reason="x")
    kit.app.captures.capture(OPERATOR, held.payment.id, key="k", dry_run=True)
    kit.app.captures.cancel(OPERATOR, held.payment.id, reason="x", dry_run=True)
    planned = kit.app.refunds.rehearse_send(OPERATOR, refund.id)
    assert (rows(kit), kit.provider_totals()) == (before, totals)
    assert calls == [len(gateway.payments()) for gateway in kit.gateways.values()]
    real = kit.app.refunds.send(OPERATOR, refund.id)
    assert shown(planned.journals) == shown(real.journals) != []


def test_sending_again_is_rehearsed_only_for_what_came_back(kit: Kit) -> None:
    paid = kit.pay(token="tok_refund_fails_later:60")
    made = kit.app.refunds.create(OPERATOR, paid.payment.id, key="r", reason="x")
    with pytest.raises(Conflict) as error:
        kit.app.refunds.rehearse_send(OPERATOR, made.refund.id, again=True)
    assert error.value.code == "refund.not_reversed"
    same = kit.app.refunds.rehearse_send(OPERATOR, made.refund.id)
    assert same.journals == () and same.refund.state is RefundState.SUCCEEDED


def test_a_repeat_with_a_span_asks_for_the_same_payment(kit: Kit) -> None:
    """``--expires-in`` is reckoned from now; the same line a minute later is the same request."""
    first = kit.pay("k", expires_in_s=600)
    again = kit.app.payments.process(
        OPERATOR, kit.input("k", expires_in_s=600, expires_at=kit.clock.now())
    )
    assert again.replayed and again.payment.id == first.payment.id
    with pytest.raises(Conflict) as error:
        kit.pay("k", expires_in_s=601)
    assert error.value.code == "key.reused"
