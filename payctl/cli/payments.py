"""``payctl payments``: take, follow, capture and cancel payments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli import batch_input, payment_batch, payment_files
from payctl.cli import payment_options as o
from payctl.cli.batch import serve_each
from payctl.cli.framework import (
    AfterOption,
    AllOption,
    AmountMinorOption,
    AmountOption,
    CurrencyFilter,
    CurrencyOption,
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
    needed,
    needs_no_dry_run,
    progress,
    required_amount,
    session,
    span_of,
)
from payctl.cli.payment_app import app
from payctl.cli.payment_input import payment_input
from payctl.cli.payment_views import (
    COLUMNS,
    STATISTICS,
    emit_payment,
    emit_rehearsal,
    emit_result,
    emit_step_rehearsal,
    emit_sync,
)
from payctl.cli.standing import exit_of, exit_of_step, new_key, tell
from payctl.errors import InvalidInput
from payctl.payments.details import PaymentDetail, PaymentFilter
from payctl.payments.model import Operation
from payctl.payments.views import PAYMENTS, payment_json, statistic_json

if TYPE_CHECKING:
    from payctl.payments.queries import Queries

__all__ = ["app", "payment_files"]

_OUTCOMES = {
    ExitCode.DECLINED: "declined for good; no money moved",
    ExitCode.NOT_SENT: "nothing was sent: safe to pay again",
    ExitCode.OPEN: "sent, not known yet: same key or sync, never anew",
    ExitCode.CONFLICT: "the key was used for another payment",
}
_STEPS = {
    ExitCode.CONFLICT: "the payment is in another state",
    ExitCode.OPEN: "sent, not known yet: payctl payments sync PAYMENT",
}


@command(
    app,
    "process",
    changes=True,
    examples=[
        "payctl payments process --amount 25.00 --currency EUR --method card"
        " --organiser org-1 --order o-1 --payment-token tok_visa --key o-1",
        "payctl payments process --amount 15000 --currency XOF --method mobile_money"
        " --organiser org-1 --phone +2250700000034 --country CI --dry-run",
        "payctl payments process --batch - --workers 32 --yes",
    ],
    exits=_OUTCOMES,
)
def process(
    currency: CurrencyOption = "",
    method: o.Method = "",
    organiser: o.Organiser = "",
    amount: AmountOption = None,
    amount_minor: AmountMinorOption = None,
    order: o.Order = None,
    event: o.Event = None,
    user: o.User = None,
    email: o.Email = None,
    phone: o.Phone = None,
    country: o.Country = None,
    description: o.Description = "",
    preferred: o.Preferred = None,
    sale_type: o.SaleType = "ticket_sale",
    capture: o.CaptureMode = "automatic",
    payment_token: o.PaymentToken = None,
    line: o.Lines = None,
    metadata: o.Metadata = None,
    return_url: o.ReturnUrl = None,
    cancel_url: o.CancelUrl = None,
    expires_in: o.ExpiresIn = None,
    key: KeyOption = None,
    batch: o.Batch = None,
    workers: o.Workers = 16,
) -> None:
    """Take a payment.

    The same line with the same key acts once and answers the same, however often it is repeated.
    With --batch it takes many, in one long-lived process: a JSON object a line comes in, with these
    options as fields (amount_minor, payment_token, expires_in_s ...), and an answer a line goes
    out, in any order, with its key and exit_code. See payctl help batch.
    """
    run = session()
    if batch is not None:
        needs_no_dry_run()
        confirm([f"take the payments of {batch}"])
        payment_batch.serve(batch, workers)
        return
    needed(currency=currency, method=method, organiser=organiser)
    minor = required_amount(amount, amount_minor, currency)
    wanted = payment_input(
        key=key or "none", amount_minor=minor, currency=currency, method=method,
        organiser=organiser, order=order, event=event, user=user, email=email, phone=phone,
        country=country, description=description, preferred=preferred, sale_type=sale_type,
        capture=capture, payment_token=payment_token, lines=line or (), metadata=metadata or (),
        return_url=return_url, cancel_url=cancel_url, expires_in=expires_in,
    ).validated()  # fmt: skip
    confirm([f"take a payment by {method} for {organiser}, order {order or '-'}"], minor, currency)
    if run.dry_run:
        emit_rehearsal(run.app.payments.rehearse(run.actor, wanted))
        return
    result = run.app.payments.process(run.actor, replace(wanted, key=key or new_key()))
    emit_result(result)
    finish(exit_of(result.payment, result.attempts))


@command(
    app,
    "list",
    examples=[
        "payctl payments list --since 7d",
        "payctl payments list --status open --gateway stripe --json",
        "payctl payments list --organiser org-1 --currency XOF --all -o csv",
    ],
)
def list_payments(
    status: StatusOption = None,
    gateway: GatewayOption = None,
    currency: CurrencyFilter = None,
    organiser: o.OrganiserFilter = None,
    order: o.OrderFilter = None,
    event: o.EventFilter = None,
    since: SinceOption = None,
    until: UntilOption = None,
    review: Annotated[
        bool, typer.Option("--review", help="Only those that need a person's look.")
    ] = False,
    limit: LimitOption = 50,
    after: AfterOption = None,
    every: AllOption = False,
) -> None:
    """List payments, newest first; --status open takes all that have not ended."""
    queries = session().app.queries
    wanted = PaymentFilter(status, gateway, currency, organiser, order, event, since, until, review)
    found: Iterable[PaymentDetail]
    cursor = None
    if every:
        found = queries.all_payments(wanted)
    else:
        page = queries.payments(
            wanted, after=ids.decode(after, "payment") if after else None, limit=limit
        )
        found, cursor = page.items, page.next
    emit_list(
        map(payment_json, found),
        PAYMENTS,
        COLUMNS,
        next_cursor=ids.encode("payment", cursor) if cursor else None,
        hint="payctl payments show ID",
    )


@command(
    app,
    "show",
    examples=["payctl payments show pay_...", "payctl payments show pay_... --json"],
    exits={ExitCode.NOT_FOUND: "there is no such payment in this book"},
)
def show(
    payment: o.PaymentId,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show the phone number in full; this is audited.")
    ] = False,
) -> None:
    """Show a payment with its attempts, lines, captures and refunds, and where its money is."""
    run = session()
    payment_id = ids.decode(payment, "payment")
    if reveal:
        run.app.lookup.reveal(run.actor, payment_id)
    found = run.app.queries.payment(payment_id)
    emit_payment(found, full=True, reveal=reveal)
    tell(run.app.lookup.situation(payment_id))


@command(
    app,
    "status",
    examples=[
        "payctl payments status pay_...",
        "payctl payments status pay_... --watch --for 5m",
        "payctl payments status --batch -",
    ],
    exits=_OUTCOMES,
)
def status(
    payment: o.PaymentIdOrBatch = "",
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow it until it has ended, asking when it is due.")
    ] = False,
    span: Annotated[
        str, typer.Option("--for", metavar="15m", help="How long to follow it.")
    ] = "15m",
    batch: o.Batch = None,
    workers: o.Workers = 16,
) -> None:
    """Say where a payment stands; the exit code says it to scripts.

    With --batch it answers many in one long-lived process: {"payment": "pay_..."} a line comes in,
    the payment goes out. See payctl help batch.
    """
    run = session()
    if batch is not None:
        queries = run.app.queries
        serve_each(batch, workers, "payment", lambda asked: _status_answer(queries, asked))
        return
    needed(payment=payment)
    payment_id = ids.decode(payment, "payment")
    found = run.app.queries.payment(payment_id)
    limit = span_of(span, field="for")
    for found in run.app.watch.follow(run.actor, payment_id, limit) if watch else ():
        if run.output != "json":
            emit_payment(found)
    if not watch or run.output == "json":
        emit_payment(found)
    tell(run.app.lookup.situation(payment_id))
    finish(exit_of(found.payment, found.attempts))


def _status_answer(queries: Queries, asked: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    payment_id = ids.decode(batch_input.status_of(asked), "payment")
    found = queries.payment(payment_id)
    return payment_json(found), int(exit_of(found.payment, found.attempts))


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
        "payctl payments statistics --by day --organiser org-1 -o csv",
    ],
)
def statistics(
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="KEY",
            help="status, gateway, currency, organiser, method, day or sale_type.",
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

    A day is one of the book's time zone.
    """
    wanted = PaymentFilter(status, gateway, currency, organiser, None, event, since, until)
    found = session().app.statistics.by(by, wanted)
    emit_list(map(statistic_json, found), "payctl.payment_statistics/1", STATISTICS, id_key="value")
