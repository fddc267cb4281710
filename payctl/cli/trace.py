"""``payctl trace``: one time-line for any id, ending in where the money is now."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl.cli.cells import Column, tame
from payctl.cli.framework import ExitCode, command, emit, emit_list, note, session, single
from payctl.cli.messages import label, say
from payctl.cli.money_lines import money_lines
from payctl.ledger.model import PostedEntry
from payctl.money import format_money
from payctl.payments.views import payment_json

if TYPE_CHECKING:
    from payctl.insight.lookup import Story, Traced
    from payctl.insight.timeline import Item

app = single("trace")
SCHEMA = "payctl.trace/1"
#: Several payments at once, and the plain form of one time-line.
COLUMNS = (
    Column("payment.id", "id", label="payment", rank=0),
    Column("payment.status", "state", label="status", rank=0),
    Column("payment.amount_minor", "money", currency="payment.currency", label="amount", rank=0),
    Column("payment.created_at", "time", label="created at", rank=1),
    Column("money", "long", rank=2),
)
LINES = (
    Column("at", "time"),
    Column("kind"),
    Column("what"),
    Column("id", "id"),
    Column("gateway"),
    Column("amount_minor", "money"),
    Column("took_ms", "number"),
    Column("note"),
    Column("entries"),
)
#: Width of the columns of hours and of kinds.
_TIME, _KIND = 8, 12


@command(
    app,
    "trace",
    examples=[
        "payctl trace pay_...",
        "payctl trace o-1",
        "payctl trace pi_3P... --json",
        "payctl trace +2250700000034",
    ],
    exits={ExitCode.NOT_FOUND: "nothing in this book is known by that name"},
)
def trace(
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="Any id, provider's or our reference, order, key, mail address, full phone.",
        ),
    ],
) -> None:
    """Tell what happened, from request to entries, and where the money is now.

    Looking up a phone number or mail address shows that customer's payments only, masked, and is
    written into the audit.
    """
    run = session()
    found = run.app.lookup.trace(run.actor, ref)
    if run.is_json or run.quiet:
        payments = [_json(story) for story in found.stories]
        if run.quiet:
            emit_list(payments, SCHEMA, COLUMNS, id_key="payment.id")
        else:
            emit({"ref": _safe(ref), "payments": payments, "more": found.more}, SCHEMA)
    elif len(found.stories) > 1:
        _several(found)
    elif run.output == "table":
        _tell(found.stories[0])
    else:
        emit_list(map(_item_json, found.stories[0].items), SCHEMA, LINES)
        _end(found.stories[0])


def _several(found: Traced) -> None:
    run = session()
    emit_list([_json(story) for story in found.stories], SCHEMA, COLUMNS)
    note(say("trace.several", run.lang, count=len(found.stories)))
    if found.more:
        note(say("trace.more", run.lang))


# -- for people -----------------------------------------------------------------------------


def _tell(story: Story) -> None:
    run = session()
    day = ""
    for item in story.items:
        at = item.at.astimezone(run.tz)
        if f"{at:%Y-%m-%d}" != day:
            day = f"{at:%Y-%m-%d}"
            print(f"{day}  {run.tz.key}")
        for line in _lines(item, at):
            print(line)
    _end(story, to_stdout=True)


def _end(story: Story, *, to_stdout: bool = False) -> None:
    """The answer; on the screen it belongs to the story, beside data it is for people only."""
    run = session()
    lines = [say("next", run.lang, command=line) for line in story.next]
    for line in [*lines, *money_lines(story.whereabouts, run.lang)]:
        if to_stdout:
            print(line)
        else:
            note(line)


def _lines(item: Item, at: datetime) -> Iterator[str]:
    width = max(shutil.get_terminal_size((80, 24)).columns, 60)
    margin = " " * (_TIME + _KIND + 4)
    text = f"{item.what:<18}" if item.gateway or item.amount_minor is not None else item.what
    if item.gateway:
        text += f" {item.gateway}"
    if item.amount_minor is not None and item.currency:
        text += f" {format_money(item.amount_minor, item.currency)}"
    if item.took_ms is not None:
        text += f" {item.took_ms} ms"
    if item.note:
        text += f"  {item.note}"
    head = f"{at:%H:%M:%S}  {label(item.kind, session().lang):<{_KIND}}  "
    wrapped = textwrap.wrap(tame(text), width - len(margin), break_on_hyphens=False) or [""]
    yield (head + wrapped[0]).rstrip()
    for more in wrapped[1:]:
        yield margin + more
    if item.id and item.kind not in ("call", "notification"):
        yield margin + item.id
    yield from _debits_and_credits(item.entries, margin)


def _debits_and_credits(entries: Sequence[PostedEntry], margin: str) -> Iterator[str]:
    for entry in sorted(entries, key=lambda entry: entry.amount_minor < 0):
        side = "Dr" if entry.amount_minor > 0 else "Cr"
        amount = format_money(abs(entry.amount_minor), entry.currency)
        yield f"{margin}{side} {entry.account:<36} {amount:>16}"


# -- for machines ---------------------------------------------------------------------------


def _json(story: Story) -> dict[str, Any]:
    found = story.dossier.found
    return {
        "payment": payment_json(found) if found is not None else None,
        "verdict": str(story.whereabouts.verdict),
        "money": money_lines(story.whereabouts, session().lang)[-1],
        "places": [asdict(place) | {"part": str(place.part)} for place in story.whereabouts.places],
        "next": list(story.next),
        "timeline": [_item_json(item) for item in story.items],
    }


def _item_json(item: Item) -> dict[str, Any]:
    return {
        "at": item.at,
        "kind": item.kind,
        "what": item.what,
        "id": item.id,
        "gateway": item.gateway,
        "amount_minor": item.amount_minor,
        "currency": item.currency,
        "took_ms": item.took_ms,
        "note": item.note,
        "correlation_id": item.correlation_id,
        "entries": [
            {
                "side": "Dr" if entry.amount_minor > 0 else "Cr",
                "account": entry.account,
                "amount_minor": abs(entry.amount_minor),
                "currency": entry.currency,
            }
            for entry in item.entries
        ],
    }


def _safe(ref: str) -> str:
    """The reference as it may be repeated: no phone number in full, no mail address."""
    from payctl.log import redact

    return redact(ref.strip()[:200])
