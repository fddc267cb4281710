"""Breakers shared by all processes: may a call go out, and what its answer changes.

A breaker stops payments from running into a gateway that is down, and lets exactly one process at a
time find out whether it is back. All of it lies in the database, because most callers are
short-lived processes; without the database no attempt can be written and so no call is made.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.gateways.base import Answer, Outcome
from payctl.payments import breaker_store as store
from payctl.payments.breaker_model import (
    Breaker,
    Result,
    Streak,
    Verdict,
    after_calls,
    after_probe,
    claim,
    classify,
    is_slow,
    look,
    minute_of,
    paused,
    release,
)
from payctl.payments.gateway_tables import STRIPES

#: States are read at most this often by one process; a change is seen everywhere after it.
CACHE_S = 1.0
#: The writer of changes nobody ordered.
MACHINE = "payctl"

#: After the ledger's shared rows, before the audit's: one order of locks for every transaction.
AT_COMMIT_RANK = 50
#: A process writes sound answers it held back at least this often.
FLUSH_S = 1.0

Key = tuple[str, str]
#: Samples by account and class: counter -> number.
Counts = dict[Key, dict[str, int]]

_COLUMNS = {
    Result.OK: "ok",
    Result.REFUSED: "refused",
    Result.TECH_FAIL: "tech_fail",
    Result.AUTH: "tech_fail",
    Result.NOT_SENT: "not_sent",
    Result.LIMITED: "limited",
}


@dataclass(frozen=True, slots=True)
class _Call:
    """One answer, waiting for the end of its transaction."""

    key: Key
    result: Result
    slow: bool
    probe: str
    retry_after_s: float | None
    won: int
    lost: int

    @property
    def matters(self) -> bool:
        """Whether it can change the breaker, and not only the samples."""
        return self.result.matters or bool(self.probe)

    def counts(self) -> dict[str, int]:
        """What it adds to the samples."""
        return _counts(self.result, self.slow, self.won, self.lost)


class Sampling(NamedTuple):
    """Answers that were counted, and the rows of samples to write now (none: later ones will)."""

    counts: Counts
    number: int
    held: Counts
    rows: list[dict[str, Any]]


class Breakers:
    """The breakers of a book.

    Args:
        flush_every: sound answers are added to the samples in groups of so many, or each second;
            1 writes each in its own transaction. A failure is always written at once. Call
            :meth:`flush` at the end when it is above 1.
        random: source of jitter and of this process's stripe.
    """

    def __init__(self, db: Database, *, flush_every: int = 1, random: Random | None = None) -> None:
        self._db = db
        self._random = random or Random()  # noqa: S311 - jitter
        self._flush_every = flush_every
        self._stripe = self._random.randrange(STRIPES)
        self._lock = threading.Lock()
        self._waiting: WeakKeyDictionary[sa.Connection, list[_Call]] = WeakKeyDictionary()
        self._buffer: Counts = {}
        self._buffered = 0
        self._buffered_at = 0.0
        self._cache: tuple[dict[Key, Breaker], timedelta, float] | None = None

    # -- before a call ----------------------------------------------------------------------------

    def states(self, tx: sa.Connection | None) -> Mapping[Key, Breaker]:
        """What :meth:`peek` judges by; another object whenever it was read anew."""
        return self._states(tx)[0]

    def peek(self, tx: sa.Connection | None, account: str, op_class: str) -> Verdict:
        """What :meth:`decide` would say, without taking a probe."""
        states, behind = self._states(tx)
        state = states.get((account, op_class))
        return look(state, self._db.clock.now() + behind) if state is not None else Verdict(True)

    def decide(self, tx: sa.Connection | None, account: str, op_class: str) -> Verdict:
        """Whether a call of *op_class* (collect, refund, payout, read) may go out on *account*.

        While a breaker is half open exactly one caller at a time is allowed; it holds the probe
        until its answer is recorded or the lease runs out. Without *tx* the probe is claimed in a
        transaction of its own. A closed breaker costs no query more than once a second.
        """
        seen = self.peek(tx, account, op_class)
        if not seen.unclaimed:
            return seen
        token = self._db.ids.token()

        def take(tx: sa.Connection) -> Verdict:
            before, now = store.lock(self._db, tx, account, op_class)
            after = claim(before, now, token)
            if after is None:
                return look(before, now)
            store.write(self._db, tx, before, after, actor=MACHINE, now=now, detail={})
            return Verdict(True, token, after.state, after.reason, after.probe_lease_until)

        verdict = take(tx) if tx is not None else self._db.run(take)
        self.forget()
        return verdict

    def release(self, tx: sa.Connection | None, account: str, op_class: str, probe: str) -> None:
        """Give back a probe that was claimed for a call that was not made."""
        if not probe:
            return

        def give(tx: sa.Connection) -> None:
            before, now = store.lock(self._db, tx, account, op_class)
            store.write(
                self._db, tx, before, release(before, probe), actor=MACHINE, now=now, detail={}
            )

        if tx is not None:
            give(tx)
        else:
            self._db.run(give)
        self.forget()

    # -- after a call -----------------------------------------------------------------------------

    def record(
        self,
        tx: sa.Connection,
        account: str,
        op_class: str,
        answer: Answer,
        probe: str = "",
        *,
        sale: bool = True,
    ) -> None:
        """Count an answer, inside the transaction that stores its outcome.

        The shared rows are touched at the very end of that transaction. *probe* is the token of the
        verdict the call went out with. *sale* is false for calls that follow a payment (a capture,
        a cancellation): their success says nothing about how many payments a gateway wins.
        """
        won = answer.outcome in (Outcome.SUCCEEDED, Outcome.AUTHORIZED)
        counts = sale and op_class != "read"
        self._wait(
            tx,
            _Call(
                (account, op_class),
                classify(answer),
                is_slow(answer, op_class),
                probe,
                answer.retry_after_s,
                int(won and counts),
                int(answer.outcome is Outcome.DECLINED and counts),
            ),
        )

    def matters(self, answer: Answer) -> bool:
        """Whether *answer*, to a call that was no probe, can change a breaker, and not only the
        samples.
        """
        return classify(answer).matters

    def sample(self, answered: Iterable[tuple[str, Answer]]) -> Sampling:
        """Count answers to requests for payment that matter to no breaker, by account.

        The result's rows are to be written with the outcomes; :meth:`sampled` must be told whether
        that was done.
        """
        counts: Counts = {}
        number = 0
        for account, answer in answered:
            won = answer.outcome in (Outcome.SUCCEEDED, Outcome.AUTHORIZED)
            lost = answer.outcome is Outcome.DECLINED
            slow = is_slow(answer, "collect")
            _add(counts, (account, "collect"), _counts(classify(answer), slow, won, lost))
            number += 1
        with self._lock:
            waited_s = self._db.clock.monotonic() - self._buffered_at
            if self._buffered + number < self._flush_every and waited_s < FLUSH_S:
                return Sampling(counts, number, {}, [])
            held = self._take_buffer()
        rows = store.sample_rows(self._db, self._stripe, _sum(held, counts))
        return Sampling(counts, number, held, rows)

    def sampled(self, sampling: Sampling, *, done: bool) -> None:
        """Whether the outcomes of a :meth:`sample` were written, and its rows with them. When they
        were not, the answers are not counted at all: whoever writes them counts them.
        """
        with self._lock:
            if done and not sampling.rows:
                self._keep(sampling.counts, sampling.number)
            elif not done and sampling.held:
                self._keep(sampling.held, 0)

    def record_end(self, tx: sa.Connection, account: str, op_class: str, *, won: bool) -> None:
        """Count how a payment ended that was still open after its call, learned later.

        It feeds the success rate routing ranks by, and says nothing about the line.
        """
        key = (account, op_class)
        self._wait(tx, _Call(key, Result.ENDED, False, "", None, int(won), int(not won)))

    def flush(self) -> None:
        """Write the sound answers still held back."""
        with self._lock:
            held = self._take_buffer()
        if held:
            self._db.run(lambda tx: store.add_samples(self._db, tx, self._stripe, held))

    def prune(self) -> int:
        """Delete samples older than a week; returns how many. The history of changes stays."""
        return self._db.run(lambda tx: store.prune(self._db, tx))

    def forget(self) -> None:
        """Read the states anew at the next question."""
        self._cache = None

    # -- the end of the transaction ---------------------------------------------------------------

    def _wait(self, tx: sa.Connection, call: _Call) -> None:
        with self._lock:
            calls = self._waiting.get(tx)
            if calls is not None:
                calls.append(call)
                return
            self._waiting[tx] = [call]
        self._db.at_commit(tx, self._apply, rank=AT_COMMIT_RANK)

    def _apply(self, tx: sa.Connection) -> None:
        with self._lock:
            calls = self._waiting.pop(tx, [])
            self._add_to_buffer(calls)
            if not any(call.matters for call in calls) and not self._full():
                return
            counts = self._take_buffer()
        store.add_samples(self._db, tx, self._stripe, counts)
        for key in sorted({call.key for call in calls if call.matters}):
            self._change(tx, key, [call for call in calls if call.key == key])

    def _change(self, tx: sa.Connection, key: Key, calls: list[_Call]) -> None:
        before, now = store.lock(self._db, tx, *key)
        probes = [call for call in calls if call.probe and call.probe == before.probe_owner]
        plain = [call for call in calls if call not in probes]
        after, detail = before, dict[str, int]()
        if any(call.result.failed for call in plain):
            streak = self._streak(tx, before, plain, now)
            after = after_calls(after, streak, now, self._random.random())
            detail = {
                "calls": streak.calls,
                "failed": streak.failed,
                "in_a_row": after.failed_in_row,
            }
        for call in calls:
            if call.result is Result.LIMITED:
                after = paused(after, now, call.retry_after_s)
        for call in probes:
            after = after_probe(after, call.probe, call.result, now, self._random.random())
        detail["open_count"] = after.open_count
        store.write(self._db, tx, before, after, actor=MACHINE, now=now, detail=detail)
        self.forget()

    @staticmethod
    def _streak(tx: sa.Connection, state: Breaker, calls: list[_Call], now: datetime) -> Streak:
        """What *calls* add; their samples are already counted."""
        seen = store.window(tx, state, now)
        minute = minute_of(now)
        failures = 0
        for call in calls:
            failures = failures + 1 if call.result.failed else 0 if call.result.sound else failures
        return Streak(
            failures=failures,
            broken=seen.sound_since > state.ok_mark
            or state.failed_minute < minute - store.STREAK_MINUTES,
            calls=seen.calls,
            failed=seen.failed,
            minute=minute,
            ok_mark=seen.ok_mark,
            auth=any(call.result is Result.AUTH for call in calls),
        )

    def _add_to_buffer(self, calls: list[_Call]) -> None:
        counts: Counts = {}
        for call in calls:
            _add(counts, call.key, call.counts())
        self._keep(counts, len(calls))

    def _keep(self, counts: Counts, number: int) -> None:
        if not self._buffer:
            self._buffered_at = self._db.clock.monotonic()
        self._buffer = _sum(self._buffer, counts)
        self._buffered += number

    def _full(self) -> bool:
        waited_s = self._db.clock.monotonic() - self._buffered_at
        return self._buffered >= self._flush_every or waited_s >= FLUSH_S

    def _take_buffer(self) -> Counts:
        held, self._buffer, self._buffered = self._buffer, {}, 0
        return held

    # -- reading ----------------------------------------------------------------------------------

    def _states(self, tx: sa.Connection | None) -> tuple[dict[Key, Breaker], timedelta]:
        """All states, at most a second old, and how far this machine's clock is behind."""
        cached = self._cache
        at = self._db.clock.monotonic()
        if cached is not None and at - cached[2] < CACHE_S:
            return cached[0], cached[1]
        if tx is not None:
            states, now = store.read_all(self._db, tx)
        else:
            with self._db.read() as reading:
                states, now = store.read_all(self._db, reading)
        behind = now - self._db.clock.now()
        self._cache = (states, behind, at)
        return states, behind


def _counts(result: Result, slow: bool, won: int, lost: int) -> dict[str, int]:
    """What one answer adds to the samples."""
    line = {"slow": int(slow), "won": int(won), "lost": int(lost)}
    column = _COLUMNS.get(result)
    if column is not None:
        line[column] = 1
    return line


def _add(counts: Counts, key: Key, line: Mapping[str, int]) -> None:
    known = counts.get(key)
    if known is None:
        counts[key] = dict(line)
        return
    for name, number in line.items():
        known[name] = known.get(name, 0) + number


def _sum(first: Counts, second: Counts) -> Counts:
    total: Counts = {}
    for counts in (first, second):
        for key, line in counts.items():
            _add(total, key, line)
    return total
