"""What each provider says it holds for us, beside what our books say and what a float needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.errors import PayctlError
from payctl.ledger import accounts
from payctl.ledger.reports import Reports
from payctl.payments.float_watch import FloatLevel, levels
from payctl.payments.provider_readings import Answered

_CODES = {"collect": accounts.collect, "float": accounts.float_}


@dataclass(frozen=True, slots=True)
class ProviderBalance:
    """One gateway account, part (``collect``, ``float``) and currency; amounts in minor units."""

    gateway: str
    part: str
    currency: str
    theirs_minor: int
    ours_minor: int

    @property
    def difference_minor(self) -> int:
        """Theirs less ours; zero when both books agree."""
        return self.theirs_minor - self.ours_minor


@dataclass(frozen=True, slots=True)
class Balances:
    """What all that were asked answered: lines, who did not answer and why, floats with an alarm.

    ``levels`` holds only floats of accounts that answered.
    """

    lines: tuple[ProviderBalance, ...]
    failed: tuple[tuple[str, PayctlError], ...]
    levels: tuple[FloatLevel, ...]

    def complete(self) -> tuple[ProviderBalance, ...]:
        """All lines, when every provider answered.

        Raises:
            PayctlError: why the first that did not answer did not.
        """
        for _account, error in self.failed:
            raise error
        return self.lines

    @property
    def low(self) -> tuple[FloatLevel, ...]:
        return tuple(each for each in self.levels if each.missing_minor)


def compare(db: Database, answers: Sequence[Answered]) -> Balances:
    """Hold what providers told against our books; what is still pending there counts as held."""
    told = [each for each in answers if each.error is None]
    with db.read() as tx:
        lines = [line for each in told for line in _lines(Reports(UTC), tx, each)]
        known = {each.account for each in told}
        alarms = tuple(each for each in levels(tx) if each.account in known)
    failed = tuple((each.account, each.error) for each in answers if each.error is not None)
    return Balances(tuple(lines), failed, alarms)


def _lines(reports: Reports, tx: sa.Connection, told: Answered) -> list[ProviderBalance]:
    theirs = {
        (line.part, line.currency): line.available_minor + line.pending_minor for line in told.lines
    }
    ours = {}
    for part, code_of in _CODES.items():
        code = code_of(told.account)
        for each in reports.accounts(tx, prefix=code):
            if each.code == code:
                ours[part, each.currency] = each.own_minor
    return [
        ProviderBalance(told.account, *key, theirs.get(key, 0), ours.get(key, 0))
        for key in sorted(theirs.keys() | ours.keys())
    ]
