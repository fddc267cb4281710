"""The ledger's own checks, I1 to I12 of its design, as SQL that both engines run.

Each names at most ``LIMIT`` violations: one broken invariant is enough to stop, and a report must
stay readable.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.ids import encode
from payctl.ledger import blocks, periods
from payctl.ledger.accounts import find_line, full_code
from payctl.ledger.check import Check, Violation
from payctl.ledger.cover import cover
from payctl.ledger.sums import balances_now
from payctl.ledger.tables import account, entry, journal, period, period_balance
from payctl.money import format_money

LIMIT = 100


def _sql(name: str, description: str, query: str, detail: Callable[[Any], str]) -> Check:
    """A check that is one query; its rows are violations with ``account``, ``currency`` and
    ``amount`` where they have them.
    """
    statement = sa.text(f"{query} LIMIT {LIMIT}")

    def run(tx: sa.Connection) -> list[Violation]:
        found = []
        for row in tx.execute(statement):
            values = row._mapping
            amount = values.get("amount")
            found.append(
                Violation(
                    name, values.get("account"), None if amount is None else int(amount),
                    values.get("currency"), detail(row),
                )
            )  # fmt: skip
        return found

    return Check(name, description, run)


def _public(kind: str, value: UUID | bytes) -> str:
    return encode(kind, UUID(bytes=value) if isinstance(value, bytes) else value)


_BALANCED = _sql(
    "I1.balanced",
    "every journal balances in each currency",
    """SELECT journal_id, currency, sum(amount_minor) AS amount FROM entry
    GROUP BY journal_id, currency HAVING sum(amount_minor) <> 0""",
    lambda row: f"journal {_public('journal', row.journal_id)} does not balance",
)
_COMPLETE = _sql(
    "I1.complete",
    "every journal has all its legs, and every entry its journal",
    """SELECT coalesce(j.id, e.journal_id) AS id, j.legs AS legs, e.n AS n
    FROM (SELECT journal_id, count(*) AS n FROM entry GROUP BY journal_id) e
    LEFT JOIN journal j ON j.id = e.journal_id WHERE j.id IS NULL OR j.legs <> e.n
    UNION ALL SELECT j.id, j.legs, 0 FROM journal j
    WHERE NOT EXISTS (SELECT 1 FROM entry e WHERE e.journal_id = j.id)""",
    lambda row: f"journal {_public('journal', row.id)} has {row.n} entries, not {row.legs}",
)
_ACCOUNTS = _sql(
    "I1.accounts",
    "every entry is in the currency of its account",
    """SELECT e.journal_id AS id, e.leg AS leg, e.currency AS currency, e.amount_minor AS amount
    FROM entry e LEFT JOIN account a ON a.id = e.account_id AND a.currency = e.currency
    WHERE a.id IS NULL""",
    lambda row: f"leg {row.leg} of journal {_public('journal', row.id)} has no account",
)
_BALANCE_IS_SUM = _sql(
    "I2.balance_is_sum",
    "every balance is the sum of its entries",
    """SELECT a.code || ':' || a.currency AS account, a.currency AS currency, b.stripe AS stripe,
      b.posted_minor * a.normal_side - coalesce(e.amount, 0) AS amount
    FROM balance b JOIN account a ON a.id = b.account_id
    LEFT JOIN (SELECT account_id, stripe, sum(amount_minor) AS amount FROM entry
      GROUP BY account_id, stripe) e ON e.account_id = b.account_id AND e.stripe = b.stripe
    WHERE b.posted_minor * a.normal_side <> coalesce(e.amount, 0)""",
    lambda row: f"stripe {row.stripe}: the balance is off its entries by {row.amount}",
)
_VERSIONS = _sql(
    "I3.versions",
    "the entries of a balance are numbered without a gap, up to its version",
    """SELECT a.code || ':' || a.currency AS account, a.currency AS currency,
      b.stripe AS stripe, b.version AS version, e.n AS n, e.last AS last
    FROM balance b JOIN account a ON a.id = b.account_id
    LEFT JOIN (SELECT account_id, stripe, count(*) AS n, count(DISTINCT version) AS different,
      max(version) AS last FROM entry GROUP BY account_id, stripe) e
      ON e.account_id = b.account_id AND e.stripe = b.stripe
    WHERE b.version <> coalesce(e.n, 0) OR b.version <> coalesce(e.last, 0)
      OR e.different <> e.n""",
    lambda row: (
        f"stripe {row.stripe}: version {row.version}, {row.n or 0} entries up to {row.last or 0}"
    ),
)
_ORPHAN_ENTRIES = _sql(
    "I3.balance_exists",
    "every entry has its balance row",
    """SELECT a.code || ':' || a.currency AS account, a.currency AS currency,
      e.stripe AS stripe, sum(e.amount_minor) AS amount
    FROM entry e JOIN account a ON a.id = e.account_id
    WHERE NOT EXISTS (SELECT 1 FROM balance b WHERE b.account_id = e.account_id
      AND b.stripe = e.stripe)
    GROUP BY a.code, a.currency, e.stripe""",
    lambda row: f"stripe {row.stripe} has entries and no balance row",
)
_RUNNING = _sql(
    "I4.running_balance",
    "every entry's balance is the one before plus its amount",
    """SELECT a.code || ':' || a.currency AS account, a.currency AS currency,
      x.journal_id AS journal_id, x.version AS version,
      x.balance_after_minor - x.before - x.amount_minor AS amount
    FROM (SELECT account_id, stripe, version, journal_id, amount_minor, balance_after_minor,
        coalesce(lag(balance_after_minor) OVER (PARTITION BY account_id, stripe
          ORDER BY version), 0) AS before
      FROM entry) x JOIN account a ON a.id = x.account_id
    WHERE x.before + x.amount_minor <> x.balance_after_minor""",
    lambda row: (
        f"journal {_public('journal', row.journal_id)}, version {row.version}: running"
        f" balance off by {row.amount}"
    ),
)
_FLOOR = _sql(
    "I5.floor",
    "no guarded balance is below its floor",
    """SELECT a.code || ':' || a.currency AS account, a.currency AS currency,
      b.posted_minor - b.held_minor AS amount
    FROM balance b JOIN account a ON a.id = b.account_id
    WHERE b.floor_minor IS NOT NULL AND b.posted_minor - b.held_minor < b.floor_minor
      OR a.mode = 'guarded' AND b.floor_minor IS NULL""",
    lambda row: "taken below its floor, or without one",
)
_HELD = _sql(
    "I6.held",
    "what is held is the rest of the open holds",
    """SELECT a.code || ':' || a.currency AS account, a.currency AS currency,
      b.held_minor - coalesce(h.open_minor, 0) AS amount
    FROM balance b JOIN account a ON a.id = b.account_id
    LEFT JOIN (SELECT account_id, sum(amount_minor - captured_minor - voided_minor) AS open_minor
      FROM hold WHERE state = 'open' GROUP BY account_id) h ON h.account_id = b.account_id
    WHERE b.stripe = 0 AND b.held_minor <> coalesce(h.open_minor, 0)""",
    lambda row: "held amount and open holds differ",
)
_HOLD_EVENTS = _sql(
    "I7.holds",
    "every hold is the sum of its events",
    """SELECT a.code || ':' || a.currency AS account, a.currency AS currency,
      h.id AS id, h.amount_minor - coalesce(e.placed, 0) AS amount
    FROM hold h JOIN account a ON a.id = h.account_id
    LEFT JOIN (SELECT hold_id,
        sum(CASE WHEN kind = 'placed' THEN amount_minor ELSE 0 END) AS placed,
        sum(CASE WHEN kind = 'captured' THEN amount_minor ELSE 0 END) AS captured,
        sum(CASE WHEN kind IN ('voided', 'expired') THEN amount_minor ELSE 0 END) AS voided
      FROM hold_event GROUP BY hold_id) e ON e.hold_id = h.id
    WHERE h.amount_minor <> coalesce(e.placed, 0) OR h.captured_minor <> coalesce(e.captured, 0)
      OR h.voided_minor <> coalesce(e.voided, 0)""",
    lambda row: f"hold {_public('hold', row.id)} differs from its events",
)
_REVERSALS = _sql(
    "I7.reversals",
    "what is reversed of a journal is what its reversals say, and not more than the journal",
    """SELECT x.id AS id, x.currency AS currency,
      x.reversed - coalesce(c.reversed_minor, 0) AS amount
    FROM (SELECT j.reverses_id AS id, e.currency AS currency,
        sum(e.size - coalesce(k.reversed_minor, 0)) AS reversed
      FROM journal j
      JOIN (SELECT e.journal_id, e.currency, sum(e.amount_minor) AS size FROM entry e
        JOIN journal r ON r.id = e.journal_id AND r.reverses_id IS NOT NULL
        WHERE e.amount_minor > 0 GROUP BY e.journal_id, e.currency) e ON e.journal_id = j.id
      LEFT JOIN reversal_cap k ON k.journal_id = j.id AND k.currency = e.currency
      WHERE j.reverses_id IS NOT NULL GROUP BY j.reverses_id, e.currency) x
    LEFT JOIN reversal_cap c ON c.journal_id = x.id AND c.currency = x.currency
    WHERE x.reversed <> coalesce(c.reversed_minor, 0)
      OR x.reversed > coalesce(c.amount_minor, 0)""",
    lambda row: f"journal {_public('journal', row.id)}: reversals and its cap differ",
)
_KEYS = _sql(
    "I8.keys",
    "every posting key has its journal",
    """SELECT k.key AS key FROM idempotency k
    LEFT JOIN journal j ON j.id = k.subject_id AND j.posting_key = k.key
    WHERE k.scope = 'journal' AND j.id IS NULL AND coalesce(k.outcome, '') <> 'refused'""",
    lambda row: f"key {row.key} has no journal",
)
_KEYED = _sql(
    "I8.keyed",
    "every journal has its posting key",
    """SELECT j.id AS id FROM journal j
    LEFT JOIN idempotency k ON k.scope = 'journal' AND k.key = j.posting_key AND k.subject_id = j.id
    WHERE k.key IS NULL""",
    lambda row: f"journal {_public('journal', row.id)} has no key",
)
_ZERO = _sql(
    "I9.zero",
    "all accounts of a currency sum to zero",
    """SELECT a.currency AS currency, sum(b.posted_minor * a.normal_side) AS amount
    FROM balance b JOIN account a ON a.id = b.account_id
    GROUP BY a.currency HAVING sum(b.posted_minor * a.normal_side) <> 0""",
    lambda row: "the book does not sum to zero",
)
_COMMISSION = _sql(
    "commission.reversed",
    "no payment gives back more commission than it earned",
    """SELECT a.code || ':' || a.currency AS account, a.currency AS currency,
      j.payment_id AS payment_id, sum(e.amount_minor) AS amount
    FROM entry e JOIN account a ON a.id = e.account_id JOIN journal j ON j.id = e.journal_id
    WHERE a.code LIKE 'income:commission:%' AND j.payment_id IS NOT NULL
    GROUP BY a.code, a.currency, j.payment_id HAVING sum(e.amount_minor) > 0""",
    lambda row: f"payment {_public('payment', row.payment_id)} gave back more than it earned",
)


_ITEMS = _sql(
    "I10.items",
    "every block names as many journals as it sealed, and every sealed journal is there",
    """SELECT b.number AS number, b.journals AS journals, coalesce(i.n, 0) AS n FROM block b
    LEFT JOIN (SELECT i.block AS block, count(j.id) AS n FROM block_item i
      LEFT JOIN journal j ON j.id = i.journal_id GROUP BY i.block) i ON i.block = b.number
    WHERE b.journals <> coalesce(i.n, 0)""",
    lambda row: f"block {row.number} sealed {row.journals} journals, {row.n} are there",
)


def _chain(tx: sa.Connection) -> list[Violation]:
    """The headers only: whether the journals are those that were sealed, ``verify`` says."""
    found: list[Violation] = []
    previous, number = None, 0
    for each in blocks.stream(tx):
        for _, _, detail in blocks.faults(each, previous, number + 1):
            found.append(Violation("I10.chain", None, None, None, detail))
        previous, number = each, each.number
    return found[:LIMIT]


def _closed_periods(tx: sa.Connection) -> list[Violation]:
    """Recompute each closed month from its entries and compare totals and hash."""
    found = []
    rows = tx.execute(sa.select(period).where(period.c.state == "closed").order_by("yyyymm")).all()
    for row in rows:
        totals = periods.computed(tx, row.yyyymm)
        stored = {
            each.account_id: (each.debit_minor, each.credit_minor, each.closing_minor)
            for each in tx.execute(
                sa.select(period_balance).where(period_balance.c.yyyymm == row.yyyymm)
            )
        }
        actual = {
            each.account_id: (each.debit_minor, each.credit_minor, each.closing_minor)
            for each in totals
        }
        if stored != actual or periods.totals_hash(row.yyyymm, totals) != row.totals_hash:
            detail = f"closed month {row.yyyymm} no longer has the totals it was closed with"
            found.append(Violation("I11.closed_periods", None, None, None, detail))
    return found[:LIMIT]


def _cover(tx: sa.Connection) -> list[Violation]:
    """Per currency, what we owe to others and have not; a deficit that is only ours is no case."""
    return [
        Violation(
            "cover",
            None,
            each.surplus_minor,
            each.currency,
            f"{format_money(min(each.owed_minor, -each.surplus_minor), each.currency)} of other"
            " people's money are not there",
        )
        for each in cover(tx)
        if each.owed_minor > 0 and each.surplus_minor < 0
    ]


def ageing(now: datetime) -> Check:
    """I12: amounts that lie in a clearing account for longer than its line of the chart allows."""

    def run(tx: sa.Connection) -> list[Violation]:
        amounts = balances_now(tx)
        found = []
        for row in tx.execute(sa.select(account).order_by(account.c.code, account.c.currency)):
            line = find_line(row.code)
            amount_minor, _ = amounts.get(row.id, (0, 0))
            if line is None or line.clearing_days is None or not amount_minor:
                continue
            since = _oldest(tx, row, amount_minor)
            if since < now - timedelta(days=line.clearing_days):
                detail = f"there since {since.date()}, allowed {line.clearing_days} days"
                name = full_code(row.code, row.currency)
                found.append(Violation("I12.ageing", name, amount_minor, row.currency, detail))
        return found[:LIMIT]

    description = "clearing accounts return to zero in time"
    return Check("I12.ageing", description, run)


def _oldest(tx: sa.Connection, of: Any, amount_minor: int) -> datetime:
    """When the oldest part of an account's balance came in, first in first out: the newest entries
    of the balance's sign that together reach it.
    """
    sign = 1 if amount_minor > 0 else -1
    rows = tx.execution_options(yield_per=500).execute(
        sa.select(entry.c.amount_minor, journal.c.effective_at)
        .join(journal, journal.c.id == entry.c.journal_id)
        .where(
            entry.c.account_id == of.id,
            entry.c.stripe.in_(range(of.stripes)),
            entry.c.amount_minor * sign > 0,
        )
        .order_by(entry.c.journal_id.desc(), entry.c.leg.desc())
    )
    rest = abs(amount_minor)
    since: datetime | None = None
    for row in rows:
        since = row.effective_at
        rest -= abs(row.amount_minor)
        if rest <= 0:
            break
    rows.close()
    if since is None:
        raise LookupError(f"balance without entries: {of.id}")
    return since


#: What follows from the entries alone; ``ledger verify`` asks it too.
ARITHMETIC: tuple[Check, ...] = (
    _BALANCED,
    _COMPLETE,
    _ACCOUNTS,
    _BALANCE_IS_SUM,
    _VERSIONS,
    _ORPHAN_ENTRIES,
    _RUNNING,
)
CHECKS: tuple[Check, ...] = (
    *ARITHMETIC,
    _FLOOR,
    _HELD,
    _HOLD_EVENTS,
    _REVERSALS,
    _KEYS,
    _KEYED,
    _ZERO,
    Check("I10.chain", "the sealed blocks are an unbroken chain, each with its journals", _chain),
    _ITEMS,
    Check("I11.closed_periods", "closed months have the totals they were closed with",
          _closed_periods),
    Check("cover", "other people's money is covered in each currency", _cover),
    _COMMISSION,
)  # fmt: skip
