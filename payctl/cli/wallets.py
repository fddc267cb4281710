"""``payctl wallets``: what each organiser and designer has with us."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from payctl import ids
from payctl.cli.framework import (
    AfterOption,
    AllOption,
    AsOfOption,
    Column,
    CurrencyFilter,
    LimitOption,
    SinceOption,
    UntilOption,
    command,
    emit_list,
    noun,
    session,
)
from payctl.cli.ledger_input import cursor_of
from payctl.errors import NotFound
from payctl.ledger.wallets import Wallet, part_of, wallets_of

app = noun("wallets")
COLUMNS = (
    Column("owner", "id", rank=0),
    Column("pending_minor", "money", rank=0),
    Column("available_minor", "money", rank=0),
    Column("owed_minor", "money", rank=1),
    Column("total_minor", "money", rank=0),
    Column("reserve_minor", "money", rank=3),
    Column("disputed_minor", "money", rank=4),
    Column("outgoing_minor", "money", rank=2),
    Column("held_minor", "money", rank=5),
)
TRANSACTIONS = (
    Column("posted_at", "time", rank=1),
    Column("kind", rank=1),
    Column("part", rank=0),
    Column("amount_minor", "money", rank=0),
    Column("balance_minor", "money", rank=2),
    Column("payment", "id", rank=3),
    Column("journal", "id", rank=4),
)
Owner = Annotated[str, typer.Argument(metavar="OWNER", help="Organiser or designer.")]


@command(app, "list", examples=["payctl wallets list", "payctl wallets list --currency XOF --json"])
def list_wallets(currency: CurrencyFilter = None) -> None:
    """List all wallets: sold and not yet payable, payable now, owed to us, and the sum."""
    run = session()
    with run.app.db.read() as tx:
        found = run.app.reports.accounts(tx, currency=currency)
    emit_list(map(_json, wallets_of(found)), "payctl.wallets/1", COLUMNS, id_key="owner",
              hint="payctl wallets transactions OWNER")  # fmt: skip


@command(
    app,
    "balance",
    examples=[
        "payctl wallets balance org-1",
        "payctl wallets balance org-1 --as-of 2026-10-31 --json",
    ],
)
def balance(owner: Owner, currency: CurrencyFilter = None, as_of: AsOfOption = None) -> None:
    """Show one owner's wallet in each currency, now or --as-of."""
    run = session()
    with run.app.db.read() as tx:
        found = run.app.reports.accounts(tx, owner=owner, currency=currency, as_of=as_of)
    wallets = wallets_of(found)
    if not wallets:
        raise NotFound("wallet.not_found", field="owner", owner=owner[:60])
    emit_list(map(_json, wallets), "payctl.wallets/1", COLUMNS, id_key="owner",
              hint=f"payctl wallets transactions {owner}")  # fmt: skip


@command(
    app,
    "transactions",
    examples=[
        "payctl wallets transactions org-1",
        "payctl wallets transactions org-1 --since 2026-11-01 --currency EUR -o csv",
    ],
)
def transactions(
    owner: Owner,
    currency: CurrencyFilter = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    everything: AllOption = False,
) -> None:
    """List what moved an owner's wallet, the newest first. Money they got is positive."""
    run = session()
    with run.app.db.read() as tx:
        found = run.app.reports.entries(
            tx, owner=owner, currency=currency, since=since, until=until,
            after=cursor_of(after), limit=None if everything else limit,
        )  # fmt: skip
    cut = None
    if not everything and len(found) == limit:
        cut = f"{ids.encode('journal', found[-1].journal_id)}.{found[-1].leg}"
    emit_list(
        (
            {
                "journal": ids.encode("journal", line.journal_id),
                "kind": line.kind,
                "part": part_of(line.account.rpartition(":")[0]),
                "amount_minor": line.owner_amount_minor,
                "balance_minor": line.owner_balance_minor,
                "currency": line.currency,
                "payment": ids.encode("payment", line.payment_id) if line.payment_id else None,
                "posted_at": line.posted_at,
            }
            for line in found
        ),
        "payctl.wallet_transactions/1",
        TRANSACTIONS,
        next_cursor=cut,
        id_key="journal",
        hint="payctl trace JOURNAL",
    )


def _json(wallet: Wallet) -> dict[str, Any]:
    return {
        "owner": wallet.owner,
        "currency": wallet.currency,
        "pending_minor": wallet.pending_minor,
        "available_minor": wallet.available_minor,
        "reserve_minor": wallet.reserve_minor,
        "disputed_minor": wallet.disputed_minor,
        "outgoing_minor": wallet.outgoing_minor,
        "owed_minor": wallet.owed_minor,
        "held_minor": wallet.held_minor,
        "total_minor": wallet.total_minor,
    }
