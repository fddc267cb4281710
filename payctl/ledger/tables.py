"""Tables of the ledger, and the rules the database itself enforces on both engines.

PostgreSQL: ``journal`` and ``entry`` are partitioned by the time inside their UUIDv7. A journal and
its entries arrive in one statement, whose triggers check that they are all there and balance, that
their accounts exist, and that no journal is without entries. SQLite has no statement triggers, so
the journal row is the seal: entries come first, held by a deferred foreign key, and inserting the
journal checks them. Amounts are minor units, debits positive; a balance is kept in its account's
own direction (``normal_side``), so that a floor reads the same everywhere.
"""

from __future__ import annotations

import sqlalchemy as sa

from payctl.db.metadata import append_only, by_index, ddl, partial_index, table
from payctl.db.types import Bytes, Id, Int, Json, Moment, Small, Text
from payctl.ledger.accounts import CHART, KINDS, NUMBER_EXCEPTIONS
from payctl.money import EXPONENTS

currency = table(
    "currency",
    sa.Column("code", Text, primary_key=True),
    sa.Column("exponent", Small, nullable=False),
    sa.CheckConstraint("exponent BETWEEN 0 AND 4", name="exponent"),
)
currency.info["seeded"] = "code IS NOT NULL"

#: Numbers of an account in the national charts. ``code`` is a pattern of the chart or an exact
#: code, which wins.
account_number = table(
    "account_number",
    sa.Column("code", Text, primary_key=True),
    sa.Column("plan", Text, primary_key=True),
    sa.Column("number", Text, nullable=False),
    sa.CheckConstraint("plan IN ('pcg', 'syscohada')", name="plan"),
)
account_number.info["seeded"] = "code IS NOT NULL"

#: Whoever posts asks whether one of its accounts is closed: few are, so few are looked through.
_CLOSED = "status = 'closed'"
account = table(
    "account",
    sa.Column("id", Id, primary_key=True),
    sa.Column("code", Text, nullable=False),
    sa.Column("currency", Text, sa.ForeignKey("currency.code"), nullable=False),
    sa.Column("kind", Text, nullable=False),
    sa.Column("normal_side", Small, nullable=False),
    sa.Column("owner", Text),
    sa.Column("mode", Text, nullable=False),
    sa.Column("stripes", Small, nullable=False),
    sa.Column("status", Text, nullable=False, server_default="open"),
    sa.Column("opened_at", Moment, nullable=False),
    sa.Column("closed_at", Moment),
    sa.UniqueConstraint("code", "currency"),
    sa.UniqueConstraint("id", "currency"),
    sa.CheckConstraint(f"kind IN {KINDS}", name="kind"),
    sa.CheckConstraint(
        "normal_side = CASE WHEN kind IN ('asset', 'expense') THEN 1 ELSE -1 END", name="side"
    ),
    sa.CheckConstraint("mode IN ('guarded', 'striped')", name="mode"),
    sa.CheckConstraint("stripes BETWEEN 1 AND 256", name="stripes"),
    sa.CheckConstraint("mode = 'striped' OR stripes = 1", name="guarded_is_single"),
    sa.CheckConstraint("status IN ('open', 'closed')", name="status"),
    sa.CheckConstraint("(status = 'closed') = (closed_at IS NOT NULL)", name="closed_at"),
    sa.Index("ix_account_owner", "owner"),
    partial_index("ix_account_closed", "id", where=_CLOSED),
)

balance = table(
    "balance",
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), primary_key=True),
    sa.Column("stripe", Small, primary_key=True, autoincrement=False),
    sa.Column("posted_minor", Int, nullable=False, server_default="0"),
    sa.Column("held_minor", Int, nullable=False, server_default="0"),
    sa.Column("floor_minor", Int),
    sa.Column("version", Int, nullable=False, server_default="0"),
    sa.CheckConstraint("held_minor >= 0", name="held"),
    sa.CheckConstraint(
        "floor_minor IS NULL OR posted_minor - held_minor >= floor_minor", name="no_overdraft"
    ),
    sa.CheckConstraint("floor_minor IS NULL OR stripe = 0", name="guarded_single"),
    postgresql_with={"fillfactor": 50},
    sqlite_with_rowid=False,
)

journal = table(
    "journal",
    sa.Column("id", Id, primary_key=True),
    sa.Column("kind", Text, nullable=False),
    sa.Column("posting_key", Text, nullable=False),
    sa.Column("posted_at", Moment, nullable=False),
    sa.Column("effective_at", Moment, nullable=False),
    sa.Column("period", Int, nullable=False),
    sa.Column("legs", Small, nullable=False),
    sa.Column("reverses_id", Id),
    sa.Column("payment_id", Id),
    sa.Column("actor", Text, nullable=False),
    sa.Column("reason", Text),
    sa.Column("meta", Json, nullable=False),
    sa.Column("content_hash", Bytes, nullable=False),
    sa.CheckConstraint("legs >= 2", name="legs"),
    sa.CheckConstraint("period BETWEEN 190001 AND 999912", name="period"),
    sa.CheckConstraint("length(content_hash) = 32", name="content_hash"),
    partial_index("ix_journal_payment", "payment_id", where="payment_id IS NOT NULL"),
    partial_index("ix_journal_reverses", "reverses_id", where="reverses_id IS NOT NULL"),
    postgresql_partition_by="RANGE (id)",
)  # fmt: skip

#: Journals that count at another moment than they were recorded. They have indexes of their own;
#: all others, and so nearly all, are found at their moment by their ids and cost no index.
LATE = journal.c.effective_at < journal.c.posted_at
EARLY = journal.c.effective_at > journal.c.posted_at
for _name, _where in (("late", LATE), ("early", EARLY)):
    partial_index(f"ix_journal_{_name}", journal.c.effective_at, journal.c.id, where=_where)

entry = table(
    "entry",
    sa.Column("journal_id", Id, primary_key=True),
    sa.Column("leg", Small, primary_key=True, autoincrement=False),
    sa.Column("account_id", Id, nullable=False),
    sa.Column("stripe", Small, nullable=False),
    sa.Column("currency", Text, nullable=False),
    sa.Column("amount_minor", Int, nullable=False),
    sa.Column("balance_after_minor", Int, nullable=False),
    sa.Column("version", Int, nullable=False),
    sa.CheckConstraint("leg >= 1", name="leg"),
    sa.CheckConstraint("amount_minor <> 0", name="amount"),
    sa.CheckConstraint("version >= 1", name="version"),
    # PostgreSQL checks both in a trigger. A key to the journal would bind months that are archived
    # one by one; one to the account would lock what many post to, for each entry by itself.
    sa.ForeignKeyConstraint(["account_id", "currency"], ["account.id", "account.currency"]).ddl_if(
        dialect="sqlite"
    ),
    sa.ForeignKeyConstraint(
        ["journal_id"], ["journal.id"], deferrable=True, initially="DEFERRED"
    ).ddl_if(dialect="sqlite"),
    sa.Index("ix_entry_stripe", "account_id", "stripe", "journal_id"),
    postgresql_partition_by="RANGE (journal_id)",
    sqlite_with_rowid=False,
)

#: How much of each journal has been reversed; the CHECK makes a second full reversal impossible.
reversal_cap = table(
    "reversal_cap",
    sa.Column("journal_id", Id, primary_key=True),
    sa.Column("currency", Text, primary_key=True),
    sa.Column("amount_minor", Int, nullable=False),
    sa.Column("reversed_minor", Int, nullable=False),
    sa.CheckConstraint("reversed_minor BETWEEN 0 AND amount_minor", name="at_most_once"),
)

#: Notes added to a journal later; its own meta never changes.
journal_meta = table(
    "journal_meta",
    sa.Column("journal_id", Id, primary_key=True),
    sa.Column("rev", Int, primary_key=True, autoincrement=False),
    sa.Column("meta", Json, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.CheckConstraint("rev >= 1", name="rev"),
)

hold = table(
    "hold",
    sa.Column("id", Id, primary_key=True),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False, index=True),
    sa.Column("amount_minor", Int, nullable=False),
    sa.Column("captured_minor", Int, nullable=False, server_default="0"),
    sa.Column("voided_minor", Int, nullable=False, server_default="0"),
    sa.Column("state", Text, nullable=False),
    sa.Column("expires_at", Moment),
    sa.Column("payment_id", Id),
    sa.Column("reason", Text, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.CheckConstraint("amount_minor > 0", name="amount"),
    sa.CheckConstraint("captured_minor >= 0 AND voided_minor >= 0", name="parts"),
    sa.CheckConstraint("captured_minor + voided_minor <= amount_minor", name="not_beyond"),
    sa.CheckConstraint("state IN ('open', 'captured', 'voided', 'expired')", name="state"),
    sa.CheckConstraint(
        "(state = 'open') = (captured_minor + voided_minor < amount_minor)", name="open"
    ),
    partial_index("ix_hold_due", "expires_at", where="state = 'open'"),
)  # fmt: skip

#: What happened to a hold; ``hold`` itself is only its sum.
hold_event = table(
    "hold_event",
    sa.Column("id", Id, primary_key=True),
    sa.Column("hold_id", Id, sa.ForeignKey("hold.id"), nullable=False, index=True),
    sa.Column("kind", Text, nullable=False),
    sa.Column("amount_minor", Int, nullable=False),
    sa.Column("journal_id", Id),
    sa.Column("at", Moment, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("reason", Text),
    sa.CheckConstraint("kind IN ('placed', 'captured', 'voided', 'expired')", name="kind"),
    sa.CheckConstraint("amount_minor > 0", name="amount"),
    sa.CheckConstraint("(kind = 'captured') = (journal_id IS NOT NULL)", name="journal"),
)

#: A month (yyyymm of ``effective_at``). No row means open; a closed month closes all before it.
period = table(
    "period",
    sa.Column("yyyymm", Int, primary_key=True, autoincrement=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("closed_by", Text),
    sa.Column("closed_at", Moment),
    sa.Column("totals_hash", Bytes),
    sa.CheckConstraint("yyyymm % 100 BETWEEN 1 AND 12", name="month"),
    sa.CheckConstraint("state IN ('open', 'closing', 'closed')", name="state"),
    sa.CheckConstraint(
        "(state = 'closed') = (closed_at IS NOT NULL AND closed_by IS NOT NULL"
        " AND totals_hash IS NOT NULL)",
        name="closed",
    ),
)

#: Totals of a closed month, debits positive; ``closing_minor`` is debits minus credits since ever.
period_balance = table(
    "period_balance",
    sa.Column("yyyymm", Int, sa.ForeignKey("period.yyyymm"), primary_key=True, autoincrement=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), primary_key=True),
    sa.Column("debit_minor", Int, nullable=False),
    sa.Column("credit_minor", Int, nullable=False),
    sa.Column("closing_minor", Int, nullable=False),
    sa.CheckConstraint("debit_minor >= 0 AND credit_minor >= 0", name="sides"),
)


def _seed_currencies() -> str:
    rows = ", ".join(f"('{code}', {digits})" for code, digits in sorted(EXPONENTS.items()))
    return f"INSERT INTO currency (code, exponent) VALUES {rows}"  # noqa: S608 - constants


def _seed_numbers() -> str:
    rows = [(line.pattern, "pcg", line.pcg) for line in CHART]
    rows += [(line.pattern, "syscohada", line.syscohada) for line in CHART]
    rows += NUMBER_EXCEPTIONS
    values = ", ".join(f"('{code}', '{plan}', '{number}')" for code, plan, number in rows)
    return f"INSERT INTO account_number (code, plan, number) VALUES {values}"  # noqa: S608


ddl("currency_seed", postgresql=(_seed_currencies(),), sqlite=(_seed_currencies(),))
ddl("account_number_seed", postgresql=(_seed_numbers(),), sqlite=(_seed_numbers(),))

for _name in ("journal", "entry", "journal_meta", "hold_event"):
    append_only(_name)
# What an entry's key keeps in SQLite: its account stays, and in its currency.
ddl(
    "account_kept",
    postgresql=(
        "CREATE TRIGGER account_kept BEFORE DELETE OR UPDATE OF id, currency ON account"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change()",
        "CREATE TRIGGER account_kept_truncate BEFORE TRUNCATE ON account"
        " EXECUTE FUNCTION refuse_change()",
    ),
)

ddl(
    "ledger_entries_complete",
    postgresql=(
        by_index(
            """CREATE FUNCTION ledger_entries_complete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  ids uuid[]; counts bigint[]; gaps boolean; unbalanced boolean; mixed boolean; strangers boolean;
BEGIN
  -- With the key (journal_id, leg), n rows from leg 1 to leg n are exactly the legs 1..n, so a
  -- second batch for the same journal can never pass.
  SELECT array_agg(journal_id), array_agg(n), bool_or(first <> 1 OR last <> n),
      bool_or(total <> 0), bool_or(currencies), bool_or(known <> n)
    INTO ids, counts, gaps, unbalanced, mixed, strangers
    FROM (
      SELECT e.journal_id, count(*) AS n, min(e.leg) AS first, max(e.leg) AS last,
          count(a.id) AS known, sum(e.amount_minor) AS total,
          min(e.currency) <> max(e.currency) AS currencies
        FROM new_rows e LEFT JOIN account a ON a.id = e.account_id AND a.currency = e.currency
        GROUP BY e.journal_id ORDER BY e.journal_id) whole;
  IF mixed THEN unbalanced := EXISTS (
    SELECT 1 FROM new_rows GROUP BY journal_id, currency HAVING sum(amount_minor) <> 0);
  END IF;
  IF unbalanced THEN
    RAISE EXCEPTION 'ledger: unbalanced journal' USING ERRCODE = '23514';
  END IF;
  IF strangers THEN
    RAISE EXCEPTION 'ledger: no account with this id and currency' USING ERRCODE = '23503';
  END IF;
  -- The bounds say the same as the list, and leave out months while the query starts.
  IF gaps OR cardinality(ids) <> (
    SELECT count(*) FROM journal j
      WHERE j.id BETWEEN ids[1] AND ids[cardinality(ids)] AND j.id = ANY (ids)
        AND j.legs = counts[array_position(ids, j.id)])
  THEN
    RAISE EXCEPTION 'ledger: entries without journal, or not as many as it has legs'
      USING ERRCODE = '23514'; END IF;
  RETURN NULL;
END $$"""
        ),
        """CREATE TRIGGER entries_complete AFTER INSERT ON entry
REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION ledger_entries_complete()""",
        by_index(
            """CREATE FUNCTION ledger_journals_complete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE ids uuid[]; first_month bigint; begun bigint; closed bigint;
BEGIN
  SELECT array_agg(id ORDER BY id), min(period) INTO ids, first_month FROM new_rows;
  SELECT (SELECT count(*) FROM entry e
        WHERE e.journal_id BETWEEN ids[1] AND ids[cardinality(ids)] AND e.journal_id = ANY (ids)
          AND e.leg = 1),
      (SELECT max(p.yyyymm) FROM period p WHERE p.state <> 'open' AND p.yyyymm >= first_month)
    INTO begun, closed;
  IF begun <> cardinality(ids) THEN
    RAISE EXCEPTION 'ledger: journal without entries' USING ERRCODE = '23514';
  END IF;
  IF closed IS NOT NULL THEN
    RAISE EXCEPTION 'ledger: period % is closed', closed USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$"""
        ),
        """CREATE TRIGGER journals_complete AFTER INSERT ON journal
REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION ledger_journals_complete()""",
    ),
    sqlite=(
        """CREATE TRIGGER journal_seal BEFORE INSERT ON journal BEGIN
  SELECT RAISE(ABORT, 'append-only: REPLACE on journal')
    WHERE EXISTS (SELECT 1 FROM journal WHERE id = NEW.id);
  SELECT RAISE(ABORT, 'ledger: unbalanced journal') WHERE EXISTS (
    SELECT 1 FROM entry WHERE journal_id = NEW.id GROUP BY currency HAVING sum(amount_minor) <> 0);
  SELECT RAISE(ABORT, 'ledger: entries without journal, or not as many as it has legs') WHERE
    (SELECT count(*) <> NEW.legs OR max(leg) <> NEW.legs FROM entry WHERE journal_id = NEW.id);
END""",
        """CREATE TRIGGER entry_late BEFORE INSERT ON entry
WHEN EXISTS (SELECT 1 FROM journal WHERE id = NEW.journal_id) BEGIN
  SELECT RAISE(ABORT, 'ledger: journal is sealed'); END""",
    ),
)

# A month that is closing or closed refuses journals, and so does every month before it (on
# PostgreSQL ``ledger_journals_complete`` looks).
ddl(
    "ledger_period_open",
    sqlite=(
        """CREATE TRIGGER journal_period_open BEFORE INSERT ON journal
WHEN EXISTS (SELECT 1 FROM period WHERE yyyymm >= NEW.period AND state <> 'open') BEGIN
  SELECT RAISE(ABORT, 'ledger: period is closed'); END""",
    ),
)

# Row triggers reach every partition by themselves; statement triggers do not, so the function that
# makes a month adds them. A statement trigger before INSERT fires only where the partition itself
# is named: rows reach a month through the parent alone, whose trigger sees the whole batch.
ddl(
    "ledger_partitions",
    postgresql=(
        """CREATE FUNCTION ledger_refuse_direct() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'ledger: insert straight into %', TG_TABLE_NAME USING ERRCODE = '23514';
END $$""",
        """CREATE FUNCTION ledger_guard_partition(part text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I'
    ' EXECUTE FUNCTION refuse_change()', part);
  EXECUTE format('CREATE TRIGGER only_through_parent BEFORE INSERT ON %I'
    ' FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_direct()', part);
END $$""",
        """CREATE FUNCTION ledger_floor_of(at timestamp) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
    || '00000000000000000000')::uuid
$$""",
        # False when the month exists, or when the default partition already holds rows of it: those
        # can no longer be moved, and stay where they are.
        """CREATE FUNCTION ledger_make_month(month date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  low uuid := ledger_floor_of(date_trunc('month', month::timestamp));
  high uuid := ledger_floor_of(date_trunc('month', month::timestamp) + interval '1 month');
  suffix text := to_char(month, 'YYYYMM');
  parent text;
BEGIN
  IF to_regclass('journal_' || suffix) IS NOT NULL THEN RETURN false; END IF;
  IF EXISTS (SELECT 1 FROM journal_default WHERE id >= low AND id < high) THEN RETURN false; END IF;
  FOREACH parent IN ARRAY ARRAY['journal', 'entry'] LOOP
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', parent || '_' || suffix, parent);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
      parent, parent || '_' || suffix, low, high);
    PERFORM ledger_guard_partition(parent || '_' || suffix);
  END LOOP;
  RETURN true;
END $$""",
        "CREATE TABLE journal_default PARTITION OF journal DEFAULT",
        "CREATE TABLE entry_default PARTITION OF entry DEFAULT",
        "SELECT ledger_guard_partition('journal_default')",
        "SELECT ledger_guard_partition('entry_default')",
    ),
)
