"""``payctl webhooks verify``, ``secret`` and ``allow``: what proves a webhook."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from payctl.cli.framework import (
    Column,
    ExitCode,
    LimitOption,
    Section,
    SinceOption,
    command,
    emit,
    emit_list,
    finish,
    note,
    session,
)
from payctl.cli.webhook_app import allow, app, secret
from payctl.errors import InvalidInput, NotFound

Account = Annotated[str, typer.Argument(metavar="GATEWAY", help="The account's name.")]
VERIFIED = (
    Column("gateway"),
    Column("proof"),
    Column("secret", "number"),
    Column("secrets", "number"),
    Column("event"),
    Column("type"),
    Column("object_kind"),
    Column("our_reference"),
    Column("provider_reference"),
    Column("occurred_at", "time"),
)
SECRETS = (
    Column("secret", "number", rank=0),
    Column("reference", rank=0),
    Column("events", "number", rank=0),
    Column("last_at", "time", rank=1),
)
ROTATION = (
    Column("gateway"),
    Column("file"),
    Column("section"),
    Column("first"),
    Column("then"),
    Section("secrets", SECRETS[:2]),
)
ADDRESSES = (
    Column("gateway", "id", rank=0),
    Column("type", rank=1),
    Column("addresses", rank=0),
    Column("path_tokens", "number", rank=1),
    Column("allowed", "state", rank=1),
)


@command(
    app,
    "verify",
    examples=[
        "payctl webhooks verify body.json --gateway stripe --header 'Stripe-Signature: t=...'",
        "payctl webhooks verify - --gateway cinetpay --header 'x-token: ...' --json",
    ],
    exits={ExitCode.CONFIG: "the signature does not fit"},
)
def verify(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The raw body; - for stdin.")],
    gateway: Annotated[str, typer.Option(metavar="GATEWAY", help="The account's name.")],
    header: Annotated[
        list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="One header; repeat it.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Also hold its signed time against now.")
    ] = False,
) -> None:
    """Verify a webhook as the receiver would, and say which secret of the account fits.

    Secret 1 is the first of webhook_secrets; no secret is shown. Nothing is stored.
    """
    run = session()
    body = _body(file)
    headers = dict(_header(each) for each in header or [])
    secrets = run.app.webhook_secrets(gateway)
    found = secrets.check(body, headers, run.now() if fresh else None)
    event = found.event
    emit(
        {
            "gateway": gateway,
            "proof": event.proof,
            "secret": found.place if event.proof == "signature" else None,
            "secrets": found.places,
            "event": event.event_id,
            "type": event.type,
            "object_kind": event.object_kind,
            "our_reference": event.reference.our_reference,
            "provider_reference": event.reference.provider_reference,
            "occurred_at": event.occurred_at,
        },
        "payctl.webhook_proof/1", VERIFIED, id_key="gateway",
    )  # fmt: skip


@command(
    secret,
    "status",
    examples=[
        "payctl webhooks secret status stripe",
        "payctl webhooks secret status stripe --since 2h --json",
    ],
    exits={ExitCode.CHECK_FAILED: "events came that none of the secrets fits any more"},
)
def status(gateway: Account, since: SinceOption = None, limit: LimitOption = 500) -> None:
    """Show which secret signed the events that came: one that signs nothing more may go.

    Events are verified once more, the newest first; default: those of the last 24 hours.
    """
    from datetime import timedelta

    run = session()
    secrets = run.app.webhook_secrets(gateway)
    start = since or run.now() - timedelta(days=1)
    events = run.app.inbox.list(account=gateway, since=start, limit=limit)
    uses, lost = secrets.use(events)
    rows = [
        {"secret": each.place, "reference": each.reference, "events": each.events,
         "last_at": each.last_at}
        for each in uses
    ]  # fmt: skip
    emit_list(rows, "payctl.webhook_secrets/1", SECRETS, id_key="secret")
    if lost:
        note(f"{lost} events fit none of these secrets", always=True)
        finish(ExitCode.CHECK_FAILED)


@command(
    secret,
    "rotate",
    examples=[
        "payctl webhooks secret rotate stripe --new env:STRIPE_WEBHOOK_SECRET_2",
        "payctl webhooks secret rotate stripe --new file:/etc/payctl/whsec --json",
    ],
    exits={
        ExitCode.CONFIG: "the new secret cannot be read",
        ExitCode.CONFLICT: "it is one of those that are valid already",
    },
)
def rotate(
    gateway: Account,
    new: Annotated[
        str, typer.Option("--new", metavar="REFERENCE", help="env:NAME, file:PATH or cmd:PROGRAM.")
    ],
) -> None:
    """Say what to write so that a new secret is valid beside the old one, and then alone.

    The configuration is yours: this reads the new secret, compares it, and writes nothing.
    """
    from payctl.webhooks.secrets import KEY, line

    run = session()
    secrets = run.app.webhook_secrets(gateway)
    secrets.check_new(new)
    config = run.app.config
    origin = str(config.origin(f"gateways.{gateway}.{KEY}"))
    shown = [new, *secrets.references]
    emit(
        {
            "gateway": gateway,
            "file": origin,
            "section": f"[profiles.{config.profile}.gateways.{gateway}]",
            "first": line(shown),
            "then": line([new]),
            "secrets": [
                {"secret": place, "reference": config.shown_secret(each)}
                for place, each in enumerate(shown, 1)
            ],
        },
        "payctl.webhook_rotation/1", ROTATION, id_key="gateway",
    )  # fmt: skip
    note(f"1. write the line `first` and restart the receiver: both are valid then\n"
         f"2. make the new secret the provider's\n"
         f"3. payctl webhooks secret status {gateway}: when only secret 1 signs events,\n"
         f"   write the line `then` and restart the receiver")  # fmt: skip


@command(
    allow,
    "list",
    examples=["payctl webhooks allow list", "payctl webhooks allow list --address 192.0.2.7"],
)
def addresses(
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Say whether this one would be let in.")
    ] = None,
) -> None:
    """List where each gateway's webhooks may come from: webhook_addresses in the configuration.

    An account without any takes them from everywhere, and trusts the signature alone.
    """
    from payctl.receiver.addresses import parsed
    from payctl.receiver.options import from_config

    run = session()
    wanted = parsed(address) if address else None
    if address and wanted is None:
        raise InvalidInput("address.unreadable", field="address", value=address[:60])
    rows: list[dict[str, Any]] = []
    services = run.unchecked_app
    for door in from_config(services.config, services.gateways).doors.all:
        rows.append(
            {
                "gateway": door.account,
                "type": door.family,
                "addresses": [str(each) for each in door.addresses],
                "path_tokens": len(door.tokens),
                "allowed": None if wanted is None else "yes" if door.allows(wanted) else "no",
            }
        )
    emit_list(rows, "payctl.webhook_addresses/1", ADDRESSES, id_key="gateway")


def _body(file: str) -> bytes:
    if file == "-":
        import sys

        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise NotFound("file.unreadable", field="file", path=file[:200],
                       detail=error.strerror or "") from None  # fmt: skip


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise InvalidInput("webhook.bad_header", field="header", value=name[:40])
    return name.strip(), value.strip()
