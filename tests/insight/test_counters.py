"""The counters say what counting the tables says, whatever happened and whoever was killed."""

from __future__ import annotations

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.db import tally
from payctl.db.engine import Database
from payctl.db.job_runs import JobRuns
from payctl.db.leases import Leases
from payctl.db.operators import job_actor
from payctl.db.tables import job_run
from payctl.db.tally import Cell, Totals, metric_delta, metric_total
from payctl.errors import PayctlError
from payctl.notifications.tables import notification
from payctl.payments import counted
from payctl.payments import tables as t
from tests.payments.kit import OPERATOR, Kit
from tests.payments.test_pipeline import run as run_many

pytestmark = pytest.mark.integration

TOKENS = (
    None, None, None, "tok_decline_insufficient_funds", "tok_decline_gateway_specific",
    "tok_lost_answer", "tok_3ds", "tok_pending:20", "tok_rejected", "tok_not_sent:1",
    "tok_wrong_amount", "tok_late:90",
)  # fmt: skip


class Killed(Exception):
    """The process ends here."""


def counts(db: Database) -> Totals:
    with db.read() as tx:
        return tally.totals(tx)


def recount(db: Database) -> Totals:
    """The same from the tables: every status an object has told of, every exchange that is kept."""
    found: Totals = {}
    told: dict[Any, list[Any]] = defaultdict(list)
    n = notification.c
    with db.read() as tx:
        for row in tx.execute(sa.select(notification).order_by(n.object_id, n.sequence)):
            if row.object_kind in ("payment", "refund"):
                told[row.object_kind, row.object_id].append(row.data)
        for refund in tx.execute(sa.select(t.refund).where(t.refund.c.source == "unapplied")):
            first = {"status": "proposed", "gateway": refund.gateway_account,
                     "currency": refund.currency, "amount_minor": refund.amount_minor}  # fmt: skip
            told["refund", refund.id].insert(0, first)
        calls = tx.execute(
            sa.select(t.provider_call, t.attempt.c.gateway_account).join(
                t.attempt, t.attempt.c.id == t.provider_call.c.attempt_id
            )
        ).all()
    for (kind, _), steps in told.items():
        before = None
        for data in steps:
            if data["status"] != before:
                amount = data["amount_minor"]
                bound = min((end for end in counted.AMOUNTS if amount <= end), default=10**18)
                tally.add(
                    found,
                    Cell(kind, data["gateway"] or "none", data["status"], data["currency"],
                         bound if kind == "payment" else 0),
                    amount,
                )  # fmt: skip
            before = data["status"]
    for call in calls:
        took = call.latency_ms
        bound = min((end for end in counted.LATENCIES_MS if took <= end), default=10**18)
        tally.add(found, Cell("call", call.gateway_account, call.call, call.outcome, bound), took)
    return found


class Mix:
    """A day of a ticket office whose processes are killed now and then."""

    def __init__(self, kit: Kit, seed: int) -> None:
        self.kit, self.random = kit, Random(seed)
        self.db = kit.app.db
        self.made = 0
        self.killed: Counter[str] = Counter()

    def payment(self) -> Any:
        with self.db.read() as tx:
            ids = tx.execute(sa.select(t.payment.c.id).order_by(t.payment.c.id)).scalars().all()
        return self.random.choice(ids) if ids else None

    def input(self, **more: Any) -> Any:
        self.made += 1
        token = self.random.choice(TOKENS)
        amount = self.random.choice((100, 2_500, 10_000, 19_999))
        preferred = self.random.choice((("cards",), ("cards", "momo"), ("momo",)))
        values = {"amount_minor": amount, "preferred": preferred, "order": f"o{self.made % 9}"}
        return self.kit.input(f"k{self.made}", token, **(values | more))

    def step(self) -> None:
        app, random = self.kit.app, self.random
        act = random.randrange(10)
        chosen = self.payment()
        if act < 4 or chosen is None:
            app.payments.process(OPERATOR, self.input(manual_capture=random.random() < 0.2))
        elif act == 4:
            run_many(self.kit, [self.input() for _ in range(random.randrange(1, 6))], workers=2)
        elif act == 5:
            full = random.random() < 0.5
            app.refunds.create(
                OPERATOR, chosen, key=f"r{random.random()}", reason="x",
                amount_minor=None if full else 60,
            )  # fmt: skip
        elif act == 6:
            app.captures.capture(OPERATOR, chosen, key=f"c{random.random()}",
                                 amount_minor=60, final=random.random() < 0.5)  # fmt: skip
        elif act == 7:
            app.captures.cancel(OPERATOR, chosen, reason="no")
        elif act == 8:
            self.kit.wait(seconds=random.choice((10, 400, 7_200)))
        else:
            tally.fold(self.db, limit=random.choice((1, 7, 5_000)))

    def run(self, steps: int) -> None:
        for _ in range(steps):
            left = self.random.randrange(1, 8)

            def probe(point: str, at: int = self.random.randrange(3)) -> None:
                nonlocal left
                left -= 1
                if left == 0 and at < 2:
                    self.killed[point] += 1
                    raise Killed

            self.db._probe = probe
            try:
                self.step()
            except (Killed, PayctlError):
                pass
            finally:
                self.db._probe = None


@pytest.mark.parametrize("seed", [1])
def test_any_mix_of_acts_is_counted_as_the_tables_say(kit: Kit, seed: int) -> None:
    mix = Mix(kit, seed)
    mix.run(45)
    assert mix.killed["commit.before"] > 1 and mix.killed["commit.after"] > 1
    for days in (0, 0, 1, 2):
        kit.wait(days=days, seconds=60)
    found = counts(mix.db)
    assert {cell.family for cell in found} == {"payment", "refund", "call"}
    assert found == recount(mix.db)
    while tally.fold(mix.db, limit=9):
        assert counts(mix.db) == found
    with mix.db.read() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(metric_delta)) == 0
    assert counts(mix.db) == found


def test_a_fold_that_is_killed_has_folded_nothing(db: Database) -> None:
    with db.transaction() as tx:
        tally.count(tx, Cell("payment", "p", "succeeded", "EUR", 100), 70)

    def killed(point: str) -> None:
        if point == "commit.before":
            raise Killed

    before = counts(db)
    db._probe = killed
    with pytest.raises(Killed):
        tally.fold(db)
    db._probe = None
    assert counts(db) == before == {Cell("payment", "p", "succeeded", "EUR", 100): (1, 70)}
    assert [tally.fold(db), tally.fold(db)] == [1, 0]
    assert counts(db) == before


def test_what_is_rolled_back_or_rehearsed_is_not_counted(db: Database) -> None:
    """Nor by the next transaction on the same connection."""
    cell = Cell("payment", "p", "failed", "EUR")
    with pytest.raises(Killed), db.transaction() as tx:
        tally.count(tx, cell)
        raise Killed
    with db.rehearsal() as tx:
        tally.count(tx, cell)
    with db.transaction() as tx:
        tally.count(tx, cell, 5)
        tally.count(tx, cell, 6, number=2)
    assert counts(db) == {cell: (3, 11)}


def test_folds_at_once_while_others_count(db: Database) -> None:
    cells = [Cell("call", "p", f"c{n % 3}", "ok") for n in range(40)]

    def write(cell: Cell) -> None:
        db.run(lambda tx: tally.count(tx, cell, 1))
        tally.fold(db, limit=3)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, cells))
    assert sum(number for number, _ in counts(db).values()) == len(cells)
    while tally.fold(db):
        pass
    with db.read() as tx:
        rows = tx.execute(sa.select(metric_total.c.what, metric_total.c.number)).all()
    assert dict(rows) == {"c0": 14, "c1": 13, "c2": 13}  # type: ignore[arg-type]


def test_runs_of_jobs_are_counted_when_they_end(db: Database) -> None:
    runs, actor = JobRuns(db, Leases(db)), job_actor("test", "job.sync")
    with runs.run("test", actor):
        db.clock.advance(timedelta(seconds=2))  # type: ignore[attr-defined]
    with pytest.raises(KeyError), runs.run("test", actor):
        raise KeyError
    with db.transaction() as tx:
        tx.execute(
            sa.insert(job_run).values(
                id=db.ids.new(), job="test", state="running", actor="a", host="h",
                started_at=db.clock.now(), counts={},
            )
        )  # fmt: skip
    with runs.run("test", actor):
        pass
    ended = {cell.detail: counted for cell, counted in counts(db).items() if cell.family == "job"}
    assert ended == {"done": (2, 2000), "failed": (1, 0), "lost": (1, 0)}


def test_what_was_rolled_back_is_not_counted_by_the_next(db: Database) -> None:
    """On the same connection of the pool, which remembers what it was told."""
    lost, kept = (Cell("test", "p", what, "") for what in ("lost", "kept"))
    with pytest.raises(KeyError), db.transaction() as tx:
        tally.count(tx, lost, 5)
        raise KeyError
    with db.transaction() as tx:
        tally.count(tx, kept, 7)
        tally.count(tx, kept, 1)
    with db.transaction() as tx:
        tally.count(tx, kept, 1)
    assert counts(db) == {kept: (3, 9)}
