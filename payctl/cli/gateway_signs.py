"""``payctl gateways health`` and ``balance``: what the providers answer when they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl.cli.framework import Column, ExitCode, command, emit_list, finish, note, session
from payctl.cli.gateway_app import AccountFilter, ForOption, app, span
from payctl.cli.messages import render, say
from payctl.money import format_money

if TYPE_CHECKING:
    from payctl.insight.gateway_health import GatewaySign
    from payctl.insight.provider_balances import Balances

HEALTH = (
    Column("gateway", "id", rank=0),
    Column("ok", rank=0),
    Column("latency_ms", "number", label="ms", rank=0),
    Column("breaker", "state", rank=1),
    Column("last_success_at", "time", label="last success", rank=2),
    Column("detail", rank=1),
)
BALANCE = (
    Column("gateway", "id", rank=0),
    Column("part", rank=0),
    Column("currency", rank=0),
    Column("theirs_minor", "money", label="theirs", rank=0),
    Column("ours_minor", "money", label="ours", rank=0),
    Column("difference_minor", "money", label="difference", rank=1),
)
#: Between two looks of --watch, in seconds.
EVERY_S = 5.0


@command(
    app,
    "health",
    examples=[
        "payctl gateways health",
        "payctl gateways health stripe --json",
        "payctl gateways health --watch --for 10m",
    ],
    exits={ExitCode.CHECK_FAILED: "a gateway did not answer, or refused us"},
)
def health(
    gateway: AccountFilter = None,
    watch: Annotated[bool, typer.Option("--watch", help="Ask again and again.")] = False,
    lasting: ForOption = None,
) -> None:
    """Ask all providers at once for a sign of life, with our credentials. No money is involved."""
    run = session()
    chosen = run.app.gateways
    if gateway is not None:
        chosen = {gateway: run.app.gateway_settings.known(gateway)}
    note(say("asking", run.lang, names=", ".join(chosen)))
    until = None
    if lasting is not None:
        until = run.clock.monotonic() + span(lasting).total_seconds()
    if watch:
        note(say("watching", run.lang, seconds=round(EVERY_S)))
    while True:
        seen = run.app.gateway_health.check(chosen)
        emit_list(map(_sign, seen), "payctl.gateway_health/1", HEALTH, id_key="gateway")
        if not watch or (until is not None and run.clock.monotonic() >= until):
            break
        run.clock.sleep(EVERY_S)
    if not all(each.ok for each in seen):
        finish(ExitCode.CHECK_FAILED)


@command(
    app,
    "balance",
    examples=[
        "payctl gateways balance",
        "payctl gateways balance mtn-ci --json",
        "payctl gateways balance --check",
    ],
    exits={ExitCode.CHECK_FAILED: "a provider did not answer; with --check also: a float is low"},
)
def balance(
    gateway: AccountFilter = None,
    check: Annotated[
        bool, typer.Option("--check", help="Fail when a float is below its alarm.")
    ] = False,
) -> None:
    """Ask the providers what they hold for us, beside what our books say.

    Where a provider keeps them apart, collect is what came in from sales and float is for payouts.
    """
    run = session()
    found = run.app.provider_balances(gateway)
    lines = [
        {
            "gateway": each.gateway,
            "part": each.part,
            "currency": each.currency,
            "theirs_minor": each.theirs_minor,
            "ours_minor": each.ours_minor,
            "difference_minor": each.difference_minor,
        }
        for each in found.lines
    ]
    low = [
        {
            "gateway": each.account,
            "currency": each.currency,
            "available_minor": each.available_minor,
            "below_minor": each.below_minor,
            "missing_minor": each.missing_minor,
        }
        for each in found.low
    ]
    failed = [{"gateway": account, "code": error.code} for account, error in found.failed]
    emit_list(
        lines, "payctl.gateway_balances/1", BALANCE, id_key="gateway",
        extra={"low": low, "failed": failed},
    )  # fmt: skip
    _tell(found)
    if failed or (check and low):
        finish(ExitCode.CHECK_FAILED)


def _tell(found: Balances) -> None:
    lang = session().lang
    for _account, error in found.failed:
        note(render(error, lang).text, always=True)
    for each in found.low:
        available = format_money(each.available_minor or 0, each.currency)
        missing = format_money(each.missing_minor, each.currency)
        below = format_money(each.below_minor, each.currency)
        note(
            say("float_low", lang, gateway=each.account, available=available, missing=missing,
                below=below),
            always=True,
        )  # fmt: skip


def _sign(seen: GatewaySign) -> dict[str, Any]:
    return {
        "gateway": seen.account,
        "ok": seen.ok,
        "latency_ms": seen.latency_ms,
        "breaker": seen.breaker,
        "last_success_at": seen.last_success_at,
        "detail": seen.detail,
    }
