"""``payctl payments``: take, follow, capture and cancel payments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli import payment_options as o
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
    SinceOption,
    StatusOption,
    UntilOption,
    command,
    confirm,
    emit_list,
    finish,
    needed,
    needs_no_dry_run,
    required_amount,
    session,
    span_of,
)
from payctl.cli.payment_app import app
from payctl.cli.payment_input import payment_input
from payctl.cli.payment_views import (
    COLUMNS,
    emit_payment,
    emit_rehearsal,
    emit_result,
)
from payctl.cli.standing import exit_of, new_key, tell
from payctl.payments.details import PaymentDetail, PaymentFilter
from payctl.payments.views import PAYMENTS, payment_json

if TYPE_CHECKING:
    from payctl.payments.queries import Queries

__all__ = ["app"]

_OUTCOMES = {
    ExitCode.DECLINED: "declined for good; no money moved",
    ExitCode.NOT_SENT: "nothing was sent: safe to pay again",
    ExitCode.OPEN: "sent, not known yet: same key or sync, never anew",
    ExitCode.CONFLICT: "the key was used for another payment",
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
        from payctl.cli import payment_batch

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

    It reads the book and asks nobody. With --watch the provider is asked when a look is due, and
    the money of a payment that its customer has approved is taken, as payments sync does.

    With --batch it answers many in one long-lived process: {"payment": "pay_..."} a line comes in,
    the payment goes out. See payctl help batch.
    """
    run = session()
    if batch is not None:
        queries = run.app.queries
        from payctl.cli.batch import serve_each

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
    from payctl.cli.batch_input import status_of

    payment_id = ids.decode(status_of(asked), "payment")
    found = queries.payment(payment_id)
    return payment_json(found), int(exit_of(found.payment, found.attempts))


# Their commands are listed after those above.
from payctl.cli import payment_steps  # noqa: E402, F401, I001
from payctl.cli import payment_files  # noqa: E402, F401
