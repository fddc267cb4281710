"""Balanced entries for people and machines: what a change posted, or would post in a dry run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from payctl import ids
from payctl.cli.cells import Column
from payctl.cli.output import emit_list

if TYPE_CHECKING:
    from payctl.ledger.model import Draft, Leg, Posted, PostedEntry

_COLUMNS = (
    Column("journal", "text", rank=3),
    Column("kind", "text", rank=2),
    Column("side", "text", rank=0),
    Column("account", "id", rank=0),
    Column("amount_minor", "money", rank=0),
)


def entries_json(journals: Iterable[Posted | Draft]) -> list[dict[str, Any]]:
    """One mapping per entry: side ``Dr`` or ``Cr``, account, positive amount in minor units."""
    from payctl.ledger.model import Posted

    lines: list[dict[str, Any]] = []
    for journal in journals:
        legs: Sequence[Leg | PostedEntry] = (
            journal.entries if isinstance(journal, Posted) else journal.legs
        )
        name = ids.encode("journal", journal.journal_id) if isinstance(journal, Posted) else None
        # An accountant reads debits first.
        for leg in sorted(legs, key=lambda leg: leg.amount_minor < 0):
            lines.append(
                {
                    "journal": name,
                    "kind": journal.kind,
                    "side": "Dr" if leg.amount_minor > 0 else "Cr",
                    "account": leg.account,
                    "amount_minor": abs(leg.amount_minor),
                    "currency": leg.currency,
                }
            )
    return lines


def emit_entries(journals: Iterable[Posted | Draft]) -> None:
    """Print the entries of *journals* as a list of debits and credits (``payctl.entries/1``)."""
    emit_list(entries_json(journals), "payctl.entries/1", _COLUMNS, id_key="journal")
