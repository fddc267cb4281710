"""``payctl payments``: what is done with payments that were taken: capture, cancel, sync, sums."""

from __future__ import annotations

from typing import Annotated

import typer

from payctl import ids
from payctl.cli import payment_options as o
from payctl.cli.framework import (
    AmountMinorOption,
    AmountOption,
    CurrencyFilter,
    ExitCode,
    GatewayOption,
    KeyOption,
    LimitOption,
    ReasonOption,
    SinceOption,
    StatusOption,
    UntilOption,
    amount_of,
    command,
    confirm,
    emit_list,
    finish,
    progress,
    session,
    span_of,
)
from payctl.cli.payment_app import app
from payctl.cli.payment_views import (
    STATISTICS,
    emit_payment,
    emit_result,
    emit_step_rehearsal,
    emit_sync,
)
from payctl.cli.standing import exit_of, exit_of_step, new_key, tell
from payctl.errors import InvalidInput
from payctl.payments.details import PaymentFilter
from payctl.payments.model import Operation
from payctl.payments.views import statistic_json

_STEPS = {
    ExitCode.CONFLICT: "the payment is in another state",
    ExitCode.OPEN: "sent, not known yet: payctl payments sync PAYMENT",
}


@command(
    app,
    "capture",
    changes=True,
    examples=[
        "payctl payments capture pay_...",
        "payctl payments capture pay_... --amount 10.00 --partial --key o-1-first",
    ],
    exits=_STEPS,
)
def capture(
    payment: o.PaymentId,
    amount: AmountOption = None,
    amount_minor: AmountMinorOption = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Keep the rest held for further captures.")
    ] = False,
    key: KeyOption = None,
) -> None:
    """Take an authorised amount, or part of it; the rest is released unless --partial."""
    run = session()
    payment_id = ids.decode(payment, "payment")
    found = run.app.queries.payment(payment_id).payment
    asked = amount_of(amount, amount_minor, found.currency, required=False)
    at_stake = asked if asked is not None else found.capturable_minor
    confirm([f"capture {payment}"], at_stake, found.currency)
    if not run.dry_run and key is None:
        key = new_key()
    result = run.app.captures.capture(
        run.actor, payment_id, key=key or "none", amount_minor=asked, final=not partial,
        dry_run=run.dry_run,
    )  # fmt: skip
    if run.dry_run:
        emit_step_rehearsal(result)
        return
    emit_result(result)
    finish(exit_of_step(result.attempts, Operation.CAPTURE))


@command(
    app,
    "cancel",
    changes=True,
    examples=[
        'payctl payments cancel pay_... --reason "event called off"',
        "payctl payments cancel pay_... --reason double --dry-run",
    ],
    exits=_STEPS,
)
def cancel(payment: o.PaymentId, reason: ReasonOption) -> None:
    """End a payment without money: release what is held, revoke what is open.

    Captured money is given back with payctl refunds create.
    """
    run = session()
    payment_id = ids.decode(payment, "payment")
    found = run.app.queries.payment(payment_id).payment
    confirm([f"cancel {payment}, now {found.status}"], found.amount_minor, found.currency)
    result = run.app.captures.cancel(run.actor, payment_id, reason=reason, dry_run=run.dry_run)
    if run.dry_run:
        emit_step_rehearsal(result)
        return
    emit_result(result)
    finish(exit_of_step(result.attempts, Operation.VOID))


@command(
    app,
    "sync",
    changes=True,
    examples=[
        "payctl payments sync pay_...",
        "payctl payments sync --limit 1000",
        "payctl payments sync --older-than 1h",
        "payctl payments sync --since 2026-11-01",
    ],
    exits={ExitCode.OPEN: "a provider could not be asked, or the payment is still open"},
)
def sync(
    payment: Annotated[
        str | None, typer.Argument(metavar="[PAYMENT]", help="Only this payment, due or not.")
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="1h", help="Open ones begun before, due or not."),
    ] = None,
    since: SinceOption = None,
    limit: LimitOption = 500,
) -> None:
    """Ask the providers about what is open; without arguments about everything that is due.

    --since compares with what the providers list from then on, and books what we do not know.
    """
    from payctl.payments.sync import SyncReport

    run = session()
    if sum(each is not None for each in (payment, older_than, since)) > 1:
        raise InvalidInput("sync.one_way", field="since")
    if payment is not None:
        _sync_one(payment)
        return
    queries, service = run.app.queries, run.app.sync
    before = run.now() - span_of(older_than, field="older-than") if older_than else None
    chosen = queries.unfinished(before, limit) if before else queries.due(limit)
    confirm([f"ask the providers about {len(chosen)} payments"])
    if run.dry_run:
        emit_sync(SyncReport(), chosen)
        return
    report = SyncReport()
    with progress("payments sync", None if since else len(chosen)) as bar:
        if since is not None:
            report = service.since(run.actor, since)
        elif before is None:
            report = service.run(run.actor, limit=limit, tick=bar.advance)
        for payment_id in chosen if before else ():
            found = service.payment(run.actor, payment_id)
            report.counts.update(found.counts)
            report.changed += found.changed
            bar.advance()
    emit_sync(report)
    if report.counts["unreachable"]:
        finish(ExitCode.OPEN)


def _sync_one(payment: str) -> None:
    run = session()
    payment_id = ids.decode(payment, "payment")
    found = run.app.queries.payment(payment_id)
    confirm([f"ask the provider about {payment}"])
    if not run.dry_run:
        run.app.sync.payment(run.actor, payment_id)
        found = run.app.queries.payment(payment_id)
    emit_payment(found)
    tell(run.app.lookup.situation(payment_id))
    finish(exit_of(found.payment, found.attempts))


@command(
    app,
    "statistics",
    examples=[
        "payctl payments statistics --by gateway --since 30d",
        "payctl payments statistics --by code --since 24h --gateway momo",
        "payctl payments statistics --by day --organiser org-1 -o csv",
    ],
)
def statistics(
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="KEY",
            help="status, gateway, country, currency, organiser, method, code (why payments"
            " failed), day, hour or sale_type.",
        ),
    ] = "status",
    status: StatusOption = None,
    gateway: GatewayOption = None,
    currency: CurrencyFilter = None,
    organiser: o.OrganiserFilter = None,
    event: o.EventFilter = None,
    since: SinceOption = None,
    until: UntilOption = None,
) -> None:
    """Count and add up payments; currencies are never added together.

    A day and an hour are those of the book's time zone. p50 and p95 say how long gateways took to
    answer: half of the payments, 95 of 100, no longer than that. The trend is payments over the
    period, oldest first.
    """
    wanted = PaymentFilter(status, gateway, currency, organiser, None, event, since, until)
    found = session().app.statistics.by(by, wanted)
    emit_list(map(statistic_json, found), "payctl.payment_statistics/1", STATISTICS, id_key="value")
