"""``payctl float``: the money that lies at providers for payouts, and how it gets there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli.entries import entries_json
from payctl.cli.framework import (
    AfterOption,
    AmountMinorOption,
    AmountOption,
    Column,
    CurrencyOption,
    ExitCode,
    GatewayOption,
    KeyOption,
    LimitOption,
    ReasonOption,
    StatusOption,
    amount_of,
    command,
    confirm,
    emit,
    emit_entries,
    emit_list,
    finish,
    group,
    note,
    noun,
    required_amount,
    session,
    undo,
)
from payctl.cli.gateway_app import Account
from payctl.cli.messages import say
from payctl.cli.standing import new_key
from payctl.errors import InvalidInput
from payctl.money import format_amount, format_money, parse_amount

if TYPE_CHECKING:
    from payctl.payments.float_topups import TopUp, TopUpResult
    from payctl.payments.float_watch import Alarm

app = noun("float")
alarms = group(app, "alarms", "below how much a float is low")
COLUMNS = (
    Column("id", "id", rank=0),
    Column("status", "state", rank=0),
    Column("gateway", rank=1),
    Column("amount_minor", "money", rank=0),
    Column("arrived_minor", "money", label="arrived", rank=2),
    Column("bank", rank=1),
    Column("requested_by", rank=3),
    Column("requested_at", "time", rank=2),
    Column("reason", rank=4),
)
VIEW = (
    *COLUMNS,
    Column("sent_at", "time"),
    Column("ended_at", "time"),
    Column("reference"),
    Column("approval", "id"),
)
ALARMS = (
    Column("gateway", "id", rank=0),
    Column("currency", rank=0),
    Column("below_minor", "money", label="below", rank=0),
    Column("set_at", "time", rank=1),
    Column("set_by", rank=1),
    Column("reason", rank=2),
)
SCHEMA = "payctl.float_topup/1"
TopUpId = Annotated[str, typer.Argument(metavar="TOPUP", help="The top-up (top_...).")]


@command(
    app,
    "topup",
    changes=True,
    examples=[
        "payctl float topup mtn-ci --amount 500000 --currency XOF --from boa"
        " --reason 'payouts of Friday' --key float-2026-11-02",
        "payctl float topup mtn-ci --amount 500000 --currency XOF --from boa --reason payday"
        " --dry-run",
    ],
    exits={
        ExitCode.APPROVAL: "a second person must approve it first",
        ExitCode.DECLINED: "it was refused, taken back, or nobody approved it in time",
    },
)
def topup(
    gateway: Account,
    currency: CurrencyOption,
    bank: Annotated[
        str, typer.Option("--from", metavar="BANK", help="Our bank account (bank:BANK).")
    ],
    reason: ReasonOption,
    amount: AmountOption = None,
    amount_minor: AmountMinorOption = None,
    key: KeyOption = None,
    new_bank: Annotated[
        bool, typer.Option("--new-bank", help="The bank account is not in the book yet.")
    ] = False,
) -> None:
    """Note that money has left a bank account of ours to fill a gateway's float.

    The transfer is made at the bank; payctl books it, from the bank into transit, and float arrived
    books its end. The bank account must be one of the book, in that currency. Above
    the threshold a second person must approve first.
    """
    run = session()
    minor = required_amount(amount, amount_minor, currency)
    confirm([f"float top-up of {gateway} from bank {bank}: {reason}"], minor, currency)
    chosen = key or ("none" if run.dry_run else new_key())
    done = run.app.float_topups.request(
        run.actor, gateway, amount_minor=minor, currency=currency, bank=bank, reason=reason,
        key=chosen, new_bank=new_bank, dry_run=run.dry_run,
    )  # fmt: skip
    _emit(done)
    if done.topup.state == "awaiting_approval":
        note(say("float_waits", run.lang, approval=_approval(done.topup)))
        if not run.dry_run:
            undo(f"payctl float cancel {ids.encode('topup', done.topup.id)} --reason TEXT")
        finish(ExitCode.APPROVAL)
    if done.topup.state in ("rejected", "expired", "canceled", "returned"):
        finish(ExitCode.DECLINED)
    if run.dry_run:
        return
    name = ids.encode("topup", done.topup.id)
    if done.topup.state == "sent":
        money = format_money(minor, currency)
        note(say("float_sent", run.lang, amount=money, bank=bank, gateway=gateway, id=name))
        undo(f"payctl float cancel {name} --reason TEXT")


@command(
    app,
    "arrived",
    changes=True,
    examples=[
        "payctl float arrived top_... --reference BOA-2026-77",
        "payctl float arrived top_... --amount 498500 --dry-run",
    ],
    exits={ExitCode.CONFLICT: "it is not on its way"},
)
def arrived(
    topup: TopUpId,
    amount: AmountOption = None,
    amount_minor: AmountMinorOption = None,
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="TEXT", help="The transfer's reference.")
    ] = None,
) -> None:
    """Note that a top-up has arrived: the provider's float shows it.

    With --amount less than was sent, the rest is booked as the banks' fee.
    """
    run = session()
    topup_id = ids.decode(topup, "topup")
    found = run.app.float_topups.get(topup_id)
    came = amount_of(amount, amount_minor, found.currency, required=False)
    shown = found.amount_minor if came is None else came
    confirm([f"top-up {topup} has arrived at {found.account}"], shown, found.currency)
    done = run.app.float_topups.arrived(
        run.actor, topup_id, arrived_minor=came, reference=reference, dry_run=run.dry_run
    )
    _emit(done)


@command(
    app,
    "cancel",
    changes=True,
    examples=[
        "payctl float cancel top_... --reason 'the bank sent it back'",
        "payctl float cancel top_... --reason typo --dry-run",
    ],
    exits={ExitCode.CONFLICT: "it has arrived, or was taken back before"},
)
def cancel(topup: TopUpId, reason: ReasonOption) -> None:
    """Take a top-up back: it was not sent, or the money has come back to the bank."""
    run = session()
    topup_id = ids.decode(topup, "topup")
    found = run.app.float_topups.get(topup_id)
    confirm([f"take back top-up {topup} of {found.account}"], found.amount_minor, found.currency)
    _emit(run.app.float_topups.cancel(run.actor, topup_id, reason=reason, dry_run=run.dry_run))


@command(
    app,
    "list",
    examples=["payctl float list --status open", "payctl float list --gateway mtn-ci --json"],
)
def list_topups(
    status: StatusOption = None,
    gateway: GatewayOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
) -> None:
    """List top-ups, newest first; --status open takes those that wait or are on their way."""
    last = ids.decode(after, "topup") if after else None
    found = session().app.float_topups.list(
        account=gateway, state=status, after=last, limit=limit + 1
    )
    cursor = ids.encode("topup", found[limit - 1].id) if len(found) > limit else None
    emit_list(
        map(_json, found[:limit]), "payctl.float_topups/1", COLUMNS, next_cursor=cursor,
        hint="payctl float arrived ID",
    )  # fmt: skip


@command(
    alarms,
    "list",
    examples=["payctl float alarms list", "payctl float alarms list --history --json"],
)
def list_alarms(
    gateway: GatewayOption = None,
    history: Annotated[bool, typer.Option("--history", help="What was set before, too.")] = False,
) -> None:
    """List the amounts below which a float is low."""
    found = session().app.float_watch.alarms(gateway, history=history)
    emit_list(map(_alarm, found), "payctl.float_alarms/1", ALARMS, id_key="gateway")


@command(
    alarms,
    "set",
    changes=True,
    examples=[
        "payctl float alarms set mtn-ci --currency XOF --below 500000 --reason 'two days'",
        "payctl float alarms set mtn-ci --currency XOF --lift --reason 'contract ended'",
    ],
)
def set_alarm(
    gateway: Account,
    currency: CurrencyOption,
    reason: ReasonOption,
    below: Annotated[
        str | None, typer.Option("--below", metavar="500000", help="Low below this amount.")
    ] = None,
    lift: Annotated[bool, typer.Option("--lift", help="No alarm any more.")] = False,
) -> None:
    """Set below which amount the float of a gateway is low.

    The job float_watch asks the provider and opens a case while it is; today, doctor and gateways
    balance --check tell it.
    """
    run = session()
    if lift is (below is not None):
        raise InvalidInput("float.below_or_lift", field="below")
    minor = parse_amount(below, currency, field="below") if below is not None else None
    before = {(each.account, each.currency): each for each in run.app.float_watch.alarms(gateway)}
    confirm([f"{gateway}: float low below {below or '-'} {currency}"])
    done = run.app.float_watch.set_alarm(
        run.actor, gateway, currency, below_minor=minor, reason=reason, dry_run=run.dry_run
    )
    emit(_alarm(done), "payctl.float_alarm/1", ALARMS, id_key="gateway")
    known = before.get((gateway, currency))
    word = "--lift"
    if known is not None and known.below_minor is not None:
        word = f"--below {format_amount(known.below_minor, currency)}"
    undo(f"payctl float alarms set {gateway} --currency {currency} {word} --reason TEXT")


def _emit(done: TopUpResult) -> None:
    if session().dry_run and session().output == "table":
        emit_entries(done.journals)
        return
    whole = {**_json(done.topup), "replayed": done.replayed}
    emit({**whole, "entries": entries_json(done.journals)}, SCHEMA, VIEW)


def _approval(found: TopUp) -> str | None:
    return ids.encode("approval", found.approval_id) if found.approval_id is not None else None


def _json(found: TopUp) -> dict[str, Any]:
    return {
        "id": ids.encode("topup", found.id),
        "status": found.state,
        "gateway": found.account,
        "amount_minor": found.amount_minor,
        "currency": found.currency,
        "arrived_minor": found.arrived_minor,
        "bank": found.bank,
        "reason": found.reason,
        "requested_by": found.requested_by,
        "requested_at": found.requested_at,
        "sent_at": found.sent_at,
        "ended_at": found.ended_at,
        "reference": found.reference,
        "approval": _approval(found),
    }


def _alarm(found: Alarm) -> dict[str, Any]:
    return {
        "gateway": found.account,
        "currency": found.currency,
        "below_minor": found.below_minor,
        "set_at": found.at,
        "set_by": found.actor,
        "reason": found.reason,
    }
