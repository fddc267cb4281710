"""``payctl gateways limits`` and ``fees``: the terms of each account, as operators set them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl.cli.framework import (
    Column,
    CurrencyOption,
    ReasonOption,
    command,
    confirm,
    emit,
    emit_list,
    session,
)
from payctl.cli.gateway_app import Account, AccountFilter, FromOption, fees, limits
from payctl.errors import InvalidInput
from payctl.money import parse_amount

if TYPE_CHECKING:
    from payctl.payments.gateway_settings import FeeRow, LimitRow

LIMITS = (
    Column("gateway", "id", rank=0),
    Column("currency", rank=0),
    Column("min_minor", "money", label="smallest", rank=0),
    Column("max_minor", "money", label="largest", rank=0),
    Column("valid_from", "time", rank=1),
    Column("set_by", rank=1),
)
FEES = (
    Column("gateway", "id", rank=0),
    Column("currency", rank=0),
    Column("method", rank=0),
    Column("rate_ppm", "rate", label="rate", rank=0),
    Column("fixed_minor", "money", label="fixed", rank=0),
    Column("valid_from", "time", rank=1),
    Column("set_by", rank=1),
)
HistoryOption = Annotated[
    bool, typer.Option("--history", help="Everything that was set, the latest first.")
]
_PERCENT = re.compile(r"([0-9]{1,3})(?:[.,]([0-9]{1,4}))?")


@command(
    limits,
    "list",
    examples=["payctl gateways limits list", "payctl gateways limits list stripe --history"],
)
def list_limits(gateway: AccountFilter = None, history: HistoryOption = False) -> None:
    """List the limits set by hand; what a provider declares is in gateways show."""
    settings = session().app.gateway_settings
    if gateway is not None:
        settings.known(gateway)
    found = settings.limit_history(gateway) if history else settings.limits(gateway)
    emit_list(
        map(limit_row, found),
        "payctl.gateway_limits/1",
        LIMITS,
        id_key="gateway",
    )


@command(
    limits,
    "set",
    changes=True,
    examples=[
        "payctl gateways limits set momo --currency XOF --min 100 --max 2000000 --reason contract",
        "payctl gateways limits set momo --currency XOF --lift --reason 'contract of May'",
    ],
)
def set_limit(
    gateway: Account,
    currency: CurrencyOption,
    reason: ReasonOption,
    smallest: Annotated[
        str | None, typer.Option("--min", metavar="25.00", help="Smallest amount of a payment.")
    ] = None,
    largest: Annotated[
        str | None, typer.Option("--max", metavar="25.00", help="Largest amount of a payment.")
    ] = None,
    lift: Annotated[bool, typer.Option("--lift", help="No limit of ours any more.")] = False,
    start: FromOption = None,
) -> None:
    """Set the smallest and largest amount of one payment on a gateway.

    It narrows what the provider declares. What is not given has no limit.
    """
    from payctl.payments.gateway_settings import LimitRow

    run = session()
    if lift is (smallest is not None or largest is not None):
        raise InvalidInput("gateway.limit_or_lift", field="min")
    confirm([f"{gateway}: {currency} {smallest or '-'} ... {largest or '-'}"])
    done = run.app.gateway_settings.set_limit(
        run.actor,
        gateway,
        currency,
        min_minor=_amount(smallest, currency, "min"),
        max_minor=_amount(largest, currency, "max"),
        reason=reason,
        valid_from=start,
        dry_run=run.dry_run,
    )
    new = LimitRow(gateway, currency, done.min_minor, done.max_minor, done.valid_from, done.actor)
    emit(limit_row(new), "payctl.gateway_limit/1", LIMITS, id_key="gateway")


@command(
    fees,
    "list",
    examples=["payctl gateways fees list", "payctl gateways fees list stripe --history"],
)
def list_fees(gateway: AccountFilter = None, history: HistoryOption = False) -> None:
    """List the fees each gateway is expected to charge."""
    settings = session().app.gateway_settings
    if gateway is not None:
        settings.known(gateway)
    found = settings.fee_history(gateway) if history else settings.fees(gateway)
    emit_list(map(fee_row, found), "payctl.gateway_fees/1", FEES, id_key="gateway")


@command(
    fees,
    "set",
    changes=True,
    examples=[
        "payctl gateways fees set stripe --currency EUR --percent 1.5 --fixed 0.25"
        " --method card --reason 'price list 2026'",
        "payctl gateways fees set momo --currency XOF --percent 2 --reason contract",
    ],
)
def set_fee(
    gateway: Account,
    currency: CurrencyOption,
    percent: Annotated[
        str, typer.Option("--percent", metavar="1.5", help="Per cent of the amount.")
    ],
    reason: ReasonOption,
    fixed: Annotated[
        str | None, typer.Option("--fixed", metavar="0.25", help="And so much for each payment.")
    ] = None,
    method: Annotated[
        str, typer.Option("--method", metavar="METHOD", help="Only for this method.")
    ] = "",
    start: FromOption = None,
) -> None:
    """Set what a gateway is expected to charge: routing prefers the cheaper.

    The ledger posts what the provider really charged, not this.
    """
    from payctl.payments.gateway_settings import FeeRow

    run = session()
    ppm, fixed_minor = _ppm(percent), _amount(fixed, currency, "fixed") or 0
    confirm([f"{gateway}: {percent} % + {fixed or '0'} {currency} {method}".rstrip()])
    done = run.app.gateway_settings.set_fee(
        run.actor,
        gateway,
        currency,
        ppm=ppm,
        fixed_minor=fixed_minor,
        method=method,
        reason=reason,
        valid_from=start,
        dry_run=run.dry_run,
    )
    new = FeeRow(gateway, currency, method, done.ppm, done.fixed_minor, done.valid_from, done.actor)
    emit(fee_row(new), "payctl.gateway_fee/1", FEES, id_key="gateway")


def limit_row(limit: LimitRow) -> dict[str, Any]:
    """A limit as JSON."""
    return {
        "gateway": limit.account,
        "currency": limit.currency,
        "min_minor": limit.min_minor,
        "max_minor": limit.max_minor,
        "valid_from": limit.valid_from,
        "set_by": limit.actor,
    }


def fee_row(fee: FeeRow) -> dict[str, Any]:
    """An expected fee as JSON."""
    return {
        "gateway": fee.account,
        "currency": fee.currency,
        "method": fee.method or None,
        "rate_ppm": fee.ppm,
        "fixed_minor": fee.fixed_minor,
        "valid_from": fee.valid_from,
        "set_by": fee.actor,
    }


def _amount(text: str | None, currency: str, field: str) -> int | None:
    return None if text is None else parse_amount(text, currency, field=field)


def _ppm(text: str) -> int:
    """A percentage as people write it, in parts per million: ``5``, ``1.4``, ``2,5``."""
    found = _PERCENT.fullmatch(text.strip().removesuffix("%").strip())
    if found is None:
        raise InvalidInput("gateway.fee_malformed", field="percent")
    return int(found[1] + (found[2] or "").ljust(4, "0"))
