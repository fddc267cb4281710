"""The short way of a payment means exactly what the long way means."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.db import audit
from payctl.db.engine import Database
from payctl.db.metadata import load
from payctl.ids import seeded
from payctl.ledger import posting
from payctl.payments.first_answer import FirstAnswers
from payctl.payments.records import Payment
from payctl.payments.requests import Line, PaymentInput
from tests import books
from tests.conftest import START
from tests.payments.kit import CARDS, MOMO, OPERATOR, Kit, make_kit

pytestmark = pytest.mark.integration

#: What a run decides for itself: ids, references, and counts of changes.
_OWN = {
    "id", "payment_id", "attempt_id", "subject_id", "object_id", "journal_id", "our_reference",
    "idempotency_key", "provider_reference", "request_hash", "fingerprint", "content_hash",
    "posting_key", "key", "hash", "prev_hash", "version", "account_id", "lease_owner", "stripe",
    "chain", "seq",
}  # fmt: skip
#: Inside documents: names whose values are a run's own.
_OWN_INSIDE = {"id", "our_reference", "provider_reference", "fee_reference", "reference"}
TABLES = (
    "payment", "payment_line", "attempt", "provider_call", "notification", "audit", "journal",
    "entry", "idempotency", "balance", "breaker_sample", "party", "account", "case_record",
)  # fmt: skip

STORIES: dict[str, list[dict[str, Any]]] = {
    "success": [{}, {}],
    "lines, metadata, template": [
        {"lines": (Line("ticket", 2, 5000, 200_000),), "metadata": {"seat": 'A"1\\'}},
        {"sale_type": "template_sale", "description": "Flyer — été"},
    ],
    "declined": [{"token": "tok_decline_insufficient_funds"}],
    "rejected": [{"token": "tok_rejected"}],
    "authorised": [{"manual_capture": True}],
    "page": [{"token": "tok_3ds"}, {"token": "tok_pending:20"}],
    "other gateway": [{"token": "tok_decline_gateway_specific", "preferred": ("cards", "momo")}],
    "unknown": [{"token": "tok_lost_answer"}],
    "wrong amount": [{"token": "tok_wrong_amount"}],
    "no route": [{}],
    "XOF": [{"currency": "XOF", "amount_minor": 15_000, "country": "CI"}],
    "many of one organiser": [{"organiser": f"org-{n % 2}"} for n in range(6)],
}


def run(kit: Kit, story: list[dict[str, Any]]) -> list[Payment]:
    if story is STORIES["no route"]:
        for account in kit.gateways:
            kit.app.gateway_settings.set_state(OPERATOR, account, "draining", reason="maintenance")
    return [kit.pay(f"k{n}", **each).payment for n, each in enumerate(story, 1)]


def picture(db: Database) -> dict[str, list[Any]]:
    """Every row of the book without what a run decides for itself, in an order of its own."""
    found = {}
    with db.read() as tx:
        for name in TABLES:
            table = load().tables[name]
            rows = [dict(row) for row in tx.execute(sa.select(table)).mappings()]
            found[name] = sorted(
                repr({key: _plain(value) for key, value in sorted(row.items()) if key not in _OWN})
                for row in rows
            )
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in sorted(value.items()) if k not in _OWN_INSIDE}
    return [_plain(each) for each in value] if isinstance(value, list) else value


@pytest.fixture
def book(db_url: str, clock: ManualClock, tmp_path: Path) -> Any:
    """Makes a service on an empty book, each time a fresh one."""
    made: list[Database] = []
    original = tmp_path / "empty.sqlite3"
    if db_url.startswith("sqlite"):
        shutil.copy(db_url.removeprefix("sqlite:///"), original)

    def make() -> Kit:
        number = len(made)
        if db_url.startswith("sqlite"):
            path = tmp_path / f"book{number}.sqlite3"
            shutil.copy(original, path)
            url = f"sqlite:///{path}"
        else:
            books.empty_pg(db_url)
            url = db_url
        db = Database(url, clock=ManualClock(START), ids=seeded(clock, 7))
        made.append(db)
        folder = tmp_path / f"providers{number}"
        folder.mkdir()
        kit = make_kit(db, folder, {"cards": CARDS, "momo": MOMO})
        for service in (kit.app.outcomes, kit.app.first_answers, kit.app.breakers):
            vars(service)["_random"] = __import__("random").Random(3)
        return kit

    yield make
    for each in made:
        each.dispose()


@pytest.mark.parametrize("name", STORIES)
def test_the_short_way_writes_what_the_long_way_writes(
    book: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each connection keeps to a stripe and a chain of its own, and the two ways use different ones.
    monkeypatch.setattr(posting, "stripe_of", lambda _tx, _stripes: 0)
    monkeypatch.setattr(audit, "chain_of", lambda _db, _tx: 0)
    short = book()
    run(short, STORIES[name])
    short.check()
    seen = picture(short.app.db)
    monkeypatch.setattr(FirstAnswers, "apply", lambda self, actor, answered: [None] * len(answered))
    long = book()
    run(long, STORIES[name])
    other = picture(long.app.db)
    for table in TABLES:
        assert seen[table] == other[table], table


PLAIN = ("success", "declined", "authorised", "page", "XOF")


@pytest.mark.parametrize("name", PLAIN)
def test_plain_answers_take_the_short_way(
    book: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit, taken = book(), []
    apply = FirstAnswers.apply

    def counted(self: FirstAnswers, *arguments: Any) -> Any:
        results = apply(self, *arguments)
        taken.extend(results)
        return results

    monkeypatch.setattr(FirstAnswers, "apply", counted)
    # The first sale of an organiser opens accounts, which the long way does.
    run(kit, STORIES[name])
    taken.clear()
    kit.pay("again", **STORIES[name][0])
    assert [each is not None for each in taken] == [True]


def test_a_webhook_that_was_faster_sends_it_the_long_way(kit_: Kit) -> None:
    """The row has changed between the call and its answer: nothing is written twice."""
    kit_.pay("k1")
    ask = kit_.app.payments.ask

    def overtaken(begun: Any) -> Any:
        answered = ask(begun)
        kit_.app.dispatch.apply(begun.attempt, answered.answer, "create", OPERATOR)
        return answered

    kit_.app.payments.ask = overtaken  # type: ignore[method-assign]
    result = kit_.pay("k2")
    assert result.payment.status == "succeeded"
    assert kit_.our_totals() == kit_.provider_totals()
    kit_.check()


@pytest.fixture
def kit_(book: Any) -> Kit:
    made: Kit = book()
    return made


def test_keys_taken_and_repeated_in_one_row_of_payments(kit_: Kit) -> None:
    """Each gets the answer it would get alone; the others are begun all the same."""
    first = kit_.pay("k1").payment
    wanted: list[PaymentInput] = [
        kit_.input("k1"),
        kit_.input("k2"),
        kit_.input("k1", amount_minor=777),
        kit_.input("k2"),
        kit_.input("k2", amount_minor=5),
        kit_.input("k3"),
    ]
    found = kit_.app.intake.begin(OPERATOR, wanted)
    words = [getattr(each, "code", None) or ("old" if each.replayed else "new") for each in found]  # type: ignore[union-attr]
    assert words == ["old", "new", "key.reused", "old", "key.reused", "new"]
    assert found[0].payment.id == first.id  # type: ignore[union-attr]
    assert found[3].payment.id == found[1].payment.id  # type: ignore[union-attr]
