"""Posting captured payments: one a commit with all that belongs to it, one journal a commit, and
fifty journals a commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from random import Random

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.ids import encode
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, Posted
from payctl.notifications.outbox import Outbox
from payctl.payments import store
from payctl.payments import tables as t
from payctl.payments.model import PaymentStatus
from payctl.payments.records import Payment, payment_of
from tests.benchmarks import sales
from tests.benchmarks.workers import WARM_UP, Step

BATCH = 50


def captured(number: int, url: str, run: str) -> Step:
    """One captured payment a commit: key, journal with four entries, the guarded wallet, the
    payment's status and the notification.
    """
    db = Database(url)
    book, outbox, dice = Book(db), Outbox(db), Random(f"{run}-{number}")
    waiting = iter(_waiting(db, _slice(run, number)))

    def step() -> int:
        payment = next(waiting)
        draft = _draft(db, dice, payment)
        with db.transaction() as tx:
            book.post(tx, draft)
            _succeed(db, outbox, tx, payment)
        return 1

    return step


def journal(number: int, url: str, run: str) -> Step:
    """One journal a commit, and nothing but the ledger."""
    db = Database(url)
    book, dice = Book(db), Random(f"{run}-{number}")

    def step() -> int:
        draft = _draft(db, dice)
        with db.transaction() as tx:
            book.post(tx, draft)
        return 1

    return step


def batch(number: int, url: str, run: str) -> Step:
    """Fifty journals a commit, and nothing but the ledger."""
    db = Database(url)
    book, dice = Book(db), Random(f"{run}-{number}")

    def step() -> int:
        drafts = [_draft(db, dice) for _ in range(BATCH)]
        verdicts = db.run(lambda tx: book.post_many(tx, drafts))
        assert all(isinstance(verdict, Posted) for verdict in verdicts), verdicts
        return BATCH

    return step


def make_ready(url: str, run: str, *, processes: int, each: int) -> None:
    """Write the payments that the workers of *run* are going to capture: *each* of them so many."""
    db, dice = Database(url), Random(run)
    for number in range(processes):
        rows = [_row(db, dice, _slice(run, number)) for _ in range(each + WARM_UP)]
        with db.transaction() as tx:
            tx.execute(sa.insert(t.payment), rows)
    db.dispose()


def _draft(db: Database, dice: Random, payment: Payment | None = None) -> Draft:
    """A sale's journal: that of *payment*, or of one that exists nowhere else."""
    payment_id, attempt_id = payment.id if payment else db.ids.new(), db.ids.new()
    seller = payment.organiser if payment else sales.some_organiser(dice)
    amount_minor = payment.amount_minor if payment else sales.some_amount(dice)
    gateway = dice.choice(sales.GATEWAYS)
    reference = encode("attempt", attempt_id)
    meta = {
        "gateway": gateway, "our_reference": reference, "provider_reference": f"noop_{reference}",
    }  # fmt: skip
    legs = sales.capture_legs(seller, gateway, amount_minor)
    return Draft("capture", f"capture:{attempt_id}:0", legs, "core", payment_id, meta=meta)


def _succeed(db: Database, outbox: Outbox, tx: sa.Connection, payment: Payment) -> None:
    owner, commission, vat = sales.parts(payment.amount_minor)
    paid = store.update_payment(
        tx, payment, db.clock.now(), status=PaymentStatus.SUCCEEDED, next_check_at=None,
        captured_minor=payment.amount_minor, commission_minor=commission, vat_minor=vat,
        pending_minor=owner,
    )  # fmt: skip
    data = {
        "id": encode("payment", paid.id), "status": str(paid.status),
        "amount_minor": paid.amount_minor, "currency": paid.currency, "order": paid.order_ref,
        "organiser": paid.organiser,
    }  # fmt: skip
    outbox.append(tx, "payment.succeeded", "payment", paid.id, data)


def _slice(run: str, number: int) -> str:
    """Marks the payments of one worker in one run."""
    return f"{run}-{number}"


def _waiting(db: Database, slice_: str) -> Iterator[Payment]:
    query = sa.select(t.payment).where(
        t.payment.c.event_ref == slice_, t.payment.c.status == PaymentStatus.PROCESSING
    )
    with db.read() as tx:
        rows = [payment_of(dict(row)) for row in tx.execute(query).mappings()]
    yield from rows
    raise RuntimeError("every payment made ready is captured: make more ready")


def _row(db: Database, dice: Random, slice_: str) -> dict[str, object]:
    now = db.clock.now()
    return {
        "id": db.ids.new(), "status": PaymentStatus.PROCESSING,
        "amount_minor": sales.some_amount(dice), "currency": sales.CURRENCY, "method": "card",
        "sale_type": "ticket_sale", "manual_capture": False, "event_ref": slice_,
        "order_ref": f"o-{dice.getrandbits(60):x}", "organiser": sales.some_organiser(dice),
        "description": "", "metadata": {}, "preferred": [], "needs_review": False, "late": False,
        "created_by": "core", "created_at": now, "updated_at": now,
        "next_check_at": now + timedelta(days=1),
    }  # fmt: skip
