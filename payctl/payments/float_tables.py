"""Tables of payout floats: what providers said they hold, from where on that is too little, and
the money that was sent to fill them up.
"""

from __future__ import annotations

import sqlalchemy as sa

from payctl.db.metadata import append_only, ddl, table
from payctl.db.tables import threshold_rows
from payctl.db.types import Id, Int, Moment, Text

TOPUP_STATES = ("awaiting_approval", "sent", "arrived", "returned", "canceled")
PARTS = ("collect", "float")
#: Kind of the approval a top-up may need.
APPROVAL_KIND = "float_topup"

#: The last balance each provider told; overwritten by the next one.
gateway_balance = table(
    "gateway_balance",
    sa.Column("account", Text, primary_key=True),
    sa.Column("part", Text, primary_key=True),
    sa.Column("currency", Text, primary_key=True),
    sa.Column("available_minor", Int, nullable=False),
    sa.Column("pending_minor", Int, nullable=False),
    sa.Column("read_at", Moment, nullable=False),
    sa.CheckConstraint("part IN ('collect', 'float')", name="part"),
)

#: Below this much a float is low; NULL lifts the alarm. The last row counts.
float_alarm = table(
    "float_alarm",
    sa.Column("id", Id, primary_key=True),
    sa.Column("account", Text, nullable=False),
    sa.Column("currency", Text, nullable=False),
    sa.Column("below_minor", Int),
    sa.Column("reason", Text, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.CheckConstraint("below_minor IS NULL OR below_minor > 0", name="below"),
    sa.CheckConstraint("length(trim(reason)) > 0", name="reason"),
    sa.Index("ix_float_alarm_account", "account", "currency", "id"),
)
append_only("float_alarm")

#: Money from a bank account of ours to a float. ``arrived_minor`` may be less than was sent: the
#: banks between kept the rest.
float_topup = table(
    "float_topup",
    sa.Column("id", Id, primary_key=True),
    sa.Column("account", Text, nullable=False),
    sa.Column("amount_minor", Int, nullable=False),
    sa.Column("currency", Text, nullable=False),
    sa.Column("bank", Text, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("requested_by", Text, nullable=False),
    sa.Column("requested_at", Moment, nullable=False),
    sa.Column("approval_id", Id),
    sa.Column("sent_journal_id", Id),
    sa.Column("sent_at", Moment),
    sa.Column("ended_journal_id", Id),
    sa.Column("ended_at", Moment),
    sa.Column("arrived_minor", Int),
    sa.Column("reference", Text),
    sa.CheckConstraint(
        "state IN ('awaiting_approval', 'sent', 'arrived', 'returned', 'canceled')", name="state"
    ),
    sa.CheckConstraint("amount_minor > 0", name="amount"),
    sa.CheckConstraint("arrived_minor > 0 AND arrived_minor <= amount_minor", name="arrived"),
    sa.CheckConstraint("(state = 'arrived') = (arrived_minor IS NOT NULL)", name="arrived_state"),
    # The books say of each what its state says: it left the bank, and what became of it.
    sa.CheckConstraint(
        "(state IN ('sent', 'arrived', 'returned')) = (sent_journal_id IS NOT NULL)", name="sent"
    ),
    sa.CheckConstraint(
        "(state IN ('arrived', 'returned')) = (ended_journal_id IS NOT NULL)", name="ended"
    ),
    sa.Index("ix_float_topup_state", "state", "account"),
)

#: Limits of one top-up without a second person: the money stays ours, so they are higher than those
#: of a withdrawal.
_LIMITS = {
    "EUR": 5_000_00, "USD": 5_000_00, "GBP": 4_300_00, "CHF": 5_000_00, "CAD": 7_500_00,
    "XOF": 3_300_000, "XAF": 3_300_000,
}  # fmt: skip
_SEEDS = [(APPROVAL_KIND, currency, limit, 4 * limit) for currency, limit in _LIMITS.items()]
#: They stay when the tables go, because a threshold is never deleted.
_ONCE = " ON CONFLICT DO NOTHING"
ddl(
    "float_topup_thresholds",
    postgresql=(threshold_rows(_SEEDS, "TIMESTAMPTZ '2026-01-01 00:00:00+00'") + _ONCE,),
    sqlite=(threshold_rows(_SEEDS, "1767225600000000") + _ONCE,),
)
