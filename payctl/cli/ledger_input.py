"""What is typed for the ledger's commands, and its exports line by line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from payctl import ids, money
from payctl.cli.framework import Session
from payctl.errors import InvalidInput
from payctl.ledger import export
from payctl.ledger.accounts import split_full
from payctl.ledger.model import Leg, cr, dr

EXPORTS = ("csv", "jsonl", "hledger")


def leg_of(text: str, side: str) -> Leg:
    """``wallet:org-1:available:EUR=12.50`` as a leg on *side* (``debit`` or ``credit``).

    Raises:
        InvalidInput: ``ledger.bad_leg`` and those of the account and the amount.
    """
    code, equals, amount = text.rpartition("=")
    if not equals or not code:
        raise InvalidInput("ledger.bad_leg", field=side, text=text[:80])
    account, currency = split_full(code)
    amount_minor = money.parse_amount(amount, currency, field=side)
    return (
        dr(account, amount_minor, currency)
        if side == "debit"
        else cr(account, amount_minor, currency)
    )


def new_key(run: Session) -> str:
    """A key of our own for a line typed without one."""
    return f"hand-{run.app.db.ids.token(8)}"


def cursor_of(after: str | None) -> tuple[UUID, int] | None:
    """``jrn_….2``: journal and leg of the last entry of the page before.

    Raises:
        InvalidInput: ``id.malformed`` or ``id.wrong_kind``.
    """
    if after is None:
        return None
    journal, _, leg = after.partition(".")
    if not leg.isdigit():
        raise InvalidInput("id.malformed", field="after", id=after[:60])
    return ids.decode(journal, "journal"), int(leg)


def export_lines(
    run: Session, form: str, since: datetime | None, until: datetime | None
) -> Iterator[str]:
    """The export as it is written, one snapshot of the book.

    Raises:
        InvalidInput: ``choice.unknown``.
    """
    if form not in EXPORTS:
        raise InvalidInput(
            "choice.unknown", field="format", value=form[:40], allowed=", ".join(EXPORTS)
        )
    with run.app.db.read() as tx:
        reports = run.app.reports
        journals = reports.journals(tx, since=since, until=until)
        if form == "csv":
            yield from export.csv_lines(journals)
        elif form == "jsonl":
            yield from export.json_lines(journals)
        else:
            accounts = [(each.code, each.currency) for each in reports.accounts(tx)]
            yield from export.hledger_lines(accounts, journals, run.app.zone)
