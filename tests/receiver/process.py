"""``payctl webhooks serve`` as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

_WAIT_S = 30.0


@dataclass
class Served:
    """A receiver that listens."""

    process: subprocess.Popen[str]
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", path, body, dict(headers or {}))
            return connection.getresponse().status
        finally:
            connection.close()

    def close(self) -> None:
        """Leave nothing behind, however the test ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(_WAIT_S)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(_WAIT_S)


def serve(config: Path, environ: Mapping[str, str], words: Sequence[str] = ()) -> Served:
    """Start one on a free port and wait until it listens and answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "payctl", "--config", str(config), "webhooks", "serve", "--port",
         "0", *words],
        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        env={"PATH": os.environ["PATH"], "LANG": "C", **environ},
    )  # fmt: skip
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if "listening on" in line:
            served = Served(process, int(line.rpartition(":")[2]))
            _answers(served)
            return served
    raise AssertionError(f"it did not start: {said}")


def _answers(served: Served) -> None:
    until = time.monotonic() + _WAIT_S
    while time.monotonic() < until:
        connection = HTTPConnection("127.0.0.1", served.port, timeout=_WAIT_S)
        try:
            connection.request("GET", "/health/live")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    raise AssertionError("it listens and does not answer")


def until(found: object, wanted: object, seconds: float = 10.0) -> None:
    """Wait until ``found()`` is *wanted*."""
    end = time.monotonic() + seconds
    while (now := found()) != wanted:  # type: ignore[operator]
        assert time.monotonic() < end, f"{now} is not {wanted}"
        time.sleep(0.01)
