"""``payctl ledger check``: what must hold in the book, as questions that only read.

Safe on a live book. Features above the ledger add their own :class:`Check` objects (every open
refund has its reservation …); the composition root hands them all to :func:`run`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from payctl.ledger.blocks import Extent


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that does not hold: where, by how much (minor units, debits positive), and what."""

    name: str
    account: str | None
    amount_minor: int | None
    currency: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Check:
    """A named question to the book; an empty answer is a good one."""

    name: str
    description: str
    run: Callable[[sa.Connection], list[Violation]]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check's answer."""

    name: str
    description: str
    violations: tuple[Violation, ...]

    @property
    def ok(self) -> bool:
        return not self.violations


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All answers, in the order the checks ran, and how far the book is sealed."""

    results: tuple[CheckResult, ...]
    sealed: Extent

    @property
    def ok(self) -> bool:
        return all(result.ok for result in self.results)

    @property
    def violations(self) -> tuple[Violation, ...]:
        return tuple(found for result in self.results for found in result.violations)


def run(tx: sa.Connection, extra: Iterable[Check] = ()) -> CheckReport:
    """Run the ledger's own checks and the *extra* ones on one snapshot."""
    from payctl.ledger.blocks import extent
    from payctl.ledger.invariants import CHECKS

    results = tuple(
        CheckResult(check.name, check.description, tuple(check.run(tx)))
        for check in (*CHECKS, *extra)
    )
    return CheckReport(results, extent(tx))
