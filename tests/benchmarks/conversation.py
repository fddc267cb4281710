"""A command that reads a JSON request a line and answers each with a JSON line, kept busy."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Barrier, Timer
from typing import Any

from tests.benchmarks import machine
from tests.benchmarks.workers import START_S

Request = Mapping[str, Any]


@dataclass(slots=True)
class Talk:
    """What one command answered: how often, in what time, with what processor time, how quickly."""

    answers: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)


def talk(
    command: Sequence[str],
    environ: Mapping[str, str],
    requests: Iterator[Request],
    in_flight: int,
    seconds: float,
    start: Barrier,
) -> Talk:
    """Keep *in_flight* requests on their way for *seconds*, counted from *start*, which is waited
    for when each place has been answered once.

    Raises:
        RuntimeError: the command ended, fell silent, or did not take a payment.
    """
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, env=dict(environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=errors, text=True,
        )  # fmt: skip
        watch = Timer(START_S + seconds, process.kill)
        watch.start()
        try:
            return _Line(process, requests).keep_busy(in_flight, seconds, start)
        except (RuntimeError, BrokenPipeError) as stopped:
            start.abort()
            process.kill()
            errors.seek(0)
            raise RuntimeError(f"{stopped}\n{errors.read()}") from stopped
        finally:
            watch.cancel()
            process.communicate()


class _Line:
    """The pipes of one command, and when each request was sent."""

    def __init__(self, process: subprocess.Popen[str], requests: Iterator[Request]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process, self._in, self._out = process, process.stdin, process.stdout
        self._requests = requests
        self._sent: dict[str, float] = {}

    def keep_busy(self, in_flight: int, seconds: float, start: Barrier) -> Talk:
        done = Talk()
        for _ in range(in_flight):
            self._send()
        for _ in range(in_flight):
            self._receive()
            self._send()
        start.wait(START_S)
        cpu = machine.tree_cpu_s(self._process.pid)
        started = now = time.perf_counter()
        while now - started < seconds:
            sent = self._receive()
            self._send()
            now = time.perf_counter()
            done.answers += 1
            if sent >= started:  # what was sent before has waited for the others
                done.latencies_s.append(now - sent)
        done.wall_s = now - started
        done.cpu_s = machine.tree_cpu_s(self._process.pid) - cpu
        return done

    def _send(self) -> None:
        request = next(self._requests)
        self._sent[request["key"]] = time.perf_counter()
        self._in.write(json.dumps(request) + "\n")
        self._in.flush()

    def _receive(self) -> float:
        """Read an answer; returns when its request was sent."""
        line = self._out.readline()
        if not line:
            raise RuntimeError("the command ended, or was silent for too long")
        answer = json.loads(line)
        if answer.get("payment", {}).get("status") != "succeeded":
            raise RuntimeError(f"a payment was not taken: {line}")
        return self._sent.pop(answer["key"])
