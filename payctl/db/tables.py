"""Tables of the shared room: keys, people, approvals, audit, leases, job runs.

Other floors write into some of them (the ledger into ``idempotency``), so they lie in the lowest
room that knows SQL.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from payctl.db.metadata import append_only, by_index, ddl, partial_index, table
from payctl.db.types import Bytes, Id, Int, Json, Moment, Text

#: Roles a person may hold. ``admin`` and ``approver`` exclude each other: whoever sets the rules
#: and makes the operators must not also be the second pair of eyes.
ROLES = ("viewer", "support", "finance", "approver", "admin")

#: One row per key a caller chose. ``outcome`` stays NULL only inside the claiming transaction or,
#: for work that crosses a provider call, until the call's result is settled.
idempotency = table(
    "idempotency",
    sa.Column("scope", Text, primary_key=True),
    sa.Column("key", Text, primary_key=True),
    sa.Column("fingerprint", Bytes, nullable=False),
    sa.Column("outcome", Text),
    sa.Column("subject_id", Id),
    sa.Column("response", Json),
    sa.Column("created_at", Moment, nullable=False),
    sa.CheckConstraint("length(key) BETWEEN 1 AND 200", name="key_length"),
)

operator = table(
    "operator",
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", Text, nullable=False, unique=True),
    sa.Column("roles", Json, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("created_by", Text, nullable=False),
    sa.Column("disabled_at", Moment),
    sa.CheckConstraint("length(name) BETWEEN 1 AND 60", name="name_length"),
    sa.CheckConstraint("state IN ('active', 'disabled')", name="state"),
    sa.CheckConstraint("(state = 'disabled') = (disabled_at IS NOT NULL)", name="disabled_at"),
    sa.CheckConstraint(
        "NOT (CAST(roles AS text) LIKE '%\"admin\"%'"
        " AND CAST(roles AS text) LIKE '%\"approver\"%')",
        name="admin_cannot_approve",
    ),
)

#: Personal tokens. Only the SHA-256 is kept: the token is 256 random bits, so it needs no salt.
operator_token = table(
    "operator_token",
    sa.Column("id", Id, primary_key=True),
    sa.Column("operator_id", Id, sa.ForeignKey("operator.id"), nullable=False, index=True),
    sa.Column("hash", Bytes, nullable=False, unique=True),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("created_by", Text, nullable=False),
    sa.Column("expires_at", Moment),
    sa.Column("revoked_at", Moment),
)

#: A request for a second person. Everything but the decision is fixed when it is made.
approval = table(
    "approval",
    sa.Column("id", Id, primary_key=True),
    sa.Column("kind", Text, nullable=False),
    sa.Column("subject_kind", Text, nullable=False),
    sa.Column("subject_id", Id),
    sa.Column("amount_minor", Int),
    sa.Column("currency", Text),
    sa.Column("content", Json, nullable=False),
    sa.Column("content_hash", Bytes, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("requested_by", Text, nullable=False),
    sa.Column("requested_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Column("decided_by", Text),
    sa.Column("decided_at", Moment),
    sa.Column("decision_reason", Text),
    sa.CheckConstraint(
        "state IN ('pending', 'approved', 'rejected', 'expired', 'used')", name="state"
    ),
    sa.CheckConstraint(
        "state NOT IN ('approved', 'used')"
        " OR (decided_by IS NOT NULL AND decided_by <> requested_by)",
        name="four_eyes",
    ),
    sa.CheckConstraint("(state = 'pending') = (decided_at IS NULL)", name="decided_at"),
    sa.CheckConstraint("length(trim(reason)) > 0", name="reason"),
    sa.CheckConstraint(
        "state NOT IN ('approved', 'used', 'rejected') OR length(trim(decision_reason)) > 0",
        name="decision_reason",
    ),
    sa.CheckConstraint("(amount_minor IS NULL) = (currency IS NULL)", name="money"),
    sa.CheckConstraint("length(content_hash) = 32", name="content_hash"),
    partial_index("ix_approval_pending", "expires_at", where="state = 'pending'"),
    sa.Index("ix_approval_subject", "subject_id"),
)  # fmt: skip

#: From which amount a second person is needed, with its history: the row with the highest version
#: counts. ``currency`` is ``*`` for acts that need one whatever the amount.
approval_threshold = table(
    "approval_threshold",
    sa.Column("kind", Text, primary_key=True),
    sa.Column("currency", Text, primary_key=True),
    sa.Column("version", Int, primary_key=True, autoincrement=False),
    sa.Column("limit_minor", Int, nullable=False),
    sa.Column("daily_limit_minor", Int, nullable=False),
    sa.Column("set_at", Moment, nullable=False),
    sa.Column("set_by", Text, nullable=False),
    sa.Column("approval_id", Id),
    sa.Column("reason", Text, nullable=False),
    sa.CheckConstraint("limit_minor >= 0 AND daily_limit_minor >= limit_minor", name="limits"),
)
approval_threshold.info["seeded"] = "version = 1 AND set_by = 'payctl'"

#: What operators let out without a second person: the base of the limit per operator and day.
approval_spend = table(
    "approval_spend",
    sa.Column("id", Id, primary_key=True),
    sa.Column("actor", Text, nullable=False),
    sa.Column("kind", Text, nullable=False),
    sa.Column("currency", Text, nullable=False),
    sa.Column("amount_minor", Int, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Index("ix_approval_spend_actor", "actor", "kind", "currency", "at"),
)

#: Who did what. Several hash chains, so that writers do not queue for one head.
audit = table(
    "audit",
    sa.Column("id", Id, primary_key=True),
    sa.Column("chain", Int, nullable=False),
    sa.Column("seq", Int, nullable=False),
    sa.Column("prev_hash", Bytes, nullable=False),
    sa.Column("hash", Bytes, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("actor_kind", Text, nullable=False),
    sa.Column("host", Text, nullable=False),
    sa.Column("session", Text, nullable=False),
    sa.Column("command", Text, nullable=False),
    sa.Column("action", Text, nullable=False),
    sa.Column("subject_kind", Text, nullable=False),
    sa.Column("subject_id", Id),
    sa.Column("reason", Text),
    sa.Column("data", Json, nullable=False),
    sa.UniqueConstraint("chain", "seq"),
    sa.CheckConstraint("length(prev_hash) = 32 AND length(hash) = 32", name="hashes"),
    sa.Index("ix_audit_subject", "subject_id"),
)

#: The last record of each chain. It only moves forward.
audit_head = table(
    "audit_head",
    sa.Column("chain", Int, primary_key=True, autoincrement=False),
    sa.Column("seq", Int, nullable=False),
    sa.Column("hash", Bytes, nullable=False),
)

job_run = table(
    "job_run",
    sa.Column("id", Id, primary_key=True),
    sa.Column("job", Text, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("host", Text, nullable=False),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("finished_at", Moment),
    sa.Column("counts", Json, nullable=False),
    sa.Column("error", Text),
    sa.CheckConstraint("state IN ('running', 'done', 'failed', 'lost')", name="state"),
    sa.CheckConstraint("(state = 'running') = (finished_at IS NULL)", name="finished_at"),
    sa.Index("ix_job_run_job", "job", "started_at"),
)

#: Who may work on something alone, until when by the database's clock. ``token`` rises with each
#: holder, so one that woke up late can see that it lost it.
lease = table(
    "lease",
    sa.Column("name", Text, primary_key=True),
    sa.Column("token", Int, nullable=False),
    sa.Column("holder", Text, nullable=False),
    sa.Column("acquired_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
)

append_only("audit")
append_only("approval_threshold")
append_only("approval_spend")

ddl(
    "audit_head_forward",
    postgresql=(
        """CREATE FUNCTION audit_head_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit_head only moves forward' USING ERRCODE = '23514';
END $$""",
        "CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head FOR EACH ROW"
        " WHEN (NEW.chain <> OLD.chain OR NEW.seq <= OLD.seq) EXECUTE FUNCTION"
        " audit_head_forward()",
        "CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON audit_head FOR EACH ROW"
        " EXECUTE FUNCTION audit_head_forward()",
        "CREATE TRIGGER audit_head_truncate BEFORE TRUNCATE ON audit_head"
        " EXECUTE FUNCTION refuse_change()",
    ),
    sqlite=(
        "CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head"
        " WHEN NEW.chain <> OLD.chain OR NEW.seq <= OLD.seq"
        " BEGIN SELECT RAISE(ABORT, 'audit_head only moves forward'); END",
        "CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON audit_head"
        " BEGIN SELECT RAISE(ABORT, 'audit_head: DELETE refused'); END",
    ),
)

# One round trip for all records of a transaction: the head is locked, used and released by the same
# call. The hash is SHA-256(previous hash, chain and seq as 8 bytes each, SHA-256 of the content).
ddl(
    "audit_append",
    postgresql=(
        by_index(
            """CREATE FUNCTION audit_append(p_chain bigint, p_rows jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE head audit_head; hashes bytea[]; first bigint;
BEGIN
  SELECT * INTO head FROM audit_head WHERE chain = p_chain FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO audit_head (chain, seq, hash)
      VALUES (p_chain, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
    SELECT * INTO head FROM audit_head WHERE chain = p_chain FOR UPDATE;
  END IF;
  first := head.seq;
  hashes[0] := head.hash;
  FOR i IN 1..jsonb_array_length(p_rows) LOOP
    head.seq := head.seq + 1;
    head.hash := sha256(head.hash || int8send(p_chain) || int8send(head.seq)
      || decode(p_rows->(i - 1)->>'content', 'hex'));
    hashes[i] := head.hash;
  END LOOP;
  INSERT INTO audit (id, chain, seq, prev_hash, hash, at, actor, actor_kind, host, session,
      command, action, subject_kind, subject_id, reason, data)
    SELECT r.id, p_chain, first + r.ordinality, hashes[r.ordinality - 1], hashes[r.ordinality],
        r.at, r.actor, r.actor_kind, r.host, r.session, r.command, r.action, r.subject_kind,
        r.subject_id, r.reason, r.data
      FROM jsonb_populate_recordset(NULL::audit, p_rows) WITH ORDINALITY r;
  UPDATE audit_head SET seq = head.seq, hash = head.hash WHERE chain = p_chain;
  RETURN head.seq;
END $$"""
        ),
    ),
)

# A request may be decided, never rewritten: what was approved is what was asked.
_FIXED = (
    "id", "kind", "subject_kind", "subject_id", "amount_minor", "currency", "content_hash",
    "content", "reason", "requested_by", "requested_at", "expires_at",
)  # fmt: skip
_LEGAL = (
    "(OLD.state = 'pending' AND NEW.state IN ('approved', 'rejected', 'expired'))"
    " OR (OLD.state = 'approved' AND NEW.state = 'used' AND NEW.decided_by = OLD.decided_by)"
)


def _changed(comparison: str) -> str:
    return " OR ".join(f"OLD.{name} {comparison} NEW.{name}" for name in _FIXED)


ddl(
    "approval_guard",
    postgresql=(
        f"""CREATE FUNCTION approval_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NOT ({_changed("IS DISTINCT FROM")})
    AND ({_LEGAL}) THEN RETURN NEW; END IF;
  RAISE EXCEPTION 'approval: this change is refused' USING ERRCODE = '23514';
END $$""",
        "CREATE TRIGGER approval_guard BEFORE UPDATE OR DELETE ON approval"
        " FOR EACH ROW EXECUTE FUNCTION approval_guard()",
        "CREATE TRIGGER approval_truncate BEFORE TRUNCATE ON approval"
        " EXECUTE FUNCTION refuse_change()",
    ),
    sqlite=(
        "CREATE TRIGGER approval_guard BEFORE UPDATE ON approval"
        f" WHEN {_changed('IS NOT')} OR NOT ({_LEGAL})"
        " BEGIN SELECT RAISE(ABORT, 'approval: this change is refused'); END",
        "CREATE TRIGGER approval_no_delete BEFORE DELETE ON approval"
        " BEGIN SELECT RAISE(ABORT, 'approval: DELETE refused'); END",
    ),
)

# Defaults of a fresh book (payments design, 7): single amount and sum per operator and 24 hours.
# A currency without a row needs a second person for any amount until someone sets one.
_REFUND = {
    "EUR": 200_00, "USD": 200_00, "GBP": 170_00, "CHF": 200_00, "CAD": 300_00,
    "XOF": 130_000, "XAF": 130_000,
}  # fmt: skip
_WITHDRAWAL = {
    "EUR": 500_00, "USD": 500_00, "GBP": 430_00, "CHF": 500_00, "CAD": 750_00,
    "XOF": 330_000, "XAF": 330_000,
}  # fmt: skip
#: Acts that need a second person whatever the amount.
ALWAYS = ("refund_late", "destination_new", "case_resolve", "ledger_adjustment", "write_off",
          "routing_change", "threshold_change", "breaker_force")  # fmt: skip
_SEEDS = (
    [("refund", currency, limit, 10 * limit) for currency, limit in _REFUND.items()]
    + [("withdrawal", currency, limit, 10 * limit) for currency, limit in _WITHDRAWAL.items()]
    + [(kind, "*", 0, 0) for kind in ALWAYS]
)


def threshold_rows(seeds: Sequence[tuple[str, str, int, int]], moment: str) -> str:
    """SQL for first thresholds of *seeds*: kind, currency, limit and daily limit in minor units."""
    rows = ", ".join(
        f"('{kind}', '{currency}', 1, {limit}, {daily}, {moment}, 'payctl', 'default')"
        for kind, currency, limit, daily in seeds
    )
    columns = "kind, currency, version, limit_minor, daily_limit_minor, set_at, set_by, reason"
    return f"INSERT INTO approval_threshold ({columns}) VALUES {rows}"  # noqa: S608 - constants


def _thresholds(name: str, seeds: Sequence[tuple[str, str, int, int]], conflict: str = "") -> None:
    """Seed thresholds; those of a later revision are a block of their own, and may be there still
    from before a downgrade (*conflict*), because no threshold is ever deleted.
    """
    ddl(
        name,
        postgresql=(threshold_rows(seeds, "TIMESTAMPTZ '2026-01-01 00:00:00+00'") + conflict,),
        sqlite=(threshold_rows(seeds, "1767225600000000") + conflict,),
    )


_thresholds("approval_threshold_defaults", _SEEDS)
# A refund that goes back as a payout: what left by mistake cannot be called back.
_thresholds(
    "reverse_payout_threshold_defaults",
    [("reverse_payout", currency, limit, 10 * limit) for currency, limit in _REFUND.items()],
    " ON CONFLICT DO NOTHING",
)
