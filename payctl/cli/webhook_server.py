"""``payctl webhooks serve``: the receiver."""

from __future__ import annotations

from typing import Annotated

import typer

from payctl.cli.framework import ExitCode, command, note, session
from payctl.cli.webhook_app import app


@command(
    app,
    "serve",
    examples=[
        "payctl webhooks serve",
        "payctl webhooks serve --host 0.0.0.0 --port 8443 --workers 2",
        "payctl webhooks serve --no-apply",
    ],
    exits={ExitCode.CONFIG: "the address is taken, or a gateway is not set up"},
)
def serve(
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Listen there (receiver.host).")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port (receiver.port); 0: a free one.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer.")] = 1,
    no_apply: Annotated[
        bool, typer.Option("--no-apply", help="Only store; another process or cron applies.")
    ] = False,
) -> None:
    """Receive webhooks until stopped; events are applied within a second of their arrival.

    Put a proxy with TLS in front of it (docs/webhooks.md). SIGTERM finishes what was begun: every
    webhook that was answered 200 is stored.
    """
    from payctl.receiver.options import from_config
    from payctl.receiver.server import Where, serve

    run = session()
    # What is wrong with the profile is said here, and not by each process.
    from_config(run.config, run.unchecked_app.gateways)
    run.unchecked_app.close()
    serve(
        Where(run.flags.profile, run.flags.config),
        host or str(run.config.get("receiver.host")),
        run.config.get("receiver.port") if port is None else port,
        workers=workers,
        apply=not no_apply,
        listening=lambda url: note(f"listening on {url}"),
    )
