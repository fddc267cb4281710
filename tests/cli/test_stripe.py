"""``payctl stripe`` against the fake of Stripe over real HTTP: no side door to the provider."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.db.metadata import load
from payctl.errors import Refused
from payctl.ids import encode
from payctl.testing.stripe_fake import StripeFake
from tests.cli.runner import Result, run
from tests.cli.schemas import check
from tests.gateways.harnesses import StripeHarness, resources
from tests.payments.kit import OPERATOR, Kit, make_kit

pytestmark = pytest.mark.gateways
SECRET = "_secret_fake"


@pytest.fixture
def engine_name() -> str:
    """The services run on both engines in their own tests; here one is enough."""
    return "sqlite"


@dataclass
class Shop:
    kit: Kit
    fake: StripeFake

    def run(self, *words: str) -> Result:
        return run("stripe", *words, app=self.kit.app)

    def create(self, *words: str, key: str = "k1") -> Any:
        line = ["intents", "create", "--amount", "25.00", "--currency", "EUR", "--organiser",
                "org-1", "--country", "FR", "--key", key, "--json"]  # fmt: skip
        return self.run(*line, *words)

    def posted_to(self, ending: str) -> list[dict[str, str]]:
        """Headers of the POSTs whose path ends so."""
        return [h for method, path, _, h in self.fake.calls()
                if method == "POST" and path.endswith(ending)]  # fmt: skip


@pytest.fixture
def shop(db: Database, tmp_path: Path) -> Iterator[Shop]:
    kit = make_kit(db, tmp_path)
    with StripeFake(resources()) as fake:
        harness = StripeHarness(fake)
        kit.app.__dict__["gateways"]["st"] = harness.gateway
        yield Shop(kit, fake)
        harness.close()
    for gateway in kit.gateways.values():
        gateway.close()


def test_without_a_stripe_account_nothing_can_be_done_and_it_says_so(kit: Kit) -> None:
    for words in (("balance",), ("intents", "show", "pi_1"), ("customers", "list")):
        done = run("stripe", *words, "--json", app=kit.app)
        assert (done.code, done.error["code"]) == (4, "stripe.not_configured")


def test_an_intent_is_a_payment_like_any_other(shop: Shop) -> None:
    done = shop.create("--payment-token", "pm_card_visa")
    shown = check(done.json)
    assert (done.code, shown["status"], shown["gateway"]) == (0, "succeeded", "st")
    assert shown["provider_reference"].startswith("pi_")
    again = shop.create("--payment-token", "pm_card_visa")
    assert again.json["replayed"] and len(shop.posted_to("/payment_intents")) == 1
    by_intent = check(shop.run("intents", "show", shown["provider_reference"], "--json").json)
    assert by_intent["id"] == shown["id"]
    assert shop.kit.balance("wallet:org-1:pending") == 2350
    assert run("payments", "show", shown["id"], app=shop.kit.app).code == 0


def test_the_client_secret_is_in_the_answer_of_the_act_and_nowhere_else(shop: Shop) -> None:
    made = shop.create()
    assert made.code == 8
    action = check(made.json)["next_action"]
    assert action["type"] == "stripe_client_secret" and SECRET in action["client_secret"]
    name = made.json["id"]
    for words in (("intents", "show", name, "--json"), ("intents", "show", name, "-o", "table")):
        seen = shop.run(*words)
        assert SECRET not in seen.out + seen.err
    again = shop.create()
    assert again.json["replayed"] and SECRET not in again.out
    traced = run("trace", name, "--json", app=shop.kit.app)
    assert SECRET not in traced.out
    with shop.kit.app.db.read() as tx:
        for table in load().tables.values():
            for row in tx.execute(sa.select(table)):
                assert SECRET not in repr(tuple(row)), table.name


def test_confirming_takes_the_money_once_with_a_stored_key(shop: Shop) -> None:
    name = shop.create().json["id"]
    line = ["intents", "confirm", name, "--payment-token", "pm_card_visa", "--key", "c1", "--json"]
    planned = check(shop.run(*line, "--dry-run").json)
    assert [each["kind"] for each in planned["entries"]] == ["capture"] * 4
    assert shop.posted_to("/confirm") == []
    done = shop.run(*line)
    assert (done.code, check(done.json)["status"]) == (0, "succeeded")
    again = shop.run(*line)
    assert (again.code, again.json["replayed"]) == (0, True)
    assert len(shop.posted_to("/confirm")) == 1
    assert shop.fake.taken("EUR") == 2500
    other = shop.run("intents", "confirm", name, "--payment-token", "pm_card_visa", "--json")
    assert (other.code, other.error["code"]) == (5, "payment.not_confirmable")


def test_a_declined_means_leaves_the_intent_open_for_another(shop: Shop) -> None:
    name = shop.create().json["id"]
    first = shop.run("intents", "confirm", name, "--payment-token",
                     "pm_decline_insufficient_funds", "--key", "c1", "--json")  # fmt: skip
    assert (first.code, first.json["status"]) == (8, "requires_action")
    second = shop.run("intents", "confirm", name, "--payment-token", "pm_card_visa", "--key", "c2",
                      "--json")  # fmt: skip
    assert (second.code, second.json["status"]) == (0, "succeeded")
    assert shop.fake.taken("EUR") == 2500
    assert shop.kit.balance("wallet:org-1:pending") == 2350


@pytest.mark.parametrize("fault", ["drop_after", "drop", "500_after", "html_after"])
def test_a_lost_answer_to_a_confirmation_is_resolved_by_looking(shop: Shop, fault: str) -> None:
    name = shop.create().json["id"]
    shop.fake.fault(fault, "/confirm")
    line = ["intents", "confirm", name, "--payment-token", "pm_card_visa", "--key", "c1", "--json"]
    first = shop.run(*line)
    assert first.code == (8 if fault == "drop" else 0)
    shop.kit.clock.advance(timedelta(minutes=2))
    again = shop.run(*line)
    assert (again.code, again.json["status"]) == (0, "succeeded")
    keys = {headers["idempotency-key"] for headers in shop.posted_to("/confirm")}
    assert len(keys) == 1, "a repeat sends the stored key"
    assert shop.fake.taken("EUR") == 2500
    assert shop.kit.balance("wallet:org-1:pending") == 2350


def test_an_open_intent_is_cancelled_and_a_taken_one_is_not(shop: Shop) -> None:
    open_ = shop.create().json["id"]
    done = shop.run("intents", "cancel", open_, "--reason", "withdrawn", "--json")
    assert (done.code, done.json["status"]) == (0, "canceled")
    taken = shop.create("--payment-token", "pm_card_visa", key="k2").json
    refused = shop.run("intents", "cancel", taken["provider_reference"], "--reason", "x", "--json")
    assert (refused.code, refused.error["code"]) == (5, "payment.not_cancelable")


def test_a_payment_of_another_gateway_is_not_shown_as_an_intent(shop: Shop) -> None:
    other = encode("payment", shop.kit.pay().payment.id)
    done = shop.run("intents", "show", other, "--json")
    assert (done.code, done.error["code"]) == (5, "stripe.other_gateway")
    missing = shop.run("intents", "show", "pi_unknown", "--json")
    assert (missing.code, missing.error["code"]) == (3, "payment.not_found")


def test_a_gateway_that_has_no_such_step_says_so(kit: Kit) -> None:
    waiting = kit.pay(token="tok_3ds")
    with pytest.raises(Refused, match="gateway_confirms_not"):
        kit.app.captures.confirm(
            OPERATOR, waiting.payment.id, payment_token="pm_card_visa", key="c"
        )


def test_a_card_number_is_no_means_of_payment(shop: Shop) -> None:
    name = shop.create().json["id"]
    done = shop.run("intents", "confirm", name, "--payment-token", "4242424242424242", "--json")
    assert (done.code, done.error["code"]) == (2, "pan.refused")
    assert shop.posted_to("/confirm") == []


def test_customers_are_made_once_listed_and_shown(shop: Shop) -> None:
    line = ["customers", "create", "--email", "c@example.com", "--name", "Awa K.", "--metadata",
            "user=u-1", "--key", "cus-1", "--json"]  # fmt: skip
    dry = shop.run(*line, "--dry-run")
    assert dry.code == 0 and shop.fake.customers == {}
    made = check(shop.run(*line).json)
    assert (made["email"], made["metadata"]) == ("c@example.com", {"user": "u-1"})
    assert shop.run(*line).json["id"] == made["id"] and len(shop.fake.customers) == 1
    assert check(shop.run("customers", "show", made["id"], "--json").json) == made
    listed = check(shop.run("customers", "list", "--json").json)
    assert [each["id"] for each in listed["items"]] == [made["id"]]
    assert shop.run("customers", "show", "cus_unknown").code == 3


def test_the_balance_is_what_stripe_says(shop: Shop) -> None:
    shop.create("--payment-token", "pm_card_visa")
    [line] = check(shop.run("balance", "--json").json)["items"]
    assert (line["gateway"], line["currency"]) == ("st", "EUR")
    held = line["available_minor"] + line["pending_minor"]
    assert held == shop.fake.taken("EUR") == 2500


def test_one_of_several_accounts_must_be_named(shop: Shop) -> None:
    gateways = shop.kit.app.gateways
    gateways["st-2"] = gateways["st"]
    done = shop.run("balance", "--json")
    assert (done.code, done.error["code"]) == (2, "stripe.which_account")
    assert shop.run("balance", "--account", "st", "--json").code == 0
    assert shop.run("balance", "--account", "nope", "--json").error["code"] == "choice.unknown"
