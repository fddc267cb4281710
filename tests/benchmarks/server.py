"""A durable PostgreSQL of our own, its pgbench, and books on it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from payctl.db import migrate
from payctl.db.engine import Database
from payctl.ledger import partitions
from tests import postgres
from tests.benchmarks import machine, sales

SCALE, CLIENTS, THREADS = 10, 8, 2
#: Settings that decide what a commit costs; all of them are the server's defaults.
SHOWN = (
    "fsync", "synchronous_commit", "full_page_writes", "wal_level", "shared_buffers",
    "max_wal_size", "checkpoint_timeout",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reference:
    """One run of pgbench's TPC-B: transactions per second and their average milliseconds."""

    rate: float
    latency_ms: float


class Server:
    """Started when made; :meth:`stop` it."""

    def __init__(self) -> None:
        # A server somebody else runs has settings, and a processor time, that are not ours.
        os.environ.pop("PAYCTL_TEST_DATABASE_URL", None)
        self._server = postgres.start(durable=True)

    def stop(self) -> None:
        self._server.stop()

    @property
    def version(self) -> str:
        return str(self._ask("SHOW server_version"))

    def settings(self) -> str:
        """The settings of :data:`SHOWN`."""
        return ", ".join(f"{name} = {self._ask(f'SHOW {name}')}" for name in SHOWN)

    def cpu_s(self) -> float:
        """Processor seconds of the server so far: all its processes, ended ones too."""
        assert self._server.process is not None
        return machine.tree_cpu_s(self._server.process.pid)

    # -- the reference --------------------------------------------------------------------------

    def tpcb(self, seconds: float) -> Reference:
        """pgbench's own TPC-B-like script for *seconds*, in whole seconds and at least one."""
        out = self._bench(
            "-c", str(CLIENTS), "-j", str(THREADS), "-M", "prepared",
            "-T", str(max(round(seconds), 1)), self._tpcb_database,
        )  # fmt: skip
        return Reference(
            _number(r"^tps = ([0-9.]+)", out), _number(r"^latency average = ([0-9.]+)", out)
        )

    @cached_property
    def _tpcb_database(self) -> str:
        """The database of the reference, filled and warm."""
        self._run("CREATE DATABASE tpcb")
        self._bench("-i", "-q", "-s", str(SCALE), "tpcb")
        self._bench("-c", str(CLIENTS), "-j", str(THREADS), "-M", "prepared", "-T", "2", "tpcb")
        return "tpcb"

    def _bench(self, *words: str) -> str:
        url = urlsplit(self._server.url)
        where = ["-h", str(url.hostname), "-p", str(url.port), "-U", str(url.username)]
        done = subprocess.run([_pgbench(), *where, *words], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"pgbench: {done.stderr}")
        return done.stdout

    # -- books ----------------------------------------------------------------------------------

    def new_book(self, name: str) -> str:
        """URL of a book in a database of its own, with this month's partitions and the accounts of
        the sales open, and nothing posted.
        """
        return self._copy(self._template_book, name)

    def empty(self, name: str) -> str:
        """URL of a database with nothing in it."""
        return self._copy("template1", name)

    @cached_property
    def _template_book(self) -> str:
        url = self._copy("template1", "template_book")
        db = Database(url)
        migrate.upgrade(db)
        with db.transaction() as tx:
            partitions.ensure(tx, db.clock.now())
        sales.open_accounts(db)
        db.dispose()
        return "template_book"

    def _copy(self, template: str, name: str) -> str:
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._server.url.rpartition("/")[0] + f"/{name}"

    def settle(self, url: str) -> None:
        """Let the server have its statistics and its pages on disk before a book is measured."""
        with psycopg.connect(plain(url), autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")

    # -- how ------------------------------------------------------------------------------------

    def _run(self, statement: str) -> None:
        with psycopg.connect(plain(self._server.url), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _ask(self, query: str) -> Any:
        with psycopg.connect(plain(self._server.url)) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def plain(url: str) -> str:
    """The URL as the driver writes it, without SQLAlchemy's name of the driver."""
    return url.replace("+psycopg", "")


def _pgbench() -> Path:
    binaries = postgres._binaries()
    if binaries is None or not (binaries / "pgbench").exists():
        raise RuntimeError("no pgbench beside the PostgreSQL the tests use")
    return binaries / "pgbench"


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text, re.M)
    if found is None:
        raise RuntimeError(f"pgbench printed something else than expected:\n{text}")
    return float(found[1])
