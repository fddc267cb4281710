"""One id joins a payment's request, its exchange with the provider and what the core service hears,
by whichever door it came.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from payctl import log
from payctl.db.tables import audit
from payctl.errors import InvalidInput
from payctl.ids import encode
from payctl.payments import tables as t
from payctl.payments.details import PaymentFilter
from tests.cli.runner import run as run_line
from tests.payments.kit import JANITOR, OPERATOR, Kit
from tests.payments.test_pipeline import run

pytestmark = pytest.mark.integration


def heard(kit: Kit, payment_id: object) -> list[tuple[str, str | None]]:
    """What the core service hears of a payment, and as whose doing."""
    told = kit.app.outbox.list(object_id=payment_id)  # type: ignore[arg-type]
    return [(each.type, each.payload()["data"].get("correlation_id")) for each in told]


def asked(kit: Kit, payment_id: object) -> set[str]:
    """The ids kept with the exchanges of a payment."""
    query = (
        sa.select(t.provider_call.c.exchange)
        .join(t.attempt, t.attempt.c.id == t.provider_call.c.attempt_id)
        .where(t.attempt.c.payment_id == payment_id)
    )
    with kit.app.db.read() as tx:
        return {exchange["correlation_id"] for exchange in tx.scalars(query)}


def test_each_of_many_in_one_commit_keeps_its_own(kit: Kit) -> None:
    """Those that go the short way, the long way, over to another gateway, and nowhere."""
    tokens = {
        "plain": None, "declined": "tok_decline_insufficient_funds",
        "over": "tok_decline_gateway_specific", "lost": "tok_lost_answer", "none": None,
    }  # fmt: skip
    wanted = [
        kit.input(key, token, correlation_id=None if key == "none" else f"req-{key}",
                  preferred=("cards", "momo"))
        for key, token in tokens.items()
    ]  # fmt: skip
    for each, result in zip(wanted, run(kit, wanted), strict=True):
        mine = each.correlation_id or log.correlation()
        payment_id = result.payment.id
        assert {name for _, name in heard(kit, payment_id)} == {mine}, each.key
        assert asked(kit, payment_id) == {mine}, each.key
    assert len({result.payment.gateway_account for result in run(kit, wanted)}) == 2


def test_it_is_no_part_of_the_request(kit: Kit) -> None:
    first = kit.app.payments.process(OPERATOR, kit.input(correlation_id="req-1"))
    again = kit.app.payments.process(OPERATOR, kit.input(correlation_id="req-2"))
    assert again.replayed and again.payment.id == first.payment.id
    assert {name for _, name in heard(kit, first.payment.id)} == {"req-1"}


@pytest.mark.parametrize("id_", ["", "a b", "x" * 65, "é", "a\nb"])
def test_one_that_cannot_be_kept_is_refused(kit: Kit, id_: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        kit.input(correlation_id=id_).validated()
    assert caught.value.field == "correlation_id"


def test_what_a_webhook_changes_is_joined_to_the_request_that_brought_it(kit: Kit) -> None:
    paid = kit.pay("k1", "tok_lost_answer")
    for account, gateway in kit.gateways.items():
        for body, headers in gateway.deliveries():
            kit.app.inbox.receive(account, body, {**headers, "x-request-id": "hook-1234567"})
    kit.app.inbox.apply(JANITOR)
    assert heard(kit, paid.payment.id)[-1] == ("payment.succeeded", "hook-1234567")
    assert "hook-1234567" in asked(kit, paid.payment.id)


@pytest.mark.parametrize("engine_name", ["sqlite"])  # where no token is needed
def test_a_command_takes_it_from_its_environment(kit: Kit) -> None:
    line = ["payments", "process", "--amount", "25.00", "--currency", "EUR", "--method", "card",
            "--organiser", "org-1", "--key", "k1", "--json"]  # fmt: skip
    with log.correlated("core-42"):
        paid = run_line(*line, app=kit.app)
    [payment] = kit.app.queries.payments(PaymentFilter()).items
    assert paid.json["id"] == encode("payment", payment.payment.id)
    assert {name for _, name in heard(kit, payment.payment.id)} == {"core-42"}
    with kit.app.db.read() as tx:
        sessions = set(tx.scalars(sa.select(audit.c.session).where(audit.c.actor != "")))
    assert any(session.endswith("run core-42") for session in sessions), sessions


def test_a_command_refuses_one_that_cannot_be_kept() -> None:
    refused = run_line("payments", "list", environ={"PAYCTL_CORRELATION_ID": "a b"})
    assert refused.code == 2 and "PAYCTL_CORRELATION_ID" in refused.err
