"""Goal 8: SQLite with ``synchronous=FULL``, one payment a commit, and the ledger's part alone,
against a debit-credit of the same database through the bare driver.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from payctl.db import migrate
from payctl.db.engine import Database
from tests.benchmarks import posting, sales
from tests.benchmarks.bench import Bench, cpu, ensure_sound, rate_ratio, with_p99
from tests.benchmarks.figures import Condition, Result
from tests.benchmarks.machine import load
from tests.benchmarks.workers import Run, Step, measure

#: Payments made ready for each second.
READY_PER_S = 1_500
_TABLES = """
CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE tellers (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE branches (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE history (account INTEGER, teller INTEGER, branch INTEGER, delta INTEGER, at TEXT);
"""
TELLERS = 10


def captures(bench: Bench) -> Iterator[Result]:
    folder = Path(tempfile.mkdtemp(prefix="payctl-bench-"))
    try:
        url, reference = f"sqlite:///{folder / 'book.sqlite3'}", str(folder / "reference.sqlite3")
        db = Database(url)
        migrate.upgrade(db)
        sales.open_accounts(db)
        db.dispose()
        _make_reference(reference)
        yield _captures(bench, url, reference)
        yield _journals(bench, url, reference)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def debit_credit(_number: int, path: str) -> Step:
    """TPC-B's transaction: three updates and an insert."""
    connection, dice = sqlite3.connect(path, isolation_level=None), Random(path)
    connection.execute("PRAGMA synchronous=FULL")
    execute = connection.execute

    def step() -> int:
        account, teller = dice.randrange(sales.ORGANISERS), dice.randrange(TELLERS)
        delta = sales.some_amount(dice)
        execute("BEGIN IMMEDIATE")
        execute("UPDATE accounts SET balance = balance + ? WHERE id = ?", (delta, account))
        execute("UPDATE tellers SET balance = balance + ? WHERE id = ?", (delta, teller))
        execute("UPDATE branches SET balance = balance + ? WHERE id = 0", (delta,))
        execute(
            "INSERT INTO history VALUES (?, ?, 0, ?, CURRENT_TIMESTAMP)", (account, teller, delta)
        )
        execute("COMMIT")
        return 1

    return step


def _captures(bench: Bench, url: str, reference: str) -> Result:
    each = round(READY_PER_S * bench.seconds)
    raw, posted = _in_turn(bench, "8: captures", reference, posting.captured, url, each)
    ensure_sound(url, payments=True)
    ratio = rate_ratio(posted, raw)
    return Result(
        "8",
        "SQLite, synchronous=FULL: one captured payment a commit, as in goal 1; one process",
        f"sqlite3 debit-credit {with_p99(raw)}",
        with_p99(posted),
        ratio,
        (Condition("ratio", ratio.median, ">=", 0.40),),
        cpu(posted),
        load(),
    )


def _journals(bench: Bench, url: str, reference: str) -> Result:
    """Goal 8 without what stands above the ledger: it says what of the time is the ledger's."""
    raw, posted = _in_turn(bench, "8: journals", reference, posting.journal, url)
    ensure_sound(url, payments=False)
    return Result(
        "8 ledger",
        "SQLite, synchronous=FULL: one journal a commit, the ledger alone; one process",
        f"sqlite3 debit-credit {with_p99(raw)}",
        with_p99(posted),
        rate_ratio(posted, raw),
        cpu=cpu(posted),
        load=load(),
    )


def _in_turn(
    bench: Bench, what: str, reference: str, make: Callable[..., Step], url: str, *more: object
) -> tuple[list[Run], list[Run]]:
    """The debit-credit and what *make* returns, round by round."""

    def theirs(_round: int) -> Run:
        return measure(debit_credit, reference, processes=1, seconds=bench.seconds)

    def ours(number: int) -> Run:
        name = f"embedded{number}"
        return measure(make, url, name, *more, processes=1, seconds=bench.seconds)

    return bench.in_turn(what, theirs, ours)


def _make_reference(path: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(_TABLES)
        for table, rows in (("accounts", sales.ORGANISERS), ("tellers", TELLERS), ("branches", 1)):
            connection.executemany(
                f"INSERT INTO {table} VALUES (?, 0)", [(number,) for number in range(rows)]
            )
    connection.close()
