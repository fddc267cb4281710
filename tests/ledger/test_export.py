"""Exports: complete, streamed, and recomputed by a program that is not ours."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from payctl.db.engine import Database
from payctl.ids import decode
from payctl.ledger import export, journals
from payctl.ledger.book import Book
from payctl.ledger.model import cr, dr
from payctl.money import format_amount
from tests.ledger import kit
from tests.ledger.test_postings import CONVERTED, EUR, XOF

pytestmark = pytest.mark.integration


@pytest.fixture
def full(db: Database) -> Database:
    """A book with the story of many sales, in two currencies."""
    book = Book(db)
    with db.transaction() as tx:
        for currency in ("EUR", "XOF"):
            for code in ("wallet:o:available", "wallet:o:pending", "wallet:o:reserve",
                         "wallet:o:disputed", "wallet:o:outgoing"):  # fmt: skip
                kit.fund(book, tx, code, 1_000_000, currency)
            legs = dr("owed:o", 5000, currency), cr("opening:migration", 5000, currency)
            book.post(tx, kit.draft(f"owed:{currency}", *legs))
        for number, row in enumerate((*EUR, *XOF, *CONVERTED)):
            at = datetime(2026, 10, 1, tzinfo=UTC) + timedelta(hours=number)
            book.post(
                tx,
                kit.draft(
                    f"row:{number}", *row.legs, kind=re.sub(r"\W+", "_", row.event or "conversion"),
                    effective_at=at, payment_id=db.ids.new(), reason="a; b, \"c\"\nd",
                ),
            )  # fmt: skip
    return db


def lines_of(db: Database, form: str) -> str:
    with db.read() as tx:
        found = kit.reports().journals(tx)
        if form == "csv":
            return "".join(export.csv_lines(found))
        if form == "jsonl":
            return "".join(export.json_lines(found))
        names = [(each.code, each.currency) for each in kit.reports().accounts(tx)]
        return "".join(export.hledger_lines(names, found, UTC))


def in_decimals(db: Database) -> dict[str, Decimal]:
    """Our own balances by full code, as decimals of their currency."""
    with db.read() as tx:
        return {
            name: Decimal(format_amount(amount_minor, name[-3:]))
            for name, amount_minor in kit.balances(tx).items()
        }


def hledger_balances(text: str) -> dict[str, Decimal]:
    """An hledger journal read by twenty lines that know nothing of payctl: every transaction must
    balance per commodity, every account be declared; the sums by account are returned.
    """
    sums: dict[str, Decimal] = defaultdict(Decimal)
    declared = set(re.findall(r"^account (\S+)", text, re.M))
    blocks = re.split(r"\n(?=\d{4}-\d\d-\d\d )", text)
    for block in blocks[1:]:
        totals: dict[str, Decimal] = defaultdict(Decimal)
        for line in block.splitlines()[1:]:
            if not line.strip() or line.strip().startswith(";"):
                continue
            posting = re.fullmatch(r" {4}(\S+)  (-?\d+(?:\.\d+)?) ([A-Z]{3})", line)
            assert posting is not None, line
            account, amount, commodity = posting.groups()
            assert account in declared
            totals[commodity] += Decimal(amount)
            sums[account] += Decimal(amount)
        assert not any(totals.values()), block
    return {account: amount for account, amount in sums.items() if amount}


def hledger_itself(text: str) -> dict[str, Decimal]:
    """The same by the real program, which also checks it strictly."""
    command = ["hledger", "-f", "-"]
    for arguments in (["check", "--strict"], ["bal", "--flat", "-N", "-O", "csv", "--layout=bare"]):
        out = subprocess.run(
            [*command, *arguments], input=text, check=True, capture_output=True, text=True
        ).stdout
    rows = csv.DictReader(io.StringIO(out))
    return {row["account"]: Decimal(row["balance"]) for row in rows}


READERS = [hledger_balances, *([hledger_itself] if shutil.which("hledger") else [])]


@pytest.mark.parametrize("read", READERS)
def test_every_balance_is_recomputed_from_the_hledger_export(
    full: Database, read: Callable[[str], dict[str, Decimal]]
) -> None:
    recomputed = read(lines_of(full, "hledger"))
    assert recomputed == in_decimals(full)
    assert len(recomputed) > 20


def test_csv_has_every_entry(full: Database) -> None:
    rows = list(csv.DictReader(io.StringIO(lines_of(full, "csv"))))
    sums: dict[str, int] = defaultdict(int)
    for row in rows:
        sums[row["account"]] += int(row["amount_minor"])
    with full.read() as tx:
        assert {name: amount for name, amount in sums.items() if amount} == kit.balances(tx)
    assert {row["reason"] for row in rows} == {"", 'a; b, "c"\nd'}
    assert tuple(rows[0]) == export.COLUMNS


def test_jsonl_has_every_journal_as_it_is_stored(full: Database) -> None:
    book = Book(full)
    objects = [json.loads(line) for line in lines_of(full, "jsonl").splitlines()]
    with full.read() as tx:
        for found in objects:
            stored = book.get(tx, decode(found["id"], "journal"))
            assert found == export.as_json(stored)
    assert len(objects) == len(EUR) + len(XOF) + len(CONVERTED) + 12


def test_journals_are_streamed(full: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first journal is there before the last one was read."""
    with full.read() as tx:
        stream = journals.stream(tx, chunk=10)
        assert isinstance(stream, Iterator)
        first = next(stream)
        assert first.kind == "opening"
        assert sum(1 for _ in stream) > 50
