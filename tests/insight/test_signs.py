"""Questions about a book's health read what is open, never a whole table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.db.engine import Database
from payctl.insight import signs

pytestmark = pytest.mark.integration

#: A question, and the index whose rows are all it looks at.
QUESTIONS: dict[str, tuple[Callable[[sa.Connection, Any], object], set[str]]] = {
    "unknown": (signs.unknown_outcomes, {"attempt_due"}),
    "waiting": (lambda tx, _: signs.waiting_payments(tx), {"attempt_due"}),
    "inbox": (lambda tx, _: signs.inbox(tx), {"ix_webhook_event_due", "ix_webhook_event_dead"}),
    "pulse": (lambda tx, _: signs.pulse(tx, "a"), {"ix_webhook_event_account"}),
    "last webhook": (lambda tx, _: signs.last_webhook(tx, "a"), {"ix_webhook_event_account"}),
    "ended": (lambda tx, _: signs.ended(tx, "a", 5), {"breaker_sample"}),
    "last answer": (lambda tx, _: signs.last_answer(tx, "a"), {"breaker_sample"}),
    "cases": (lambda tx, _: signs.open_cases(tx), {"uq_case_record_open"}),
    "job": (lambda tx, _: signs.last_success(tx, "a"), {"ix_job_run_job"}),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_reads_its_index(db: Database, clock: ManualClock, name: str) -> None:
    ask, wanted = QUESTIONS[name]
    asked: list[tuple[str, Any]] = []

    def hear(_c: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        if sql.startswith("SELECT"):
            asked.append((sql, parameters))

    with db.read() as tx:
        sa.event.listen(db.engine, "before_cursor_execute", hear)
        ask(tx, clock.now())
        sa.event.remove(db.engine, "before_cursor_execute", hear)
        explain = "EXPLAIN QUERY PLAN" if db.is_sqlite else "EXPLAIN"
        if not db.is_sqlite:
            # The tables are empty: whether the index would do is asked, not whether it pays.
            tx.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = "\n".join(
            str(row)
            for sql, given in asked
            for row in tx.exec_driver_sql(f"{explain} {sql}", given)
        )
    # Of two indexes on live attempts only, either will do.
    plan = plan.replace("attempt_live", "attempt_due")
    assert asked and all(index in plan for index in wanted), plan
    assert "Seq Scan" not in plan
