CREATE FUNCTION look_up_by_index() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true); END $$
-- next
CREATE OR REPLACE FUNCTION audit_append(p_chain bigint, p_rows jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE head audit_head; hashes bytea[]; first bigint;
BEGIN
  IF current_setting('plan_cache_mode') <> 'force_generic_plan' THEN PERFORM look_up_by_index(); END IF;
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
END $$
-- next
CREATE OR REPLACE FUNCTION ledger_entries_complete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  ids uuid[]; counts bigint[]; gaps boolean; unbalanced boolean; mixed boolean; strangers boolean;
BEGIN
  IF current_setting('plan_cache_mode') <> 'force_generic_plan' THEN PERFORM look_up_by_index(); END IF;
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
END $$
-- next
CREATE OR REPLACE FUNCTION ledger_journals_complete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE ids uuid[]; first_month bigint; begun bigint; closed bigint;
BEGIN
  IF current_setting('plan_cache_mode') <> 'force_generic_plan' THEN PERFORM look_up_by_index(); END IF;
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
END $$
-- next
CREATE OR REPLACE FUNCTION ledger_post(
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
  IF current_setting('plan_cache_mode') <> 'force_generic_plan' THEN PERFORM look_up_by_index(); END IF;
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
END $$
-- next
CREATE OR REPLACE FUNCTION payments_begin(doc jsonb, chain bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE made integer;
BEGIN
  IF current_setting('plan_cache_mode') <> 'force_generic_plan' THEN PERFORM look_up_by_index(); END IF;
  INSERT INTO idempotency
    SELECT * FROM jsonb_populate_recordset(NULL::idempotency, doc->'idempotency')
    ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS made = ROW_COUNT;
  IF made <> jsonb_array_length(doc->'idempotency') THEN
    DELETE FROM idempotency
      WHERE scope = 'payment'
        AND key = ANY (ARRAY(SELECT x->>'key' FROM jsonb_array_elements(doc->'idempotency') x))
        AND subject_id = ANY
          (ARRAY(SELECT (x->>'subject_id')::uuid FROM jsonb_array_elements(doc->'idempotency') x));
    RETURN false;
  END IF;
  IF jsonb_array_length(doc->'party') > 0 THEN
    INSERT INTO party SELECT * FROM jsonb_populate_recordset(NULL::party, doc->'party')
      ON CONFLICT (ref) DO NOTHING;
  END IF;
  INSERT INTO payment SELECT * FROM jsonb_populate_recordset(NULL::payment, doc->'payment');
  IF jsonb_array_length(doc->'payment_line') > 0 THEN
    INSERT INTO payment_line
      SELECT * FROM jsonb_populate_recordset(NULL::payment_line, doc->'payment_line');
  END IF;
  INSERT INTO attempt SELECT * FROM jsonb_populate_recordset(NULL::attempt, doc->'attempt');
  INSERT INTO notification
    SELECT * FROM jsonb_populate_recordset(NULL::notification, doc->'notification');
  INSERT INTO metric_delta (cells) VALUES (doc #> '{metric_delta,0,cells}');
  PERFORM audit_append(chain, doc->'audit');
  RETURN true;
END $$
-- next
CREATE OR REPLACE FUNCTION payments_answered(doc jsonb, chain bigint,
  j_id uuid[], j_kind text[], j_key text[], j_print bytea[], j_at timestamptz[],
  j_effective timestamptz[], j_period bigint[], j_payment uuid[], j_reverses uuid[], j_actor text[],
  j_reason text[], j_meta jsonb[], j_legs smallint[], j_head bytea[],
  b_account uuid[], b_stripe smallint[], b_side smallint[], b_delta bigint[], b_count bigint[],
  l_journal integer[], l_leg smallint[], l_balance integer[], l_currency text[], l_amount bigint[],
  l_head bytea[])
RETURNS TABLE (state text, balances bigint[], versions bigint[])
LANGUAGE plpgsql AS $$
DECLARE
  payments integer := jsonb_array_length(doc->'payment');
  changed integer;
BEGIN
  IF current_setting('plan_cache_mode') <> 'force_generic_plan' THEN PERFORM look_up_by_index(); END IF;
  -- The changes come first in the joins, and so the rows are locked in their order: the condition
  -- on their numbers, which is always true, lets the planner expect one row. Only what changes is
  -- read from the JSON: a whole row of this width would take twice as long.
  UPDATE payment o SET
      status = p.status, gateway_account = p.gateway_account, attempt_id = p.attempt_id,
      failure_code = p.failure_code, captured_minor = p.captured_minor,
      authorized_minor = p.authorized_minor, rate = p.rate,
      commission_minor = p.commission_minor, vat_minor = p.vat_minor,
      pending_minor = p.pending_minor, updated_at = p.updated_at,
      next_check_at = p.next_check_at, version = o.version + 1
    FROM ROWS FROM (jsonb_to_recordset(doc->'payment') AS (
      id uuid, version bigint, status text, gateway_account text, attempt_id uuid,
      failure_code text, captured_minor bigint, authorized_minor bigint, rate jsonb,
      commission_minor bigint, vat_minor bigint, pending_minor bigint, updated_at timestamptz,
      next_check_at timestamptz)) WITH ORDINALITY p
    WHERE p.ordinality BETWEEN 1 AND payments AND o.id = p.id AND o.version = p.version;
  GET DIAGNOSTICS changed = ROW_COUNT;
  IF changed <> payments THEN
    RAISE EXCEPTION 'payments: changed meanwhile' USING ERRCODE = '40001';
  END IF;

  UPDATE attempt o SET
      state = a.state, next_check_at = a.next_check_at, checks = a.checks,
      not_found = a.not_found, provider_reference = a.provider_reference, lease_owner = NULL,
      lease_until = NULL, code = a.code, provider_code = a.provider_code, message = a.message,
      next_action = a.next_action, exposed_at = a.exposed_at, expires_at = a.expires_at,
      received_minor = a.received_minor, received_currency = a.received_currency,
      receipt = a.receipt, updated_at = a.updated_at, version = o.version + 1
    FROM ROWS FROM (jsonb_to_recordset(doc->'attempt') AS (
      id uuid, version bigint, state text, next_check_at timestamptz, checks bigint,
      not_found bigint, provider_reference text, code text, provider_code text, message text,
      next_action jsonb, exposed_at timestamptz, expires_at timestamptz, received_minor bigint,
      received_currency text, receipt text, updated_at timestamptz)) WITH ORDINALITY a
    WHERE a.ordinality BETWEEN 1 AND payments AND o.id = a.id AND o.version = a.version
      AND o.state = 'sending';
  GET DIAGNOSTICS changed = ROW_COUNT;
  IF changed <> payments THEN
    RAISE EXCEPTION 'payments: changed meanwhile' USING ERRCODE = '40001';
  END IF;

  IF cardinality(j_id) > 0 THEN
    SELECT * INTO state, balances, versions FROM ledger_post(
      j_id, j_kind, j_key, j_print, j_at, j_effective, j_period, j_payment, j_reverses, j_actor,
      j_reason, j_meta, j_legs, j_head, b_account, b_stripe, b_side, b_delta, b_count, l_journal,
      l_leg, l_balance, l_currency, l_amount, l_head);
    IF state <> 'posted' THEN
      RAISE EXCEPTION 'payments: not posted, %', state USING ERRCODE = '40001';
    END IF;
  END IF;

  INSERT INTO provider_call
    SELECT * FROM jsonb_populate_recordset(NULL::provider_call, doc->'provider_call');

  INSERT INTO notification
    SELECT * FROM jsonb_populate_recordset(NULL::notification, doc->'notification');

  INSERT INTO breaker_sample AS s
    SELECT * FROM jsonb_populate_recordset(NULL::breaker_sample, doc->'breaker_sample')
    ON CONFLICT (account, op_class, minute, stripe) DO UPDATE SET
      ok = s.ok + excluded.ok,
      refused = s.refused + excluded.refused,
      tech_fail = s.tech_fail + excluded.tech_fail,
      not_sent = s.not_sent + excluded.not_sent,
      slow = s.slow + excluded.slow,
      limited = s.limited + excluded.limited,
      retries = s.retries + excluded.retries,
      won = s.won + excluded.won,
      lost = s.lost + excluded.lost;

  INSERT INTO metric_delta (cells) VALUES (doc #> '{metric_delta,0,cells}');
  PERFORM audit_append(chain, doc->'audit');
  RETURN NEXT;
END $$
