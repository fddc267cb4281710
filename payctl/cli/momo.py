"""``payctl momo``: what MTN Mobile Money says, and users for its sandbox."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, cast

import typer

from payctl.cli.framework import (
    Column,
    ExitCode,
    command,
    confirm,
    emit,
    finish,
    noun,
    session,
)
from payctl.cli.provider import Account, add_balance, add_status, one_of
from payctl.errors import NotConfigured, NotSent, Refused
from payctl.gateways.base import Destination, Outcome
from payctl.pan import mask_phone

if TYPE_CHECKING:
    from payctl.gateways.momo import MomoGateway

app = noun("momo")
add_status(app, "momo", "0193f1c2-7c1e-4b0e-9d53-2b6a4e1c9f10")
add_balance(app, "momo")
PAYEE, USER = "payctl.momo_payee/1", "payctl.momo_user/1"


@command(
    app,
    "payee",
    examples=["payctl momo payee +2250506070809", "payctl momo payee +2250506070809 --json"],
    exits={
        ExitCode.CHECK_FAILED: "the number cannot receive money, or MTN did not say",
        ExitCode.CONFIG: "no such account",
    },
)
def payee(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="With its country code: +225...")],
    account: Account = None,
) -> None:
    """Ask MTN whether a number has an active account, before money is sent there."""
    gateway = one_of("momo", account)
    answer = gateway.check_payee(Destination("msisdn", number), 10.0)
    shown = {
        "gateway": gateway.account,
        "number": mask_phone(number),
        "active": answer.outcome is Outcome.SUCCEEDED,
        "says": str(answer.outcome),
        "code": answer.code,
    }
    columns = (Column("number"), Column("active"), Column("says", "state"), Column("code"))
    emit(shown, PAYEE, columns, id_key="number")
    if answer.outcome is not Outcome.SUCCEEDED:
        finish(ExitCode.CHECK_FAILED)


@command(
    app,
    "provision",
    changes=True,
    examples=[
        "payctl momo provision --host pay.example",
        "payctl momo provision --host pay.example --product disbursement --json",
    ],
    exits={
        ExitCode.CONFIG: "a live account: users are made in MTN's partner portal",
        ExitCode.NOT_SENT: "MTN cannot be reached; repeat it",
        ExitCode.DECLINED: "MTN refused: look at the subscription key",
    },
)
def provision(
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="Where callbacks may be sent to.")
    ],
    product: Annotated[
        str, typer.Option("--product", metavar="NAME", help="collection or disbursement.")
    ] = "collection",
    account: Account = None,
) -> None:
    """Make an API user and its key in MTN's sandbox.

    The key is shown once and kept nowhere: put both into the configuration, as it says.
    """
    run = session()
    gateway = cast("MomoGateway", one_of("momo", account))
    if gateway.live:
        raise NotConfigured("momo.live", account=gateway.account)
    user = str(uuid.uuid4())
    confirm([f"make user {user} in MTN's sandbox for {product}"])
    if run.dry_run:
        return
    answer, key = gateway.provision(product, user, host)
    if key is None:
        why = answer.message or answer.code or str(answer.outcome)
        if answer.outcome is Outcome.REJECTED:
            raise Refused("momo.refused", account=gateway.account, why=why)
        raise NotSent("momo.no_user", account=gateway.account, why=why)
    shown = {
        "gateway": gateway.account,
        "user": user,
        "api_key": key,
        "settings": f'{product}_user = "{user}", {product}_secret = "env:NAME_YOU_CHOOSE"',
    }
    emit(
        shown, USER, (Column("user"), Column("api_key"), Column("settings", "long")), id_key="user"
    )
