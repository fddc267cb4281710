"""``payctl today``, and ``payctl`` alone: what needs you now."""

from __future__ import annotations

from dataclasses import asdict

from payctl.cli.framework import Column, command, emit_list, note, session, single
from payctl.cli.messages import say

app = single("today")
COLUMNS = (
    Column("kind", rank=1),
    Column("what", rank=0),
    Column("amount_minor", "money", rank=0),
    Column("gateway", rank=3),
    Column("at", "time", rank=2),
    Column("command", "id", rank=0),
)


@command(app, "today", examples=["payctl today", "payctl today --json"])
def today() -> None:
    """Show what waits: cases by amount, unknown outcomes, approvals, floats, breakers, jobs.

    Each line ends in the command to type.
    """
    run = session()
    found = run.app.today.duties(run.actor)
    if not found and run.output == "table":
        note(say("today.nothing", run.lang))
        return
    emit_list(map(asdict, found), "payctl.today/1", COLUMNS, id_key="command")
    if run.output == "table":
        note(say("today.waits", run.lang, count=len(found)))
