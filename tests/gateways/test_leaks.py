"""No secret, token or whole number leaves an adapter: not in a record, a log or a word."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from payctl.gateways.base import Answer
from payctl.testing.harness import PHONE, SCENARIOS, Harness, Steps
from payctl.testing.stripe_fake import StripeFake
from tests.gateways.cinetpay_harness import V1Harness, V2Harness
from tests.gateways.harnesses import CheckoutHarness, ConnectHarness, StripeHarness, resources
from tests.gateways.momo_harness import MomoHarness
from tests.gateways.orange_harness import OrangeHarness
from tests.gateways.paypal_harness import PaypalHarness

pytestmark = pytest.mark.gateways
ADAPTERS: Mapping[str, Callable[[], Any]] = {
    "stripe": lambda: StripeHarness(StripeFake(resources()).__enter__()),
    "checkout": lambda: CheckoutHarness(StripeFake(resources()).__enter__()),
    "connect": lambda: ConnectHarness(StripeFake(resources()).__enter__()),
    "paypal": PaypalHarness,
    "cinetpay_v2": V2Harness,
    "cinetpay_v1": V1Harness,
    "momo": MomoHarness,
    "webpay": lambda: OrangeHarness("webpay"),
    "cameroon": lambda: OrangeHarness("cameroon"),
    "sonatel": lambda: OrangeHarness("sonatel"),
}


@pytest.fixture(params=ADAPTERS)
def harness(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = ADAPTERS[request.param]()
    yield made
    made.close()
    if hasattr(made, "fake"):
        made.fake.__exit__()


def test_nothing_secret_leaves(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    steps, said, secrets = Steps(), list[Any](), set(harness.secrets)
    phone = getattr(harness, "phone", PHONE)
    for scenario in SCENARIOS:
        asked = steps.request(harness, scenario, phone=phone, description=f"call {phone}")
        answer = harness.gateway.create_payment(asked)
        said += [answer, steps.about(harness, asked, answer)]
        secrets |= _tokens(answer)
    if harness.gateway.capabilities.refunds != "none":
        said.append(steps.refund(harness, steps.paid(harness), 2500))
    said.append(harness.gateway.ping())
    kept = json.dumps(
        [[each.exchange, each.message, each.code] for each in said if isinstance(each, Answer)],
        default=str,
    )
    shown = caplog.text + " ".join(str(each) for each in said if not isinstance(each, Answer))
    for hidden in filter(None, {*secrets, phone, phone.removeprefix("+")}):
        assert hidden not in kept, f"{hidden} in a record"
        assert hidden not in shown, f"{hidden} in a log or a word of health"


def _tokens(answer: Answer) -> set[str]:
    """What the provider gave to be kept, where it is a secret: CinetPay's ``payment_token`` is the
    end of the address that the customer sees.
    """
    data = answer.provider_data.items()
    found = {value for name, value in data if "token" in name and name != "payment_token"}
    if answer.next_action is not None and answer.next_action.client_secret:
        found.add(answer.next_action.client_secret)
    return found
