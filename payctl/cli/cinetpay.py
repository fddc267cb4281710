"""``payctl cinetpay``: what CinetPay says, changing nothing."""

from __future__ import annotations

from payctl.cli.framework import noun
from payctl.cli.provider import add_balance, add_status

app = noun("cinetpay")
add_status(app, "cinetpay", "4fd8a2c1e0b94d6f8a7c5e3d1b2a90")
add_balance(app, "cinetpay")
