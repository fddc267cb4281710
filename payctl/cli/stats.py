"""``payctl stats``: what is sold right now, on one screen that may refresh itself."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from payctl.cli.framework import command, emit_list, note, session, single, span_of
from payctl.cli.gateway_app import ForOption
from payctl.cli.messages import say
from payctl.cli.payment_views import STATISTICS
from payctl.payments.details import PaymentFilter
from payctl.payments.views import statistic_json

app = single("stats")
#: Moves to the upper left corner and clears the rest, so that nothing flickers.
_HOME, _REST = "\x1b[H", "\x1b[J"


@command(
    app,
    "stats",
    examples=[
        "payctl stats",
        "payctl stats --watch",
        "payctl stats --by code --last 1h --watch --every 10",
        "payctl stats --by currency --last 7d --json",
    ],
)
def stats(
    by: Annotated[
        str, typer.Option("--by", metavar="KEY", help="As in payments statistics.")
    ] = "gateway",
    last: Annotated[str, typer.Option("--last", metavar="SPAN", help="Of this long.")] = "24h",
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C.")] = False,
    every: Annotated[
        int, typer.Option("--every", min=1, metavar="SECONDS", help="Between two looks of --watch.")
    ] = 5,
    lasting: ForOption = None,
) -> None:
    """Show what was sold lately: success, money, gateway times and the trend of each line.

    The figures are those of payments statistics; currencies are never added together.
    """
    run = session()
    back = span_of(last, field="last")
    until = None
    if lasting is not None:
        until = run.clock.monotonic() + span_of(lasting, field="for").total_seconds()
    screen = watch and run.output == "table" and sys.stdout.isatty()
    while True:
        now = run.app.db.clock.now()
        found = run.app.statistics.by(by, PaymentFilter(since=now - back, until=now))
        if screen:
            sys.stdout.write(_HOME + _REST)
        emit_list(
            map(statistic_json, found), "payctl.payment_statistics/1", STATISTICS, id_key="value"
        )
        if not watch or (until is not None and run.clock.monotonic() >= until):
            return
        note(say("watching", run.lang, seconds=every))
        run.clock.sleep(every)
