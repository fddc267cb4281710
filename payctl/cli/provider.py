"""``status`` and ``balance``, the same for each provider: what it says, changing nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli.framework import (
    Column,
    ExitCode,
    command,
    emit_list,
    finish,
    note,
    session,
)
from payctl.cli.messages import say
from payctl.errors import InvalidInput, NotConfigured
from payctl.gateways.base import Outcome

if TYPE_CHECKING:
    from payctl.gateways.base import Gateway
    from payctl.insight.provider_status import Said

STATUS, BALANCE = "payctl.provider_status/1", "payctl.provider_balance/1"
COLUMNS = (
    Column("id", "id", rank=3),
    Column("operation", rank=2),
    Column("gateway", rank=1),
    Column("status", "state", rank=0, label="ours"),
    Column("says", "state", rank=0),
    Column("amount_minor", "money", rank=0),
    Column("code", rank=1),
    Column("provider_code", rank=1),
    Column("provider_reference", rank=2),
)
LINES = (
    Column("gateway", rank=1),
    Column("part", rank=0),
    Column("available_minor", "money", rank=0),
    Column("pending_minor", "money", rank=1),
)
#: Answers that say nothing about the payment.
_MUTE = frozenset({Outcome.NOT_SENT, Outcome.UNKNOWN, Outcome.REJECTED})
Account = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="Which account, where there are several."),
]


def add_status(app: typer.Typer, family: str, example: str) -> None:
    """Add ``status`` to the noun of *family*; *example* is a reference of its provider's."""

    @command(
        app,
        "status",
        examples=[f"payctl {family} status pay_...", f"payctl {family} status {example} --json"],
        exits={
            ExitCode.NOT_FOUND: "nothing of this provider has that reference",
            ExitCode.CHECK_FAILED: "the provider did not answer, or could not be asked",
        },
    )
    def status(
        ref: Annotated[
            str, typer.Argument(metavar="REF", help="Any id, order, or reference of the provider.")
        ],
    ) -> None:
        """Ask the provider what it knows of a payment, and change nothing.

        What it says is put beside our own state. payctl payments sync brings it into the book.
        """
        from payctl.insight.provider_status import ask

        run = session()
        said = ask(run.app.lookup, run.app.gateways, run.actor, family, ref)
        emit_list(map(_row, said), STATUS, COLUMNS)
        payments = {ids.encode("payment", each.attempt.payment_id) for each in said}
        for name in sorted(payments):
            note(say("next", run.lang, command=f"payctl payments sync {name}"))
        if any(each.answer.outcome in _MUTE for each in said):
            finish(ExitCode.CHECK_FAILED)


def add_balance(app: typer.Typer, family: str) -> None:
    """Add ``balance`` to the noun of *family*."""

    @command(
        app,
        "balance",
        examples=[f"payctl {family} balance", f"payctl {family} balance --json"],
        exits={
            ExitCode.NOT_SENT: "the provider cannot be reached",
            ExitCode.CONFIG: "no such account, or its API tells no balance",
        },
    )
    def balance(account: Account = None) -> None:
        """What the provider says it holds for us, from sales and as float for payouts."""
        gateway = one_of(family, account)
        lines = [
            {
                "gateway": gateway.account,
                "part": line.part,
                "currency": line.currency,
                "available_minor": line.available_minor,
                "pending_minor": line.pending_minor,
            }
            for line in gateway.balance()
        ]
        emit_list(lines, BALANCE, LINES, id_key="currency")


def one_of(family: str, account: str | None) -> Gateway:
    """The account of *family* to use.

    Raises:
        NotConfigured: ``provider.not_configured``.
        InvalidInput: ``provider.which_account``, ``choice.unknown``.
    """
    gateways = session().app.gateways
    found = {name: each for name, each in gateways.items() if each.name == family}
    if not found:
        raise NotConfigured("provider.not_configured", family=family)
    names = ", ".join(sorted(found))
    if account is None and len(found) > 1:
        raise InvalidInput("provider.which_account", field="account", accounts=names)
    if account is not None and account not in found:
        raise InvalidInput("choice.unknown", field="account", value=account[:40], allowed=names)
    return found[account or next(iter(found))]


def _row(said: Said) -> dict[str, Any]:
    attempt, answer = said.attempt, said.answer
    amount = answer.amount_minor
    return {
        "id": ids.encode("attempt", attempt.id),
        "payment": ids.encode("payment", attempt.payment_id),
        "operation": str(attempt.operation),
        "gateway": attempt.gateway_account,
        "status": str(attempt.state),
        "says": str(answer.outcome),
        "amount_minor": amount,
        "currency": answer.currency if amount is not None else None,
        "code": answer.code,
        "provider_code": answer.provider_code,
        "provider_reference": answer.provider_reference or attempt.provider_reference,
        "message": answer.message,
    }
