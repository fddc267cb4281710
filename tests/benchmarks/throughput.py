"""Goals 1, 3, 4 and 5: payments per second on a durable PostgreSQL, against TPC-B."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.benchmarks import posting, process
from tests.benchmarks.bench import (
    PROCESSES,
    Bench,
    cpu,
    ensure_sound,
    median_of,
    per_second,
    rate_ratio,
    with_p99,
)
from tests.benchmarks.figures import Condition, Result, figure, median_ratio
from tests.benchmarks.machine import load
from tests.benchmarks.server import Reference
from tests.benchmarks.workers import Run, Step

#: Payments made ready for each worker and second: more than any of them captures.
READY_PER_S = 450


def captures(bench: Bench) -> Iterator[Result]:
    """Goals 1 and 5."""
    url = bench.server.new_book("captures")

    def run(number: int) -> Run:
        name = f"captures{number}"
        return bench.post(posting.captured, url, name, round(READY_PER_S * bench.seconds))

    theirs, ours = bench.in_turn("1, 5: captured payments", bench.tpcb, run)
    ensure_sound(url, payments=True)
    ratio = rate_ratio(ours, theirs)
    yield Result(
        "1",
        f"one captured payment a commit, with all that belongs to it; {PROCESSES} processes",
        _tpcb(theirs),
        with_p99(ours),
        ratio,
        (Condition("ratio", ratio.median, ">=", 0.60),),
        cpu(ours),
        load(),
    )
    client = [each.client_us for each in ours]
    server = [each.server_us or 0.0 for each in ours]
    share = median_ratio(client, server)
    yield Result(
        "5",
        "our processor time per payment of goal 1, against the server's",
        f"server {figure(median_of(ours, lambda each: each.server_us or 0.0))} µs",
        f"ours {figure(median_of(ours, lambda each: each.client_us))} µs",
        share,
        (Condition("ratio", share.median, "<=", 0.5),),
        load=load(),
    )


def journals(bench: Bench) -> Iterator[Result]:
    """Goal 1 without what stands above the ledger: it says what of the time is the ledger's."""
    url, theirs, ours = _against_tpcb(bench, "1: journals", "journals", posting.journal)
    ensure_sound(url, payments=False)
    ratio = rate_ratio(ours, theirs)
    yield Result(
        "1 ledger",
        f"one journal a commit, the ledger alone; {PROCESSES} processes",
        _tpcb(theirs),
        with_p99(ours),
        ratio,
        cpu=cpu(ours),
        load=load(),
    )


def batches(bench: Bench) -> Iterator[Result]:
    """Goal 3."""
    url, theirs, ours = _against_tpcb(bench, "3: batches", "batches", posting.batch)
    ensure_sound(url, payments=False)
    ratio = rate_ratio(ours, theirs)
    yield Result(
        "3",
        f"{posting.BATCH} journals a commit, the ledger alone; {PROCESSES} processes",
        _tpcb(theirs),
        with_p99(ours),
        ratio,
        (
            Condition("ratio", ratio.median, ">=", 3.0),
            Condition("p99", median_of(ours, lambda each: each.p99_ms), "<=", 150, "ms"),
        ),
        cpu(ours),
        load(),
    )


def payments(bench: Bench) -> Iterator[Result]:
    """Goal 4."""
    url, theirs, ours = _against_tpcb(bench, "4: process", "payments", process.processed)
    ensure_sound(url, payments=True)
    ratio = rate_ratio(ours, theirs)
    yield Result(
        "4",
        f"process through a no-op gateway, one payment a pair of commits; {PROCESSES} processes",
        _tpcb(theirs),
        with_p99(ours),
        ratio,
        (
            Condition("ratio", ratio.median, ">=", 0.30),
            Condition("rate", median_of(ours, lambda each: each.rate), ">", 1_000, "/s"),
        ),
        cpu(ours),
        load(),
    )


def _against_tpcb(
    bench: Bench, what: str, name: str, make: Callable[..., Step]
) -> tuple[str, list[Reference], list[Run]]:
    url = bench.server.new_book(name)
    return url, *bench.in_turn(
        what, bench.tpcb, lambda number: bench.post(make, url, f"{name}{number}")
    )


def _tpcb(runs: list[Reference]) -> str:
    return f"TPC-B {per_second(runs)}"
