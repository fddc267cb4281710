"""``python -m tests.benchmarks``: measure, print the table, and write the page with ``--write``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from payctl.clock import SystemClock
from tests.benchmarks import (
    door,
    embedded,
    gateways,
    growth,
    machine,
    pgledger,
    relay,
    report,
    startup,
    throughput,
    webhooks,
)
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Result

BENCHMARKS: Mapping[str, Callable[[Bench], Iterator[Result]]] = {
    "captures": throughput.captures,
    "journals": throughput.journals,
    "pgledger": pgledger.payments,
    "batches": throughput.batches,
    "process": throughput.payments,
    "door": door.payments,
    "growth": growth.grown,
    "sqlite": embedded.captures,
    "startup": startup.commands,
    "routing": gateways.routing,
    "imports": gateways.imports,
    "slow": gateways.slow,
    "relay": relay.notifications,
    "webhooks": webhooks.durable,
}


def main(words: Sequence[str]) -> int:
    """Run the benchmarks; 0 whether goals are met or not, 1 when one could not be measured."""
    parser = _parser()
    options = parser.parse_args(words)
    if options.write and options.only:
        parser.error("a part of the benchmarks is not written: the page holds all of them")
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

    bench = Bench(options.seconds, options.rounds, options.entries, tell)
    results: list[Result] = []
    failed = False
    try:
        for name in options.only or BENCHMARKS:
            try:
                results.extend(BENCHMARKS[name](bench))
            except RuntimeError as error:
                failed = True
                tell(f"{name} failed: {error}")
        text = report.page(bench, results, f"{SystemClock().now():%Y-%m-%d}")
    finally:
        bench.close()
    print(text)
    if options.write and not failed:
        tell(f"written to {report.write(text).relative_to(machine.ROOT)}")
    tell("done")
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=BENCHMARKS, help="run this one; may be repeated"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each kind")
    parser.add_argument(
        "--entries", type=int, default=5_000_000, help="entries of the grown ledger"
    )
    parser.add_argument("--write", action="store_true", help=f"write {report.PAGE.name}")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
