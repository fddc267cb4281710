"""The database function that posts: one call for one journal or for many.

PostgreSQL only; SQLite has no functions, and :mod:`payctl.ledger.posting` does the same there in
single statements. The caller decides and sorts: it has checked the drafts, locked what may be
refused, and gives balances in the one order of locks. The function keeps what only the database
can: each key is posted once, running balances are those under the lock, and the content hash covers
them (:mod:`payctl.ledger.content` has its format).

It says ``taken``, and has written nothing, when one of the keys is taken; ``stale`` when an account
or a month is closed that the caller believed open. Accounts are looked at again once their balances
are locked, because one may have been closed meanwhile: then it raises a serialization failure, and
the caller's next try finds the account closed.
"""

from __future__ import annotations

from payctl.db.metadata import by_index, ddl

ddl(
    "ledger_post",
    postgresql=(
        by_index(
            """CREATE FUNCTION ledger_post(
  j_id uuid[], j_kind text[], j_key text[], j_print bytea[], j_at timestamptz[],
  j_effective timestamptz[], j_period bigint[], j_payment uuid[], j_reverses uuid[], j_actor text[],
  j_reason text[], j_meta jsonb[], j_legs smallint[], j_head bytea[],
  b_account uuid[], b_stripe smallint[], b_side smallint[], b_delta bigint[], b_count bigint[],
  l_journal integer[], l_leg smallint[], l_balance integer[], l_currency text[], l_amount bigint[],
  l_head bytea[])
RETURNS TABLE (state text, balances bigint[], versions bigint[])
LANGUAGE plpgsql AS $$
DECLARE
  journals integer := cardinality(j_id);
  slots integer := cardinality(b_account);
  claimed integer;
  now_minor bigint[]; now_version bigint[];
  place integer; leg integer := 0;
  minor bigint; version bigint; content bytea; hashes bytea[];
BEGIN
  INSERT INTO idempotency (scope, key, fingerprint, outcome, subject_id, created_at)
    SELECT 'journal', j_key[j], j_print[j], 'posted', j_id[j], j_at[j]
      FROM generate_series(1, journals) j
      WHERE NOT EXISTS (SELECT 1 FROM account WHERE id = ANY (b_account) AND status = 'closed')
        AND ((SELECT max(yyyymm) FROM period p WHERE p.state <> 'open') >= ANY (j_period))
          IS NOT TRUE
    ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS claimed = ROW_COUNT;
  IF claimed <> journals THEN
    DELETE FROM idempotency
      WHERE scope = 'journal' AND key = ANY (j_key) AND subject_id = ANY (j_id);
    state := CASE WHEN EXISTS (
        SELECT 1 FROM idempotency WHERE scope = 'journal' AND key = ANY (j_key))
      THEN 'taken' ELSE 'stale' END;
    RETURN NEXT;
    RETURN;
  END IF;

  -- The numbers come first in the join, and so the rows are locked in their order: the condition on
  -- them, which is always true, lets the planner expect one row.
  WITH moved AS (
    UPDATE balance b
      SET posted_minor = b.posted_minor + b_side[i] * b_delta[i], version = b.version + b_count[i]
      FROM generate_series(1, slots) i
      WHERE i BETWEEN 1 AND slots AND b.account_id = b_account[i] AND b.stripe = b_stripe[i]
      RETURNING i, b_side[i] * b.posted_minor - b_delta[i] AS before_minor,
        b.version - b_count[i] AS before_version)
  SELECT array_agg(before_minor), array_agg(before_version) INTO now_minor, now_version
    FROM (SELECT before_minor, before_version FROM moved ORDER BY i) ordered;
  IF cardinality(now_minor) IS DISTINCT FROM slots THEN
    RAISE EXCEPTION 'ledger: a balance is missing' USING ERRCODE = '23503';
  END IF;
  IF EXISTS (SELECT 1 FROM account WHERE id = ANY (b_account) AND status = 'closed') THEN
    RAISE EXCEPTION 'ledger: an account was closed meanwhile' USING ERRCODE = '40001';
  END IF;

  FOR j IN 1..journals LOOP
    content := j_head[j];
    FOR _ IN 1..j_legs[j] LOOP
      leg := leg + 1;
      place := l_balance[leg];
      minor := now_minor[place] + l_amount[leg];
      version := now_version[place] + 1;
      now_minor[place] := minor;
      now_version[place] := version;
      balances[leg] := minor;
      versions[leg] := version;
      content := content || l_head[leg]
        || int4send(length(minor::text)) || minor::text::bytea
        || int4send(length(version::text)) || version::text::bytea;
    END LOOP;
    hashes[j] := sha256(content);
  END LOOP;

  WITH journals AS (
    INSERT INTO journal (id, kind, posting_key, posted_at, effective_at, period, payment_id,
                         reverses_id, actor, reason, meta, legs, content_hash)
      SELECT j_id[j], j_kind[j], j_key[j], j_at[j], j_effective[j], j_period[j], j_payment[j],
             j_reverses[j], j_actor[j], j_reason[j], j_meta[j], j_legs[j], hashes[j]
        FROM generate_series(1, journals) j)
  INSERT INTO entry (journal_id, leg, account_id, stripe, currency, amount_minor,
                     balance_after_minor, version)
    SELECT j_id[l_journal[l]], l_leg[l], b_account[l_balance[l]], b_stripe[l_balance[l]],
           l_currency[l], l_amount[l], balances[l], versions[l]
      FROM generate_series(1, leg) l;
  state := 'posted';
  RETURN NEXT;
END $$"""
        ),
    ),
)
