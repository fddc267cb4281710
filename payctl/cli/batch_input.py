"""One JSON object a line: what a program asks for through a batch door.

The fields are those of the single command's options, with amounts as ``amount_minor``. Everything
is checked for its type here; what it means is checked by the service.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from payctl import pan
from payctl.clock import Clock
from payctl.errors import InvalidInput

if TYPE_CHECKING:
    from payctl.payments.requests import Line, PaymentInput

#: Longest line, in bytes; a longer one is refused without being read to its end in memory.
MAX_LINE = 256 * 1024
#: As much of a request's key as its answer repeats: no valid key is longer.
MAX_KEY = 200

_TEXT: dict[type, str] = {str: "text", int: "a whole number", bool: "true or false"}
_PAYMENT: Mapping[str, type] = {
    "key": str, "amount_minor": int, "currency": str, "method": str, "organiser": str,
    "order": str, "event": str, "user": str, "email": str, "phone": str, "country": str,
    "description": str, "metadata": dict, "preferred": list, "sale_type": str, "capture": str,
    "payment_token": str, "lines": list, "return_url": str, "cancel_url": str, "expires_in_s": int,
    "correlation_id": str,
}  # fmt: skip
_LINE: Mapping[str, type] = {
    "description": str, "quantity": int, "unit_price_minor": int, "vat_ppm": int,
}  # fmt: skip
_REFUND: Mapping[str, type] = {
    "key": str, "payment": str, "amount_minor": int, "full": bool, "reason": str,
    "keep_commission": bool,
}  # fmt: skip
_STATUS: Mapping[str, type] = {"key": str, "payment": str}


def parsed(line: bytes) -> dict[str, Any]:
    """The JSON object of a line.

    Raises:
        InvalidInput: ``batch.not_json``, ``batch.line_too_long``.
    """
    if len(line) > MAX_LINE:
        raise InvalidInput("batch.line_too_long", limit=MAX_LINE)
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidInput("batch.not_json")
    return found


def key_of(asked: Mapping[str, Any]) -> str | None:
    """The key of a request as its answer repeats it; ``None`` when it has none, or one that no
    answer may carry.
    """
    key = asked.get("key")
    return key[:MAX_KEY] if isinstance(key, str) and not pan.contains(key) else None


def payment_of(asked: Mapping[str, Any], clock: Clock) -> PaymentInput:
    """The payment a line asks for.

    Raises:
        InvalidInput: ``batch.unknown_field``, ``batch.wrong_type``, ``batch.missing_field`` and
            those of :meth:`PaymentInput.validated`.
    """
    from payctl.payments.requests import PaymentInput

    fields = _checked(
        asked, _PAYMENT, needed=("key", "amount_minor", "currency", "method", "organiser")
    )
    capture = fields.pop("capture", "automatic")
    if capture not in ("automatic", "manual"):
        raise InvalidInput(
            "choice.unknown", field="capture", value=capture[:40], allowed="automatic, manual"
        )
    metadata = fields.pop("metadata", {})
    for name, value in metadata.items():
        _typed(f"metadata.{name[:40]}", value, str)
    preferred = fields.pop("preferred", [])
    for value in preferred:
        _typed("preferred", value, str)
    lines = fields.pop("lines", [])
    span = fields.get("expires_in_s")
    if span is not None and not 0 < span <= _LONGEST_S:
        raise InvalidInput("time.bad_span", field="expires_in_s", text=str(span)[:40])
    return PaymentInput(
        **fields,
        manual_capture=capture == "manual",
        metadata=metadata,
        preferred=tuple(preferred),
        lines=tuple(_line(each, no) for no, each in enumerate(lines, 1)),
        expires_at=clock.now() + timedelta(seconds=span) if span is not None else None,
    ).validated()


def refund_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The refund a line asks for: payment, key, reason, amount_minor (``None``: all that is left)
    and keep_commission.

    Raises:
        InvalidInput: as :func:`payment_of`, and ``refund.amount_or_full``.
    """
    fields = _checked(asked, _REFUND, needed=("key", "payment", "reason"))
    if fields.get("full", False) == ("amount_minor" in fields):
        raise InvalidInput("refund.amount_or_full", field="amount_minor")
    return fields


def status_of(asked: Mapping[str, Any]) -> str:
    """The id of the payment a line asks about.

    Raises:
        InvalidInput: as :func:`payment_of`.
    """
    return str(_checked(asked, _STATUS, needed=("payment",))["payment"])


#: A hundred years: more than any order waits, and still a date.
_LONGEST_S = 100 * 366 * 86_400


def _line(value: Any, number: int) -> Line:
    from payctl.payments.requests import Line

    _typed(f"lines.{number}", value, dict)
    needed = ("description", "quantity", "unit_price_minor")
    return Line(**_checked(value, _LINE, needed=needed, within=f"lines.{number}."))


def _checked(
    asked: Mapping[str, Any],
    known: Mapping[str, type],
    *,
    needed: tuple[str, ...],
    within: str = "",
) -> dict[str, Any]:
    """The fields that are given (``null`` is not given), each of its type."""
    for name in asked:
        if name not in known:
            raise InvalidInput("batch.unknown_field", field=f"{within}{name[:40]}")
    given = {name: value for name, value in asked.items() if value is not None}
    for name in needed:
        if name not in given:
            raise InvalidInput("batch.missing_field", field=f"{within}{name}")
    for name, value in given.items():
        _typed(f"{within}{name}", value, known[name])
    return given


def _typed(field: str, value: Any, wanted: type) -> None:
    # A truth value is an integer in Python, and is none here.
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        names: dict[type, str] = {**_TEXT, dict: "an object", list: "a list"}
        raise InvalidInput("batch.wrong_type", field=field, wanted=names[wanted])
