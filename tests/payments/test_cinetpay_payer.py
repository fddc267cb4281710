"""CinetPay v2 names the payer in its signed callback only; money goes back to that number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import pytest

from payctl.db.engine import Database
from payctl.errors import Forbidden, Refused
from payctl.ledger import accounts
from payctl.ledger.model import Draft, cr, dr
from payctl.payments import store
from payctl.payments.records import Attempt
from payctl.payments.results import PaymentResult
from payctl.testing.emulators.core import Delivery
from tests.gateways.cinetpay_harness import V2Harness
from tests.payments.kit import JANITOR, OPERATOR, Kit, make_kit

pytestmark = pytest.mark.gateways
PHONE = "0707070711"


@dataclass
class Shop:
    """A book with a CinetPay v2 account and a float."""

    kit: Kit
    harness: V2Harness

    def order(self) -> PaymentResult:
        made = self.kit.pay("k1", amount_minor=15_000, currency="XOF", country="CI",
                            method="mobile_money", preferred=("cp",))  # fmt: skip
        assert made.attempts, made
        return made

    def attempt(self, result: PaymentResult) -> Attempt:
        with self.kit.app.db.read() as tx:
            return store.attempt(tx, result.attempts[0].id)

    def pays(self, result: PaymentResult, phone: str = PHONE) -> Delivery:
        """The customer pays; returns the callback, which has not come in yet."""
        checkout = self.harness.emulator.checkout
        checkout.pay(result.attempts[0].our_reference, phone=phone)
        return self.harness.emulator.deliveries[-1]

    def comes_in(self, sent: Delivery) -> dict[str, int]:
        self.kit.app.inbox.receive("cp", sent.body, sent.headers)
        return self.kit.app.inbox.apply(JANITOR)

    def give_back(self, result: PaymentResult) -> str:
        done = self.kit.app.refunds.create(OPERATOR, result.payment.id, key="r", reason="off")
        return str(done.refund.state)


@pytest.fixture
def shop(db: Database, tmp_path: Path) -> Iterator[Shop]:
    kit, harness = make_kit(db, tmp_path), V2Harness(test_server=True)
    kit.app.__dict__["gateways"] = {"cp": harness.gateway}
    legs = (dr(accounts.float_("cp"), 50_000, "XOF"), cr(accounts.bank("xof"), 50_000, "XOF"))
    kit.app.db.run(lambda tx: kit.app.book.post(tx, Draft("float_top_up", "f:1", legs, "ama")))
    yield Shop(kit, harness)
    harness.close()


@pytest.mark.parametrize("janitor_first", [False, True])
def test_money_goes_back_to_the_number_of_the_callback(shop: Shop, janitor_first: bool) -> None:
    made = shop.order()
    sent = shop.pays(made)
    if janitor_first:
        shop.kit.app.sync.payment(JANITOR, made.payment.id)
        with pytest.raises(Refused) as caught:
            shop.give_back(made)
        assert caught.value.code == "refund.payer_unknown"
    assert shop.comes_in(sent) == {"applied": 1}
    named = shop.attempt(made).paid_by()
    assert named is not None and (named.kind, named.value) == ("msisdn", f"+225{PHONE}")
    assert shop.give_back(made) == "pending"
    [contact] = shop.harness.emulator.transfers.contacts
    assert contact == ("225", PHONE)
    [(name, transfer)] = shop.harness.emulator.transfers.transfers.items()
    assert (transfer.amount, transfer.phone) == (15_000, PHONE), name
    shop.kit.check()


def test_only_what_is_signed_confirmed_and_first_names_a_payer(shop: Shop) -> None:
    made = shop.order()
    name = made.attempts[0].our_reference
    checkout = shop.harness.emulator.checkout
    checkout.end(name, "602")  # a refused try, from another phone
    checkout.payments[name].phone, checkout.payments[name].prefix = "0101010101", "225"
    shop.comes_in(checkout.callback(name))
    assert shop.attempt(made).payer is None
    # Somebody who has a genuine callback can neither change the number nor move digits about.
    sent = shop.pays(made)
    event = replace(shop.harness.gateway.parse_event(sent.body, sent.headers), proof="none")
    assert shop.kit.app.sync.apply_event(JANITOR, "cp", event) == "applied"
    assert shop.attempt(made).payer is None
    fields = {key: value[0] for key, value in parse_qs(sent.body.decode(), True).items()}
    forged = fields | {"cel_phone_num": "0101010101"}
    with pytest.raises(Forbidden):
        shop.kit.app.inbox.receive("cp", urlencode(forged).encode(), sent.headers)


def test_a_later_callback_changes_nobody_s_account(shop: Shop) -> None:
    made = shop.order()
    shop.comes_in(shop.pays(made))
    shop.comes_in(shop.pays(made, "0505050505"))
    assert shop.attempt(made).paid_by().value == f"+225{PHONE}"  # type: ignore[union-attr]
    told = [each for each in shop.kit.app.audit.list(OPERATOR) if "payer" in str(each)]
    assert len(told) == 1 and PHONE not in str(told)
