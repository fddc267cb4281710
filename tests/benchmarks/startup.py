"""Goal 11: how long a command takes to begin, against an interpreter that does nothing."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

from payctl.app import App
from payctl.config import load as load_config
from payctl.payments.requests import PaymentInput
from tests.benchmarks import process, sales
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Condition, Result, figure, median_ratio
from tests.benchmarks.machine import load

#: Runs of each command, whatever the rounds: one takes a fraction of a second and varies much.
RUNS = 20
PAYMENTS = 20
PAYCTL = str(Path(sys.executable).with_name("payctl"))
GOALS: Mapping[str, float] = {"--version": 4, "--help": 6, "payments list": 25}


def commands(bench: Bench) -> Iterator[Result]:
    home = Path(tempfile.mkdtemp(prefix="payctl-bench-"))
    try:
        _fill(home)
        bench.tell(f"11: start-up, {RUNS} runs of each command")
        nothing, taken = _times(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    for words, bound in GOALS.items():
        ratio = median_ratio(taken[words], nothing)
        yield Result(
            "11",
            f"payctl {words}" + (" (SQLite, to a pipe)" if words == "payments list" else ""),
            f"python -c pass {figure(statistics.median(nothing))} ms",
            f"{figure(statistics.median(taken[words]))} ms",
            ratio,
            (Condition("ratio", ratio.median, "<=", bound),),
            load=load(),
        )


def _times(home: Path) -> tuple[list[float], dict[str, list[float]]]:
    nothing: list[float] = []
    taken: dict[str, list[float]] = {words: [] for words in GOALS}
    for number in range(RUNS + 1):
        empty = _time(home, [sys.executable, "-c", "pass"])
        ours = {words: _time(home, [PAYCTL, *words.split()]) for words in GOALS}
        if number:  # the first one reads the files from disk and writes bytecode
            nothing.append(empty)
            for words, milliseconds in ours.items():
                taken[words].append(milliseconds)
    return nothing, taken


def _time(home: Path, command: Sequence[str]) -> float:
    """Milliseconds until the command has ended, its output going into a pipe."""
    environ = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    started = time.perf_counter()
    subprocess.run(command, env=environ, cwd=home, stdout=subprocess.PIPE, check=True)
    return (time.perf_counter() - started) * 1e3


def _fill(home: Path) -> None:
    """Some payments in the book that a user without configuration has."""
    app, dice = App.open(load_config(environ={"HOME": str(home)}, folder=home)), Random(11)
    for _ in range(PAYMENTS):
        app.payments.process(sales.CORE, PaymentInput(**process.request(dice)))  # type: ignore[arg-type]
    app.close()
