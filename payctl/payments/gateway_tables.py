"""Tables of what operators and provider answers say about gateways: settings, rules, breakers.

What operators set is append-only: the last row counts, the rest is the history. The breaker's two
tables are the only ones here that change in place, and hold no money.
"""

from __future__ import annotations

import sqlalchemy as sa

from payctl.db.metadata import append_only, one_of, table
from payctl.db.types import Id, Int, Json, Moment, Text

#: Calls that fail together. Reads have their own breaker, so that unknown outcomes are still asked
#: about while new payments are held back.
OP_CLASSES = ("collect", "refund", "payout", "read")
SETTING_STATES = ("enabled", "disabled", "draining")
BREAKER_STATES = ("closed", "open", "half_open")
#: Sample rows per minute, account and class: writers of one hot gateway spread over them.
STRIPES = 16
_STATE, _OP_CLASS = sa.column("state", Text), sa.column("op_class", Text)

#: Whether an account takes work. After ``until`` a disabled or draining account is enabled again.
gateway_setting = table(
    "gateway_setting",
    sa.Column("id", Id, primary_key=True),
    sa.Column("account", Text, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("until", Moment),
    sa.Column("reason", Text, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.CheckConstraint(one_of(_STATE, SETTING_STATES), name="state"),
    sa.CheckConstraint("state <> 'enabled' OR until IS NULL", name="until"),
    sa.CheckConstraint("length(trim(reason)) > 0", name="reason"),
    sa.Index("ix_gateway_setting_account", "account", "id"),
)
append_only("gateway_setting")

#: Smallest and largest amount of one payment on an account, beside what the adapter declares.
gateway_limit = table(
    "gateway_limit",
    sa.Column("id", Id, primary_key=True),
    sa.Column("account", Text, nullable=False),
    sa.Column("currency", Text, nullable=False),
    sa.Column("min_minor", Int),
    sa.Column("max_minor", Int),
    sa.Column("valid_from", Moment, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.CheckConstraint("min_minor IS NULL OR min_minor > 0", name="min"),
    sa.CheckConstraint(
        "max_minor IS NULL OR max_minor >= COALESCE(min_minor, 1)",
        name="max",
    ),
    sa.Index("ix_gateway_limit_account", "account", "currency", "valid_from", "id"),
)
append_only("gateway_limit")

#: What an account is expected to charge for a payment, for ranking only; what it did charge is in
#: the ledger. ``method`` is empty for every method without a row of its own.
gateway_fee = table(
    "gateway_fee",
    sa.Column("id", Id, primary_key=True),
    sa.Column("account", Text, nullable=False),
    sa.Column("currency", Text, nullable=False),
    sa.Column("method", Text, nullable=False, server_default=""),
    sa.Column("ppm", Int, nullable=False),
    sa.Column("fixed_minor", Int, nullable=False),
    sa.Column("valid_from", Moment, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.CheckConstraint("ppm >= 0 AND ppm <= 1000000", name="ppm"),
    sa.CheckConstraint("fixed_minor >= 0", name="fixed"),
    sa.Index("ix_gateway_fee_account", "account", "currency", "method", "valid_from", "id"),
)
append_only("gateway_fee")

#: The whole ordered list of routing rules, a row per version: a change is one insert, so a list is
#: never half loaded, and a decision that names its version can be made again.
route_rules = table(
    "route_rules",
    sa.Column("version", Int, primary_key=True, autoincrement=False),
    sa.Column("rules", Json, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.CheckConstraint("version > 0", name="version"),
    sa.CheckConstraint("length(trim(reason)) > 0", name="reason"),
)
append_only("route_rules")

#: One row per account and class, changed only when something fails or a probe ends.
breaker = table(
    "breaker",
    sa.Column("account", Text, primary_key=True),
    sa.Column("op_class", Text, primary_key=True),
    sa.Column("state", Text, nullable=False, server_default="closed"),
    sa.Column("reason", Text),
    sa.Column("since", Moment, nullable=False),
    #: NULL while only an operator can end the open state
    sa.Column("next_probe_at", Moment),
    sa.Column("open_count", Int, nullable=False, server_default="0"),
    sa.Column("probe_owner", Text),
    sa.Column("probe_lease_until", Moment),
    sa.Column("probes_ok", Int, nullable=False, server_default="0"),
    sa.Column("failed_in_row", Int, nullable=False, server_default="0"),
    #: minute of the last failure, and how many good answers were counted from that minute on:
    #: more of them now means the row of failures was broken
    sa.Column("failed_minute", Int, nullable=False, server_default="0"),
    sa.Column("ok_mark", Int, nullable=False, server_default="0"),
    #: samples up to this minute belong to the time before the breaker was last closed
    sa.Column("counted_after", Int, nullable=False, server_default="0"),
    #: the provider asked to slow down (429)
    sa.Column("paused_until", Moment),
    sa.Column("forced_by", Text),
    sa.Column("forced_until", Moment),
    sa.Column("version", Int, nullable=False, server_default="0"),
    sa.CheckConstraint(one_of(_OP_CLASS, OP_CLASSES), name="op_class"),
    sa.CheckConstraint(one_of(_STATE, BREAKER_STATES), name="state"),
    sa.CheckConstraint("state = 'half_open' OR probe_owner IS NULL", name="probe"),
    sa.CheckConstraint(
        "(probe_owner IS NULL) = (probe_lease_until IS NULL)",
        name="probe_lease",
    ),
    # An open breaker closes by itself some day, or waits for an operator for a named reason.
    sa.CheckConstraint(
        "state <> 'open' OR next_probe_at IS NOT NULL OR reason IN ('auth', 'forced')",
        name="reopens",
    ),
)

#: What calls ended in, by minute since 1970. ``refused`` are definite noes, which say nothing
#: against the gateway's health; ``won`` and ``lost`` are how payments ended, for ranking.
breaker_sample = table(
    "breaker_sample",
    sa.Column("account", Text, primary_key=True),
    sa.Column("op_class", Text, primary_key=True),
    sa.Column("minute", Int, primary_key=True, autoincrement=False),
    sa.Column("stripe", Int, primary_key=True, autoincrement=False),
    sa.Column("ok", Int, nullable=False, server_default="0"),
    sa.Column("refused", Int, nullable=False, server_default="0"),
    sa.Column("tech_fail", Int, nullable=False, server_default="0"),
    sa.Column("not_sent", Int, nullable=False, server_default="0"),
    sa.Column("slow", Int, nullable=False, server_default="0"),
    sa.Column("limited", Int, nullable=False, server_default="0"),
    sa.Column("retries", Int, nullable=False, server_default="0"),
    sa.Column("won", Int, nullable=False, server_default="0"),
    sa.Column("lost", Int, nullable=False, server_default="0"),
    sa.CheckConstraint(one_of(_OP_CLASS, OP_CLASSES), name="op_class"),
)

#: Every change of a breaker's state and who or what made it.
breaker_change = table(
    "breaker_change",
    sa.Column("id", Id, primary_key=True),
    sa.Column("account", Text, nullable=False),
    sa.Column("op_class", Text, nullable=False),
    sa.Column("from_state", Text, nullable=False),
    sa.Column("to_state", Text, nullable=False),
    sa.Column("reason", Text),
    sa.Column("detail", Json, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Index("ix_breaker_change_account", "account", "op_class", "id"),
)
append_only("breaker_change")
