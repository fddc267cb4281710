"""What the book says: balances, now and at any past moment, trial balance, statements, cover.

Two times are kept apart. *Effective* is when something counts (a fee of October that arrives in
November counts in October unless October is closed); *recorded* is when the book learnt of it, by
the time inside the journal's id. A report as of a recorded moment never changes once what was
recorded then is sealed; :meth:`Reports.provisional` says whether one still may. Amounts are minor
units, debits positive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db.tables import idempotency as keys
from payctl.errors import NotFound
from payctl.ids import floor_of
from payctl.ledger import journals
from payctl.ledger.accounts import CHART, full_code, line_of
from payctl.ledger.as_of import balance_at, recorded_before
from payctl.ledger.book import SCOPE
from payctl.ledger.cover import Cover, cover
from payctl.ledger.model import Journal
from payctl.ledger.sums import By, balances_now, is_provisional, sums_until
from payctl.ledger.tables import account, account_number, entry, journal


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """One account's balance.

    ``balance_minor`` is signed, debits positive; ``own_minor`` is the same in the account's own
    direction, as its owner reads it; ``held_minor`` is set aside of it.
    """

    account: str
    code: str
    currency: str
    kind: str
    status: str
    balance_minor: int
    own_minor: int
    held_minor: int


@dataclass(frozen=True, slots=True)
class TrialLine:
    """One account of the trial balance: debits and credits (positive) and the signed balance."""

    account: str
    currency: str
    kind: str
    debit_minor: int
    credit_minor: int
    balance_minor: int


@dataclass(frozen=True, slots=True)
class TrialTotal:
    """The foot of the trial balance in one currency; the two sides are equal in a sound book."""

    currency: str
    debit_minor: int
    credit_minor: int


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """All accounts that ever moved, and the totals per currency (never added across currencies)."""

    lines: tuple[TrialLine, ...]
    totals: tuple[TrialTotal, ...]

    @property
    def balanced(self) -> bool:
        return all(total.debit_minor == total.credit_minor for total in self.totals)


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One entry on an account's statement, with the account's balance after it (signed)."""

    journal_id: UUID
    leg: int
    kind: str
    posted_at: datetime
    effective_at: datetime
    payment_id: UUID | None
    reason: str | None
    account: str
    currency: str
    amount_minor: int
    balance_minor: int

    @property
    def owner_amount_minor(self) -> int:
        """The amount as the owner of a wallet reads it: what they got is positive."""
        return -self.amount_minor

    @property
    def owner_balance_minor(self) -> int:
        """The balance in the owner's direction; a debt is negative."""
        return -self.balance_minor


@dataclass(frozen=True, slots=True)
class Statement:
    """An account over a time: opening, the entries in the order they were recorded, closing."""

    account: str
    currency: str
    opening_minor: int
    closing_minor: int
    lines: tuple[StatementLine, ...]


@dataclass(frozen=True, slots=True)
class ChartNumber:
    """A line of the chart, or a code with numbers of its own."""

    code: str
    kind: str
    meaning: str
    pcg: str | None
    syscohada: str | None


class Reports:
    """Reads the ledger. Every method takes a connection, best one of ``db.read()``."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone

    def accounts(
        self,
        tx: sa.Connection,
        *,
        prefix: str = "",
        currency: str | None = None,
        owner: str | None = None,
        as_of: datetime | None = None,
        by: By = "effective",
    ) -> list[AccountBalance]:
        """Balances of all accounts, or of those whose code starts with *prefix* or that belong to
        *owner*; now, or as of a moment (inclusive). What is held is known for now only, else 0.
        """
        query = sa.select(account).order_by(account.c.code, account.c.currency)
        if prefix:
            query = query.where(account.c.code.startswith(prefix, autoescape=True))
        if currency is not None:
            query = query.where(account.c.currency == currency)
        if owner is not None:
            query = query.where(account.c.owner == owner)
        rows = tx.execute(query).all()
        if as_of is None:
            amounts = balances_now(tx)
        else:
            past = sums_until(tx, as_of, by, self._zone)
            amounts = {id_: (debit - credit, 0) for id_, (debit, credit) in past.items()}
        return [_account_balance(row, *amounts.get(row.id, (0, 0))) for row in rows]

    def balance(
        self,
        tx: sa.Connection,
        code: str,
        currency: str,
        *,
        as_of: datetime | None = None,
        by: By = "effective",
    ) -> AccountBalance:
        """One account's balance, now or as of a moment.

        Raises:
            NotFound: ``ledger.account_not_found``.
        """
        row = _account(tx, code, currency)
        if as_of is None:
            return _account_balance(row, *balances_now(tx, row.id).get(row.id, (0, 0)))
        return _account_balance(row, balance_at(tx, row.id, as_of, by), 0)

    def provisional(self, tx: sa.Connection, as_of: datetime, by: By) -> bool:
        """Whether what is reported as of *as_of* may still change: its month is not closed (by
        effective time), or not all that was recorded until then is sealed (by recorded time).
        """
        return is_provisional(tx, as_of, by, self._zone)

    def trial_balance(
        self, tx: sa.Connection, *, as_of: datetime | None = None, by: By = "effective"
    ) -> TrialBalance:
        """Debits and credits of every account that ever moved, and their totals per currency."""
        sums = sums_until(tx, as_of, by, self._zone)
        query = sa.select(account).order_by(account.c.code, account.c.currency)
        lines = [
            TrialLine(
                full_code(row.code, row.currency), row.currency, row.kind, *sums[row.id],
                sums[row.id][0] - sums[row.id][1],
            )
            for row in tx.execute(query)
            if row.id in sums
        ]  # fmt: skip
        totals: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for line in lines:
            debit, credit = totals[line.currency]
            totals[line.currency] = debit + line.debit_minor, credit + line.credit_minor
        return TrialBalance(
            tuple(lines), tuple(TrialTotal(each, *totals[each]) for each in sorted(totals))
        )

    def statement(
        self,
        tx: sa.Connection,
        code: str,
        currency: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Statement:
        """An account's entries recorded from *since* to before *until*, with its running balance.

        Raises:
            NotFound: ``ledger.account_not_found``.
        """
        row = _account(tx, code, currency)
        opening = 0
        if since is not None:
            opening = recorded_before(tx, row.id, since)
        conditions = [
            entry.c.account_id == row.id,
            entry.c.stripe.in_(range(row.stripes)),
            *_recorded_between(since, until),
        ]
        running = opening
        lines = []
        for found in tx.execute(
            _LINES.where(*conditions).order_by(entry.c.journal_id, entry.c.leg)
        ):
            running += found.amount_minor
            lines.append(_line(found, running))
        return Statement(full_code(code, currency), currency, opening, running, tuple(lines))

    def entries(
        self,
        tx: sa.Connection,
        *,
        code: str | None = None,
        currency: str | None = None,
        owner: str | None = None,
        payment_id: UUID | None = None,
        kind: str | None = None,
        journal_id: UUID | None = None,
        posting_key: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: tuple[UUID, int] | None = None,
        limit: int | None = 50,
    ) -> list[StatementLine]:
        """Entries, newest first. *after* is the journal and leg of the last one of the page before.

        ``balance_minor`` is the balance of the entry's stripe, which on a guarded account is the
        account's.
        """
        wanted = (
            (account.c.code, code),
            (entry.c.currency, currency),
            (account.c.owner, owner),
            (journal.c.payment_id, payment_id),
            (journal.c.kind, kind),
            (journal.c.id, journal_id),
        )
        conditions = [column == value for column, value in wanted if value is not None]
        conditions += _recorded_between(since, until)
        if posting_key is not None:
            conditions.append(journal.c.id == _posted_under(posting_key))
        if after is not None:
            last_id, last_leg = after
            same = sa.and_(entry.c.journal_id == last_id, entry.c.leg < last_leg)
            conditions.append(sa.or_(entry.c.journal_id < last_id, same))
        query = _LINES.where(*conditions).order_by(entry.c.journal_id.desc(), entry.c.leg.desc())
        return [_line(row, row.balance_after_minor) for row in tx.execute(query.limit(limit))]

    def journals(
        self, tx: sa.Connection, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Journal]:
        """Journals recorded from *since* to before *until*, oldest first, streamed."""
        conditions: list[sa.ColumnElement[bool]] = []
        if since is not None:
            conditions.append(journal.c.id >= floor_of(since))
        if until is not None:
            conditions.append(journal.c.id < floor_of(until))
        return journals.stream(tx, *conditions)

    def chart(self, tx: sa.Connection) -> list[ChartNumber]:
        """The chart of accounts with its numbers in the French and OHADA plans, and the codes that
        have a number of their own.
        """
        numbers: dict[str, dict[str, str]] = defaultdict(dict)
        for row in tx.execute(sa.select(account_number)):
            numbers[row.code][row.plan] = row.number
        lines = {line.pattern: line for line in CHART}
        for code in numbers.keys() - lines.keys():
            lines[code] = line_of(code)
        return [
            ChartNumber(
                code,
                line.kind,
                line.meaning,
                numbers[code].get("pcg") or numbers[line.pattern].get("pcg"),
                numbers[code].get("syscohada") or numbers[line.pattern].get("syscohada"),
            )
            for code, line in sorted(lines.items())
        ]

    def cover(self, tx: sa.Connection) -> list[Cover]:
        """Per currency: is the money we keep for others covered by what we have?"""
        return cover(tx)


_LINES = (
    sa.select(
        entry.c.journal_id,
        entry.c.leg,
        entry.c.currency,
        entry.c.amount_minor,
        entry.c.balance_after_minor,
        journal.c.kind,
        journal.c.posted_at,
        journal.c.effective_at,
        journal.c.payment_id,
        journal.c.reason,
        account.c.code,
    )
    .join(journal, journal.c.id == entry.c.journal_id)
    .join(account, account.c.id == entry.c.account_id)
)


def _line(row: Any, balance_minor: int) -> StatementLine:
    return StatementLine(
        row.journal_id, row.leg, row.kind, row.posted_at, row.effective_at, row.payment_id,
        row.reason, full_code(row.code, row.currency), row.currency, row.amount_minor,
        balance_minor,
    )  # fmt: skip


def _posted_under(posting_key: str) -> sa.ScalarSelect[Any]:
    """The journal of a key, found by the key's own index."""
    query = sa.select(keys.c.subject_id).where(keys.c.scope == SCOPE, keys.c.key == posting_key)
    return query.scalar_subquery()


def _recorded_between(
    since: datetime | None, until: datetime | None
) -> list[sa.ColumnElement[bool]]:
    conditions = []
    if since is not None:
        conditions.append(entry.c.journal_id >= floor_of(since))
    if until is not None:
        conditions.append(entry.c.journal_id < floor_of(until))
    return conditions


def _account(tx: sa.Connection, code: str, currency: str) -> Any:
    query = sa.select(account).where(account.c.code == code, account.c.currency == currency)
    row = tx.execute(query).one_or_none()
    if row is None:
        raise NotFound(
            "ledger.account_not_found", field="account", account=full_code(code, currency)
        )
    return row


def _account_balance(row: Any, balance_minor: int, held_minor: int) -> AccountBalance:
    return AccountBalance(
        full_code(row.code, row.currency), row.code, row.currency, row.kind, row.status,
        balance_minor, row.normal_side * balance_minor, held_minor,
    )  # fmt: skip
