"""Goals 12 to 14: what routing costs, what importing an adapter costs, and a slow provider."""

from __future__ import annotations

import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from random import Random

from payctl.app import App
from payctl.config import load as load_config
from payctl.gateways.base import Capabilities
from payctl.gateways.registry import GROUP
from payctl.payments.candidates import Candidate, RouteRequest
from payctl.payments.gateway_state import FeeRate, Success
from payctl.payments.pipeline import Pipeline
from payctl.payments.ranking import rank
from payctl.payments.requests import PaymentInput
from payctl.testing.emulators.server import EmulatorServer
from tests.benchmarks import process, sales
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Condition, Result, figure, median_ratio
from tests.benchmarks.machine import load
from tests.benchmarks.noop_gateway import NoopGateway
from tests.gateways.example_gateway import ExampleGateway
from tests.gateways.slow_provider import SlowProvider, rush

#: Candidate decisions in a round: so many requests, each over so many gateways.
REQUESTS, GATEWAYS = 1_000, 10
#: Runs of each import; one takes a fraction of a second and varies much.
RUNS = 15
PAYMENTS, CONNECTIONS, ANSWER_S = 200, 20, 2.0
_PHONES = ("+2250501020304", "+2250701020304", "+2250101020304", None)


def routing(bench: Bench) -> Iterator[Result]:
    """Goal 12: a candidate decision against a row read by its key from SQLite in memory."""
    home = Path(tempfile.mkdtemp(prefix="payctl-bench-"))
    app = App.open(load_config(environ={"HOME": str(home)}, folder=home))
    names = [f"g{number}" for number in range(GATEWAYS)]
    app.__dict__["gateways"] = {name: NoopGateway(name) for name in names}
    try:
        for what, decide in (("rank", _ranking()), ("Router.explain", _explaining(app))):
            theirs, ours = bench.in_turn(
                f"12: {what}", lambda _round: _selects(), lambda _round, decide=decide: decide()
            )
            ratio = median_ratio(ours, theirs)
            yield Result(
                "12",
                f"{what}: a gateway looked at, {REQUESTS * GATEWAYS:,} a round".replace(",", " "),
                f"row by key, SQLite in memory {figure(statistics.median(theirs))} µs",
                f"{figure(statistics.median(ours))} µs",
                ratio,
                (Condition("ratio", ratio.median, "<=", 10),),
                load=load(),
            )
    finally:
        app.close()
        shutil.rmtree(home, ignore_errors=True)


def _selects() -> float:
    """Microseconds of a row read by its key."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    db.executemany("INSERT INTO t VALUES (?, ?)", ((n, f"name {n}") for n in range(1000)))
    started = time.perf_counter()
    for number in range(REQUESTS * GATEWAYS):
        db.execute("SELECT name FROM t WHERE id = ?", (number % 1000,)).fetchone()
    taken = time.perf_counter() - started
    db.close()
    return taken / (REQUESTS * GATEWAYS) * 1e6


def _requests(currency: str) -> list[RouteRequest]:
    dice, now = Random(12), datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
    return [
        RouteRequest(
            dice.randrange(100, 2_000_000), currency, now, "CI", "mobile_money", "org-1",
            dice.choice(_PHONES), key=f"k{number}",
        )
        for number in range(REQUESTS)
    ]  # fmt: skip


def _ranking() -> Callable[[], float]:
    """The pure decision, with fees, success rates, limits and networks."""
    can = [
        Capabilities(
            frozenset({"mobile_money"}), frozenset({"XOF"}), frozenset({"CI"}),
            limits={"XOF": (100, 1_000_000 + 100_000 * number)},
            networks=frozenset(networks),
        )
        for number, networks in zip(range(GATEWAYS), [["mtn"], ["orange"], []] * 4, strict=False)
    ]  # fmt: skip
    candidates = [
        Candidate(f"g{number}", "g", False, each, fee=FeeRate(10_000 + number),
                  success=Success(950_000, 100))
        for number, each in enumerate(can)
    ]  # fmt: skip
    asked = _requests("XOF")

    def decide() -> float:
        started = time.perf_counter()
        for each in asked:
            rank(each, candidates, live=False)
        return (time.perf_counter() - started) / (REQUESTS * GATEWAYS) * 1e6

    return decide


def _explaining(app: App) -> Callable[[], float]:
    asked = _requests("XOF")

    def decide() -> float:
        started = time.perf_counter()
        for each in asked:
            app.router.explain(None, each)
        return (time.perf_counter() - started) / (REQUESTS * GATEWAYS) * 1e6

    return decide


def imports(bench: Bench) -> Iterator[Result]:
    """Goal 13: what importing an adapter adds to importing payctl's HTTP client for gateways."""
    bench.tell(f"13: imports, {RUNS} runs of each")
    points = {point.name: point.module for point in entry_points(group=GROUP)}
    taken: dict[str, list[float]] = {"pass": [], "http": [], **{name: [] for name in points}}
    for number in range(RUNS + 1):
        round_ = {"pass": _run("pass"), "http": _run("import payctl.gateways.http")}
        for name, module in points.items():
            round_[name] = _run(f"import payctl.gateways.http, {module}")
        if number:  # the first one writes bytecode
            for name, milliseconds in round_.items():
                taken[name].append(milliseconds)
    nothing = statistics.median(taken["pass"])
    for name in sorted(points):
        added = [ours - base for ours, base in zip(taken[name], taken["http"], strict=True)]
        ratio = median_ratio([max(each, 0.0) for each in added], taken["pass"])
        yield Result(
            "13",
            f"import of the adapter {name}, beyond payctl.gateways.http",
            f"python -c pass {figure(nothing)} ms",
            f"{figure(statistics.median(added))} ms",
            ratio,
            (Condition("ratio", ratio.median, "<=", 0.8),),
            load=load(),
        )


def _run(code: str) -> float:
    """Milliseconds of an interpreter that runs *code*, which it compiles no more than once: without
    an environment nothing tells it not to write bytecode.
    """
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env={}, check=True)
    return (time.perf_counter() - started) * 1e3


def slow(bench: Bench) -> Iterator[Result]:
    """Goal 14: many payments at a provider that answers slowly, over bounded connections."""
    ideal = PAYMENTS / CONNECTIONS * ANSWER_S
    bench.tell(f"14: {PAYMENTS} payments at a provider that takes {ANSWER_S:g} s")
    home = Path(tempfile.mkdtemp(prefix="payctl-bench-"))
    app = App.open(load_config(environ={"HOME": str(home)}, folder=home))
    provider, ends, dice = SlowProvider(ANSWER_S), list[str](), Random(14)
    try:
        with EmulatorServer(provider) as server:
            gateway = ExampleGateway("slow", server.url, max_connections=CONNECTIONS)
            app.__dict__["gateways"] = {"slow": gateway}
            pipeline = Pipeline(
                app.payments, app.intake, app.first_answers, sales.CORE, app.db.clock,
                lambda _tag, end: ends.append(str(getattr(end, "payment", end).status)),
                workers=CONNECTIONS,
            )  # fmt: skip

            def submit(number: int) -> None:
                pipeline.submit(None, PaymentInput(**process.request(dice)))  # type: ignore[arg-type]
                if number == PAYMENTS - 1:
                    pipeline.close()

            done = rush(provider, PAYMENTS, 1, submit)
            gateway.close()
    finally:
        app.close()
        shutil.rmtree(home, ignore_errors=True)
    if ends != ["succeeded"] * PAYMENTS or done.connections > CONNECTIONS:
        raise RuntimeError(f"{set(ends)}, {done.connections} connections")
    ratio = median_ratio([done.seconds], [ideal])
    yield Result(
        "14",
        f"{PAYMENTS} payments, a provider that takes {ANSWER_S:g} s, {CONNECTIONS} connections",
        f"the waves of its answers {figure(ideal)} s",
        f"{figure(done.seconds)} s",
        ratio,
        (Condition("ratio", ratio.median, "<=", 1.25),),
        load=load(),
    )
