"""Import files for tests: rows as mappings, written and imported."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from payctl.app import App
from payctl.db.actor import Actor
from payctl.db.tables import idempotency
from payctl.errors import PayctlError
from payctl.ledger.reports import Reports
from payctl.payments import store
from payctl.payments.import_files import Raw, open_source, survey
from payctl.payments.imports import ImportReport
from payctl.payments.records import Payment
from tests.payments.kit import OPERATOR

Row = dict[str, str]


def row(key: str = "k1", /, **other: str) -> Row:
    """A sound row: 100.00 EUR by card in October, owed to org-1."""
    return {
        "key": key, "amount": "100.00", "currency": "EUR", "gateway": "cards",
        "provider_reference": f"pi_{key}", "captured_at": "2026-10-05T12:00:00Z",
        "organiser": "org-1", "order": f"o-{key}", "method": "card", "country": "FR",
        "settled": "no", **other,
    }  # fmt: skip


def write(path: Path, rows: Iterable[Mapping[str, str]], delimiter: str = ",") -> Path:
    """The rows as ``.csv`` or ``.jsonl``, whichever *path* says."""
    kept = list(rows)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(each) + "\n" for each in kept), encoding="utf-8")
        return path
    names = list(dict.fromkeys(name for each in kept for name in each))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, delimiter=delimiter, restval="")
        writer.writeheader()
        writer.writerows(kept)
    return path


def load(
    app: App, path: Path, *, actor: Actor = OPERATOR, dry_run: bool = False
) -> tuple[ImportReport, list[tuple[int, str, str | None]]]:
    """Import a file; the report, and line, code and field of each refused row."""
    refused: list[tuple[int, str, str | None]] = []

    def tell(raw: Raw, error: PayctlError) -> None:
        refused.append((raw.line, error.code, error.field))

    source = open_source(path)
    seen = survey(source)
    report = app.imports.run(
        actor, source, seen.sha256, refused=tell, tick=lambda _: None, dry_run=dry_run
    )
    return report, refused


def payment_of(app: App, key: str) -> Payment:
    """The payment with this key."""
    with app.db.read() as tx:
        query = sa.select(idempotency.c.subject_id).where(
            idempotency.c.scope == "payment", idempotency.c.key == key
        )
        return store.payment(tx, tx.execute(query).scalar_one())


def codes(refused: Iterable[tuple[int, str, Any]]) -> list[str]:
    return [code for _, code, _ in refused]


def balances(app: App) -> dict[tuple[str, str], int]:
    """Every account that is not empty, debits positive."""
    with app.db.read() as tx:
        found = Reports(UTC).trial_balance(tx)
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for line in found.lines:
        sums[line.account.rpartition(":")[0], line.currency] += line.debit_minor - line.credit_minor
    return {key: amount for key, amount in sums.items() if amount}
