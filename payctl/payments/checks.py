"""Checks payments add to ``ledger check``: each account of open objects equals the sum of them."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta

import sqlalchemy as sa

from payctl.gateways.base import Outcome
from payctl.ids import encode
from payctl.ledger.check import Check, Violation
from payctl.ledger.tables import account, balance
from payctl.payments import tables as t
from payctl.payments.float_tables import float_topup
from payctl.payments.model import LIVE_ATTEMPT_STATES, Operation, PaymentStatus, RefundState

#: How long a payment may stay approved without being taken or let go.
UNTAKEN = timedelta(hours=6)
Sums = dict[tuple[str, str], int]


def all_checks() -> list[Check]:
    """The checks, in the order they are shown."""
    return [
        Check(
            "refund_outgoing", "refund:*:outgoing = refunds set aside and not yet paid", _refunds
        ),
        Check(
            "unapplied",
            "unapplied:* = receipts that belong to no order, not yet refunded",
            _unapplied,
        ),
        Check("transit", "transit:* = float top-ups on their way", _transit),
        Check("wallet_pending", "wallet:*:pending = pending parts of all sales", _pending),
        Check("disputed", "dispute:* = what providers hold of disputes not lost", _contested),
        Check("wallet_disputed", "wallet:*:disputed = frozen parts of open disputes", _frozen),
        Check("captured_once", "what a payment captured = its receipts", _captured),
        Check(
            "nothing_unseen", "everything unfinished has a time at which it is looked at", _unseen
        ),
    ]


def untaken(now: datetime) -> Check:
    """The check of payments that were approved and left: the janitor takes or lets go of each
    within minutes, and a provider forgets an approval after hours.
    """
    limit = now - UNTAKEN

    def run(tx: sa.Connection) -> list[Violation]:
        a, c = t.attempt.c, t.provider_call.c
        since = sa.func.min(c.at)
        query = (
            sa.select(a.payment_id, a.gateway_account, a.currency, a.amount_minor, since)
            .select_from(t.attempt.join(t.provider_call, c.attempt_id == a.id))
            .where(
                a.state.in_([str(state) for state in LIVE_ATTEMPT_STATES]),
                a.operation == str(Operation.COLLECT),
                c.outcome == str(Outcome.APPROVED),
            )
            .group_by(a.id, a.payment_id, a.gateway_account, a.currency, a.amount_minor)
            .having(since <= sa.bindparam("limit", limit, c.at.type))
        )
        return [
            Violation(
                "approved_taken", f"gateway:{g}:collect", int(n), currency,
                f"payment {encode('payment', id_)} was approved and neither taken nor let go",
            )
            for id_, g, currency, n, _since in tx.execute(query)
        ]  # fmt: skip

    hours = int(UNTAKEN.total_seconds() // 3600)
    return Check("approved_taken", f"what was approved is taken or let go in {hours} hours", run)


def _refunds(tx: sa.Connection) -> list[Violation]:
    done = [RefundState.SUCCEEDED, RefundState.FAILED, RefundState.REJECTED]
    query = (
        sa.select(
            t.refund.c.gateway_account, t.refund.c.currency, sa.func.sum(t.refund.c.amount_minor)
        )
        .where(t.refund.c.reserve_journal_id.is_not(None), t.refund.c.state.not_in(done))
        .group_by(t.refund.c.gateway_account, t.refund.c.currency)
    )
    open_ = {(f"refund:{g}:outgoing", c): int(n) for g, c, n in tx.execute(query)}
    return _compare(tx, "refund_outgoing", "refund:%:outgoing", open_)


def _unapplied(tx: sa.Connection) -> list[Violation]:
    paid = sa.select(
        t.refund.c.receipt_attempt_id.label("attempt_id"),
        sa.func.sum(t.refund.c.amount_minor).label("amount"),
    ).where(
        t.refund.c.source == "unapplied",
        t.refund.c.reserve_journal_id.is_not(None),
        t.refund.c.state.not_in([RefundState.FAILED, RefundState.REJECTED]),
    ).group_by(t.refund.c.receipt_attempt_id).subquery()  # fmt: skip
    lost = (
        sa.select(t.dispute.c.attempt_id, sa.func.sum(t.dispute.c.lost_minor).label("amount"))
        .group_by(t.dispute.c.attempt_id)
        .subquery()
    )
    received = sa.func.coalesce(t.attempt.c.received_minor, t.attempt.c.amount_minor)
    currency = sa.func.coalesce(t.attempt.c.received_currency, t.attempt.c.currency)
    query = (
        sa.select(
            t.attempt.c.gateway_account,
            currency,
            sa.func.sum(
                received - sa.func.coalesce(paid.c.amount, 0) - sa.func.coalesce(lost.c.amount, 0)
            ),
        )
        .select_from(
            t.attempt.outerjoin(paid, paid.c.attempt_id == t.attempt.c.id).outerjoin(
                lost, lost.c.attempt_id == t.attempt.c.id
            )
        )
        .where(t.attempt.c.receipt == "unapplied")
        .group_by(t.attempt.c.gateway_account, currency)
    )
    open_ = {(f"unapplied:{g}", c): int(n) for g, c, n in tx.execute(query)}
    return _compare(tx, "unapplied", "unapplied:%", open_)


def _transit(tx: sa.Connection) -> list[Violation]:
    c = float_topup.c
    query = (
        sa.select(c.account, c.currency, sa.func.sum(c.amount_minor))
        .where(c.state == "sent")
        .group_by(c.account, c.currency)
    )
    open_ = {(f"transit:{g}", currency): int(n) for g, currency, n in tx.execute(query)}
    return _compare(tx, "transit", "transit:%", open_)


def _pending(tx: sa.Connection) -> list[Violation]:
    query = (
        sa.select(
            t.payment.c.organiser, t.payment.c.currency, sa.func.sum(t.payment.c.pending_minor)
        )
        .where(t.payment.c.captured_minor > 0)
        .group_by(t.payment.c.organiser, t.payment.c.currency)
    )
    open_ = {(f"wallet:{o}:pending", c): int(n) for o, c, n in tx.execute(query)}
    return _compare(tx, "wallet_pending", "wallet:%:pending", open_)


def _contested(tx: sa.Connection) -> list[Violation]:
    d = t.dispute.c
    query = sa.select(
        d.gateway_account, d.currency, sa.func.sum(d.withdrawn_minor - d.lost_minor)
    ).group_by(d.gateway_account, d.currency)
    open_ = {(f"dispute:{g}", c): int(n) for g, c, n in tx.execute(query)}
    return _compare(tx, "disputed", "dispute:%", open_)


def _frozen(tx: sa.Connection) -> list[Violation]:
    d, p = t.dispute.c, t.payment.c
    query = (
        sa.select(p.organiser, d.currency, sa.func.sum(d.frozen_minor))
        .select_from(t.dispute.join(t.payment, p.id == d.payment_id))
        .group_by(p.organiser, d.currency)
    )
    open_ = {(f"wallet:{o}:disputed", c): int(n) for o, c, n in tx.execute(query)}
    return _compare(tx, "wallet_disputed", "wallet:%:disputed", open_)


def _captured(tx: sa.Connection) -> list[Violation]:
    p = t.payment.c
    query = sa.select(p.id, p.gateway_account, p.currency, p.captured_minor - p.amount_minor).where(
        p.status == PaymentStatus.SUCCEEDED, p.captured_minor == 0
    )
    return [
        Violation(
            "captured_once", f"gateway:{g}:collect", int(n), c, f"payment {id_} has no receipt"
        )
        for id_, g, c, n in tx.execute(query)
    ]


def _unseen(tx: sa.Connection) -> list[Violation]:
    live = [str(state) for state in LIVE_ATTEMPT_STATES]
    query = sa.select(
        t.attempt.c.id, t.attempt.c.gateway_account, t.attempt.c.currency, t.attempt.c.amount_minor
    ).where(t.attempt.c.state.in_(live), t.attempt.c.next_check_at.is_(None))
    return [
        Violation("nothing_unseen", f"gateway:{g}:collect", int(n), c, f"attempt {id_}")
        for id_, g, c, n in tx.execute(query)
    ]


def _compare(tx: sa.Connection, name: str, pattern: str, open_: Sums) -> list[Violation]:
    """Balances of all accounts like *pattern* against the sums of their open objects."""
    posted: Sums = defaultdict(int)
    query = (
        sa.select(account.c.code, account.c.currency, sa.func.sum(balance.c.posted_minor))
        .join(balance, balance.c.account_id == account.c.id)
        .where(account.c.code.like(pattern))
        .group_by(account.c.code, account.c.currency)
    )
    for code, currency, amount in tx.execute(query):
        posted[code, currency] = int(amount)
    violations = []
    for code, currency in sorted(posted.keys() | open_.keys()):
        booked, objects = posted.get((code, currency), 0), open_.get((code, currency), 0)
        if booked != objects:
            detail = f"balance {booked}, open objects {objects}"
            violations.append(Violation(name, code, booked - objects, currency, detail))
    return violations
