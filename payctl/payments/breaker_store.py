"""The breaker's rows: SQL in, dataclasses out.

Times of breakers and samples come from the database server, because the processes that share them
run on machines whose clocks differ. A book whose clock is not the machine's (a test, the demo)
keeps its own time throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from payctl.clock import SystemClock
from payctl.db.engine import Database
from payctl.db.rows import insert_sqlite
from payctl.db.types import Int, Moment
from payctl.db.upsert import insert_into
from payctl.payments.breaker_model import WINDOW_MINUTES, Breaker, State, minute_of
from payctl.payments.gateway_tables import breaker, breaker_change, breaker_sample

#: Samples older than this are of no use: they are looked at for a day at most.
KEEP_MINUTES = 7 * 24 * 60
#: A failure more than this long after the one before begins a new row of failures.
STREAK_MINUTES = 24 * 60
COUNTERS = (
    "ok", "refused", "tech_fail", "not_sent", "slow", "limited", "retries", "won", "lost",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """Sample totals of the window a breaker is judged by, and what the row of failures needs."""

    calls: int
    failed: int
    sound_since: int
    ok_mark: int


def server_time(db: Database) -> sa.ColumnElement[datetime]:
    """The present as SQL: the server's on PostgreSQL, the book's clock elsewhere."""
    if db.is_sqlite or not isinstance(db.clock, SystemClock):
        return sa.literal(db.clock.now(), Moment())
    return sa.func.clock_timestamp(type_=Moment())


def server_minute(db: Database) -> sa.ColumnElement[int]:
    """Whole minutes since 1970, of the same clock."""
    if db.is_sqlite or not isinstance(db.clock, SystemClock):
        return sa.literal(minute_of(db.clock.now()), Int)
    return sa.cast(
        sa.func.floor(sa.func.extract("epoch", sa.func.clock_timestamp()) / 60), sa.BigInteger
    )


def read_all(db: Database, tx: sa.Connection) -> tuple[dict[tuple[str, str], Breaker], datetime]:
    """Every breaker that ever failed, by account and class, and the present."""
    rows = tx.execute(sa.select(breaker, server_time(db).label("now"))).mappings().all()
    now = rows[0]["now"] if rows else db.clock.now()
    return {(row["account"], row["op_class"]): _breaker(row) for row in rows}, now


def lock(db: Database, tx: sa.Connection, account: str, op_class: str) -> tuple[Breaker, datetime]:
    """The breaker under its row's lock (made first if there is none), and the present."""
    query = (
        sa.select(breaker, server_time(db).label("now"))
        .where(breaker.c.account == account, breaker.c.op_class == op_class)
        .with_for_update()
    )
    row = tx.execute(query).mappings().one_or_none()
    if row is None:
        fresh = {"account": account, "op_class": op_class, "since": server_time(db)}
        tx.execute(
            insert_into(breaker, is_sqlite=db.is_sqlite).values(**fresh).on_conflict_do_nothing()
        )
        row = tx.execute(query).mappings().one()
    return _breaker(row), row["now"]


def write(
    db: Database,
    tx: sa.Connection,
    before: Breaker,
    after: Breaker,
    *,
    actor: str,
    now: datetime,
    detail: Mapping[str, Any],
) -> None:
    """Store what changed; a change of state or reason also goes into the history."""
    if before == after:
        return
    values = asdict(after) | {"version": before.version + 1, "state": str(after.state)}
    tx.execute(
        breaker.update()
        .where(breaker.c.account == after.account, breaker.c.op_class == after.op_class)
        .values(**values)
    )
    if (before.state, before.reason) == (after.state, after.reason):
        return
    tx.execute(
        breaker_change.insert().values(
            id=db.ids.new(),
            account=after.account,
            op_class=after.op_class,
            from_state=str(before.state),
            to_state=str(after.state),
            reason=after.reason,
            detail=dict(detail),
            actor=actor,
            at=now,
        )
    )


def add_samples(
    db: Database,
    tx: sa.Connection,
    stripe: int,
    counts: Mapping[tuple[str, str], Mapping[str, int]],
) -> None:
    """Add to this minute's samples, in one order of rows for all writers."""
    if db.is_sqlite:
        write_samples(tx, sample_rows(db, stripe, counts))
        return
    for (account, op_class), values in sorted(counts.items()):
        statement = insert_into(breaker_sample, is_sqlite=False).values(
            account=account,
            op_class=op_class,
            minute=server_minute(db),
            stripe=stripe,
            **{name: values.get(name, 0) for name in COUNTERS},
        )
        tx.execute(
            statement.on_conflict_do_update(
                index_elements=["account", "op_class", "minute", "stripe"],
                set_={name: breaker_sample.c[name] + statement.excluded[name] for name in COUNTERS},
            )
        )


def sample_rows(
    db: Database, stripe: int, counts: Mapping[tuple[str, str], Mapping[str, int]]
) -> list[dict[str, Any]]:
    """*counts* as rows of this minute by the book's clock, in one order for all writers."""
    minute = minute_of(db.clock.now())
    return [
        {
            "account": account, "op_class": op_class, "minute": minute, "stripe": stripe,
            **{name: values.get(name, 0) for name in COUNTERS},
        }
        for (account, op_class), values in sorted(counts.items())
    ]  # fmt: skip


def write_samples(tx: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add :func:`sample_rows` to what SQLite has of them."""
    insert_sqlite(tx, breaker_sample, rows, _ADD)


_ADD = "ON CONFLICT (account, op_class, minute, stripe) DO UPDATE SET " + ", ".join(
    f"{name} = {name} + excluded.{name}" for name in COUNTERS
)


def prune(db: Database, tx: sa.Connection) -> int:
    """Delete samples nobody looks at any more; returns how many."""
    old = breaker_sample.c.minute < server_minute(db) - KEEP_MINUTES
    return int(tx.execute(breaker_sample.delete().where(old)).rowcount)


def window(tx: sa.Connection, state: Breaker, now: datetime) -> Window:
    """Totals of the window, and of the time since the last failure, in one reading."""
    c = breaker_sample.c
    minute = minute_of(now)
    first = max(minute - WINDOW_MINUTES + 1, state.counted_after + 1)
    since = max(state.failed_minute, minute - STREAK_MINUTES)
    calls = c.ok + c.refused + c.tech_fail + c.not_sent
    row = tx.execute(
        sa.select(
            _total(calls, c.minute >= first),
            _total(c.tech_fail + c.not_sent, c.minute >= first),
            _total(c.ok + c.refused, c.minute >= since),
            _total(c.ok + c.refused, c.minute >= minute),
        ).where(
            c.account == state.account, c.op_class == state.op_class, c.minute >= min(first, since)
        )
    ).one()
    return Window(*(int(value) for value in row))


def totals(tx: sa.Connection, op_class: str, since_minute: int) -> dict[str, dict[str, int]]:
    """Sample totals per account of one class from a minute on."""
    c = breaker_sample.c
    rows = tx.execute(
        sa.select(c.account, *(sa.func.sum(c[name]).label(name) for name in COUNTERS))
        .where(c.op_class == op_class, c.minute >= since_minute)
        .group_by(c.account)
    ).mappings()
    return {row["account"]: {name: int(row[name]) for name in COUNTERS} for row in rows}


def _total(value: sa.ColumnElement[int], where: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((where, value), else_=0)), 0)


def _breaker(row: sa.RowMapping) -> Breaker:
    values = {name: row[name] for name in _FIELDS}
    return Breaker(**(values | {"state": State(row["state"])}))


_FIELDS: Iterable[str] = tuple(field.name for field in fields(Breaker))
