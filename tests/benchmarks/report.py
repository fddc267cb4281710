"""The page of benchmarks: machine, versions, the table, and how to read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import machine
from tests.benchmarks.bench import PROCESSES, Bench
from tests.benchmarks.figures import Result
from tests.benchmarks.server import CLIENTS, SCALE, THREADS
from tests.benchmarks.table import render

PAGE = machine.ROOT / "docs" / "internals" / "benchmarks.md"

_TEXT = """# Benchmarks

Written by `make bench`; do not edit. Every goal is a ratio to a reference that runs in the same
minutes on the same machine, in turn with it. A ratio is the median of the rounds' ratios; the other
figures are medians of the rounds and only illustrate.

{facts}

## Results

{table}

"load" is the machine's load average of the last minute when the line was measured. It counts the
benchmark's own processes.

## How it is measured

- TPC-B is `pgbench` of the same PostgreSQL: scale {scale}, {clients} clients, {threads} threads,
  prepared statements. It and the books are databases of one server.
- Our clients are {processes} processes on the same machine as the server, with the pool and the
  settings of the product.
- A captured payment (goals 1 and 8) is what the product does with a provider's answer: posting
  key, journal with four entries, balances with running balance and version, the guarded wallet,
  status of payment and attempt, the exchange with the provider, notification, hash-chained audit
  record, breaker count. All triggers and constraints of the schema are on.
- The no-op gateway answers at once, so goal 4 is payctl and its database alone.
- Processor time is user and system time per payment; the server's is the sum of all its processes.
- The grown ledger is loaded by the server with the balances, versions and keys that posting would
  have left. All its months but the last are closed.
- Webhooks (W): one receiver process and one client process on this machine; every event is new and
  signed. "Verified only" is the same application whose writer says that all is stored.
- After each benchmark every check of `payctl ledger check` must hold on its book, or there is no
  figure.
"""


def page(bench: Bench, results: Sequence[Result], date: str) -> str:
    """The whole page, in Markdown."""
    facts = [("date", date), *machine.describe()]
    facts += [("PostgreSQL", f"{each.version}, {each.settings()}") for each in bench.started]
    facts.append(("measured", f"{bench.rounds} rounds of {bench.seconds:g} s each"))
    return _TEXT.format(
        facts="\n".join(f"- {name}: {value}" for name, value in facts),
        table=render(results),
        scale=SCALE,
        clients=CLIENTS,
        threads=THREADS,
        processes=PROCESSES,
    )


def write(text: str) -> Path:
    """Write :data:`PAGE`; returns its path."""
    PAGE.write_text(text, "utf-8")
    return PAGE
