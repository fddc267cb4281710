"""``payctl operators``: people, their roles and their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli.framework import (
    Column,
    ExitCode,
    ReasonOption,
    command,
    confirm,
    emit,
    emit_list,
    note,
    noun,
    session,
    undo,
)
from payctl.cli.messages import say

if TYPE_CHECKING:
    from payctl.db.operators import Operator

app = noun("operators")
COLUMNS = (
    Column("name", rank=0),
    Column("roles", rank=0),
    Column("status", "state"),
    Column("tokens", "number"),
    Column("created_at", "time", rank=2),
    Column("created_by", rank=3),
    Column("id", "id", rank=4),
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The operator's name.")]
RolesOption = Annotated[
    str,
    typer.Option(
        "--roles",
        metavar="A,B",
        help="viewer, support, finance, approver, admin; or core alone.",
    ),
]


@command(app, "list", examples=["payctl operators list", "payctl operators list --json"])
def list_operators() -> None:
    """List operators and their roles."""
    from payctl.db.permissions import require

    run = session()
    require(run.actor, "read")
    found = run.app.operators.list()
    emit_list(map(_json, found), "payctl.operators/1", COLUMNS, hint="payctl operators add NAME")


@command(
    app,
    "add",
    changes=True,
    examples=[
        "payctl operators add ama --roles support",
        "payctl operators add kofi --roles approver --dry-run",
    ],
    exits={ExitCode.CONFLICT: "the name is taken"},
)
def add(name: NameArgument, roles: RolesOption) -> None:
    """Make an operator; prints their token once.

    Give the token to its owner alone: they put it into a file only they can read and set
    operator = "file:PATH" in their profile, or PAYCTL_OPERATOR_TOKEN. Nobody can approve and be
    admin at once.
    """
    run = session()
    service = run.app.operators
    confirm([f"add operator {name}: {roles}"])
    made, token = service.add(run.actor, name, _split(roles), dry_run=run.dry_run)
    shown = {} if run.dry_run else {"token": token}
    emit({**_json(made), **shown}, "payctl.operator/1", (*COLUMNS, *_token_column(shown)))
    if shown:
        note(say("token_once", run.lang))
    undo(f"payctl operators disable {name} --reason mistake")


@command(
    app,
    "roles",
    changes=True,
    examples=[
        'payctl operators roles ama --roles support,finance --reason "joined accounting"',
        "payctl operators roles ama --roles viewer --reason leave --dry-run",
    ],
    exits={ExitCode.CONFLICT: "no admin would be left"},
)
def set_roles(name: NameArgument, roles: RolesOption, reason: ReasonOption) -> None:
    """Replace an operator's roles."""
    run = session()
    confirm([f"operator {name}: {roles}"])
    done = run.app.operators.set_roles(run.actor, name, _split(roles), reason, dry_run=run.dry_run)
    emit(_json(done), "payctl.operator/1", COLUMNS)


@command(
    app,
    "disable",
    changes=True,
    examples=[
        'payctl operators disable ama --reason "left the company"',
        "payctl operators disable ama --reason test --dry-run",
    ],
    exits={ExitCode.CONFLICT: "no admin would be left"},
)
def disable(name: NameArgument, reason: ReasonOption) -> None:
    """Shut an operator out and revoke their tokens."""
    run = session()
    confirm([f"disable operator {name}"])
    done = run.app.operators.disable(run.actor, name, reason, dry_run=run.dry_run)
    emit(_json(done), "payctl.operator/1", COLUMNS)


@command(
    app,
    "token",
    changes=True,
    examples=["payctl operators token ama", "payctl operators token ama --revoke-others"],
)
def token(
    name: NameArgument,
    revoke_others: Annotated[
        bool, typer.Option("--revoke-others", help="The older tokens end at once.")
    ] = False,
) -> None:
    """Issue another token; the older ones stay valid until revoked."""
    run = session()
    confirm([f"new token for {name}"])
    new = run.app.operators.new_token(
        run.actor, name, revoke_others=revoke_others, dry_run=run.dry_run
    )
    shown = {} if run.dry_run else {"token": new}
    emit({"name": name, **shown}, "payctl.token/1", (Column("name"), *_token_column(shown)))
    if shown:
        note(say("token_once", run.lang))


def _token_column(shown: dict[str, Any]) -> tuple[Column, ...]:
    return (Column("token", "id", rank=0),) if shown else ()


def _split(roles: str) -> list[str]:
    return [role.strip() for role in roles.split(",") if role.strip()]


def _json(found: Operator) -> dict[str, Any]:
    return {
        "id": ids.encode("operator", found.id),
        "name": found.name,
        "roles": list(found.roles),
        "status": found.state,
        "tokens": found.tokens,
        "created_at": found.created_at,
        "created_by": found.created_by,
    }
