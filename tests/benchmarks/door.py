"""Goal 4b: the batch door, ``payctl payments process --batch -``, as its callers use it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Barrier

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.operators import Operators
from payctl.db.permissions import SETUP_ROLE
from tests.benchmarks import process, sales
from tests.benchmarks.bench import (
    Bench,
    cpu,
    ensure_sound,
    median_of,
    per_second,
    rate_ratio,
    with_p99,
)
from tests.benchmarks.conversation import Talk, talk
from tests.benchmarks.figures import Condition, Result, percentile
from tests.benchmarks.machine import ROOT, load
from tests.benchmarks.startup import PAYCTL
from tests.benchmarks.workers import Run

DOORS, IN_FLIGHT = 2, 64
COMMAND = (PAYCTL, "payments", "process", "--batch", "-", "--workers", str(IN_FLIGHT))
WHAT = (
    f"payctl payments process --batch -, {DOORS} processes, {IN_FLIGHT} payments in flight in each"
)


def payments(bench: Bench) -> Iterator[Result]:
    words = [PAYCTL, "payments", "process", "--help"]
    if "--batch" not in subprocess.run(words, capture_output=True, text=True).stdout:
        yield Result("4b", WHAT, reason="not there yet: the command has no option --batch")
        return
    url, home = bench.server.new_book("door"), Path(tempfile.mkdtemp(prefix="payctl-bench-"))
    try:
        environ = _environ(url, home)
        theirs, ours = bench.in_turn(
            "4b: the batch door", bench.tpcb, lambda number: _run(bench, environ, number)
        )
    finally:
        shutil.rmtree(home, ignore_errors=True)
    ensure_sound(url, payments=True)
    ratio = rate_ratio(ours, theirs)
    yield Result(
        "4b",
        WHAT,
        f"TPC-B {per_second(theirs)}",
        with_p99(ours),
        ratio,
        (
            Condition("ratio", ratio.median, ">=", 1.0),
            Condition("p99", median_of(ours, lambda each: each.p99_ms), "<=", 100, "ms"),
        ),
        cpu(ours),
        load(),
    )


def _run(bench: Bench, environ: Mapping[str, str], number: int) -> Run:
    before: list[float] = []
    # Counted from when the last of the commands has answered its first payments.
    start = Barrier(DOORS, action=lambda: before.append(bench.server.cpu_s()))

    def one(door: int) -> Talk:
        dice = Random(f"door{number}-{door}")
        requests = iter(lambda: process.request(dice), None)
        return talk(COMMAND, environ, requests, IN_FLIGHT, bench.seconds, start)

    with ThreadPoolExecutor(DOORS) as pool:
        talks = list(pool.map(one, range(DOORS)))
    used = bench.server.cpu_s() - before[0]
    answers = sum(each.answers for each in talks)
    latencies = [latency for each in talks for latency in each.latencies_s]
    return Run(
        rate=sum(each.answers / each.wall_s for each in talks),
        p50_ms=percentile(latencies, 0.5) * 1e3,
        p99_ms=percentile(latencies, 0.99) * 1e3,
        client_us=sum(each.cpu_s for each in talks) / answers * 1e6,
        server_us=used / answers * 1e6,
        load=load(),
    )


def _environ(url: str, home: Path) -> dict[str, str]:
    """What the command runs with: the book, an operator's token, and the no-op gateways as an
    installed package would bring them.
    """
    db = Database(url)
    setup = Actor("setup", frozenset({SETUP_ROLE}))
    _, token = Operators(db).add(setup, "bench", ["admin"])
    db.dispose()
    plugin = home / "noop_gateway-1.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: noop-gateway\nVersion: 1\n")
    (plugin / "entry_points.txt").write_text(
        "[payctl.gateways]\nnoop = tests.benchmarks.noop_gateway:NoopGateway\n"
    )
    gateways = {f"PAYCTL_GATEWAYS__{name.upper()}__TYPE": "noop" for name in sales.GATEWAYS}
    return {
        "HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8",
        "PYTHONPATH": f"{home}:{ROOT}", "PAYCTL_DATABASE_URL": url,
        "PAYCTL_OPERATOR_TOKEN": str(token), **gateways,
    }  # fmt: skip
