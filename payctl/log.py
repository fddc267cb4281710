"""The log: one JSON object a line, redacted, with one correlation id for everything a run did.

It is for what goes wrong and for long-lived processes; what happened to money stands in the ledger
and the audit, never only here. No card number, resolved secret, phone number or e-mail address gets
in. A log that cannot be written never stops a payment.

The correlation id is the caller's (``PAYCTL_CORRELATION_ID``, a webhook's request id) or made here.
It goes into each line, each stored exchange with a provider, the audit and each notification.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from payctl import log_file, pan
from payctl.clock import Clock, SystemClock
from payctl.secret import conceal

if TYPE_CHECKING:
    from logging import Handler

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
#: Where lines can go, besides syslog.
DESTINATIONS = ("file", "stdout", "stderr")
#: What a caller may use as a correlation id.
CORRELATION = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_MAX_FIELD = 4_000

#: Shapes of provider keys and of tokens in headers and URLs, whether or not we ever resolved them.
_KEY_SHAPES = re.compile(
    r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]+|\bwhsec_[A-Za-z0-9+/=]+|_secret_[A-Za-z0-9]{8,}"
    r"|(?<=Bearer )[A-Za-z0-9._~+/=-]+|(?<=Basic )[A-Za-z0-9+/=]{8,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_EMAIL = re.compile(r"\b([A-Za-z0-9])[A-Za-z0-9._%+-]*@([A-Za-z0-9.-]+\.[A-Za-z]{2,})")


@dataclass
class Log:
    """Where this process logs.

    Attributes:
        path: the file; ``None`` writes none.
        level: the least level that is written.
        correlation: joins the lines of one run.
        to: one of :data:`DESTINATIONS`.
        syslog: where lines go as well: a socket's path, or ``HOST:PORT`` (UDP).
        keep_days: how long files of past days stay; 0 leaves rotation to logrotate.
    """

    path: Path | None = None
    level: str = "info"
    clock: Clock = field(default_factory=SystemClock)
    correlation: str = field(default_factory=lambda: secrets.token_hex(6))
    to: str = "file"
    syslog: str | None = None
    keep_days: int = 30

    def write(self, level: str, event: str, /, **fields: object) -> None:
        """Write one line when *level* is high enough."""
        if LEVELS[level] < LEVELS[self.level]:
            return
        line = {
            "at": self.clock.now().isoformat(timespec="milliseconds"),
            "level": level,
            "event": event,
            "correlation_id": _given.get() or self.correlation,
            "pid": os.getpid(),
            **{name: _clean(value) for name, value in fields.items()},
        }
        text = json.dumps(line, ensure_ascii=False, default=str)
        self._safely(self.to, self._write, text)
        if self.syslog is not None:
            self._safely("syslog", self._to_syslog, level, text)

    def close(self) -> None:
        """Let go of syslog."""
        if "_syslog" in self.__dict__:
            self._syslog.close()

    def _safely(self, where: str, write: Callable[..., None], *what: str) -> None:
        try:
            write(*what)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            sys.stderr.write(f"note: the log could not be written to {where}: {why}\n")

    def _write(self, text: str) -> None:
        if self.to == "file":
            if self.path is not None:
                log_file.append(self.path, text + "\n", self.clock.now(), self.keep_days)
            return
        stream = sys.stdout if self.to == "stdout" else sys.stderr
        stream.write(text + "\n")
        stream.flush()

    def _to_syslog(self, level: str, text: str) -> None:
        import logging

        self._syslog.handle(
            logging.LogRecord("payctl", LEVELS[level], "", 0, f"payctl: {text}", None, None)
        )

    @cached_property
    def _syslog(self) -> Handler:
        from logging.handlers import SysLogHandler

        class Syslog(SysLogHandler):
            def handleError(self, record: object) -> None:
                raise

        where = self.syslog or ""
        host, colon, port = where.rpartition(":")
        return Syslog(address=(host, int(port)) if colon and port.isdigit() else where)


#: The correlation id of what is being done, where one process does things for several callers.
_given: ContextVar[str | None] = ContextVar("payctl_correlation", default=None)
_log = Log()


def configure(
    path: Path | None, level: str = "info", clock: Clock | None = None, **how: Any
) -> Log:
    """Direct this process's log; returns it. ``None`` writes no file.

    Args:
        how: other fields of :class:`Log`.
    """
    global _log
    _log.close()
    _log = Log(path, level, clock or SystemClock(), **how)
    return _log


def correlation() -> str:
    """The id that joins what is being done now."""
    return _given.get() or _log.correlation


class correlated:
    """What is done inside belongs to the caller's *id_*; without one to whom it belonged before."""

    __slots__ = ("_id", "_token")

    def __init__(self, id_: str | None) -> None:
        self._id = id_

    def __enter__(self) -> None:
        self._token = _given.set(self._id or _given.get())

    def __exit__(self, *_: object) -> None:
        _given.reset(self._token)


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
