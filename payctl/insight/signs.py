"""Signs of a book's health, as questions to it: metrics show them, health checks judge them.

All of them read what is open or small (partial indexes, breakers, floats), never the whole of a
table that grows with every payment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from payctl.cases.tables import case_record
from payctl.db.tables import job_run
from payctl.ledger.accounts import unapplied
from payctl.ledger.tables import account, balance
from payctl.payments.gateway_tables import OP_CLASSES, breaker_sample
from payctl.payments.tables import attempt
from payctl.webhooks.tables import webhook_event

#: Attempts whose outcome depends on somebody else: the provider may still tell of them.
_WAITING = ("pending", "requires_action", "unknown", "quarantined")
_UNSURE = ("unknown", "quarantined")
#: So many of the last events say what is usual.
_USUAL_EVENTS = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many wait at one provider, and since when the oldest does."""

    provider: str
    number: int
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class InboxLag:
    """Events of one provider: those that wait to be applied, and those nobody could apply."""

    provider: str
    waiting: int
    oldest_at: datetime | None
    dead: int
    orphans: int


@dataclass(frozen=True, slots=True)
class Pulse:
    """How a provider's webhooks come: the last one, and the longest pause among the last ones."""

    last_at: datetime
    longest_pause: timedelta


@dataclass(frozen=True, slots=True)
class LedgerResult:
    """What the job that checks the ledger found last."""

    at: datetime
    broken: int


def unknown_outcomes(tx: sa.Connection, now: datetime) -> list[Waiting]:
    """Outcomes nobody knows: also those whose sender should have been done by now."""
    c = attempt.c
    lost = sa.and_(c.state == "sending", c.next_check_at <= now)
    return _waiting(tx, sa.or_(c.state.in_(_UNSURE), lost))


def waiting_payments(tx: sa.Connection) -> list[Waiting]:
    """Requests whose provider has not told the end yet."""
    return _waiting(tx, attempt.c.state.in_(_WAITING))


def _waiting(tx: sa.Connection, where: sa.ColumnElement[bool]) -> list[Waiting]:
    c = attempt.c
    name = _apart(c.gateway_account)
    query = (
        sa.select(name, sa.func.count(), sa.func.min(c.created_at))
        .where(_as_indexed(tx, attempt, "attempt_due"), where)
        .group_by(sa.text("1"))
        .order_by(sa.text("1"))
    )
    return [Waiting(each, int(number), oldest) for each, number, oldest in tx.execute(query)]


def inbox(tx: sa.Connection) -> list[InboxLag]:
    """Each provider whose events wait, are dead or belong to no payment of ours."""
    c = webhook_event.c
    rows: dict[str, dict[str, Any]] = {}
    waiting = (
        sa.select(_apart(c.account), sa.func.count(), sa.func.min(c.received_at))
        .where(c.next_try_at.is_not(None))
        .group_by(sa.text("1"))
    )
    for name, number, oldest in tx.execute(waiting):
        rows.setdefault(name, {}).update(waiting=int(number), oldest_at=oldest)
    ended = (
        sa.select(c.account, c.state, sa.func.count())
        .where(_as_indexed(tx, webhook_event, "ix_webhook_event_dead"))
        .group_by(c.account, c.state)
    )
    for name, state, number in tx.execute(ended):
        rows.setdefault(name, {})[state] = int(number)
    return [
        InboxLag(name, found.get("waiting", 0), found.get("oldest_at"), found.get("dead", 0),
                 found.get("orphan", 0))
        for name, found in sorted(rows.items())
    ]  # fmt: skip


def pulse(tx: sa.Connection, name: str) -> Pulse | None:
    """How the webhooks of one account come; ``None`` before the second one."""
    c = webhook_event.c
    query = sa.select(c.received_at).where(c.account == name).order_by(c.received_at.desc())
    times = tx.execute(query.limit(_USUAL_EVENTS)).scalars().all()
    if len(times) < 2:
        return None
    pauses = [later - earlier for later, earlier in pairwise(times)]
    return Pulse(times[0], max(pauses))


def last_webhook(tx: sa.Connection, name: str) -> datetime | None:
    """When the provider of an account last wrote."""
    c = webhook_event.c
    found: datetime | None = tx.execute(
        sa.select(c.received_at).where(c.account == name).order_by(c.received_at.desc()).limit(1)
    ).scalar_one_or_none()
    return found


def last_answer(tx: sa.Connection, name: str) -> datetime | None:
    """The minute of a provider's last sound answer to any call of ours within a week."""
    c = breaker_sample.c
    sound = sa.or_(c.ok > 0, c.refused > 0, c.won > 0)
    minutes = [
        tx.execute(
            sa.select(c.minute)
            .where(c.account == name, c.op_class == op_class, sound)
            .order_by(c.minute.desc())
            .limit(1)
        ).scalar_one_or_none()
        for op_class in OP_CLASSES
    ]
    known = [int(minute) for minute in minutes if minute is not None]
    return _EPOCH + timedelta(minutes=max(known)) if known else None


def ended(tx: sa.Connection, name: str, since_minute: int) -> tuple[int, int]:
    """How many requests for payment of an account succeeded and failed from a minute on."""
    c = breaker_sample.c
    query = sa.select(
        sa.func.coalesce(sa.func.sum(c.won), 0), sa.func.coalesce(sa.func.sum(c.lost), 0)
    ).where(c.account == name, c.op_class == "collect", c.minute >= since_minute)
    won, lost = tx.execute(query).one()
    return int(won), int(lost)


def unapplied_receipts(tx: sa.Connection, names: Iterable[str]) -> list[tuple[str, str, int]]:
    """Money that belongs to no open order: account, currency, minor units."""
    codes = {unapplied(name): name for name in names}
    query = (
        sa.select(account.c.code, account.c.currency, sa.func.sum(balance.c.posted_minor))
        .join(balance, balance.c.account_id == account.c.id)
        .where(account.c.code.in_(list(codes)))
        .group_by(account.c.code, account.c.currency)
        .order_by(account.c.code, account.c.currency)
    )
    return [(codes[code], currency, int(total)) for code, currency, total in tx.execute(query)]


def open_cases(tx: sa.Connection) -> Mapping[str, int]:
    """How many cases of each kind wait for a person."""
    c = case_record.c
    unresolved = _as_indexed(tx, case_record, "uq_case_record_open")
    query = sa.select(c.kind, sa.func.count()).where(unresolved).group_by(c.kind)
    return {kind: int(number) for kind, number in tx.execute(query.order_by(c.kind))}


def last_success(tx: sa.Connection, job: str) -> datetime | None:
    """When a run of *job* last ended well."""
    c = job_run.c
    query = sa.select(c.finished_at).where(c.job == job, c.state == "done")
    found: datetime | None = tx.execute(
        query.order_by(c.started_at.desc()).limit(1)
    ).scalar_one_or_none()
    return found


def ledger_result(tx: sa.Connection) -> LedgerResult | None:
    """What ``jobs/ledger_check.py`` found last."""
    c = job_run.c
    query = sa.select(c.finished_at, c.counts).where(c.job == "ledger_check", c.state == "done")
    row = tx.execute(query.order_by(c.started_at.desc()).limit(1)).one_or_none()
    return LedgerResult(row.finished_at, int(row.counts.get("broken", 0))) if row else None


def _apart(name: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """A name to group by. As an expression, because SQLite would else walk another index, over all
    rows, for the order it groups by.
    """
    return sa.func.coalesce(name, "")


def _as_indexed(tx: sa.Connection, table: sa.Table, name: str) -> sa.TextClause:
    """The condition of a partial index in its own words: so the database knows that the index holds
    all that is asked for, and reads nothing else.
    """
    [index] = [each for each in table.indexes if each.name == name]
    where = index.info["where"].compile(tx, compile_kwargs={"literal_binds": True})
    return sa.text(str(where))
