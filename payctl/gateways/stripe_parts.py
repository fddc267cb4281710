"""The parts of Stripe's adapter that most runs never need, imported when they are: a command lives
for a second.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from payctl.clock import Clock
from payctl.gateways.stripe_sdk import Sdk

if TYPE_CHECKING:
    from payctl.gateways.stripe_checkout import Checkout
    from payctl.gateways.stripe_connect import Connect
    from payctl.gateways.stripe_customers import Customers
    from payctl.gateways.stripe_disputes import StripeDisputes
    from payctl.gateways.stripe_lists import Lists


class Parts:
    """Parts of one account. Arguments are those of the gateway."""

    def __init__(self, account: str, sdk: Sdk, clock: Clock, *, plain: bool) -> None:
        self._account = account
        self._sdk = sdk
        self._clock = clock
        self._plain = plain

    @cached_property
    def lists(self) -> Lists:
        from payctl.gateways.stripe_lists import Lists

        return Lists(self._sdk, self._clock, plain=self._plain)

    @cached_property
    def checkout(self) -> Checkout:
        from payctl.gateways.stripe_checkout import Checkout

        return Checkout(self._sdk, self._clock)

    @cached_property
    def connect(self) -> Connect:
        from payctl.gateways.stripe_connect import Connect

        return Connect(self._sdk)

    @cached_property
    def disputes(self) -> StripeDisputes:
        from payctl.gateways.stripe_disputes import StripeDisputes

        return StripeDisputes(self._sdk)

    @cached_property
    def customers(self) -> Customers:
        from payctl.gateways.stripe_customers import Customers

        return Customers(self._account, self._sdk)
