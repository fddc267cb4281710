"""The log: one JSON object a line in a file, redacted, with one id for everything a run wrote.

It is for what goes wrong and for long-lived processes; what happened to money stands in the ledger
and the audit, never only here. No card number, resolved secret, phone number or e-mail address gets
in. A log that cannot be written never stops a payment.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from payctl import pan
from payctl.clock import Clock, SystemClock
from payctl.secret import conceal

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
#: A file that has grown past this is kept once as ``.1``.
MAX_BYTES = 20_000_000
_MAX_FIELD = 4_000

#: Shapes of provider keys and of tokens in headers and URLs, whether or not we ever resolved them.
_KEY_SHAPES = re.compile(
    r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]+|\bwhsec_[A-Za-z0-9+/=]+|_secret_[A-Za-z0-9]{8,}"
    r"|(?<=Bearer )[A-Za-z0-9._~+/=-]+|(?<=Basic )[A-Za-z0-9+/=]{8,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_EMAIL = re.compile(r"\b([A-Za-z0-9])[A-Za-z0-9._%+-]*@([A-Za-z0-9.-]+\.[A-Za-z]{2,})")


@dataclass
class Log:
    """Where this process logs. ``correlation`` joins the lines of one run."""

    path: Path | None = None
    level: str = "info"
    clock: Clock = field(default_factory=SystemClock)
    correlation: str = field(default_factory=lambda: secrets.token_hex(6))

    def write(self, level: str, event: str, /, **fields: object) -> None:
        """Append one line when *level* is high enough."""
        if self.path is None or LEVELS[level] < LEVELS[self.level]:
            return
        line = {
            "at": self.clock.now().isoformat(timespec="milliseconds"),
            "level": level,
            "event": event,
            "run": self.correlation,
            "pid": os.getpid(),
            **{name: _clean(value) for name, value in fields.items()},
        }
        self._append(json.dumps(line, ensure_ascii=False, default=str) + "\n")

    def _append(self, line: str) -> None:
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size > MAX_BYTES:
                self.path.replace(self.path.with_name(self.path.name + ".1"))
            # One write to a file opened for appending: lines of several processes do not mix.
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            sys.stderr.write(f"note: the log could not be written: {error.strerror}\n")


_log = Log()


def configure(path: Path | None, level: str = "info", clock: Clock | None = None) -> Log:
    """Direct this process's log; returns it. ``None`` writes nothing."""
    global _log
    _log = Log(path, level, clock or SystemClock())
    return _log


def current() -> Log:
    """This process's log."""
    return _log


def debug(event: str, /, **fields: object) -> None:
    _log.write("debug", event, **fields)


def info(event: str, /, **fields: object) -> None:
    _log.write("info", event, **fields)


def warning(event: str, /, **fields: object) -> None:
    _log.write("warning", event, **fields)


def error(event: str, /, **fields: object) -> None:
    _log.write("error", event, **fields)


def exception(caught: BaseException, event: str = "unexpected", /, **fields: object) -> str:
    """Write *caught* with its traceback; returns the log id a person can quote."""
    log_id = secrets.token_hex(4)
    text = "".join(traceback.format_exception(caught))
    _log.write("error", event, log_id=log_id, traceback=text, **fields)
    return log_id


def redact(text: str) -> str:
    """*text* without secrets, card numbers, phone numbers and mail addresses."""
    text = _KEY_SHAPES.sub("***", conceal(text))
    text = pan.mask_phones(pan.scrub(text))
    return _EMAIL.sub(r"\1***@\2", text)


def _clean(value: object) -> object:
    if isinstance(value, str):
        return redact(value)[:_MAX_FIELD]
    if isinstance(value, Mapping):
        return {str(name): _clean(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(item) for item in value]
    if value is None or isinstance(value, (bool, int)):
        # A card number is no less one for being an integer.
        return value if value is None or abs(int(value)) < 10**12 else _clean(str(value))
    return redact(str(value))[:_MAX_FIELD]
