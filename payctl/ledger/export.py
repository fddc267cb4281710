"""The book as files: CSV, JSON lines and an hledger journal, streamed journal by journal.

The hledger form lets an auditor recompute every balance with a program that is not ours
(``hledger bal``). Amounts there are decimals of the currency; in CSV and JSON they are minor units.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import tzinfo
from typing import Any

from payctl.ids import encode
from payctl.ledger.accounts import full_code, line_of
from payctl.ledger.model import Journal, PostedEntry
from payctl.money import example, format_amount

COLUMNS = (
    "journal", "leg", "kind", "posted_at", "effective_at", "period", "account", "currency",
    "amount_minor", "balance_after_minor", "version", "stripe", "payment", "reverses", "actor",
    "reason", "posting_key", "content_hash",
)  # fmt: skip

#: Letters hledger knows the types of accounts by.
_TYPES = {"asset": "A", "liability": "L", "equity": "E", "income": "R", "expense": "X"}


def csv_lines(journals: Iterable[Journal]) -> Iterator[str]:
    """One line per entry, RFC 4180, after a line of column names."""
    yield _csv(COLUMNS)
    for journal in journals:
        for entry in journal.entries:
            yield _csv([_values(journal, entry)[name] for name in COLUMNS])


def json_lines(journals: Iterable[Journal]) -> Iterator[str]:
    """One JSON object per journal (``payctl.journal/1``), with its entries and meta data."""
    for journal in journals:
        yield json.dumps(as_json(journal), ensure_ascii=False, separators=(",", ":")) + "\n"


def as_json(journal: Journal) -> dict[str, Any]:
    """A journal in the form of ``payctl.journal/1``."""
    return {
        "schema": "payctl.journal/1",
        "id": encode("journal", journal.id),
        "kind": journal.kind,
        "posted_at": journal.posted_at.isoformat(),
        "effective_at": journal.effective_at.isoformat(),
        "period": journal.period,
        "actor": journal.actor,
        "reason": journal.reason,
        "payment": encode("payment", journal.payment_id) if journal.payment_id else None,
        "reverses": encode("journal", journal.reverses_id) if journal.reverses_id else None,
        "posting_key": journal.posting_key,
        "meta": dict(journal.meta),
        "content_hash": journal.content_hash.hex(),
        "entries": [
            {
                "leg": entry.leg,
                "account": full_code(entry.account, entry.currency),
                "amount_minor": entry.amount_minor,
                "currency": entry.currency,
                "balance_after_minor": entry.balance_after_minor,
                "version": entry.version,
                "stripe": entry.stripe,
            }
            for entry in journal.entries
        ],
    }


def hledger_lines(
    accounts: Iterable[tuple[str, str]], journals: Iterable[Journal], zone: tzinfo
) -> Iterator[str]:
    """An hledger journal: the *accounts* (code, currency) declared with their types, then every
    journal dated by its effective day in *zone*.
    """
    declared = sorted(accounts)
    yield "; payctl ledger\ndecimal-mark .\n"
    for currency in sorted({currency for _, currency in declared}):
        yield f"commodity {example(currency) if '.' in example(currency) else '1000.'} {currency}\n"
    for code, currency in declared:
        kind = _TYPES[line_of(code).kind]
        yield f"account {full_code(code, currency)}  ; type:{kind}\n"
    for journal in journals:
        yield _hledger(journal, zone)


def _hledger(journal: Journal, zone: tzinfo) -> str:
    day = journal.effective_at.astimezone(zone).date().isoformat()
    lines = [
        "",
        f"{day} {journal.kind}",
        f"    ; journal:{encode('journal', journal.id)}",
        f"    ; recorded:{journal.posted_at.isoformat()}",
    ]
    if journal.payment_id is not None:
        lines.append(f"    ; payment:{encode('payment', journal.payment_id)}")
    lines += [
        f"    {full_code(entry.account, entry.currency)}"
        f"  {format_amount(entry.amount_minor, entry.currency)} {entry.currency}"
        for entry in journal.entries
    ]
    return "\n".join(lines) + "\n"


def _values(journal: Journal, entry: PostedEntry) -> dict[str, Any]:
    return {
        "journal": encode("journal", journal.id),
        "leg": entry.leg,
        "kind": journal.kind,
        "posted_at": journal.posted_at.isoformat(),
        "effective_at": journal.effective_at.isoformat(),
        "period": journal.period,
        "account": full_code(entry.account, entry.currency),
        "currency": entry.currency,
        "amount_minor": entry.amount_minor,
        "balance_after_minor": entry.balance_after_minor,
        "version": entry.version,
        "stripe": entry.stripe,
        "payment": encode("payment", journal.payment_id) if journal.payment_id else "",
        "reverses": encode("journal", journal.reverses_id) if journal.reverses_id else "",
        "actor": journal.actor,
        "reason": journal.reason or "",
        "posting_key": journal.posting_key,
        "content_hash": journal.content_hash.hex(),
    }


def _csv(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue()
