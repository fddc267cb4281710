"""The noun ``gateways`` and its groups of verbs; the verbs register themselves on them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from payctl.cli.framework import group, moment_of, noun, session, span_of
from payctl.errors import InvalidInput

app = noun("gateways")
breaker = group(app, "breaker", "what holds payments back from a gateway that fails")
limits = group(app, "limits", "smallest and largest amount of one payment, by currency")
fees = group(app, "fees", "what a gateway is expected to charge, for ranking")
rules = group(app, "rules", "which payments go where, as an ordered list")

Account = Annotated[str, typer.Argument(metavar="GATEWAY", help="The gateway's account name.")]
AccountFilter = Annotated[
    str | None, typer.Argument(metavar="GATEWAY", help="Only this account; default: all.")
]


def _from(text: str) -> datetime:
    return moment_of(text, field="from")


FromOption = Annotated[
    datetime | None,
    typer.Option("--from", metavar="DATE", parser=_from, help="Counts from then on; default: now."),
]
ForOption = Annotated[
    str | None, typer.Option("--for", metavar="30m", help="For so long: 30m, 2h, 7d.")
]


def end_of(until: datetime | None, lasting: str | None) -> datetime | None:
    """The end that ``--until`` or ``--for`` names; ``None`` without either.

    Raises:
        InvalidInput: ``gateway.two_ends``, ``time.bad_span``.
    """
    if lasting is None:
        return until
    if until is not None:
        raise InvalidInput("gateway.two_ends", field="until")
    return session().now() + span(lasting)


def span(lasting: str) -> timedelta:
    """The length of time ``--for`` names."""
    return span_of(lasting, field="for")
