"""Options that mean the same on every command, as types: ``limit: LimitOption = 50``.

``SinceOption``, ``UntilOption`` and ``AsOfOption`` arrive in the command as aware datetimes;
amounts are read by :func:`amount_of` because only the currency says what ``25.00`` means.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

import typer

from payctl.cli.session import session
from payctl.errors import InvalidInput
from payctl.money import check_amount_minor, parse_amount

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"(\d{1,5})([mhdw])")


def amount_of(
    amount: str | None, amount_minor: int | None, currency: str, *, required: bool = True
) -> int | None:
    """Minor units from ``--amount`` or ``--amount-minor``; exactly one may be given.

    Raises:
        InvalidInput: ``amount.both``, ``amount.missing`` and those of ``money.parse_amount``.
    """
    if amount is not None and amount_minor is not None:
        raise InvalidInput("amount.both", field="amount")
    if amount is not None:
        return parse_amount(amount, currency)
    if amount_minor is not None:
        return check_amount_minor(amount_minor, currency, field="amount_minor")
    if required:
        raise InvalidInput("amount.missing", field="amount", currency=currency)
    return None


def required_amount(amount: str | None, amount_minor: int | None, currency: str) -> int:
    """:func:`amount_of` where there must be one."""
    value = amount_of(amount, amount_minor, currency)
    if value is None:
        raise InvalidInput("amount.missing", field="amount", currency=currency)
    return value


def needed(**options: str) -> None:
    """Options and arguments that only another way to call the command does without.

    Raises:
        InvalidInput: ``option.needed``, naming the first that is missing.
    """
    for name, value in options.items():
        if not value:
            raise InvalidInput("option.needed", field=name)


def needs_no_dry_run() -> None:
    """
    Raises:
        InvalidInput: ``option.no_dry_run``: a batch cannot be rehearsed.
    """
    if session().dry_run:
        raise InvalidInput("option.no_dry_run", field="dry-run")


def span_of(text: str, *, field: str) -> timedelta:
    """``30m``, ``24h``, ``7d``, ``2w`` as a length of time.

    Raises:
        InvalidInput: ``time.bad_span``.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise InvalidInput("time.bad_span", field=field, text=text[:40])
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def moment_of(text: str, *, field: str, end: bool = False) -> datetime:
    """A typed point in time, aware and in UTC.

    ``7d`` is that long ago; ``2026-11-01`` is the beginning of that day in the session's zone, and
    with *end* the beginning of the next one, because until is exclusive; RFC 3339 is taken as it
    is, in the session's zone when it names none.

    Raises:
        InvalidInput: ``time.bad_moment``.
    """
    raw = text.strip()
    now = session().now()
    if raw in ("now", "today"):
        return now if raw == "now" else _midnight(now.astimezone(session().tz).date(), end)
    if _SPAN.fullmatch(raw):
        return now - span_of(raw, field=field)
    try:
        if len(raw) == 10:
            return _midnight(date.fromisoformat(raw), end)
        at = datetime.fromisoformat(raw)
    except (ValueError, OverflowError):
        raise InvalidInput("time.bad_moment", field=field, text=raw[:40]) from None
    return (at if at.tzinfo else at.replace(tzinfo=session().tz)).astimezone(UTC)


def _midnight(day: date, end: bool) -> datetime:
    start = day + timedelta(days=1) if end else day
    return datetime.combine(start, time(), session().tz).astimezone(UTC)


def _since(text: str) -> datetime:
    return moment_of(text, field="since")


def _until(text: str) -> datetime:
    return moment_of(text, field="until", end=True)


def _as_of(text: str) -> datetime:
    return moment_of(text, field="as-of", end=True)


KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="KEY", help="Idempotency key: the same line with the same key acts once."
    ),
]
ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; kept in ledger and audit.")
]
AmountOption = Annotated[
    str | None,
    typer.Option("--amount", metavar="25.00", help="Amount with exactly the currency's decimals."),
]
AmountMinorOption = Annotated[
    int | None,
    typer.Option("--amount-minor", metavar="2500", help="Amount in minor units, for machines."),
]
CurrencyOption = Annotated[
    str, typer.Option("--currency", metavar="EUR", help="Currency, ISO 4217.")
]
CurrencyFilter = Annotated[
    str | None, typer.Option("--currency", metavar="EUR", help="Only this currency.")
]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, max=1000, metavar="N", help="Items at most.")
]
AfterOption = Annotated[
    str | None,
    typer.Option("--after", metavar="CURSOR", help="Go on after this cursor of a cut list."),
]
AllOption = Annotated[bool, typer.Option("--all", help="Every item, streamed.")]
SinceOption = Annotated[
    datetime | None,
    typer.Option("--since", metavar="7d|DATE", parser=_since, help="From then on."),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option("--until", metavar="DATE", parser=_until, help="Up to the end of that day."),
]
AsOfOption = Annotated[
    datetime | None,
    typer.Option("--as-of", metavar="DATE", parser=_as_of, help="As it was at the end of then."),
]
StatusOption = Annotated[
    str | None, typer.Option("--status", metavar="STATUS", help="Only this status.")
]
GatewayOption = Annotated[
    str | None, typer.Option("--gateway", metavar="ACCOUNT", help="Only this gateway account.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask (live profiles).")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done and posted; change nothing.")
]
ConfirmOption = Annotated[
    str | None,
    typer.Option("--confirm", metavar="TEXT", help="Answer to a severe change: '150000 XOF'."),
]
