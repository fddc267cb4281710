"""``payctl cinetpay`` against the emulator: it asks and shows, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from payctl.db.engine import Database
from payctl.payments.requests import PaymentInput
from tests.cli.runner import Result, run
from tests.cli.schemas import check
from tests.gateways.cinetpay_harness import V1Harness, V2Harness
from tests.payments.kit import OPERATOR, Kit, make_kit

pytestmark = pytest.mark.gateways


@pytest.fixture
def engine_name() -> str:
    """The services run on both engines in their own tests; here one is enough."""
    return "sqlite"


@dataclass
class Desk:
    kit: Kit
    v2: V2Harness

    def run(self, *words: str) -> Result:
        return run("cinetpay", *words, app=self.kit.app)

    def pay(self, key: str = "k1") -> tuple[str, str]:
        """A payment that waits for its customer: its id and the reference CinetPay has."""
        wanted = self.kit.input(key, currency="XOF", method="mobile_money", country="CI",
                                amount_minor=2500, preferred=("cp",))  # fmt: skip
        assert isinstance(wanted, PaymentInput)
        made = self.kit.app.payments.process(OPERATOR, wanted)
        assert str(made.payment.status) == "requires_action"
        shown = run("payments", "list", "-q", app=self.kit.app)
        return shown.out.split()[0], made.attempts[-1].our_reference


@pytest.fixture
def desk(db: Database, tmp_path: Path) -> Iterator[Desk]:
    kit, v2 = make_kit(db, tmp_path), V2Harness(test_server=True)
    kit.app.__dict__["gateways"]["cp"] = v2.gateway
    yield Desk(kit, v2)
    v2.close()
    for gateway in kit.gateways.values():
        gateway.close()


def test_without_an_account_nothing_can_be_asked_and_it_says_so(kit: Kit) -> None:
    for words in (("balance",), ("status", "x")):
        done = run("cinetpay", *words, "--json", app=kit.app)
        assert (done.code, done.error["code"]) == (4, "cinetpay.not_configured")


def test_status_shows_what_cinetpay_says_and_leaves_the_book_alone(desk: Desk) -> None:
    name, reference = desk.pay()
    for asked in (name, reference):
        shown = check(desk.run("status", asked, "--json").json)
        assert (shown["our_reference"], shown["outcome"]) == (reference, "requires_action")
    desk.v2.emulator.checkout.pay(reference)
    done = desk.run("status", name, "--json")
    shown = check(done.json)
    assert done.code == 0
    assert (shown["outcome"], shown["amount_minor"], shown["currency"]) == (
        "succeeded", 2500, "XOF",
    )  # fmt: skip
    assert (shown["payment"], shown["attempt_state"]) == (name, "requires_action")
    assert shown["payment_method"] == "OM" and shown["operator_id"]
    book = run("payments", "show", name, "--json", app=desk.kit.app).json
    assert book["status"] == "requires_action"
    assert "succeeded" in desk.run("status", name, "-o", "table").out


def test_what_cannot_be_told_has_its_own_exit_code(desk: Desk) -> None:
    name, _reference = desk.pay()
    assert desk.run("status", "nobody-made-this", "--json").error["code"] == (
        "gateway.no_such_object"
    )
    desk.v2.emulator.fault("html", "payment.check")
    unknown = desk.run("status", name, "--json")
    assert (unknown.code, check(unknown.json)["outcome"]) == (8, "unknown")
    desk.v2.emulator.fault("401", "payment.check")
    assert desk.run("status", name, "--json").error["code"] == "gateway.refused_credentials"
    desk.kit.app.__dict__["gateways"]["cp"] = desk.v2._unreachable
    assert desk.run("status", name, "--json").error["code"] == "gateway.unreachable"


def test_a_payment_that_is_elsewhere_is_refused(desk: Desk) -> None:
    desk.kit.pay("k2", "tok_ok")
    name = run("payments", "list", "-q", app=desk.kit.app).out.split()[0]
    before = len(desk.v2.emulator.requests)
    done = desk.run("status", name, "--account", "cp", "--json")
    assert done.error["code"] == "cinetpay.other_gateway"
    assert desk.run("status", name, "--json").error["code"] == "choice.unknown"
    assert len(desk.v2.emulator.requests) == before


def test_the_balance_is_the_transfer_account_s(desk: Desk) -> None:
    shown = check(desk.run("balance", "--json").json)
    assert shown["items"] == [
        {"gateway": "cp", "currency": "XOF", "available_minor": 1_000_000, "pending_minor": 0}
    ]


def test_several_accounts_must_be_told_apart(desk: Desk) -> None:
    v1 = V1Harness("cp-new")
    desk.kit.app.__dict__["gateways"]["cp-new"] = v1.gateway
    assert desk.run("balance", "--json").error["code"] == "cinetpay.which_account"
    shown = check(desk.run("balance", "--account", "cp-new", "--json").json)
    assert shown["items"][0]["gateway"] == "cp-new"
    v1.close()
