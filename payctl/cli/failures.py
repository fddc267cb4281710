"""How a failure is told: to a person in three lines, to a program in one JSON object, on stderr."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from payctl import log, pan
from payctl.cli.cells import to_json
from payctl.cli.messages import Message, render, say
from payctl.cli.session import Session
from payctl.errors import ExitCode, Forbidden, InvalidInput, PayctlError


def report(error: PayctlError, session: Session) -> int:
    """Tell *error* and return its exit code."""
    _tell(error, session)
    if isinstance(error, Forbidden):
        _remember(error, session)
    if session.debug:
        sys.stderr.write(log.redact("".join(traceback.format_exception(error))))
    if error.exit_code is ExitCode.BUG:
        session.open_log()
        log.exception(error, error.code)
    return int(error.exit_code)


def report_bug(error: Exception, session: Session) -> int:
    """Tell an unexpected exception by its log id; the traceback goes to the log only."""
    session.open_log()
    log_id = log.exception(error, command=session.command)
    if session.debug:
        sys.stderr.write(log.redact("".join(traceback.format_exception(error))))
    known = PayctlError(
        "bug", log_id=log_id, log=str(log.current().path), kind=type(error).__name__
    )
    try:
        _tell(known, session)
    except Exception:
        # Not even the catalogue can be read: say the one thing that helps.
        sys.stderr.write(f"error[bug]: {type(error).__name__}, log id {log_id}\n")
    return int(ExitCode.BUG)


def _tell(error: PayctlError, session: Session) -> None:
    lang = _lang(session)
    message = render(error, lang)
    if _wants_json(session):
        print(to_json(error_json(error, message)), file=sys.stderr)
        return
    print(f"error[{error.code}]: {message.text}", file=sys.stderr)
    if message.money:
        print(f"{say('money', lang)} {message.money}", file=sys.stderr)
    if message.next:
        print(f"{say('next_step', lang)} {message.next}", file=sys.stderr)


def error_json(error: PayctlError, message: Message) -> dict[str, Any]:
    """The one JSON error shape the core service reads."""
    details: Any
    if error.field:
        details = [{"field": pan.scrub(error.field), "message": message.text}]
    else:
        details = {"code": error.code} | {
            name: value if isinstance(value, (int, bool)) else pan.scrub(str(value))
            for name, value in error.params.items()
        }
    shape: dict[str, Any] = {
        "success": False,
        "error": error.wire,
        "message": message.text,
        "details": details,
        "code": error.code,
        "exit_code": int(error.exit_code),
        "money": message.money,
        "next": message.next,
    }
    retry = error.params.get("retry_after_s")
    if isinstance(retry, (int, float)):
        shape["retryAfter"] = round(retry)
    return shape


def _remember(error: Forbidden, session: Session) -> None:
    """A refusal belongs into the audit trail: who tried what, and was not let."""
    from payctl.db.actor import Actor
    from payctl.db.operators import user_name

    services = session.__dict__.get("app")
    if services is None:
        return
    nobody = Actor(user_name(), frozenset(), "unknown", command=session.command)
    try:
        services.audit.denied(session.__dict__.get("actor", nobody), error)
    except PayctlError as lost:
        log.error("denial not recorded", code=error.code, why=lost.code)


def _lang(session: Session) -> str:
    try:
        return session.lang
    except PayctlError:
        return "en"


def _wants_json(session: Session) -> bool:
    try:
        return session.is_json
    except InvalidInput:
        return False
