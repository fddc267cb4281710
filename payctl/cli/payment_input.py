"""A payment from the words of a command line: amounts and lines as people write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from payctl.cli.framework import session, span_of
from payctl.errors import InvalidInput
from payctl.money import format_amount, parse_amount

if TYPE_CHECKING:
    from payctl.payments.requests import Line, PaymentInput

_PERCENT = re.compile(r"(\d{1,3})(?:[.,](\d{1,4}))? ?%?")


def lines_of(texts: Sequence[str], currency: str) -> tuple[Line, ...]:
    """``description;quantity;unit price;VAT`` each; the price as people write it, VAT in per cent
    of the net price, which may be left out.

    Raises:
        InvalidInput: ``lines.malformed`` and those of ``money.parse_amount``.
    """
    return tuple(_line(text, number, currency) for number, text in enumerate(texts, 1))


def _line(text: str, number: int, currency: str) -> Line:
    from payctl.payments.requests import Line

    parts = [part.strip() for part in text.split(";")]
    if len(parts) == 3:
        parts.append("0")
    rate = _PERCENT.fullmatch(parts[3]) if len(parts) == 4 else None
    if rate is None or not re.fullmatch(r"[0-9]{1,9}", parts[1]):
        raise InvalidInput("lines.malformed", field=f"lines.{number}", number=number)
    free = parts[2] == format_amount(0, currency)
    price = 0 if free else parse_amount(parts[2], currency, field=f"lines.{number}")
    ppm = int(rate[1]) * 10_000 + int((rate[2] or "").ljust(4, "0"))
    return Line(parts[0], int(parts[1]), price, ppm)


def metadata_of(texts: Sequence[str]) -> dict[str, str]:
    """``name=value`` each.

    Raises:
        InvalidInput: ``metadata.malformed``.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or name.strip() in found:
            raise InvalidInput("metadata.malformed", field="metadata", text=name[:40])
        found[name.strip()] = value
    return found


def names_of(text: str | None) -> tuple[str, ...]:
    """``a,b`` as a list of names."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def payment_input(
    *,
    amount_minor: int,
    currency: str,
    capture: str,
    preferred: str | None,
    lines: Sequence[str],
    metadata: Sequence[str],
    expires_in: str | None,
    **others: Any,
) -> PaymentInput:
    """The input of a payment; *others* are taken as they are.

    Raises:
        InvalidInput: what is wrong with one of them; the rest is checked by the service.
    """
    from payctl.payments.requests import PaymentInput

    if capture not in ("automatic", "manual"):
        raise InvalidInput(
            "choice.unknown", field="capture", value=capture[:40], allowed="automatic, manual"
        )
    span = span_of(expires_in, field="expires-in") if expires_in is not None else None
    if span is not None and not span:
        raise InvalidInput("time.bad_span", field="expires-in", text=str(expires_in)[:40])
    return PaymentInput(
        amount_minor=amount_minor,
        currency=currency,
        manual_capture=capture == "manual",
        preferred=names_of(preferred),
        lines=lines_of(lines, currency),
        metadata=metadata_of(metadata),
        expires_at=session().now() + span if span is not None else None,
        expires_in_s=int(span.total_seconds()) if span is not None else None,
        **others,
    )
