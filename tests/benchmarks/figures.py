"""The arithmetic of a benchmark: ratios, percentiles, and whether a goal is met. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Ratio:
    """Measured over reference: the median of the rounds, its extremes and how many they were."""

    median: float
    low: float
    high: float
    rounds: int


def median_ratio(measured: Sequence[float], reference: Sequence[float]) -> Ratio:
    """Each round's figure over the reference of the same round, so that a machine that slows down
    for both is left out of the ratio.

    Raises:
        ValueError: no rounds, or not as many of one as of the other.
    """
    if not measured:
        raise ValueError("no rounds")
    ratios = [ours / theirs for ours, theirs in zip(measured, reference, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios), len(ratios))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least *share* (0 to 1) of *values* do not exceed (nearest rank).

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


@dataclass(frozen=True, slots=True)
class Condition:
    """What a goal asks of one figure: ``p99 <= 150 ms``."""

    name: str
    value: float
    sign: Literal[">=", "<=", ">"]
    bound: float
    unit: str = ""

    @property
    def met(self) -> bool:
        match self.sign:
            case ">=":
                return self.value >= self.bound
            case "<=":
                return self.value <= self.bound
            case ">":
                return self.value > self.bound

    def __str__(self) -> str:
        unit = self.unit if self.unit.startswith("/") else f" {self.unit}".rstrip()
        return f"{self.name} {self.sign} {figure(self.bound)}{unit}"


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table.

    Attributes:
        number: the goal's number.
        reference, measured: the medians of the rounds, as text with units.
        conditions: what the goal asks; empty for a line that only explains another one.
        cpu: processor time per payment of our processes and of the server, as text.
        load: the machine's load average of one minute when it ended.
        reason: why nothing was measured; the line has no figures then.
    """

    number: str
    what: str
    reference: str = ""
    measured: str = ""
    ratio: Ratio | None = None
    conditions: tuple[Condition, ...] = ()
    cpu: str = ""
    load: float | None = None
    reason: str = ""

    @property
    def verdict(self) -> str:
        if self.reason:
            return "not measured"
        if not self.conditions:
            return "-"
        return "yes" if all(condition.met for condition in self.conditions) else "no"


def figure(value: float) -> str:
    """A number with as many digits as it can be trusted for: three, and thousands apart."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(2 - math.floor(math.log10(abs(value))), 0)
    whole, _, rest = f"{value:,.{decimals}f}".partition(".")
    rest = rest.rstrip("0")
    return whole.replace(",", " ") + (f".{rest}" if rest else "")
