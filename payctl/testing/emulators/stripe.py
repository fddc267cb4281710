"""An emulated Stripe: payment intents, refunds, customers, checkout sessions, transfers, disputes.

It is :class:`payctl.testing.stripe_fake.StripeFake` with Stripe's own sample objects and a check of
the key: any ``sk_test_...`` or ``rk_test_...``. A fault's operation is any part of an address:
``/payment_intents``, ``/capture``, ``/refunds``. It makes no webhooks. Any ``pm_...`` pays, but
``pm_decline_CODE`` is declined with that code, ``pm_action`` wants the customer, and
``pm_processing`` stays in progress. Besides the common faults it knows:

==========================  ========================================================================
fault                       what happens
==========================  ========================================================================
``500`` ``500_after``       an error that stays for its key, without or after the effect
``409``                     the same key is being worked on
``html_400`` ``html_403``   a web page with that status
``notice``                  an ordinary answer with a ``Stripe-Notice``
==========================  ========================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from payctl.testing import stripe_fake
from payctl.testing.emulators.core import Request, Response

_KEYS = ("sk_test_", "rk_test_")


class StripeEmulator(stripe_fake.StripeFake):
    """See the module."""

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        super().__init__(stripe_fake.samples(), now)

    def handle(self, request: Request, fault: str | None) -> Response:
        kind, _, key = request.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or not key.startswith(_KEYS):
            return self.problem(401)
        return super().handle(request, fault)
