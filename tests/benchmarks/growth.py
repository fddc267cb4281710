"""Goals 6 and 7: what a ledger costs when it has grown."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.ledger import accounts
from payctl.ledger.book import Book
from payctl.ledger.periods import Periods
from payctl.ledger.reports import Reports
from tests.benchmarks import loader, posting, sales
from tests.benchmarks.bench import Bench, cpu, ensure_sound, rate_ratio, with_p99
from tests.benchmarks.figures import Condition, Result, figure, median_ratio
from tests.benchmarks.machine import load

#: Balances read of each kind in one round.
READS = 15
_FINANCE = Actor("awa", frozenset({"finance"}))


def grown(bench: Bench) -> Iterator[Result]:
    """Goals 6 and 7, on one book of ``bench.entries`` entries."""
    small, big = bench.server.new_book("small"), bench.server.new_book("big")
    size = f"{bench.entries / 1e6:g} million entries"
    bench.tell(f"6, 7: loading {size}")
    until = _load(big, bench.entries)
    for url in (small, big):
        bench.server.settle(url)
    theirs, ours = bench.in_turn(
        "6: posting into a grown ledger",
        lambda number: bench.post(posting.journal, small, f"small{number}"),
        lambda number: bench.post(posting.journal, big, f"big{number}"),
    )
    ratio = rate_ratio(ours, theirs)
    yield Result(
        "6",
        f"one journal a commit into {size}",
        f"into an empty ledger {with_p99(theirs)}",
        with_p99(ours),
        ratio,
        (Condition("ratio", ratio.median, ">=", 0.9),),
        cpu(ours),
        load(),
    )
    yield _balances(bench, big, until, size)
    bench.tell("6: checking the grown ledger")
    ensure_sound(big, payments=False)


def _load(url: str, entries: int) -> datetime:
    """Fill the book and close all its months but the last, as finance does; returns its end."""
    db = Database(url)
    until, book = db.clock.now(), Book(db)
    loader.load(db, entries, until)
    for month in loader.months(until):
        if month < book.period_of(until):
            Periods(db, book).close(_FINANCE, month)
    db.dispose()
    return until


def _balances(bench: Bench, url: str, until: datetime, size: str) -> Result:
    """A platform account at a moment of the past year, in turn with a wallet."""
    db, reports, dice = Database(url), Reports(UTC), Random(7)

    def read(code: str) -> float:
        moment = until - timedelta(seconds=dice.randrange(round(loader.SPAN.total_seconds())))
        with db.read() as tx:
            started = time.perf_counter()
            reports.balance(tx, code, sales.CURRENCY, as_of=moment)
            return (time.perf_counter() - started) * 1e3

    def wallet(_round: int) -> float:
        codes = [accounts.wallet(sales.some_organiser(dice), "pending") for _ in range(READS)]
        return statistics.median(map(read, codes))

    def platform(_round: int) -> float:
        return statistics.median(read(sales.INCOME) for _ in range(READS))

    wallet(0)  # opens the connection and compiles the statements
    theirs, ours = bench.in_turn("7: balances at a date", wallet, platform)
    db.dispose()
    ratio = median_ratio(ours, theirs)
    return Result(
        "7",
        f"balance of a platform account at a date of the past year, {size}",
        f"of a wallet {figure(statistics.median(theirs))} ms",
        f"{figure(statistics.median(ours))} ms",
        ratio,
        (Condition("ratio", ratio.median, "<=", 2),),
        load=load(),
    )
