"""The ledger as a dictionary: what a book must do, in plain Python, for the state machine.

Written against the design, not against the engine: it knows nothing of SQL, locks or stripes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from payctl.ledger.model import Leg

Key = tuple[str, str]


@dataclass
class ModelHold:
    account: Key
    amount: int
    expires_at: datetime | None
    captured: int = 0
    voided: int = 0
    state: str = "open"

    @property
    def rest(self) -> int:
        return self.amount - self.captured - self.voided

    def close(self, state: str) -> None:
        self.voided += self.rest
        self.state = state


@dataclass
class ModelJournal:
    legs: list[Leg]
    period: int
    reverses: int | None = None
    #: what is reversed of it at present, per currency
    reversed: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def size(self, currency: str) -> int:
        return sum(
            x.amount_minor for x in self.legs if x.currency == currency and x.amount_minor > 0
        )

    @property
    def currencies(self) -> set[str]:
        return {leg.currency for leg in self.legs}


@dataclass
class Model:
    """Balances (debits positive), holds, journals by number, and the last closed month."""

    balances: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    holds: list[ModelHold] = field(default_factory=list)
    journals: list[ModelJournal] = field(default_factory=list)
    closed_until: int = 0

    @staticmethod
    def guarded(code: str) -> int:
        """0 when anyone may overdraw it, else the sign of its own side."""
        return {"wallet": -1, "owed": 1}.get(code.partition(":")[0], 0)

    def held(self, account: Key) -> int:
        return sum(h.rest for h in self.holds if h.account == account and h.state == "open")

    def free(self, account: Key) -> int:
        return self.guarded(account[0]) * self.balances[account] - self.held(account)

    def refusal(self, legs: list[Leg], period: int, now: datetime) -> str | None:
        """Why these legs may not be posted; expired holds no longer count."""
        if period <= self.closed_until:
            return "ledger.period_closed"
        wanted: dict[Key, int] = defaultdict(int)
        for leg in legs:
            wanted[leg.account, leg.currency] -= self.guarded(leg.account) * leg.amount_minor
        for account, amount in wanted.items():
            if amount > max(self.free(account) + self.expired(account, now), 0):
                return "ledger.insufficient_funds"
        return None

    def expired(self, account: Key, now: datetime) -> int:
        return sum(hold.rest for hold in self.due(now) if hold.account == account)

    def due(self, now: datetime) -> list[ModelHold]:
        return [
            hold
            for hold in self.holds
            if hold.state == "open" and hold.expires_at is not None and hold.expires_at <= now
        ]

    def post(self, legs: list[Leg], period: int, now: datetime, reverses: int | None = None) -> int:
        """Book the legs (they may be posted); the holds that had to make room for them end."""
        short = set()
        wanted: dict[Key, int] = defaultdict(int)
        for leg in legs:
            wanted[leg.account, leg.currency] -= self.guarded(leg.account) * leg.amount_minor
        for account, amount in wanted.items():
            if amount > 0 and amount > self.free(account):
                short.add(account)
        for hold in self.due(now):
            if hold.account in short:
                hold.close("expired")
        for leg in legs:
            self.balances[leg.account, leg.currency] += leg.amount_minor
        self.journals.append(ModelJournal(list(legs), period, reverses))
        self._count(self.journals[-1], reverses)
        return len(self.journals) - 1

    def _count(self, journal: ModelJournal, target: int | None) -> None:
        sign = 1
        while target is not None:
            for currency in journal.currencies:
                self.journals[target].reversed[currency] += sign * journal.size(currency)
            target, sign = self.journals[target].reverses, -sign

    def left(self, number: int) -> dict[Key, int]:
        """What a journal and all that reverses it leave by account."""
        sums: dict[Key, int] = defaultdict(int)
        tree = {number}
        for index, journal in enumerate(self.journals):
            if journal.reverses in tree:
                tree.add(index)
            if index in tree:
                for leg in journal.legs:
                    sums[leg.account, leg.currency] += leg.amount_minor
        return {account: amount for account, amount in sums.items() if amount}

    def reversal_refusal(self, number: int, sizes: dict[str, int]) -> bool:
        """Whether reversing *sizes* of a journal would reverse something twice."""
        target: int | None = number
        sign = 1
        while target is not None:
            journal = self.journals[target]
            for currency, size in sizes.items():
                if sign > 0 and journal.reversed[currency] + size > journal.size(currency):
                    return True
            target, sign = journal.reverses, -sign
        return False


def is_fair_part(part: dict[Key, int], whole: dict[Key, int], amount: int, currency: str) -> bool:
    """Whether *part* takes *amount* off each side of *whole*, in proportion to within one unit."""
    for side in (1, -1):
        total = sum(x * side for (_, c), x in whole.items() if x * side > 0 and c == currency)
        taken = {a: x * side for a, x in part.items() if whole.get(a, 0) * side > 0}
        if sum(taken.values()) != amount:
            return False
        for account, value in taken.items():
            exact = Fraction(whole[account] * side * amount, total)
            if not 0 <= value <= whole[account] * side or abs(value - exact) >= 1:
                return False
    return set(part) <= set(whole)
