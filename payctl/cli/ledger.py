"""``payctl ledger``: accounts, entries, statements, trial balance, corrections, exports."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli import ledger_proof
from payctl.cli.framework import (
    AfterOption,
    AllOption,
    AsOfOption,
    Column,
    CurrencyFilter,
    ExitCode,
    KeyOption,
    LimitOption,
    ReasonOption,
    SinceOption,
    UntilOption,
    command,
    confirm,
    emit,
    emit_entries,
    emit_list,
    finish,
    note,
    session,
)
from payctl.cli.ledger_app import app
from payctl.cli.ledger_input import EXPORTS, cursor_of, export_lines, leg_of, new_key
from payctl.cli.messages import say
from payctl.errors import ApprovalRequired, InvalidInput
from payctl.ledger.accounts import split_full

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

    from payctl.ledger.reports import AccountBalance, StatementLine

__all__ = ["app", "ledger_proof"]

ACCOUNTS = (
    Column("account", "id", rank=0),
    Column("kind", rank=2),
    Column("balance_minor", "money", rank=0),
    Column("held_minor", "money", rank=3),
    Column("status", "state", rank=4),
)
CHART = (
    Column("code", "id", rank=0), Column("kind", rank=1), Column("pcg", rank=1),
    Column("syscohada", rank=1), Column("meaning", "long", rank=2),
)  # fmt: skip
ENTRIES = (
    Column("posted_at", "time", rank=1),
    Column("kind", rank=2),
    Column("account", "id", rank=0),
    Column("amount_minor", "money", rank=0),
    Column("balance_minor", "money", rank=3),
    Column("journal", "id", rank=4),
    Column("payment", "id", rank=5),
    Column("effective_at", "time", rank=6),
    Column("reason", rank=7),
)
STATEMENT = tuple(column for column in ENTRIES if column.key != "account")
TRIAL = (
    Column("account", "id", rank=0),
    Column("kind", rank=2),
    Column("debit_minor", "money", rank=0),
    Column("credit_minor", "money", rank=0),
    Column("balance_minor", "money", rank=1),
)
COVER = (
    Column("currency", rank=0),
    Column("assets_minor", "money", rank=0),
    Column("owed_minor", "money", rank=0),
    Column("surplus_minor", "money", rank=0),
)
AccountArgument = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="Code with currency: wallet:org-1:pending:EUR.")
]
RecordedOption = Annotated[
    bool, typer.Option("--recorded", help="As of what the book knew then, not what counts then.")
]


@command(
    app,
    "accounts",
    examples=[
        "payctl ledger accounts",
        "payctl ledger accounts --prefix gateway: --currency EUR",
        "payctl ledger accounts --chart",
    ],
)
def accounts(
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="TEXT", help="Only codes that begin so.")
    ] = "",
    currency: CurrencyFilter = None,
    as_of: AsOfOption = None,
    recorded: RecordedOption = False,
    chart: Annotated[
        bool, typer.Option("--chart", help="The codes there can be, with their national numbers.")
    ] = False,
) -> None:
    """List accounts with their balances, each in its own direction, now or --as-of."""
    run = session()
    with run.app.db.read() as tx:
        if chart:
            known = run.app.reports.chart(tx)
            emit_list(map(asdict, known), "payctl.chart/1", CHART, id_key="code")
            return
        found = run.app.reports.accounts(
            tx, prefix=prefix, currency=currency, as_of=as_of, by=_by(recorded)
        )
        as_it_was = _as_of(tx, as_of, recorded)
    emit_list(
        map(_account, found),
        "payctl.accounts/1",
        ACCOUNTS,
        id_key="account",
        hint="payctl ledger statement ACCOUNT",
        extra=as_it_was,
    )
    _tell_provisional(as_it_was)


@command(
    app,
    "account",
    examples=[
        "payctl ledger account gateway:sandbox:collect:EUR",
        "payctl ledger account wallet:org-1:pending:EUR --as-of 2026-10-31 --json",
    ],
)
def account(
    code: AccountArgument, as_of: AsOfOption = None, recorded: RecordedOption = False
) -> None:
    """Show one account's balance, now or --as-of."""
    run = session()
    name, currency = split_full(code)
    with run.app.db.read() as tx:
        found = run.app.reports.balance(tx, name, currency, as_of=as_of, by=_by(recorded))
        as_it_was = _as_of(tx, as_of, recorded)
    emit({**_account(found), **as_it_was}, "payctl.account/1", ACCOUNTS, id_key="account")
    _tell_provisional(as_it_was)


@command(
    app,
    "entries",
    examples=[
        "payctl ledger entries --since 1d",
        "payctl ledger entries --payment pay_... --json",
        "payctl ledger entries --account wallet:org-1:pending:EUR --limit 10",
    ],
)
def entries(
    code: Annotated[
        str | None, typer.Option("--account", metavar="ACCOUNT", help="Only this account.")
    ] = None,
    payment: Annotated[
        str | None, typer.Option("--payment", metavar="PAYMENT", help="Only this payment's.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="Only journals of this kind.")
    ] = None,
    journal: Annotated[
        str | None, typer.Option("--journal", metavar="JOURNAL", help="Only this journal's.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="Only what this key posted.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    everything: AllOption = False,
) -> None:
    """List entries, the newest first. Debits are positive."""
    run = session()
    name, currency = split_full(code) if code else (None, None)
    with run.app.db.read() as tx:
        found = run.app.reports.entries(
            tx,
            code=name,
            currency=currency,
            payment_id=ids.decode(payment, "payment") if payment else None,
            kind=kind,
            journal_id=ids.decode(journal, "journal") if journal else None,
            posting_key=key,
            since=since,
            until=until,
            after=cursor_of(after),
            limit=None if everything else limit,
        )
    cut = None
    if not everything and len(found) == limit:
        cut = f"{ids.encode('journal', found[-1].journal_id)}.{found[-1].leg}"
    emit_list(map(_entry, found), "payctl.ledger_entries/1", ENTRIES, next_cursor=cut,
              id_key="journal", hint="payctl trace JOURNAL")  # fmt: skip


@command(
    app,
    "statement",
    examples=[
        "payctl ledger statement wallet:org-1:pending:EUR",
        "payctl ledger statement gateway:sandbox:collect:EUR --since 2026-11-01 -o csv",
    ],
)
def statement(code: AccountArgument, since: SinceOption = None, until: UntilOption = None) -> None:
    """Show an account's entries with the balance after each, oldest first."""
    run = session()
    name, currency = split_full(code)
    with run.app.db.read() as tx:
        found = run.app.reports.statement(tx, name, currency, since=since, until=until)
    emit_list(
        map(_entry, found.lines),
        "payctl.ledger_statement/1",
        STATEMENT,
        id_key="journal",
        extra={
            "account": found.account,
            "currency": currency,
            "opening_minor": found.opening_minor,
            "closing_minor": found.closing_minor,
        },
    )


@command(
    app,
    "trial-balance",
    examples=[
        "payctl ledger trial-balance",
        "payctl ledger trial-balance --as-of 2026-10-31 --json",
    ],
    exits={ExitCode.CHECK_FAILED: "debits and credits differ"},
)
def trial_balance(as_of: AsOfOption = None, recorded: RecordedOption = False) -> None:
    """Show debits and credits of every account, and their totals per currency."""
    run = session()
    with run.app.db.read() as tx:
        found = run.app.reports.trial_balance(tx, as_of=as_of, by=_by(recorded))
        as_it_was = _as_of(tx, as_of, recorded)
    totals = [
        {"account": f"{say('total', run.lang)}:{t.currency}", "currency": t.currency,
         "debit_minor": t.debit_minor, "credit_minor": t.credit_minor}
        for t in found.totals
    ]  # fmt: skip
    lines = [
        {"account": line.account, "kind": line.kind, "currency": line.currency,
         "debit_minor": line.debit_minor, "credit_minor": line.credit_minor,
         "balance_minor": line.balance_minor}
        for line in found.lines
    ]  # fmt: skip
    shown = lines if run.is_json else [*lines, *totals]
    emit_list(shown, "payctl.trial_balance/1", TRIAL, id_key="account",
              extra={"totals": totals, "balanced": found.balanced, **as_it_was})  # fmt: skip
    _tell_provisional(as_it_was)
    if not found.balanced:
        finish(ExitCode.CHECK_FAILED)


@command(app, "cover", examples=["payctl ledger cover", "payctl ledger cover --json"])
def cover() -> None:
    """Show whether other people's money is covered by what lies with providers and banks."""
    run = session()
    with run.app.db.read() as tx:
        found = run.app.reports.cover(tx)
    emit_list(
        ({"currency": each.currency, "assets_minor": each.assets_minor,
          "owed_minor": each.owed_minor, "surplus_minor": each.surplus_minor} for each in found),
        "payctl.cover/1", COVER, id_key="currency",
    )  # fmt: skip


@command(
    app,
    "post",
    changes=True,
    examples=[
        "payctl ledger post --debit expense:write_off:EUR=0.03"
        ' --credit gateway:sandbox:collect:EUR=0.03 --reason "tolerated difference" --dry-run',
        "payctl ledger post --debit expense:goodwill:XOF=500"
        ' --credit wallet:org-1:available:XOF=500 --reason "ticket 4711" --key g-4711',
    ],
    exits={ExitCode.APPROVAL: "asked for; a second person must approve it"},
)
def post(
    reason: ReasonOption,
    debit: Annotated[
        list[str] | None,
        typer.Option("--debit", metavar="ACCOUNT=AMOUNT", help="An account to debit."),
    ] = None,
    credit: Annotated[
        list[str] | None,
        typer.Option(
            "--credit", metavar="ACCOUNT=AMOUNT", help="An account to credit; repeatable."
        ),
    ] = None,
    key: KeyOption = None,
) -> None:
    """Post a correction by hand (kind adjustment). It needs a second person."""
    run = session()
    legs = [leg_of(text, "debit") for text in debit or ()]
    legs += [leg_of(text, "credit") for text in credit or ()]
    if len(legs) < 2:
        raise InvalidInput("ledger.too_few_legs", field="debit")
    chosen = key or new_key(run)
    if run.dry_run:
        shown = run.app.adjustments.rehearse(run.actor, legs=legs, reason=reason, key=chosen)
        emit_entries([shown])
        return
    confirm([f"post {len(legs)} entries by hand: {reason}"], abs(legs[0].amount_minor),
            legs[0].currency)  # fmt: skip
    done = run.app.adjustments.request(run.actor, legs=legs, reason=reason, key=chosen)
    if done.posted is None:
        waiting = ids.encode("approval", done.approval_id) if done.approval_id else ""
        raise ApprovalRequired("ledger.approval_required", approval=waiting, key=chosen)
    emit_entries([done.posted])


@command(
    app,
    "export",
    examples=[
        "payctl ledger export --format hledger > book.journal",
        "payctl ledger export --format csv --since 2026-10-01 --until 2026-10-31",
    ],
)
def export(
    form: Annotated[
        str, typer.Option("--format", metavar="|".join(EXPORTS), help="Form of the export.")
    ] = "jsonl",
    since: SinceOption = None,
    until: UntilOption = None,
) -> None:
    """Write all journals to stdout, so that anybody can recompute the book."""
    for line in export_lines(session(), form, since, until):
        sys.stdout.write(line)


def _by(recorded: bool) -> Any:
    return "recorded" if recorded else "effective"


def _as_of(tx: sa.Connection, as_of: datetime | None, recorded: bool) -> dict[str, Any]:
    """The moment figures are of, and whether they may still change; nothing for those of now."""
    if as_of is None:
        return {}
    provisional = session().app.reports.provisional(tx, as_of, _by(recorded))
    return {"as_of": as_of, "by": _by(recorded), "provisional": provisional}


def _tell_provisional(as_it_was: dict[str, Any]) -> None:
    if as_it_was.get("provisional"):
        word = "provisional_recorded" if as_it_was["by"] == "recorded" else "provisional_effective"
        note(say(word, session().lang))


def _account(found: AccountBalance) -> dict[str, Any]:
    return {
        "account": found.account,
        "kind": found.kind,
        "balance_minor": found.own_minor,
        "held_minor": found.held_minor,
        "currency": found.currency,
        "status": found.status,
    }


def _entry(line: StatementLine) -> dict[str, Any]:
    return {
        "journal": ids.encode("journal", line.journal_id),
        "leg": line.leg,
        "kind": line.kind,
        "account": line.account,
        "amount_minor": line.amount_minor,
        "balance_minor": line.balance_minor,
        "currency": line.currency,
        "payment": ids.encode("payment", line.payment_id) if line.payment_id else None,
        "posted_at": line.posted_at,
        "effective_at": line.effective_at,
        "reason": line.reason,
    }
