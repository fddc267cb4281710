"""What is counted of payments, refunds and exchanges with providers (:mod:`payctl.db.tally`).

Buckets are kept by their upper ends, so that other ones may be chosen some day: what was counted
before still lies below the ends it was counted with.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from payctl.db.tally import ABOVE, Cell, Totals, add, cells_of
from payctl.payments.records import Payment, Refund

PAYMENT, REFUND, CALL = "payment", "refund", "call"
#: Upper ends of amounts, in minor units: 100 to 10 million XOF, 1 to 100 000 EUR.
AMOUNTS = (*(step * 10**power for power in range(2, 7) for step in (1, 2, 5)), 10**7)
#: Upper ends of the time an exchange takes, in milliseconds.
LATENCIES_MS = (
    25, 50, 100, 150, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 5000, 7500, 10_000, 20_000,
)  # fmt: skip
#: The label of a payment that no provider has.
NOBODY = "none"


def payment_cell(payment: Payment) -> tuple[Cell, int]:
    """The counter of a payment's present status, and its amount in minor units."""
    amount = payment.amount_minor
    cell = Cell(
        PAYMENT, payment.gateway_account or NOBODY, str(payment.status), payment.currency,
        _bound(AMOUNTS, amount),
    )  # fmt: skip
    return cell, amount


def refund_cell(refund: Refund) -> tuple[Cell, int]:
    """The counter of a refund's present state, and its amount in minor units."""
    return Cell(REFUND, refund.gateway_account, str(refund.state), refund.currency), (
        refund.amount_minor
    )


def call_cell(account: str, call: Mapping[str, Any]) -> tuple[Cell, int]:
    """The counter of an exchange as it is kept (``attempt_rows.call_row``), and its time in ms."""
    took = int(call["latency_ms"])
    return Cell(CALL, account, call["call"], call["outcome"], _bound(LATENCIES_MS, took)), took


def delta_rows(counted: Sequence[tuple[Cell, int]]) -> list[dict[str, Any]]:
    """The row of ``metric_delta`` for whoever writes it together with others."""
    summed: Totals = {}
    for cell, measured in counted:
        add(summed, cell, measured)
    return [{"id": None, "cells": cells_of(summed)}]


def _bound(ends: Sequence[int], value: int) -> int:
    place = bisect_left(ends, value)
    return ends[place] if place < len(ends) else ABOVE
