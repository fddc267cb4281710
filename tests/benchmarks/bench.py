"""What every benchmark shares: how long, how often, the server, and rounds in turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from payctl.db.engine import Database
from payctl.ledger import check
from payctl.payments.checks import all_checks
from tests.benchmarks.figures import Ratio, figure, median_ratio
from tests.benchmarks.server import Reference, Server
from tests.benchmarks.workers import Run, Step, measure

A = TypeVar("A")
B = TypeVar("B")

#: Processes that post at once; what pgbench has of clients.
PROCESSES = 8


@dataclass
class Bench:
    """One run of the benchmarks.

    Attributes:
        seconds: how long each measurement takes.
        rounds: how often each is repeated, in turn with its reference.
        entries: how many entries the grown ledger has.
        tell: told what is being done.
        started: the servers that are running: one, once a benchmark has asked for it.
    """

    seconds: float
    rounds: int
    entries: int
    tell: Callable[[str], None]
    started: list[Server] = field(default_factory=list)

    @cached_property
    def server(self) -> Server:
        """The durable PostgreSQL, started when first asked for."""
        self.tell("starting PostgreSQL")
        server = Server()
        self.started.append(server)
        return server

    def close(self) -> None:
        for server in self.started:
            server.stop()

    def in_turn(
        self, what: str, reference: Callable[[int], A], measured: Callable[[int], B]
    ) -> tuple[list[A], list[B]]:
        """Reference and measurement one after the other, round by round."""
        theirs, ours = [], []
        for number in range(self.rounds):
            self.tell(f"{what}, round {number + 1} of {self.rounds}")
            theirs.append(reference(number))
            ours.append(measured(number))
        return theirs, ours

    def post(self, make: Callable[..., Step], url: str, run: str, *more: object) -> Run:
        """Workers on a book of the server, by their factory *make*."""
        return measure(
            make, url, run, *more,
            processes=PROCESSES, seconds=self.seconds, server_cpu_s=self.server.cpu_s,
        )  # fmt: skip

    def tpcb(self, _round: int) -> Reference:
        return self.server.tpcb(self.seconds)


def rate_ratio(ours: Sequence[Run | Reference], theirs: Sequence[Run | Reference]) -> Ratio:
    """Payments per second over the reference's transactions per second."""
    return median_ratio([run.rate for run in ours], [run.rate for run in theirs])


def median_of(runs: Sequence[A], value: Callable[[A], float]) -> float:
    return statistics.median(value(run) for run in runs)


def per_second(runs: Sequence[Run | Reference]) -> str:
    return f"{figure(median_of(runs, lambda run: run.rate))}/s"


def with_p99(runs: Sequence[Run]) -> str:
    """Median rate and 99th percentile."""
    return f"{per_second(runs)}, p99 {figure(median_of(runs, lambda run: run.p99_ms))} ms"


def cpu(runs: Sequence[Run]) -> str:
    """Median processor time per payment: ours, and the server's where there is one."""
    ours = figure(median_of(runs, lambda run: run.client_us))
    servers = [run.server_us for run in runs if run.server_us is not None]
    return f"{ours} + {figure(statistics.median(servers))}" if servers else ours


def ensure_sound(url: str, *, payments: bool) -> None:
    """Every check of the ledger holds, and with *payments* those of the payments above it: a
    posting that is quick and wrong has no figure.

    Raises:
        RuntimeError: something does not hold.
    """
    db = Database(url)
    with db.read() as tx:
        report = check.run(tx, all_checks() if payments else ())
    db.dispose()
    if not report.ok:
        raise RuntimeError(f"the book is not sound after the benchmark: {report.violations[:3]}")
