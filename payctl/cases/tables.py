"""Tables of cases: what a person must look at, and everything that was done about it."""

from __future__ import annotations

import sqlalchemy as sa

from payctl.db.metadata import append_only, partial_index, table
from payctl.db.types import Id, Int, Json, Moment, Text

#: ``dedupe_key`` is unique among the cases that are not resolved: the same matter opens one case,
#: however often it is met. (``case`` is a word of SQL, so the table has another name.)
case_record = table(
    "case_record",
    sa.Column("id", Id, primary_key=True),
    sa.Column("kind", Text, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("dedupe_key", Text, nullable=False),
    sa.Column("subject_kind", Text, nullable=False),
    sa.Column("subject_id", Id),
    sa.Column("gateway", Text),
    sa.Column("amount_minor", Int),
    sa.Column("currency", Text),
    sa.Column("detail", Json, nullable=False),
    sa.Column("opened_at", Moment, nullable=False),
    sa.Column("opened_by", Text, nullable=False),
    sa.Column("due_at", Moment, nullable=False),
    sa.Column("assigned_to", Text),
    sa.Column("approval_id", Id),
    sa.Column("resolution", Text),
    sa.Column("evidence", Text),
    sa.Column("resolved_by", Text),
    sa.Column("resolved_at", Moment),
    sa.CheckConstraint("state IN ('open', 'assigned', 'resolved')", name="state"),
    sa.CheckConstraint("(amount_minor IS NULL) = (currency IS NULL)", name="amount"),
    sa.CheckConstraint("amount_minor IS NULL OR amount_minor >= 0", name="amount_sign"),
    sa.CheckConstraint("state <> 'open' OR assigned_to IS NULL", name="open"),
    sa.CheckConstraint("state <> 'assigned' OR assigned_to IS NOT NULL", name="assigned"),
    # A resolved case says what was found, on what evidence, by whom and when; no other one does.
    sa.CheckConstraint(
        "(state = 'resolved') = (resolution IS NOT NULL AND evidence IS NOT NULL"
        " AND resolved_by IS NOT NULL AND resolved_at IS NOT NULL)",
        name="resolved",
    ),
    sa.CheckConstraint("evidence IS NULL OR length(evidence) > 0", name="evidence"),
)
partial_index(
    "uq_case_record_open",
    case_record.c.dedupe_key,
    unique=True,
    where=case_record.c.state != "resolved",
)
sa.Index("ix_case_record_subject", case_record.c.subject_id)

#: The history of a case; the database lets nobody change it.
case_event = table(
    "case_event",
    sa.Column("id", Id, primary_key=True),
    sa.Column("case_id", Id, sa.ForeignKey("case_record.id"), nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("action", Text, nullable=False),
    sa.Column("data", Json, nullable=False),
    sa.CheckConstraint(
        "action IN ('opened', 'assigned', 'approval_requested', 'resolved', 'closed')",
        name="action",
    ),
)
sa.Index("ix_case_event_case_id", case_event.c.case_id, case_event.c.id)
append_only("case_event")
