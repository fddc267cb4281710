"""What we say to a dispute at PayPal, and how one is found. No database makes a difference here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from payctl.db.engine import Database
from payctl.errors import OutcomeOpen, Refused
from payctl.gateways.disputes import DisputeStatus
from tests.payments.kit import JANITOR, OPERATOR
from tests.payments.paypal_desk import PaypalDesk, open_desk

pytestmark = pytest.mark.gateways


@pytest.fixture
def engine_name() -> str:
    return "sqlite"


@pytest.fixture
def desk(db: Database, tmp_path: Path) -> Iterator[PaypalDesk]:
    with open_desk(db, tmp_path) as desk:
        yield desk


def test_one_that_no_webhook_told_of_is_found_in_the_list(desk: PaypalDesk) -> None:
    for number in range(3):
        desk.contested(desk.pay(f"k{number}"), names_us=number != 1)
    assert desk.kit.app.disputes.sync(JANITOR)["listed"] == 3
    assert desk.kit.balance("wallet:org-1:disputed") == 3 * 9_400
    assert desk.kit.app.disputes.sync(JANITOR)["listed"] == 0


def test_a_dispute_of_a_stranger_s_payment_opens_a_case(desk: PaypalDesk) -> None:
    reference = desk.contested(desk.pay())
    about = desk.harness.provider.books.disputes[reference]["disputed_transactions"][0]
    about |= {"custom": "another shop's", "seller_transaction_id": "NOTOURS"}
    assert desk.hear() == "orphan"
    assert len(desk.cases("dispute_orphan")) == 1


def test_the_look_after_an_acceptance_may_fail(desk: PaypalDesk) -> None:
    desk.contested(desk.pay())
    desk.hear()
    desk.harness.provider.fault("503", "dispute.get", after=1)
    with pytest.raises(OutcomeOpen):
        desk.kit.app.disputes.accept(OPERATOR, desk.one().id, reason="x")
    again = desk.kit.app.disputes.accept(OPERATOR, desk.one().id, reason="x")
    assert again.dispute.status is DisputeStatus.LOST
    desk.kit.check()


def test_evidence_goes_out_once_and_more_of_it_when_asked_again(desk: PaypalDesk) -> None:
    reference = desk.contested(desk.pay())
    desk.hear()
    desk.harness.provider.fault("drop_after", "dispute.evidence")
    disputes, name = desk.kit.app.disputes, desk.one().id
    with pytest.raises(OutcomeOpen):
        disputes.contest(OPERATOR, name, text="scanned", file_name="s.pdf", file=b"%PDF-1.7")
    done = disputes.contest(OPERATOR, name, text="scanned", file_name="s.pdf", file=b"%PDF-1.7")
    assert done.dispute.status is DisputeStatus.UNDER_REVIEW
    [file] = desk.theirs.files
    assert (file.file_name, file.content_type, file.content) == (
        "s.pdf", "application/pdf", b"%PDF-1.7",
    )  # fmt: skip
    desk.theirs.ask_again(reference)
    desk.hear()
    disputes.contest(OPERATOR, name, text="and the terms")
    held = desk.harness.provider.books.disputes[reference]
    assert [each["notes"] for each in held["_evidences"]] == ["scanned", "and the terms"]


def test_what_paypal_does_not_let_us_say_is_refused(desk: PaypalDesk) -> None:
    reference = desk.contested(desk.pay(), inquiry=True)
    desk.hear()
    disputes, name = desk.kit.app.disputes, desk.one().id
    with pytest.raises(Refused):  # an inquiry is talked about with the customer
        disputes.contest(OPERATOR, name, text="no")
    with pytest.raises(Refused):
        disputes.contest(OPERATOR, name, text="no", file_name="macro.docm", file=b"PK")
    desk.harness.provider.books.disputes[reference]["_accept"] = ["REFUND_WITH_RETURN"]
    with pytest.raises(Refused):
        disputes.accept(OPERATOR, name, reason="x")
    assert not [each for each in desk.harness.provider.requests
                if each.method == "POST" and "/disputes/" in each.path]  # fmt: skip
    assert desk.one().response is None
