"""What a check of an installation found: the one shape doctor, health and alerts speak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from payctl import __version__
from payctl.money import format_amount
from payctl.payments.float_watch import FloatLevel

OK, WARN, FAIL = "ok", "warn", "fail"
SCHEMA = "payctl.health/1"
#: A job is late after this many of its periods.
LATE_PERIODS = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. ``code`` and ``params`` name the sentence; ``fix`` is a command.

    ``about`` tells apart what one check finds of several things: an account, a job.
    """

    check: str
    status: str
    code: str
    params: Mapping[str, object]
    fix: str | None = None
    about: str = ""

    @property
    def key(self) -> str:
        """The same for the same trouble, however it is worded today."""
        return f"{self.check}:{self.about}" if self.about else self.check

    def as_json(self) -> dict[str, Any]:
        """As it is served and handed on."""
        return {
            "check": self.check, "about": self.about or None, "status": self.status,
            "code": self.code, "params": dict(self.params), "fix": self.fix,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often a job should run, in seconds."""

    name: str
    every_s: int


@dataclass(frozen=True, slots=True)
class Report:
    """Findings taken together, at one moment."""

    findings: Sequence[Finding]
    at: datetime

    @property
    def status(self) -> str:
        """The worst of them."""
        found = {finding.status for finding in self.findings}
        return FAIL if FAIL in found else WARN if WARN in found else OK

    @property
    def ok(self) -> bool:
        """Whether nothing fails: a warning is for people, not for a load balancer."""
        return self.status != FAIL

    def as_json(self) -> dict[str, Any]:
        """``payctl.health/1``, as it is served."""
        return {
            "schema": SCHEMA,
            "status": self.status,
            "at": self.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "version": __version__,
            "checks": [finding.as_json() for finding in self.findings],
        }


def fill(level: FloatLevel) -> str:
    """The command that fills a low float up to its alarm."""
    amount = format_amount(level.missing_minor, level.currency)
    return (
        f"payctl float topup {level.account} --amount {amount} --currency {level.currency}"
        " --from BANK --reason TEXT"
    )


def moment(at: datetime) -> str:
    """A time in a finding."""
    return f"{at:%Y-%m-%d %H:%M} UTC"
