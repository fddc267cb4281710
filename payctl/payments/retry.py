"""Repeating a call that was provably not sent: how long to wait, and how often in all.

Only ``NOT_SENT`` is ever repeated here. Each caller waits a random part of a doubling time, so that
processes that failed together do not come back together; and all of them share a budget, so that
repeats cannot become the load that keeps a provider down.
"""

from __future__ import annotations

from random import Random

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.errors import Unavailable
from payctl.payments.breaker_store import add_samples, server_minute
from payctl.payments.gateway_tables import STRIPES, breaker_sample
from payctl.payments.model import DEADLINE_S

#: Tries of one attempt, the first included.
TRIES = 3
#: A try needs at least so much of the attempt's deadline.
LEAST_S = DEADLINE_S / 2
BASE_S = 0.5
LONGEST_S = 5.0
#: Repeats of an account and class may be this share of its calls of this and the last minute …
BUDGET_PERCENT = 20
#: … and may always be so many, or a gateway with few calls could never repeat one.
ALWAYS_ALLOWED = 10


def backoff(number: int, random: Random) -> float:
    """Seconds to wait after try *number* (1 is the first): full jitter over 0.5 s, 1 s, 2 s …, at
    most 5 s.
    """
    longest = min(BASE_S * (1 << min(number - 1, 10)), LONGEST_S)
    return longest * random.random()


def within_budget(calls: int, retries: int) -> bool:
    """Whether one more repeat fits, after *calls* calls and *retries* repeats."""
    return retries < max(ALWAYS_ALLOWED, calls * BUDGET_PERCENT // 100)


class Retries:
    """The budget of repeats that all processes of a book share."""

    def __init__(self, db: Database, random: Random | None = None) -> None:
        self._db = db
        self._stripe = (random or Random()).randrange(STRIPES)  # noqa: S311 - spreads writers

    def allowed(self, account: str, op_class: str) -> bool:
        """Whether one more repeat may go out now; if so it is counted.

        Processes that ask in the same instant may each get the last one. Without a database the
        answer is no: the attempt's row then tells what to do, later.
        """
        try:
            with self._db.read() as reading:
                calls, retries = self._spent(reading, account, op_class)
            if not within_budget(calls, retries):
                return False
            one = {(account, op_class): {"retries": 1}}
            self._db.run(lambda tx: add_samples(self._db, tx, self._stripe, one))
        except Unavailable:
            return False
        return True

    def _spent(self, tx: sa.Connection, account: str, op_class: str) -> tuple[int, int]:
        c = breaker_sample.c
        calls = c.ok + c.refused + c.tech_fail + c.not_sent
        row = tx.execute(
            sa.select(
                sa.func.coalesce(sa.func.sum(calls), 0),
                sa.func.coalesce(sa.func.sum(c.retries), 0),
            ).where(
                c.account == account,
                c.op_class == op_class,
                c.minute >= server_minute(self._db) - 1,
            )
        ).one()
        return int(row[0]), int(row[1])
