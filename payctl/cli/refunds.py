"""``payctl refunds``: give captured money back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli.framework import (
    AfterOption,
    AllOption,
    AmountMinorOption,
    AmountOption,
    Column,
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
    emit,
    emit_list,
    finish,
    needed,
    needs_no_dry_run,
    note,
    noun,
    session,
)
from payctl.cli.messages import say
from payctl.cli.payment_options import Batch, PaymentIdOrBatch, Workers
from payctl.cli.payment_views import ATTEMPTS, emit_refund_rehearsal, filled
from payctl.cli.standing import exit_of_refund, new_key
from payctl.errors import InvalidInput
from payctl.insight.advice import about_refund
from payctl.ledger.accounts import float_, full_code
from payctl.money import format_money
from payctl.payments.details import RefundDetail, RefundFilter
from payctl.payments.model import INSUFFICIENT_FLOAT, RefundState
from payctl.payments.views import REFUND, REFUNDS, refund_json

if TYPE_CHECKING:
    from payctl.db.actor import Actor
    from payctl.payments.refunds import Refunds
    from payctl.payments.results import RefundResult

app = noun("refunds")
COLUMNS = (
    Column("id", "id", rank=0),
    Column("status", "state", rank=0),
    Column("amount_minor", "money", rank=0),
    Column("gateway", rank=2),
    Column("way", rank=3),
    Column("reason", rank=1),
    Column("requested_by", rank=3),
    Column("created_at", "time", rank=2),
    Column("payment", "id", rank=4),
)
VIEW = (
    Column("id", "id"),
    Column("payment", "id"),
    Column("status", "state"),
    Column("amount_minor", "money"),
    Column("gateway"),
    Column("way"),
    Column("destination"),
    Column("reason", "long"),
    Column("failure_code"),
    Column("approval"),
    Column("source"),
    Column("keep_commission"),
    Column("provider_reference"),
    Column("requested_by"),
    Column("created_at", "time"),
    Column("next_check_at", "time"),
    ATTEMPTS,
)
RefundId = Annotated[str, typer.Argument(metavar="REFUND", help="The refund (rfd_...).")]
_OUTCOMES = {
    ExitCode.DECLINED: "refused for good; the money is back where it came from",
    ExitCode.OPEN: "under way: same key or refunds status, never anew",
    ExitCode.APPROVAL: "a second person must approve it first",
}


@command(
    app,
    "create",
    changes=True,
    examples=[
        'payctl refunds create pay_... --full --reason "event called off" --key r-1',
        "payctl refunds create pay_... --amount 10.00 --reason goodwill --dry-run",
        "payctl refunds create --batch refunds.jsonl --yes",
    ],
    exits=_OUTCOMES,
)
def create(
    payment: PaymentIdOrBatch = "",
    reason: ReasonOption = "",
    amount: AmountOption = None,
    amount_minor: AmountMinorOption = None,
    full: Annotated[bool, typer.Option("--full", help="All that is left of it.")] = False,
    keep_commission: Annotated[
        bool, typer.Option("--keep-commission", help="The organiser bears our commission.")
    ] = False,
    key: KeyOption = None,
    batch: Batch = None,
    workers: Workers = 16,
) -> None:
    """Give back a payment, whole or in part.

    Where the provider has no refund but pays out, it goes back as a payout to whoever paid.

    The amount is set aside before the provider is asked; above the threshold a second person must
    approve. With --batch it makes many, in one long-lived process: a JSON object a line comes in
    (key, payment, amount_minor or full, reason), an answer a line goes out. See payctl help batch.
    """
    run = session()
    if batch is not None:
        needs_no_dry_run()
        confirm([f"make the refunds of {batch}"])
        service, actor = run.app.refunds, run.actor
        from payctl.cli.batch import serve_each

        serve_each(batch, workers, "refund", lambda asked: _answer(service, actor, asked))
        return
    needed(payment=payment, reason=reason)
    payment_id = ids.decode(payment, "payment")
    found = run.app.queries.payment(payment_id).payment
    asked = amount_of(amount, amount_minor, found.currency, required=False)
    if full == (asked is not None):
        raise InvalidInput("refund.amount_or_full", field="amount")
    at_stake = found.refundable_minor if asked is None else asked
    confirm([f"refund {payment}: {reason}"], at_stake, found.currency)
    if run.dry_run:
        result = run.app.refunds.rehearse(
            run.actor, payment_id, key=key or "none", reason=reason, amount_minor=asked,
            keep_commission=keep_commission,
        )  # fmt: skip
        emit_refund_rehearsal(result, _json(result))
        return
    result = run.app.refunds.create(
        run.actor, payment_id, key=key or new_key(), reason=reason, amount_minor=asked,
        keep_commission=keep_commission,
    )  # fmt: skip
    _end(result)


def _answer(refunds: Refunds, actor: Actor, asked: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    from payctl.cli.batch_input import refund_of

    wanted = refund_of(asked)
    result = refunds.create(
        actor, ids.decode(wanted["payment"], "payment"), key=wanted["key"],
        reason=wanted["reason"], amount_minor=wanted.get("amount_minor"),
        keep_commission=wanted.get("keep_commission", False),
    )  # fmt: skip
    return _json(result), int(exit_of_refund(result.refund))


@command(
    app,
    "list",
    examples=[
        "payctl refunds list --status open",
        "payctl refunds list --payment pay_... --json",
    ],
)
def list_refunds(
    status: StatusOption = None,
    payment: Annotated[
        str | None, typer.Option("--payment", metavar="PAYMENT", help="Only of this payment.")
    ] = None,
    gateway: GatewayOption = None,
    currency: CurrencyFilter = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    every: AllOption = False,
) -> None:
    """List refunds, newest first; --status open takes all that have not ended."""
    queries = session().app.queries
    payment_id = ids.decode(payment, "payment") if payment else None
    wanted = RefundFilter(status, payment_id, gateway, currency, since, until)
    found: Iterable[RefundDetail]
    cursor = None
    if every:
        found = queries.all_refunds(wanted)
    else:
        page = queries.refunds(
            wanted, after=ids.decode(after, "refund") if after else None, limit=limit
        )
        found, cursor = page.items, page.next
    emit_list(
        map(refund_json, found),
        REFUNDS,
        COLUMNS,
        next_cursor=ids.encode("refund", cursor) if cursor else None,
        hint="payctl refunds show ID",
    )


@command(
    app,
    "show",
    examples=["payctl refunds show rfd_...", "payctl refunds show rfd_... --json"],
    exits={ExitCode.NOT_FOUND: "there is no such refund in this book"},
)
def show(refund: RefundId) -> None:
    """Show a refund with its attempts, and where the money is."""
    found = session().app.queries.refund(ids.decode(refund, "refund"))
    _emit(found)
    _tell(found)


@command(
    app,
    "status",
    changes=True,
    examples=["payctl refunds status rfd_...", "payctl refunds status rfd_... --json"],
    exits=_OUTCOMES,
)
def status(refund: RefundId) -> None:
    """Ask the provider where a refund stands; the exit code says it to scripts."""
    run = session()
    refund_id = ids.decode(refund, "refund")
    found = run.app.queries.refund(refund_id)
    confirm([f"ask {found.refund.gateway_account} about {refund}"])
    if found.attempts and not run.dry_run:
        run.app.sync.payment(run.actor, found.refund.payment_id)
        found = run.app.queries.refund(refund_id)
    _emit(found)
    _tell(found)
    finish(exit_of_refund(found.refund))


@command(
    app,
    "send",
    changes=True,
    examples=["payctl refunds send rfd_...", "payctl refunds send rfd_... --dry-run"],
    exits=_OUTCOMES,
)
def send(refund: RefundId) -> None:
    """Send a refund that was proposed, approved, or waits for its gateway."""
    run = session()
    refund_id = ids.decode(refund, "refund")
    found = run.app.queries.refund(refund_id).refund
    confirm([f"send {refund}: {found.reason}"], found.amount_minor, found.currency)
    if run.dry_run:
        result = run.app.refunds.rehearse_send(run.actor, refund_id)
        emit_refund_rehearsal(result, _json(result))
        return
    _end(run.app.refunds.send(run.actor, refund_id))


@command(
    app,
    "retry",
    changes=True,
    examples=[
        'payctl refunds retry rfd_... --reason "new card confirmed"',
        "payctl refunds retry rfd_... --reason again --dry-run",
    ],
    exits={**_OUTCOMES, ExitCode.CONFLICT: "it has not come back"},
)
def retry(refund: RefundId, reason: ReasonOption) -> None:
    """Send a refund again that had succeeded and then came back."""
    run = session()
    refund_id = ids.decode(refund, "refund")
    found = run.app.queries.refund(refund_id).refund
    confirm([f"send {refund} again: {reason}"], found.amount_minor, found.currency)
    if run.dry_run:
        result = run.app.refunds.rehearse_send(run.actor, refund_id, again=True)
        emit_refund_rehearsal(result, _json(result))
        return
    _end(run.app.refunds.retry(run.actor, refund_id, reason=reason))


def _json(result: RefundResult) -> dict[str, Any]:
    found = RefundDetail(result.refund, result.attempts)
    return refund_json(found, replayed=result.replayed, approval_reason=result.approval_reason)


def _emit(found: RefundDetail) -> None:
    shown = refund_json(found)
    emit(shown, REFUND, filled(VIEW, shown))


def _end(result: RefundResult) -> None:
    """The refund after an act, what happened to the money, and the exit code."""
    run = session()
    shown = _json(result)
    emit(shown, REFUND, filled(VIEW, shown))
    if result.replayed:
        note(say("replayed", run.lang))
    _tell(RefundDetail(result.refund, result.attempts), result.approval_reason)
    finish(exit_of_refund(result.refund))


def _tell(found: RefundDetail, why: str | None = None) -> None:
    run = session()
    if run.is_json or run.quiet:
        return
    from payctl.cli.money_lines import money_lines

    refund = found.refund
    where = run.app.lookup.situation(refund.payment_id).whereabouts
    for line in money_lines(where, run.lang):
        note(line)
    if refund.state is RefundState.APPROVED and refund.failure_code == INSUFFICIENT_FLOAT:
        account = full_code(float_(refund.gateway_account), refund.currency)
        amount = format_money(refund.amount_minor, refund.currency)
        waiting = {"gateway": refund.gateway_account, "account": account, "amount": amount}
        note(say("refund_waits_for_float", run.lang, **waiting))
    waits = refund.state is RefundState.AWAITING_APPROVAL
    for line in about_refund(refund):
        if waits:
            note(say("approver", run.lang, reason=why or "approval", command=line))
        else:
            note(say("next", run.lang, command=line))
