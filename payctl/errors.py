"""Every error payctl raises on purpose, and the exit code of each.

    PayctlError
    |- InvalidInput      2   the caller wrote something we cannot accept; names the field
    |- NotFound          3
    |- NotConfigured     4   credentials or configuration
    |- Forbidden         4   the operator's role does not allow it
    |- Conflict          5   wrong state, or a key reused with another body
    |- Refused           6   declined or refused for good
    |- NotSent           7   nothing was sent: safe to repeat
    |- OutcomeOpen       8   sent, the answer is pending or unknown: same key or sync, never anew
    |- CheckFailed       9   a check found something wrong
    |- ApprovalRequired 10   waits for a second person
    |- LockHeld         11   another run holds the lock
    `- Unavailable       7   our own database cannot be reached, is full or locked

An error carries a *code* and parameters, never prose: the sentences in French and English live in
``payctl/cli/catalogue`` with, for each code, what happened to the money and what to do next. A test
walks the source and fails for a code without an entry.
Exceptions are for transport, misuse and bugs. A declined card is a result, not an exception.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Stable process exit codes (``payctl help exit-codes``)."""

    DONE = 0
    BUG = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFIG = 4
    CONFLICT = 5
    DECLINED = 6
    NOT_SENT = 7
    OPEN = 8
    CHECK_FAILED = 9
    APPROVAL = 10
    LOCKED = 11
    INTERRUPTED = 130


class PayctlError(Exception):
    """Base of all of them.

    Args:
        code: dotted name of the catalogue entry, ``payment.not_found``.
        field: name of the input field at fault, when there is one.
        params: values for the sentence; text, ints and ids only, never a secret.
    """

    exit_code: ExitCode = ExitCode.BUG
    #: Word of the one JSON error shape the core service reads.
    wire: str = "INTERNAL_ERROR"

    def __init__(self, code: str, *, field: str | None = None, **params: object) -> None:
        super().__init__(code)
        self.code = code
        self.field = field
        self.params: dict[str, object] = params

    def __str__(self) -> str:
        detail = ", ".join(f"{name}={value}" for name, value in sorted(self.params.items()))
        return f"{self.code} ({detail})" if detail else self.code


class InvalidInput(PayctlError):
    exit_code = ExitCode.USAGE
    wire = "VALIDATION_ERROR"


class NotFound(PayctlError):
    exit_code = ExitCode.NOT_FOUND
    wire = "NOT_FOUND"


class NotConfigured(PayctlError):
    exit_code = ExitCode.CONFIG
    wire = "CONFIGURATION_ERROR"


class Forbidden(PayctlError):
    exit_code = ExitCode.CONFIG
    wire = "FORBIDDEN"


class Conflict(PayctlError):
    exit_code = ExitCode.CONFLICT
    wire = "CONFLICT"


class Refused(PayctlError):
    exit_code = ExitCode.DECLINED
    wire = "PAYMENT_GATEWAY_ERROR"


class NotSent(PayctlError):
    exit_code = ExitCode.NOT_SENT
    wire = "SERVICE_UNAVAILABLE"


class OutcomeOpen(PayctlError):
    exit_code = ExitCode.OPEN
    wire = "OUTCOME_OPEN"


class CheckFailed(PayctlError):
    exit_code = ExitCode.CHECK_FAILED
    wire = "CHECK_FAILED"


class ApprovalRequired(PayctlError):
    exit_code = ExitCode.APPROVAL
    wire = "APPROVAL_REQUIRED"


class LockHeld(PayctlError):
    exit_code = ExitCode.LOCKED
    wire = "LOCK_HELD"


class Unavailable(PayctlError):
    """Our database is out of reach, full or locked. No attempt could be written, so nothing was
    sent, unless the call had already gone out: then the code is ``database.lost_after_send``."""

    exit_code = ExitCode.NOT_SENT
    wire = "SERVICE_UNAVAILABLE"
