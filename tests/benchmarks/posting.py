"""Posting captured payments: one a commit with all that belongs to it, one journal a commit, and
fifty journals a commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import sqlalchemy as sa

from payctl.app import App
from payctl.db.engine import Database
from payctl.errors import PayctlError
from payctl.ids import encode
from payctl.ledger import posting
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, Posted
from payctl.payments.first_answer import Answered
from payctl.payments.requests import PaymentInput
from tests.benchmarks import process, sales
from tests.benchmarks.workers import WARM_UP, Step

BATCH = 50
_GROUP = 200


def captured(number: int, url: str, run: str, each: int) -> Step:
    """One captured payment a commit, through what the product does with a provider's answer: key,
    journal with four entries, the guarded wallet, status of payment and attempt, the exchange with
    the provider, notification, audit record and breaker count. *each* payments are begun and
    answered before anything is measured.
    """
    app = process.services(url)
    sales.remember(app.db, app.book)
    waiting = _answered(app, Random(f"ready {run}-{number}"), each)

    def step() -> int:
        answered = next(waiting)
        [applied] = app.first_answers.apply(sales.CORE, [answered])
        app.payments.carry_on(sales.CORE, answered, applied)
        return 1

    return step


def _answered(app: App, dice: Random, each: int) -> Iterator[Answered]:
    ready: list[Answered] = []
    for _ in range(0, each + WARM_UP, _GROUP):
        wanted = [PaymentInput(**process.request(dice)) for _ in range(_GROUP)]  # type: ignore[arg-type]
        for begun in app.intake.begin(sales.CORE, wanted):
            assert not isinstance(begun, PayctlError), begun
            ready.append(app.payments.ask(begun))
    yield from ready
    raise RuntimeError("every payment made ready is captured: make more ready")


def journal(number: int, url: str, run: str) -> Step:
    """One journal a commit, in one statement, and nothing but the ledger."""
    db = Database(url)
    book, dice = Book(db), Random(f"{run}-{number}")
    sales.remember(db, book)

    def step() -> int:
        draft = _draft(db, dice)

        def write(tx: sa.Connection) -> object:
            decided = book.facts(tx, [draft])
            return decided and posting.write(tx, decided)

        if not db.at_once(write):
            db.run(lambda tx: book.post(tx, draft))
        return 1

    return step


def batch(number: int, url: str, run: str) -> Step:
    """Fifty journals a commit, and nothing but the ledger."""
    db = Database(url)
    book, dice = Book(db), Random(f"{run}-{number}")
    sales.remember(db, book)

    def step() -> int:
        drafts = [_draft(db, dice) for _ in range(BATCH)]
        verdicts = db.run(lambda tx: book.post_many(tx, drafts))
        assert all(isinstance(verdict, Posted) for verdict in verdicts), verdicts
        return BATCH

    return step


def _draft(db: Database, dice: Random) -> Draft:
    """The journal of a sale that exists nowhere else."""
    payment_id, attempt_id = db.ids.new(), db.ids.new()
    gateway, reference = dice.choice(sales.GATEWAYS), encode("attempt", attempt_id)
    meta = {
        "gateway": gateway, "our_reference": reference, "provider_reference": f"noop_{reference}",
    }  # fmt: skip
    legs = sales.capture_legs(sales.some_organiser(dice), gateway, sales.some_amount(dice))
    return Draft("capture", f"capture:{attempt_id}:0", legs, "core", payment_id, meta=meta)
