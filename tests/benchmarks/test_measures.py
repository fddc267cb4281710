"""What is measured is real: the workers' payments and the loaded ledger leave sound books."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.ledger.tables import entry
from payctl.notifications.tables import notification_delivery
from payctl.payments import tables as t
from tests import books, postgres
from tests.benchmarks import embedded, loader, posting, process, relay, sales
from tests.benchmarks.bench import ensure_sound
from tests.benchmarks.workers import WARM_UP, measure

pytestmark = pytest.mark.integration


def _count(url: str, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
    db = Database(url)
    with db.read() as tx:
        found = tx.scalar(sa.select(sa.func.count()).select_from(table).where(*where))
    db.dispose()
    return int(found or 0)


def test_captured_and_processed_payments_leave_a_sound_book(db_url: str) -> None:
    captured = measure(posting.captured, db_url, "ready", 400, processes=1, seconds=0.2)
    processed = measure(process.processed, db_url, "run", processes=1, seconds=0.2)
    ensure_sound(db_url, payments=True)
    paid = _count(db_url, t.payment, t.payment.c.status == "succeeded")
    assert paid > 2
    assert _count(db_url, entry) == 4 * paid
    assert captured.rate > 0 < processed.rate
    assert captured.client_us > 0
    assert captured.server_us is None


def test_what_is_relayed_is_delivered_and_marked(db_url: str) -> None:
    db = Database(db_url)
    with relay.taking() as url:
        made = relay.notified(db, 40)
        assert relay.posted(url, [relay.body_of(each) for each in made]) > 0
        assert relay.relayed(db, url, 40) > 0
    db.dispose()
    delivered = notification_delivery.c.state == "delivered"
    assert _count(db_url, notification_delivery, delivered) == 40


def test_a_batch_is_fifty_payments(db_url: str) -> None:
    run = measure(posting.batch, db_url, "run", processes=1, seconds=0.01)
    ensure_sound(db_url, payments=False)
    entries = _count(db_url, entry)
    assert entries % (4 * posting.BATCH) == 0
    assert 0 < entries <= 4 * posting.BATCH * (WARM_UP + 2)
    assert run.rate > 0


def test_a_worker_that_fails_says_why(tmp_path: Path) -> None:
    missing = str(tmp_path / "none" / "reference.sqlite3")
    with pytest.raises(RuntimeError, match="unable to open database file"):
        measure(embedded.debit_credit, missing, processes=1, seconds=0.01)


@pytest.fixture
def empty_book(pg_server: postgres.Server) -> Iterator[Database]:
    """A book of its own: the months that are loaded get partitions, which stay."""
    db = Database(books.new_pg_database(pg_server.url, "loaded"))
    books.create(db)
    yield db
    db.dispose()


def test_the_loaded_ledger_is_as_posting_would_have_left_it(
    empty_book: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sales, "ORGANISERS", 30)
    until = datetime(2026, 11, 2, 9, tzinfo=UTC)
    sales.open_accounts(empty_book)
    loader.load(empty_book, 4_000, until)
    url = empty_book.url.render_as_string(hide_password=False)
    assert _count(url, entry) == 4_000
    ensure_sound(url, payments=False)
    measure(posting.journal, url, "run", processes=1, seconds=0.05)
    ensure_sound(url, payments=False)
    assert _count(url, entry) > 4_000
    assert loader.months(until) == [
        202511, 202512, *(202600 + month for month in range(1, 12)),
    ]  # fmt: skip
