"""``payctl gateways breaker``: show, reset and open the breakers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl.cli.framework import (
    Column,
    ExitCode,
    ReasonOption,
    command,
    confirm,
    emit,
    emit_list,
    session,
    undo,
)
from payctl.cli.gateway_app import Account, AccountFilter, ForOption, breaker, span

if TYPE_CHECKING:
    from payctl.payments.breaker_desk import BreakerView

COLUMNS = (
    Column("gateway", "id", rank=0),
    Column("class", rank=0),
    Column("state", "state", rank=0),
    Column("cause", rank=0),
    Column("since", "time", rank=2),
    Column("next_probe_at", "time", label="next probe", rank=1),
    Column("calls", "number", rank=1),
    Column("failed", "number", rank=1),
    Column("slowed", "number", rank=3),
    Column("slow", rank=3),
    Column("openings", "number", rank=4),
    Column("forced_by", rank=4),
)
ClassOption = Annotated[
    str,
    typer.Option("--class", metavar="CLASS", help="collect, refund, payout or read."),
]


@command(
    breaker,
    "show",
    examples=["payctl gateways breaker show", "payctl gateways breaker show stripe --json"],
    exits={ExitCode.NOT_FOUND: "no such gateway"},
)
def show(gateway: AccountFilter = None) -> None:
    """Show the breakers, with the calls of the last five minutes."""
    found = session().app.breaker_desk.show(gateway)
    emit_list(map(row, found), "payctl.breakers/1", COLUMNS, id_key="gateway")


@command(
    breaker,
    "reset",
    changes=True,
    examples=[
        "payctl gateways breaker reset stripe --reason 'new key in place'",
        "payctl gateways breaker reset momo --class refund --reason 'provider says it is back'",
    ],
)
def reset(gateway: Account, reason: ReasonOption, op_class: ClassOption = "collect") -> None:
    """Close a breaker; the only way out once a provider has refused our credentials."""
    run = session()
    confirm([f"{gateway}: breaker of {op_class} closed"])
    done = run.app.breaker_desk.reset(
        run.actor, gateway, op_class, reason=reason, dry_run=run.dry_run
    )
    emit(row(done), "payctl.breaker/1", COLUMNS, id_key="gateway")
    undo(f"payctl gateways breaker open {gateway} --class {op_class} --for 30m --reason TEXT")


@command(
    breaker,
    "open",
    changes=True,
    examples=[
        "payctl gateways breaker open stripe --for 30m --reason 'incident at Stripe'",
        "payctl gateways breaker open momo --class payout --reason 'float is empty'",
    ],
    exits={ExitCode.APPROVAL: "above an hour a second person must approve; the request was made"},
)
def open_(
    gateway: Account,
    reason: ReasonOption,
    op_class: ClassOption = "collect",
    lasting: ForOption = None,
) -> None:
    """Open a breaker by force; without --for until somebody resets it."""
    run = session()
    confirm([f"{gateway}: breaker of {op_class} open" + (f" for {lasting}" if lasting else "")])
    done = run.app.breaker_desk.open(
        run.actor,
        gateway,
        op_class,
        reason=reason,
        lasting=span(lasting) if lasting is not None else None,
        dry_run=run.dry_run,
    )
    emit(row(done), "payctl.breaker/1", COLUMNS, id_key="gateway")
    undo(f"payctl gateways breaker reset {gateway} --class {op_class} --reason TEXT")


def row(view: BreakerView) -> dict[str, Any]:
    """A breaker as JSON."""
    verdict = view.verdict
    return {
        "gateway": view.account,
        "class": view.op_class,
        "state": str(verdict.state),
        "cause": str(verdict.reason) if verdict.reason is not None else None,
        "since": view.since,
        "next_probe_at": verdict.next_probe_at,
        "calls": view.calls,
        "failed": view.failed,
        "slowed": view.limited,
        "slow": view.slow,
        "openings": view.open_count,
        "forced_by": view.forced_by,
    }
