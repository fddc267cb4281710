"""Worker processes that do one thing again and again for some seconds, all of them at once."""

from __future__ import annotations

import gc
import multiprocessing
import os
import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty
from threading import BrokenBarrierError
from typing import Any

from tests.benchmarks import machine
from tests.benchmarks.figures import percentile

#: Does one unit of work and returns how many payments that were.
Step = Callable[[], int]

#: Steps before the measurement, and the time after which no more are begun: connections, caches and
#: plans are part of no figure.
WARM_UP, WARM_UP_S = 10, 1.0
START_S = 120.0

_context = multiprocessing.get_context("forkserver")
# What takes long to import is imported once. Nothing of payctl: its processes differ by what they
# draw when they start (the stripe a connection keeps to), and copies of one process would not.
_context.set_forkserver_preload(["psycopg", "sqlalchemy.dialects.postgresql.psycopg"])


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement.

    Attributes:
        rate: payments per second, all workers together.
        p50_ms, p99_ms: how long one step took.
        client_us, server_us: processor time per payment in our processes and in the server's, in
            microseconds; ``server_us`` is ``None`` where there is no server.
        load: the machine's load average when it ended.
    """

    rate: float
    p50_ms: float
    p99_ms: float
    client_us: float
    server_us: float | None
    load: float


@dataclass(frozen=True, slots=True)
class _Sample:
    payments: int
    wall_s: float
    cpu_s: float
    latencies_s: list[float]


def measure(
    make: Callable[..., Step],
    *arguments: Any,
    processes: int,
    seconds: float,
    server_cpu_s: Callable[[], float] | None = None,
) -> Run:
    """Let *processes* workers do what ``make(number, *arguments)`` returns, for *seconds*.

    Args:
        make: a function of a module; called in each worker with its number, from 0.
        server_cpu_s: the processor seconds of the database server so far.

    Raises:
        RuntimeError: a worker failed; the message is its traceback.
    """
    barrier, queue = _context.Barrier(processes + 1), _context.Queue()
    # A server forgets for a moment what a connection used that has just ended, so nobody leaves
    # before its time is read.
    counted = _context.Event()
    workers = [
        _context.Process(
            target=_work,
            args=(make, number, arguments, seconds, barrier, queue, counted),
            daemon=True,
        )
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    try:
        barrier.wait(START_S)
    except BrokenBarrierError:
        raise RuntimeError(_first_failure(queue)) from None
    before = server_cpu_s() if server_cpu_s else 0.0
    samples = []
    for _ in workers:
        sample = queue.get(timeout=seconds + START_S)
        if isinstance(sample, str):
            raise RuntimeError(sample)
        samples.append(sample)
    used = server_cpu_s() - before if server_cpu_s else None
    counted.set()
    for worker in workers:
        worker.join()
    return _run(samples, used)


def _first_failure(queue: Any) -> str:
    try:
        return str(queue.get(timeout=5))
    except Empty:
        return "a worker did not start"


def _run(samples: list[_Sample], server_s: float | None) -> Run:
    payments = sum(sample.payments for sample in samples)
    latencies = [each for sample in samples for each in sample.latencies_s]
    return Run(
        rate=sum(sample.payments / sample.wall_s for sample in samples),
        p50_ms=statistics.median(latencies) * 1e3,
        p99_ms=percentile(latencies, 0.99) * 1e3,
        client_us=sum(sample.cpu_s for sample in samples) / payments * 1e6,
        server_us=None if server_s is None else server_s / payments * 1e6,
        load=machine.load(),
    )


def _work(
    make: Callable[..., Step],
    number: int,
    arguments: tuple[Any, ...],
    seconds: float,
    barrier: Any,
    queue: Any,
    counted: Any,
) -> None:
    try:
        step = make(number, *arguments)
        _warm_up(step)
        gc.collect()
        gc.freeze()  # as a process of payctl's does that lives for more than a moment
        barrier.wait(START_S)
        queue.put(_repeat(step, seconds))
        counted.wait(START_S)
    except BrokenBarrierError:
        pass  # another worker failed and has said why
    except Exception:
        barrier.abort()
        queue.put(f"worker {number} ({os.getpid()})\n{traceback.format_exc()}")


def _warm_up(step: Step) -> None:
    until = time.perf_counter() + WARM_UP_S
    for _ in range(WARM_UP):
        step()
        if time.perf_counter() >= until:
            break


def _repeat(step: Step, seconds: float) -> _Sample:
    payments, latencies = 0, []
    cpu = time.process_time()
    started = now = time.perf_counter()
    while now - started < seconds:
        payments += step()
        ended = time.perf_counter()
        latencies.append(ended - now)
        now = ended
    return _Sample(payments, now - started, time.process_time() - cpu, latencies)
