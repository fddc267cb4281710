"""One payment service that can be killed at any point and started again on the same book.

A kill is an exception that nothing catches, raised by the probes of the database and of the
gateways; after it every object in memory is thrown away. What survives is what survives a real
kill: our database, and the provider's own file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any
from uuid import UUID
from weakref import WeakSet

import sqlalchemy as sa

from payctl.app import App
from payctl.clock import ManualClock
from payctl.config import Config, load
from payctl.db.engine import Database
from payctl.errors import ApprovalRequired, PayctlError
from payctl.gateways.registry import build
from payctl.gateways.sandbox import SandboxGateway
from payctl.ids import IdSource, decode
from payctl.payments import tables as t
from payctl.payments.model import LIVE_ATTEMPT_STATES
from payctl.webhooks.tables import webhook_event
from tests import books
from tests.payments.kit import APPROVER, JANITOR, OPERATOR

Accounts = Mapping[str, Mapping[str, Any]]
#: A path that turns more often than this goes round in circles.
MOST_TURNS = 120
_LIVE = [str(state) for state in LIVE_ATTEMPT_STATES]
#: What a process is told that has stood still: it must not send any more, and a webhook that it
#: held in its hands meanwhile has become too old, which its provider takes for undelivered.
OVERSLEPT = ("attempt.lease_lost", "event.stale")
#: What a caller does at each turn, in the process that is given.
Acting = Callable[["World"], object]


def _nothing(_world: World) -> None:
    """Nobody calls."""


class Killed(BaseException):
    """The process ended here. Not an ``Exception``: nothing in the code may catch it."""


class Circles(AssertionError):
    """The janitor is always due and never gets anywhere."""


class Reborn(Database):
    """A database object of a new process. Its engine's compiled statements are kept, which is only
    a matter of speed; every connection of the process before is closed.
    """

    _engines: dict[tuple[str, ...], sa.Engine] = {}  # noqa: RUF012 - shared on purpose
    _alive: WeakSet[Reborn] = WeakSet()  # noqa: RUF012 - shared on purpose

    def _sqlite(self) -> sa.Engine:
        return self._kept(super()._sqlite)

    def _postgresql(self, pool_size: int, **settings: str) -> sa.Engine:
        return self._kept(lambda: super(Reborn, self)._postgresql(pool_size, **settings), *settings)

    def _kept(self, make: Callable[[], sa.Engine], *settings: str) -> sa.Engine:
        name = (self.url.render_as_string(hide_password=False), *settings)
        if name not in self._engines:
            self._engines[name] = make()
            if self.is_sqlite:
                sa.event.listen(self._engines[name], "connect", _quick)
        self._alive.add(self)
        _close_unused(self._engines[name])
        return self._engines[name]

    def held(self) -> int:
        """Connections with a transaction open; a thread's own one has none between statements."""
        own = sum(len(each._owned) for each in self._alive if each.engine is self.engine)
        return sum(_in_use(each) for each in {self.engine, self._one_by_one}) - own

    def dispose(self) -> None:
        self.close_own()
        _close_unused(self.engine)
        _close_unused(self._one_by_one)


def _close_unused(engine: sa.Engine) -> None:
    """A process that stands still keeps what it holds."""
    if not _in_use(engine):
        engine.dispose()


def _in_use(engine: sa.Engine) -> int:
    assert isinstance(engine.pool, sa.pool.QueuePool)
    return engine.pool.checkedout()


@dataclass
class World:
    """Our service, its providers, and the time both live in.

    Args:
        accounts: settings of the sandbox accounts, by name.
        kill_at: numbers of the probe points, counted from 1, at which the process is killed.
    """

    url: str
    folder: Path
    accounts: Accounts
    clock: ManualClock
    config: Config
    kill_at: frozenset[int] = frozenset()
    #: number of the point at which this process is not scheduled for a while, and for how long
    pause_at: tuple[int, float] = (0, 0.0)
    #: tells the ids of one process from those of another that is at work on the same path
    part: str = ""
    points: list[str] = field(default_factory=list)
    #: for each point what had been written by then, on our side and on the providers'
    written: list[tuple[int, int]] = field(default_factory=list)
    kills: int = 0
    #: calls to a provider during which a connection to our database was in use
    held_calls: int = 0
    refusals: list[PayctlError] = field(default_factory=list)
    marks: list[datetime] = field(default_factory=list)
    watching: bool = False

    def __post_init__(self) -> None:
        self.boots = 0
        self.acting: Acting = _nothing
        self.started = self.clock.now()
        self.gateways: dict[str, SandboxGateway] = {}
        self.boot()

    @property
    def undisturbed(self) -> bool:
        """Whether this path runs to its end as it began."""
        return not self.kill_at and not self.pause_at[0]

    def boot(self) -> None:
        """Start the process: new objects, nothing remembered."""
        self.boots += 1
        seed = f"{self.part}{self.boots}"
        for gateway in self.gateways.values():
            gateway.close()
        if self.boots > 1:
            self.db.close_own()
        ids = IdSource(self.clock, Random(seed))
        self.db = Reborn(self.url, clock=self.clock, ids=ids, probe=self._probe)
        for account, settings in self.accounts.items():
            full = {"book": str(self.folder / f"{account}.sqlite3"), **settings}
            gateway = build("sandbox", account, full, str, clock=self.clock, probe=self._probe)
            assert isinstance(gateway, SandboxGateway)
            self.gateways[account] = gateway
        self.app = App(self.config, db=self.db)
        self.app.__dict__["gateways"] = dict(self.gateways)
        # The jitter of this process: the same on every run, so that a path can be played again.
        for service in (
            self.app.outcomes,
            self.app.dispatch,
            self.app.breakers,
            self.app.first_answers,
        ):
            vars(service)["_random"] = Random(seed)

    def _written(self) -> tuple[int, int]:
        """What a kill now would leave: how much we have written and how many exchanges have reached
        a provider. Our part is the length of the write-ahead log, which only grows here, or the
        number of the oldest transaction that has not ended, which only writing ones have.
        """
        if self.app.db.is_sqlite:
            log = Path(f"{self.app.db.url.database}-wal")
            size = log.stat().st_size if log.exists() else 0
        else:
            with self.app.db.engine.connect() as connection:
                text = connection.exec_driver_sql("SELECT pg_current_snapshot()::text").scalar_one()
            size = int(text.partition(":")[0])
        return size, self.points.count("receive.after")

    def close(self) -> None:
        for gateway in self.gateways.values():
            gateway.close()
        self.app.close()

    def _probe(self, point: str) -> None:
        if not self.watching:
            return
        self.points.append(point)
        self.held_calls += point == "send.before" and self.db.held() > 0
        if self.undisturbed:
            self.written.append(self._written())
        if len(self.points) in self.kill_at:
            raise Killed(point)
        if len(self.points) == self.pause_at[0]:
            self._oversleep(timedelta(seconds=self.pause_at[1]))

    def _oversleep(self, span: timedelta) -> None:
        """This process stands still while another one works on the same book, and the caller, who
        hears nothing, calls there with the same key.
        """
        end, self.watching = self.clock.now() + span, False
        other = replace(self, kill_at=frozenset(), pause_at=(0, 0.0), part="other", points=[],
                        written=[], refusals=[])  # fmt: skip
        other.started = self.started
        while self.clock.now() < end:
            other.guard(lambda: self.acting(other))
            other.turn()
            due = other.next_moment() or end
            step = max(due - self.clock.now(), timedelta(seconds=1))
            self.clock.advance(min(step, end - self.clock.now()))
        other.guard(lambda: self.acting(other))
        other.turn()
        other.close()
        self.refusals += other.refusals
        self.watching = True

    # -- doing ----------------------------------------------------------------------------------

    def guard(self, act: Callable[[], object]) -> None:
        """Do something as a process would; after a kill start anew and do it once more. What our
        own code refuses is kept in ``refusals``.
        """
        self.watching = True
        try:
            while True:
                try:
                    act()
                    return
                except PayctlError as refused:
                    if not (self.pause_at[0] and refused.code in OVERSLEPT):
                        self.refusals.append(refused)
                    return
                except Killed:
                    self.kills += 1
                    self.boot()
        finally:
            self.watching = False

    def deliver(self) -> None:
        """The providers deliver their webhooks into the inbox."""
        for account, gateway in list(self.gateways.items()):
            for body, headers in gateway.deliveries():
                self.app.inbox.receive(account, body, headers)

    def turn(self) -> None:
        """Everything that runs by itself, once: webhooks, inbox, janitor."""
        self.guard(self.deliver)
        self.guard(lambda: self.app.inbox.apply(JANITOR))
        self.guard(lambda: self.app.sync.run(JANITOR))

    def settle(self, acting: Acting, longest: timedelta) -> None:
        """Let time pass, from one due moment to the next, until nothing is due any more."""
        end, self.acting = self.clock.now() + longest, acting
        for _turn in range(MOST_TURNS):
            self.guard(lambda: acting(self))
            self.turn()
            due = self.next_moment()
            if due is None or due > end:
                # What the last turn found out may be the no after which the caller tries anew.
                self.guard(lambda: acting(self))
                due = self.next_moment()
            if due is None or due > end:
                return
            step = max(due - self.clock.now(), timedelta(seconds=1))
            self.clock.advance(step)
        raise Circles(f"still due after {MOST_TURNS} turns")

    def next_moment(self) -> datetime | None:
        """When the next thing happens: a check of ours, a webhook, or what the story planned."""
        now = self.clock.now()
        moments = [mark for mark in self.marks if mark > now]
        with self.app.db.read() as tx:
            a, p, r, w = t.attempt.c, t.payment.c, t.refund.c, webhook_event.c
            for due, lease in tx.execute(
                sa.select(a.next_check_at, a.lease_until).where(a.state.in_(_LIVE))
            ):
                moments.append(max(due, lease) if lease else due)
            for column, where in (
                (p.next_check_at, ~sa.exists().where(a.payment_id == p.id, a.state.in_(_LIVE))),
                (r.next_check_at, r.state == "approved"),
                (w.next_try_at, sa.true()),
            ):
                moments += tx.scalars(sa.select(column).where(column.is_not(None), where)).all()
        for gateway in self.gateways.values():
            moments += [each["due_at"] for each in gateway.pending_events()]
        return min(moments, default=None)

    # -- asking ---------------------------------------------------------------------------------

    def rows(self, table: sa.Table, *where: Any) -> list[dict[str, Any]]:
        with self.app.db.read() as tx:
            query = sa.select(table).where(*where).order_by(table.c.id)
            return [dict(row) for row in tx.execute(query).mappings()]

    def resolve(self, case_id: UUID, resolution: str, evidence: str) -> None:
        """An operator resolves a case, with a second one's yes where that is needed."""
        try:
            self.app.cases.resolve(OPERATOR, case_id, resolution, evidence)
        except ApprovalRequired as needed:
            approval_id = decode(str(needed.params["approval"]), "approval")
            approval = self.app.approvals.approve(APPROVER, approval_id, "seen it too")
            self.app.after_approval[approval.kind](APPROVER, approval)


def _quick(connection: Any, record: object) -> None:
    books.without_fsync(connection, record)
    connection.execute("PRAGMA wal_autocheckpoint=0")


def fast_folder() -> Path:
    """A fresh folder in memory where the machine has one: files there are as durable as a killed
    process needs, and quick.
    """
    memory = Path("/dev/shm")
    return Path(mkdtemp(prefix="payctl-crash-", dir=memory if memory.is_dir() else None))


@dataclass
class Stage:
    """Where worlds are made: one place of a book, which is empty at the beginning of each path, so
    that a path can be played again and its points have the same numbers.

    Args:
        template: the empty SQLite book; ``None`` for a book on PostgreSQL.
    """

    url: str
    folder: Path
    template: Path | None
    start: datetime
    made: int = 0

    @contextmanager
    def world(
        self,
        accounts: Accounts,
        kill_at: frozenset[int] = frozenset(),
        pause_at: tuple[int, float] = (0, 0.0),
    ) -> Iterator[World]:
        self.made += 1
        if self.template is not None:
            path = Path(self.url.removeprefix("sqlite:///"))
            for old in path.parent.glob(path.name + "*"):
                old.unlink()
            shutil.copy(self.template, path)
        else:
            books.empty_pg(self.url)
        folder = self.folder / f"path{self.made}"
        folder.mkdir()
        world = World(
            self.url, folder, accounts, ManualClock(self.start),
            _config(self.folder), kill_at, pause_at,
        )  # fmt: skip
        try:
            yield world
        finally:
            world.close()
            shutil.rmtree(folder)


_configs: dict[Path, Config] = {}


def _config(folder: Path) -> Config:
    if folder not in _configs:
        _configs[folder] = load(environ={}, folder=folder)
    return _configs[folder]
