"""The sandbox provider's own book: what really happened on the other side, in its own SQLite file.

It shares nothing with payctl's database, so tests can hold both sides against each other. Every
exchange is one ``BEGIN IMMEDIATE``; several processes may use one file, and a kill at any point
leaves it whole (WAL; without an fsync per commit, since a killed process loses no written page).
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from payctl.gateways.base import Answer, Destination, Fee, NextAction, Outcome, RejectKind

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS payment (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, our_reference TEXT NOT NULL, method TEXT NOT NULL,
  asked_minor INTEGER NOT NULL, amount_minor INTEGER NOT NULL, currency TEXT NOT NULL,
  captured_minor INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL, code TEXT, action TEXT,
  manual INTEGER NOT NULL, words TEXT NOT NULL, metadata TEXT NOT NULL, created_at INTEGER NOT NULL,
  payer TEXT, token TEXT,
  CHECK (captured_minor BETWEEN 0 AND amount_minor)) STRICT;
CREATE INDEX IF NOT EXISTS payment_ours ON payment (our_reference);
CREATE TABLE IF NOT EXISTS capture (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, payment_id TEXT NOT NULL, our_reference TEXT,
  amount_minor INTEGER NOT NULL, fee_minor INTEGER NOT NULL, currency TEXT NOT NULL,
  created_at INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS capture_payment ON capture (payment_id);
CREATE TABLE IF NOT EXISTS refund (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, payment_id TEXT NOT NULL,
  our_reference TEXT NOT NULL, amount_minor INTEGER NOT NULL, currency TEXT NOT NULL,
  state TEXT NOT NULL, code TEXT, created_at INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS refund_ours ON refund (our_reference);
CREATE INDEX IF NOT EXISTS refund_payment ON refund (payment_id);
CREATE TABLE IF NOT EXISTS payout (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, our_reference TEXT NOT NULL,
  amount_minor INTEGER NOT NULL, fee_minor INTEGER NOT NULL, currency TEXT NOT NULL,
  destination TEXT NOT NULL, state TEXT NOT NULL, code TEXT, words TEXT NOT NULL,
  created_at INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS payout_ours ON payout (our_reference);
CREATE TABLE IF NOT EXISTS top_up (currency TEXT NOT NULL, amount_minor INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS step (
  n INTEGER PRIMARY KEY, due_at INTEGER NOT NULL, verb TEXT NOT NULL, data TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS step_due ON step (due_at);
CREATE TABLE IF NOT EXISTS seen (
  key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, answer TEXT NOT NULL,
  at INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS call (
  verb TEXT, key TEXT, n INTEGER NOT NULL, PRIMARY KEY (verb, key)) STRICT;
CREATE TABLE IF NOT EXISTS script (
  n INTEGER PRIMARY KEY, verb TEXT NOT NULL, words TEXT NOT NULL,
  remaining INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS outage (
  since INTEGER NOT NULL, until INTEGER NOT NULL, kind TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS event (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, place INTEGER NOT NULL, body TEXT NOT NULL,
  due_at INTEGER NOT NULL, copies INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS event_open ON event (place) WHERE copies > 0;
"""


def micros(at: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def moment(at: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)


class SandboxBook:
    """One file, opened on first use and by as many threads and processes as like."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._free: list[sqlite3.Connection] = []
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._closer = weakref.finalize(self, _close_all, self._free)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start; rolled back on any exception."""
        connection = self._connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        finally:
            with self._lock:
                self._free.append(connection)

    def close(self) -> None:
        """Close the connections that are not in use; the book opens again by itself."""
        with self._lock:
            _close_all(self._free)

    def _connect(self) -> sqlite3.Connection:
        with self._lock:
            if self._owner != os.getpid():
                # A connection must not cross a fork: drop the parent's unclosed (closing would be
                # the parent's business) and start anew.
                self._closer.detach()
                self._free, self._owner = [], os.getpid()
                self._closer = weakref.finalize(self, _close_all, self._free)
            if self._free:
                return self._free.pop()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path, timeout=30, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.executescript("BEGIN IMMEDIATE;" + _SCHEMA + "COMMIT;")
        known = {row["name"] for row in connection.execute("PRAGMA table_info(payment)")}
        for name in ("payer", "token"):
            if name not in known:  # a file of an earlier version
                connection.execute(f"ALTER TABLE payment ADD COLUMN {name} TEXT")
        return connection


def _close_all(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()


# --- answers as the provider remembers them ---------------------------------------------------


def answer_to_json(answer: Answer) -> str:
    """An answer as text, for replaying it to the same key."""

    def plain(value: object) -> str:
        return value.isoformat() if isinstance(value, datetime) else str(value)

    return json.dumps(asdict(answer), default=plain, sort_keys=True)


def answer_from_json(text: str) -> Answer:
    """The inverse of :func:`answer_to_json`."""
    data: dict[str, Any] = json.loads(text)
    data["outcome"] = Outcome(data["outcome"])
    data["reject"] = RejectKind(data["reject"]) if data["reject"] else None
    if action := data["next_action"]:
        if action["expires_at"]:
            action["expires_at"] = datetime.fromisoformat(action["expires_at"])
        data["next_action"] = NextAction(**action)
    data["fee"] = Fee(**data["fee"]) if data["fee"] else None
    data["payer"] = Destination(**data["payer"]) if data["payer"] else None
    return Answer(**data)


# --- small reads and writes, each inside the caller's transaction -----------------------------


def new_id(tx: sqlite3.Connection, prefix: str, *parts: str) -> str:
    """An id that never repeats, not even in another sandbox file with the same history."""
    row = tx.execute(
        "INSERT INTO meta (key, value) VALUES ('serial', '1')"
        " ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1 RETURNING value"
    ).fetchone()
    digest = sha256("|".join((prefix, *parts, str(row[0]))).encode()).hexdigest()
    return f"{prefix}_{digest[:20]}"


def count_call(tx: sqlite3.Connection, verb: str, key: str) -> int:
    """Count one more exchange of *verb* with *key*; returns its number, from 1."""
    row = tx.execute(
        "INSERT INTO call (verb, key, n) VALUES (?, ?, 1)"
        " ON CONFLICT (verb, key) DO UPDATE SET n = n + 1 RETURNING n",
        (verb, key),
    ).fetchone()
    return int(row[0])


def next_line(tx: sqlite3.Connection, verb: str) -> str | None:
    """Take the next script line for *verb*, or ``None`` when the script has run out."""
    row = tx.execute(
        "UPDATE script SET remaining = remaining - 1 WHERE n ="
        " (SELECT min(n) FROM script WHERE verb = ? AND remaining > 0) RETURNING words",
        (verb,),
    ).fetchone()
    return row[0] if row else None


def outage_at(tx: sqlite3.Connection, now: int) -> str | None:
    """The kind of the outage that *now* falls in."""
    row = tx.execute(
        "SELECT kind FROM outage WHERE since <= ? AND ? < until LIMIT 1", (now, now)
    ).fetchone()
    return row[0] if row else None


def refunded(tx: sqlite3.Connection, payment_id: str) -> int:
    """Minor units refunded or on their way back; a failed refund frees its amount."""
    row = tx.execute(
        "SELECT coalesce(sum(amount_minor), 0) FROM refund"
        " WHERE payment_id = ? AND state IN ('pending', 'succeeded')",
        (payment_id,),
    ).fetchone()
    return int(row[0])


def find(
    tx: sqlite3.Connection, table: str, provider_reference: str | None, our_reference: str | None
) -> sqlite3.Row | None:
    """A payment, refund or payout by the provider's reference, else by ours."""
    if provider_reference:
        sql, value = f"SELECT * FROM {table} WHERE id = ?", provider_reference  # noqa: S608
    else:
        sql = f"SELECT * FROM {table} WHERE our_reference = ? ORDER BY n LIMIT 1"  # noqa: S608
        value = our_reference or ""
    row: sqlite3.Row | None = tx.execute(sql, (value,)).fetchone()
    return row


def schedule(tx: sqlite3.Connection, due_at: int, verb: str, data: Mapping[str, Any]) -> None:
    """Let something happen by itself at *due_at*: a late effect, a customer who pays."""
    tx.execute(
        "INSERT INTO step (due_at, verb, data) VALUES (?, ?, ?)", (due_at, verb, json.dumps(data))
    )


def take_due(tx: sqlite3.Connection, now: int) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Remove and yield the steps that are due, oldest first, those they schedule included."""
    while row := tx.execute(
        "DELETE FROM step WHERE n ="
        " (SELECT n FROM step WHERE due_at <= ? ORDER BY due_at, n LIMIT 1)"
        " RETURNING verb, data, due_at",
        (now,),
    ).fetchone():
        yield row["verb"], json.loads(row["data"]), row["due_at"]
