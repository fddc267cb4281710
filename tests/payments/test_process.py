"""Taking payments over scripted gateways: every outcome class, fail-over, late effects."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from payctl.commissions.model import Scope
from payctl.db.engine import Database
from payctl.errors import Conflict, InvalidInput
from payctl.gateways.base import Answer, PaymentRequest
from payctl.ids import decode
from payctl.payments import tables as t
from payctl.payments.model import PaymentStatus
from payctl.payments.requests import Line
from tests.payments.kit import (
    CARDS,
    JANITOR,
    MOMO,
    OPERATOR,
    Kit,
    kinds,
    make_kit,
    states,
)

pytestmark = pytest.mark.integration


def test_a_capture_shares_the_money_out(kit: Kit) -> None:
    result = kit.pay()
    assert result.payment.status is PaymentStatus.SUCCEEDED
    assert states(result) == ["succeeded"]
    assert kinds(result.journals) == ["capture", "gateway_fee"]
    assert kit.balance("wallet:org-1:pending") == 9400
    assert kit.balance("income:commission:ticket_sale") == 500
    assert kit.balance("vat:FR") == 100
    assert kit.our_totals() == kit.provider_totals()


def test_the_same_key_calls_nobody(kit: Kit) -> None:
    first, second = kit.pay(), kit.pay()
    assert second.replayed and second.payment == first.payment
    assert len(kit.gateways["cards"].payments()) == 1


def test_a_lost_answer_stays_open_until_the_provider_is_asked(kit: Kit) -> None:
    result = kit.pay(token="tok_lost_answer")
    assert result.payment.status is PaymentStatus.UNKNOWN
    assert states(result) == ["unknown"]
    assert kit.our_totals() == {}
    kit.wait(seconds=7)
    after = kit.app.payments.process(OPERATOR, kit.input(token="tok_lost_answer"))
    assert after.payment.status is PaymentStatus.SUCCEEDED and after.replayed
    assert kit.our_totals() == kit.provider_totals() != {}


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        ("tok_decline_insufficient_funds", "failed", "insufficient_funds"),
        ("tok_decline_fraud_suspected", "failed", "fraud_suspected"),
        ("tok_rejected", "failed", None),
        ("tok_3ds", "requires_action", None),
        ("tok_pending", "pending", None),
        ("tok_timeout_no_effect", "unknown", None),
        ("tok_garbage", "unknown", None),
        ("tok_5xx", "unknown", None),
    ],
)
def test_an_answer_about_customer_or_money_never_fails_over(
    kit: Kit, token: str, status: str, code: str | None
) -> None:
    result = kit.pay(token=token)
    assert result.payment.status == status
    assert len(result.attempts) == 1
    assert kit.gateways["momo"].payments() == []
    if code:
        assert result.payment.failure_code == code
    assert kit.our_totals() == {}


@pytest.mark.parametrize("token", ["tok_decline_gateway_specific", "tok_not_sent:9", "tok_auth"])
def test_a_definite_no_of_the_gateway_itself_fails_over(kit: Kit, token: str) -> None:
    kit.gateways["cards"].add_script(*[f"create {token.removeprefix('tok_').split(':')[0]}"] * 3)
    result = kit.pay()
    assert result.payment.status is PaymentStatus.SUCCEEDED
    assert [a.gateway_account for a in result.attempts] == ["cards", "momo"]
    assert result.payment.gateway_account == "momo"
    assert kit.our_totals() == kit.provider_totals()


def test_what_was_not_sent_is_repeated_with_the_same_key(kit: Kit) -> None:
    result = kit.pay(token="tok_not_sent:2")
    assert result.payment.status is PaymentStatus.SUCCEEDED
    assert states(result) == ["succeeded"]
    assert len(kit.gateways["cards"].payments()) == 1


def test_without_a_route_nothing_is_sent(kit: Kit) -> None:
    for account in kit.gateways:
        kit.app.gateway_settings.set_state(OPERATOR, account, "draining", reason="maintenance")
    result = kit.pay()
    assert (result.payment.status, result.payment.failure_code) == ("failed", "no_route")
    assert result.attempts == ()
    again = kit.pay()
    assert again.replayed and again.payment == result.payment


def test_the_database_forbids_a_second_live_attempt(kit: Kit) -> None:
    result = kit.pay(token="tok_lost_answer")
    row = {name: getattr(result.attempts[0], name) for name in t.attempt.c.keys()}
    row |= {"id": kit.app.db.ids.new(), "no": 2, "our_reference": "x", "idempotency_key": "x",
            "provider_reference": None, "gateway_account": "momo"}  # fmt: skip
    with pytest.raises(sa.exc.IntegrityError), kit.app.db.transaction() as tx:
        tx.execute(sa.insert(t.attempt), row)


def test_the_database_forbids_a_live_attempt_nobody_looks_at(kit: Kit) -> None:
    result = kit.pay(token="tok_lost_answer")
    with pytest.raises(sa.exc.IntegrityError), kit.app.db.transaction() as tx:
        tx.execute(
            sa.update(t.attempt)
            .where(t.attempt.c.id == result.attempts[0].id)
            .values(next_check_at=None)
        )


def test_no_effect_is_believed_only_after_the_quarantine_and_twice(kit: Kit) -> None:
    result = kit.pay(token="tok_timeout_no_effect")
    for _ in range(12):
        kit.wait(seconds=60)
    assert kit.show(result).payment.status is PaymentStatus.UNKNOWN
    assert states(kit.show(result)) == ["quarantined"]
    kit.wait(minutes=4)
    assert kit.show(result).payment.status is PaymentStatus.UNKNOWN, "once is not enough"
    kit.wait(seconds=10)
    after = kit.show(result)
    assert (after.payment.status, after.payment.failure_code) == ("failed", "not_found")
    assert kit.our_totals() == {} == kit.provider_totals()


def test_an_effect_within_the_quarantine_is_found(kit: Kit) -> None:
    result = kit.pay(token="tok_late:120")
    for _ in range(8):
        kit.wait(seconds=60)
    after = kit.show(result)
    assert after.payment.status is PaymentStatus.SUCCEEDED and not after.payment.late
    assert kit.our_totals() == kit.provider_totals() != {}


def test_money_after_the_end_is_posted_as_a_late_success(kit: Kit) -> None:
    result = kit.pay(token="tok_late:4000")
    for _ in range(20):
        kit.wait(minutes=1)
    assert kit.show(result).payment.status is PaymentStatus.FAILED
    kit.clock.advance(timedelta(hours=2))
    kit.app.sync.payment(JANITOR, result.payment.id)
    after = kit.show(result)
    assert after.payment.status is PaymentStatus.SUCCEEDED and after.payment.late
    assert kit.our_totals() == kit.provider_totals() != {}


def test_a_late_success_for_an_order_paid_meanwhile_goes_to_unapplied(kit: Kit) -> None:
    late = kit.pay(token="tok_late:4000", order="o-7")
    for _ in range(20):
        kit.wait(minutes=1)
    paid = kit.pay(key="k2", order="o-7")
    assert paid.payment.status is PaymentStatus.SUCCEEDED
    kit.clock.advance(timedelta(hours=2))
    kit.app.sync.payment(JANITOR, late.payment.id)
    assert kit.balance("unapplied:cards") == 10000
    [case] = kit.app.cases.list(kind="duplicate_receipt")
    assert (case.amount_minor, case.currency) == (10000, "EUR")
    refund_id = decode(case.detail["proposed_refund"], "refund")
    sent = kit.app.refunds.send(OPERATOR, refund_id)
    assert sent.refund.state == "succeeded"
    assert kit.balance("unapplied:cards") == 0
    assert kit.app.cases.get(case.id).state == "resolved"
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


def test_a_late_success_makes_the_payment_made_in_its_place_the_second_receipt(kit: Kit) -> None:
    late = kit.pay(token="tok_late:4000", order="o-7")
    for _ in range(20):
        kit.wait(minutes=1)
    assert kit.show(late).payment.status is PaymentStatus.FAILED
    kit.clock.advance(timedelta(hours=1))
    again = kit.pay(key="k2", token="tok_lost_answer", order="o-7")
    kit.app.sync.payment(JANITOR, late.payment.id)
    kit.app.sync.payment(JANITOR, again.payment.id)
    assert kit.show(late).payment.captured_minor == 10000
    second = kit.show(again).payment
    assert (second.status, second.failure_code) == ("failed", "duplicate_receipt")
    [case] = kit.app.cases.list(kind="duplicate_receipt")
    assert case.subject_id == again.payment.id
    assert kit.balance("unapplied:cards") == 10000
    assert kit.our_totals() == kit.provider_totals()
    kit.check()
    kit.clock.advance(timedelta(seconds=1))
    wished = kit.pay(key="k3", order="o-7")
    assert wished.payment.captured_minor == 10000, "made when the order was known to be paid"


def test_money_that_comes_late_while_another_payment_is_being_made_is_seen(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = kit.pay(token="tok_late:4000", order="o-7")
    for _ in range(20):
        kit.wait(minutes=1)
    kit.clock.advance(timedelta(hours=1))
    honest = kit.gateways["cards"].create_payment

    def slow(request: PaymentRequest) -> Answer:
        answer = honest(request)
        kit.app.sync.payment(JANITOR, late.payment.id)
        return answer

    monkeypatch.setattr(kit.gateways["cards"], "create_payment", slow)
    again = kit.pay(key="k2", order="o-7")
    assert kit.show(late).payment.captured_minor == 10000
    assert (again.payment.status, again.payment.failure_code) == ("failed", "duplicate_receipt")
    [case] = kit.app.cases.list(kind="duplicate_receipt")
    assert case.subject_id == again.payment.id
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


@pytest.mark.parametrize(
    ("token", "amount"), [("tok_wrong_amount:-1", 9999), ("tok_wrong_amount:500", 10500)]
)
def test_a_wrong_amount_is_kept_apart(kit: Kit, token: str, amount: int) -> None:
    result = kit.pay(token=token)
    assert (result.payment.status, result.payment.failure_code) == ("failed", "wrong_amount")
    assert result.payment.needs_review
    assert kit.balance("unapplied:cards") == amount
    assert kit.balance("wallet:org-1:pending") == 0
    [case] = kit.app.cases.list(kind="wrong_amount")
    assert case.detail["expected_minor"] == 10000 and case.detail["received_minor"] == amount
    kit.check()


def test_an_unknown_that_cannot_have_moved_money_is_left_behind(
    db: Database, tmp_path: Path
) -> None:
    harmless = {**CARDS, "create_moves_money": False, "completes": "redirect"}
    kit = make_kit(db, tmp_path, {"cards": harmless, "momo": MOMO})
    result = kit.pay(token="tok_create_lost_answer:1")
    assert [a.gateway_account for a in result.attempts] == ["cards", "momo"]
    assert states(result)[0] == "superseded"
    assert result.payment.gateway_account == "momo"


def test_a_customer_who_pays_the_page_left_behind_too_gets_it_back(
    db: Database, tmp_path: Path
) -> None:
    harmless = {**CARDS, "create_moves_money": False, "completes": "redirect"}
    kit = make_kit(db, tmp_path, {"cards": harmless, "momo": MOMO})
    kit.gateways["cards"].add_script("create lost_answer")
    result = kit.pay()
    assert result.payment.status is PaymentStatus.SUCCEEDED
    assert kit.gateways["cards"].customer_acts(result.attempts[0].our_reference)
    kit.app.sync.payment(JANITOR, result.payment.id)
    assert kit.balance("unapplied:cards") == 10000
    assert len(kit.app.cases.list(kind="duplicate_receipt")) == 1
    assert kit.our_totals() == kit.provider_totals()
    kit.check()


def test_exhausted_checks_open_a_case_and_polling_goes_on(kit: Kit) -> None:
    result = kit.pay(token="tok_lost_answer tok_query_down:900000")
    for hours in (0, 0, 0, 0, 1, 2, 3, 8, 8, 30, 30):
        kit.wait(hours=hours, minutes=20)
    after = kit.show(result)
    assert after.payment.status is PaymentStatus.UNKNOWN and after.payment.needs_review
    [case] = kit.app.cases.list(kind="unknown_outcome")
    for _ in range(12):
        kit.wait(days=1)
    assert kit.show(result).payment.status is PaymentStatus.SUCCEEDED
    assert kit.app.cases.get(case.id).state == "resolved"
    assert kit.our_totals() == kit.provider_totals()


def test_a_gateway_that_cannot_be_asked_is_parked_at_once(db: Database, tmp_path: Path) -> None:
    kit = make_kit(db, tmp_path, {"cards": {**CARDS, "query_by": []}})
    result = kit.pay(token="tok_lost_answer")
    kit.wait(seconds=10)
    assert kit.show(result).payment.status is PaymentStatus.UNKNOWN
    [case] = kit.app.cases.list(kind="unknown_outcome")
    with pytest.raises(Conflict, match=r"case\.quarantine_runs|case\.approval_required"):
        kit.resolve(case.id, "failed", "seen in the provider's dashboard")
    kit.resolve(case.id, "succeeded", "txn 4711 in the provider's dashboard")
    assert kit.show(result).payment.status is PaymentStatus.SUCCEEDED
    assert kit.balance("wallet:org-1:pending") == 9400


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("amount_minor", 0, "amount.not_positive"),
        ("amount_minor", -5, "amount.not_positive"),
        ("amount_minor", 10**15, "amount.too_large"),
        ("currency", "XXX", "currency.unknown"),
        ("country", "XX", "country.unknown"),
        ("method", "cash", "choice.unknown"),
        ("organiser", "", "reference.malformed"),
        ("email", "not-an-address", "email.malformed"),
        ("phone", "0707", "phone.malformed"),
        ("return_url", "javascript:alert(1)", "url.malformed"),
        ("key", "", "key.malformed"),
        ("description", "x" * 501, "text.too_long"),
    ],
)
def test_bad_input_names_the_field_and_writes_nothing(
    kit: Kit, field: str, value: object, code: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        kit.pay(**({"key": "k1"} | {field: value}))
    assert (refused.value.code, refused.value.field) == (
        code,
        field if field != "amount_minor" else "amount",
    )
    with kit.app.db.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(t.payment)).scalar_one() == 0


CARD = "4242 4242 4242 4242"
DIGITS = CARD.replace(" ", "")


@pytest.mark.parametrize(
    "where",
    [
        {"description": f"card {CARD}"}, {"order": DIGITS}, {"user": "4000056655665556"},
        {"metadata": {"note": CARD}}, {"lines": (Line(CARD, 1, 10000),)}, {"key": DIGITS},
        {"payment_token": DIGITS}, {"return_url": f"https://x.example/?c={DIGITS}"},
        {"email": "4242424242424242@example.com"},
    ],
)  # fmt: skip
def test_a_card_number_is_refused_in_every_field(kit: Kit, where: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=r"pan\.refused"):
        kit.pay(**({"key": "k1"} | where))


def test_lines_must_sum_to_the_amount(kit: Kit) -> None:
    with pytest.raises(InvalidInput, match=r"lines\.sum"):
        kit.pay(lines=(Line("ticket", 2, 4000),))
    result = kit.pay(lines=(Line("ticket", 2, 4000, 55_000), Line("drink", 1, 2000, 200_000)))
    assert result.payment.status is PaymentStatus.SUCCEEDED


def test_the_same_key_with_another_body_is_refused(kit: Kit) -> None:
    kit.pay()
    with pytest.raises(Conflict, match=r"key\.reused"):
        kit.pay(amount_minor=10001)


def withdraw_rates(kit: Kit) -> None:
    """No rate fits any more: as if finance had taken the default back."""
    scopes = [rate.scope for rate in kit.app.commissions.rates(sale_type="ticket_sale")]
    for scope in scopes:
        kit.app.commissions.set_rate(
            OPERATOR, scope, rate_ppm=0, vat_country=None, vat_ppm=0, withdrawn=True,
            reason="under negotiation",
        )  # fmt: skip


def test_a_sale_without_a_rate_waits_in_suspense_and_is_applied(kit: Kit) -> None:
    withdraw_rates(kit)
    result = kit.pay()
    assert result.payment.status is PaymentStatus.SUCCEEDED and result.payment.needs_review
    assert kit.balance("suspense:cards") == -10000
    [case] = kit.app.cases.list(kind="suspense")
    kit.clock.advance(timedelta(days=1))
    kit.app.commissions.set_rate(
        OPERATOR, Scope("ticket_sale", currency="EUR"), rate_ppm=50_000, vat_country="FR",
        vat_ppm=200_000, reason="agreed",
    )  # fmt: skip
    kit.resolve(case.id, "apply", "rate set by finance")
    assert kit.balance("suspense:cards") == 0
    assert kit.balance("wallet:org-1:pending") == 9400
    kit.check()
