"""Is this installation healthy? One list of checks, each finding with the line that fixes it.

``payctl doctor``, ``payctl health``, the receiver's ``/health`` pages and the alerts all read this
list. *Alive* means that the process answers, which needs no check; *ready* means that the book can
be written and is at the program's revision. Everything else may be wrong while payments go on.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import sqlalchemy as sa

from payctl.config import Config
from payctl.config_layers import state_dir
from payctl.db import migrate
from payctl.db.engine import Database
from payctl.db.job_runs import JobRun
from payctl.errors import PayctlError, Unavailable
from payctl.gateways.base import Gateway
from payctl.insight import signs
from payctl.insight.book_checks import BookChecks
from payctl.insight.findings import FAIL, OK, WARN, Finding, Report, Schedule, moment
from payctl.insight.gateway_health import ping
from payctl.payments.provider_readings import ask_all

DISK_WARN_BYTES, DISK_FAIL_BYTES = 2 * 1024**3, 256 * 1024**2
#: The book answers a trivial question in a few milliseconds.
SLOW_MS = 250
#: A provider's sign of life is asked for at most this often by whoever serves it over HTTP.
PING_KEPT_S = 30.0

#: Checks without which nothing can be taken.
READINESS = ("database", "migrations")
#: Checks of ``/health/database`` and ``/health/gateways``.
DATABASE = (*READINESS, "clock", "disk")
GATEWAYS = ("gateways", "breakers", "webhooks", "floats", "unknown")


class Health:
    """The checks, in the order in which a failure explains the next one.

    Args:
        gateways: builds the accounts; called late, because a wrong key is a finding, not an end.
        last_runs: the newest run of each job.
    """

    def __init__(
        self,
        config: Config,
        db: Database,
        gateways: Callable[[], Mapping[str, Gateway]],
        schedules: Callable[[], list[Schedule]],
        last_runs: Callable[[], Mapping[str, JobRun]],
    ) -> None:
        self._config = config
        self._db = db
        self._gateways = gateways
        self._book = BookChecks(db, config.gateways, schedules, last_runs)
        self._pinged: tuple[float, list[Finding]] | None = None
        self._ping_lock = threading.Lock()

    # -- reports ----------------------------------------------------------------------------------

    def readiness(self) -> Report:
        """Whether payments can be taken: the book can be written and is at head."""
        return self.report(READINESS)

    def detailed(self, *, network: bool = False) -> Report:
        """Every check; *network* also asks the providers, at most every half minute."""
        return self.report(None, network=network)

    def report(self, only: Iterable[str] | None = None, *, network: bool = False) -> Report:
        """The named checks (default: all) as one report, for whoever asks often."""
        asked = self._kept_pings if network else self._gateways_seen
        return Report(list(self._findings(only, asked)), self._db.clock.now())

    def findings(
        self, only: Iterable[str] | None = None, *, network: bool = True
    ) -> Iterator[Finding]:
        """Every finding of the named checks (default: all). *network* asks the providers; without
        it they are judged by when they last answered.
        """
        return self._findings(only, self._gateway_pings if network else self._gateways_seen)

    def _findings(
        self, only: Iterable[str] | None, gateways: Callable[[], Iterator[Finding]]
    ) -> Iterator[Finding]:
        wanted = None if only is None else set(only)

        def guarded(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
            if wanted is None or name in wanted:
                yield from self._guarded(name, check)

        yield from guarded("config", self._configuration)
        yield from guarded("disk", self._disk)
        # What the others need is looked at whether it is wanted or not.
        book = list(self._guarded("database", self._database))
        if _sound(book):
            book += self._guarded("migrations", self._migrations)
        yield from (found for found in book if wanted is None or found.check in wanted)
        if _sound(book):
            for name, check in self._book.all().items():
                yield from guarded(name, check)
        if _sound(book) or gateways != self._gateways_seen:
            yield from guarded("gateways", gateways)

    def _guarded(self, name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
        """A check that cannot be done is a finding with the error's own sentence."""
        try:
            # All of them before the first is told: none keeps a transaction open meanwhile.
            yield from list(check())
        except PayctlError as error:
            params = {"field": error.field or "-", **error.params}
            yield Finding(name, FAIL, error.code, params, "payctl doctor", "error")

    def _kept_pings(self) -> Iterator[Finding]:
        """Signs of life, a moment old at most: whoever may ask us must not make us ask them."""
        with self._ping_lock:
            now = self._db.clock.monotonic()
            if self._pinged is None or now - self._pinged[0] > PING_KEPT_S:
                self._pinged = (now, list(self._guarded("gateways", self._gateway_pings)))
            found = self._pinged[1]
        yield from found

    # -- checks that ask no table -----------------------------------------------------------------

    def _configuration(self) -> Iterator[Finding]:
        for problem in self._config.problems:
            raise problem
        mode = "live" if self._config.live else "test"
        about = {"profile": self._config.profile, "mode": mode}
        yield Finding("config", OK, "doctor.config_ok", about)

    def _disk(self) -> Iterator[Finding]:
        """Of the embedded book; else of this program's own files. A server watches its own."""
        if self._db.is_sqlite:
            folder = Path(str(self._db.url.database)).resolve().parent
        else:
            folder = state_dir(self._config.environ)
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        status = FAIL if free < DISK_FAIL_BYTES else WARN if free < DISK_WARN_BYTES else OK
        about = {"folder": str(folder), "free_mib": free // 1024**2}
        fix = None if status == OK else f"du -xh {folder} | sort -h | tail"
        yield Finding("disk", status, "doctor.disk", about, fix)

    def _database(self) -> Iterator[Finding]:
        """That it answers, how fast, and that it takes writes: a transaction that writes nothing
        is refused where one that writes would be. An embedded book that does not exist yet is told
        by the next check; to look at it would make it.
        """
        if self._db.is_sqlite and not Path(str(self._db.url.database)).exists():
            return
        version = "sqlite_version()" if self._db.is_sqlite else "current_setting('server_version')"
        started = self._db.clock.monotonic()
        with self._db.read() as tx:
            found = str(tx.execute(sa.text(f"SELECT {version}")).scalar_one())
        took = round((self._db.clock.monotonic() - started) * 1000)
        with self._db.rehearsal() as tx:
            if not self._db.is_sqlite and tx.execute(sa.text(_READ_ONLY)).scalar_one():
                raise Unavailable("database.read_only", place=self._db.describe())
        about = {"place": self._db.describe(), "version": found, "milliseconds": took}
        slow = took > SLOW_MS
        status, code = (WARN, "doctor.database_slow") if slow else (OK, "doctor.database_ok")
        yield Finding("database", status, code, about, "payctl jobs locks" if slow else None)

    def _migrations(self) -> Iterator[Finding]:
        found = migrate.status(self._db)
        about = {"place": self._db.describe(), "revision": found.revision or "-",
                 "head": found.head}  # fmt: skip
        if found.ready:
            yield Finding("migrations", OK, "doctor.at_head", about)
        else:
            fix = "payctl db upgrade"
            yield Finding("migrations", FAIL, "doctor.database_behind", about, fix)

    # -- gateways ---------------------------------------------------------------------------------

    def _gateways_seen(self) -> Iterator[Finding]:
        """When each provider last answered us, without asking it."""
        with self._db.read() as tx:
            for name in self._config.gateways:
                at = signs.last_answer(tx, name)
                if at is None:
                    yield Finding("gateways", OK, "doctor.gateway_unseen", {"account": name},
                                  None, f"{name}/seen")  # fmt: skip
                else:
                    told = {"account": name, "at": moment(at)}
                    yield Finding("gateways", OK, "doctor.gateway_seen", told, None, f"{name}/seen")

    def _gateway_pings(self) -> Iterator[Finding]:
        for name, health in ask_all(self._gateways(), ping):
            told = {"account": name, "milliseconds": health.latency_ms, "detail": health.detail}
            code = "doctor.gateway_ok" if health.ok else "doctor.gateway_down"
            fix = None if health.ok else f"payctl gateways show {name}"
            yield Finding("gateways", OK if health.ok else FAIL, code, told, fix, name)


_READ_ONLY = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'"


def _sound(found: Iterable[Finding]) -> bool:
    return all(finding.status != FAIL for finding in found)
