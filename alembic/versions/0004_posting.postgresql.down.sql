DROP INDEX ix_account_closed
-- next
CREATE OR REPLACE FUNCTION audit_head_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.chain = OLD.chain AND NEW.seq > OLD.seq THEN RETURN NEW; END IF;
  RAISE EXCEPTION 'audit_head only moves forward' USING ERRCODE = '23514';
END $$
-- next
DROP TRIGGER audit_head_forward ON audit_head
-- next
DROP TRIGGER audit_head_no_delete ON audit_head
-- next
DROP FUNCTION audit_append
-- next
CREATE FUNCTION audit_append(p_chain bigint, p_rows jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE head audit_head; item jsonb; this_hash bytea;
BEGIN
  SELECT * INTO head FROM audit_head WHERE chain = p_chain FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO audit_head (chain, seq, hash)
      VALUES (p_chain, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
    SELECT * INTO head FROM audit_head WHERE chain = p_chain FOR UPDATE;
  END IF;
  FOR item IN SELECT value FROM jsonb_array_elements(p_rows) LOOP
    head.seq := head.seq + 1;
    this_hash := sha256(head.hash || int8send(p_chain) || int8send(head.seq)
      || decode(item->>'content', 'hex'));
    INSERT INTO audit (id, chain, seq, prev_hash, hash, at, actor, actor_kind, host, session,
        command, action, subject_kind, subject_id, reason, data)
      VALUES ((item->>'id')::uuid, p_chain, head.seq, head.hash, this_hash,
        (item->>'at')::timestamptz, item->>'actor', item->>'actor_kind', item->>'host',
        item->>'session', item->>'command', item->>'action', item->>'subject_kind',
        (item->>'subject_id')::uuid, item->>'reason', item->'data');
    head.hash := this_hash;
  END LOOP;
  UPDATE audit_head SET seq = head.seq, hash = head.hash WHERE chain = p_chain;
  RETURN head.seq;
END $$
-- next
DROP TRIGGER account_kept ON account
-- next
DROP TRIGGER account_kept_truncate ON account
-- next
CREATE OR REPLACE FUNCTION ledger_entries_complete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE one record;
BEGIN
  IF EXISTS (SELECT 1 FROM new_rows GROUP BY journal_id, currency HAVING sum(amount_minor) <> 0)
  THEN
    RAISE EXCEPTION 'ledger: unbalanced journal' USING ERRCODE = '23514';
  END IF;
  -- With the key (journal_id, leg), n rows whose last leg is n are exactly the legs 1..n, so a
  -- second batch for the same journal can never pass. Each journal is looked up by itself: a join
  -- would be planned once for all sizes of the table, and for all its months.
  FOR one IN SELECT journal_id, count(*) AS n, max(leg) AS last FROM new_rows GROUP BY 1 LOOP
    IF one.last <> one.n
      OR one.n IS DISTINCT FROM (SELECT j.legs FROM journal j WHERE j.id = one.journal_id) THEN
      RAISE EXCEPTION 'ledger: entries without journal, or not as many as it has legs'
        USING ERRCODE = '23514';
    END IF;
  END LOOP;
  RETURN NULL;
END $$
-- next
CREATE OR REPLACE FUNCTION ledger_journals_complete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  one record;
  first_month bigint;
BEGIN
  FOR one IN SELECT id FROM new_rows LOOP
    IF NOT EXISTS (SELECT 1 FROM entry WHERE journal_id = one.id AND leg = 1) THEN
      RAISE EXCEPTION 'ledger: journal without entries' USING ERRCODE = '23514';
    END IF;
  END LOOP;
  SELECT min(period) INTO first_month FROM new_rows;
  IF EXISTS (SELECT 1 FROM period WHERE yyyymm >= first_month AND state <> 'open') THEN
    RAISE EXCEPTION 'ledger: period % is closed', first_month USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$
-- next
DROP FUNCTION ledger_post
-- next
CREATE FUNCTION ledger_post(
  j_id uuid[], j_kind text[], j_key text[], j_print bytea[], j_at timestamptz[],
  j_effective timestamptz[], j_period bigint[], j_payment uuid[], j_reverses uuid[], j_actor text[],
  j_reason text[], j_meta jsonb[], j_legs smallint[], j_head bytea[],
  b_account uuid[], b_stripe smallint[], b_side smallint[], b_delta bigint[], b_count bigint[],
  l_journal integer[], l_leg smallint[], l_balance integer[], l_currency text[], l_amount bigint[],
  l_head bytea[])
RETURNS TABLE (state text, balances bigint[], versions bigint[])
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  journals integer := cardinality(j_id);
  taken integer;
  now_minor bigint[]; now_version bigint[];
  one_minor bigint; one_version bigint;
  place integer; leg integer := 0;
  content bytea; minor_text text; version_text text; hashes bytea[];
BEGIN
  state := 'stale';
  IF EXISTS (SELECT 1 FROM account WHERE id = ANY (b_account) AND status = 'closed')
    OR EXISTS (SELECT 1 FROM period p
               WHERE p.state <> 'open' AND p.yyyymm >= (SELECT min(x) FROM unnest(j_period) x)) THEN
    RETURN NEXT;
    RETURN;
  END IF;

  INSERT INTO idempotency (scope, key, fingerprint, outcome, subject_id, created_at)
    SELECT 'journal', x.key, x.print, 'posted', x.id, x.at
      FROM unnest(j_key, j_print, j_id, j_at) AS x(key, print, id, at)
    ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS taken = ROW_COUNT;
  IF taken <> journals THEN
    DELETE FROM idempotency
      WHERE scope = 'journal' AND key = ANY (j_key) AND subject_id = ANY (j_id);
    state := 'taken';
    RETURN NEXT;
    RETURN;
  END IF;

  FOR i IN 1..cardinality(b_account) LOOP
    UPDATE balance SET posted_minor = posted_minor + b_side[i] * b_delta[i],
                       version = balance.version + b_count[i]
      WHERE account_id = b_account[i] AND stripe = b_stripe[i]
      RETURNING b_side[i] * posted_minor - b_delta[i], balance.version - b_count[i]
      INTO STRICT one_minor, one_version;
    now_minor[i] := one_minor;
    now_version[i] := one_version;
  END LOOP;
  IF EXISTS (SELECT 1 FROM account WHERE id = ANY (b_account) AND status = 'closed') THEN
    RAISE EXCEPTION 'ledger: an account was closed meanwhile' USING ERRCODE = '40001';
  END IF;

  FOR j IN 1..journals LOOP
    content := j_head[j];
    FOR _ IN 1..j_legs[j] LOOP
      leg := leg + 1;
      place := l_balance[leg];
      now_minor[place] := now_minor[place] + l_amount[leg];
      now_version[place] := now_version[place] + 1;
      balances[leg] := now_minor[place];
      versions[leg] := now_version[place];
      minor_text := now_minor[place]::text;
      version_text := now_version[place]::text;
      content := content || l_head[leg]
        || int4send(length(minor_text)) || minor_text::bytea
        || int4send(length(version_text)) || version_text::bytea;
    END LOOP;
    hashes[j] := sha256(content);
  END LOOP;

  WITH journals AS (
    INSERT INTO journal (id, kind, posting_key, posted_at, effective_at, period, payment_id,
                         reverses_id, actor, reason, meta, legs, content_hash)
      SELECT * FROM unnest(j_id, j_kind, j_key, j_at, j_effective, j_period, j_payment,
                           j_reverses, j_actor, j_reason, j_meta, j_legs, hashes))
  INSERT INTO entry (journal_id, leg, account_id, stripe, currency, amount_minor,
                     balance_after_minor, version)
    SELECT j_id[x.journal], x.leg, b_account[x.place], b_stripe[x.place], x.currency, x.amount,
           x.after_minor, x.version
      FROM unnest(l_journal, l_leg, l_balance, l_currency, l_amount, balances, versions)
        AS x(journal, leg, place, currency, amount, after_minor, version);
  state := 'posted';
  RETURN NEXT;
END $$
-- next
DROP FUNCTION payments_begin
-- next
CREATE FUNCTION payments_begin(doc jsonb, chain bigint) RETURNS boolean
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE made integer;
BEGIN
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
  PERFORM audit_append(chain, doc->'audit');
  RETURN true;
END $$
-- next
DROP FUNCTION payments_answered
-- next
CREATE FUNCTION payments_answered(doc jsonb, chain bigint,
  j_id uuid[], j_kind text[], j_key text[], j_print bytea[], j_at timestamptz[],
  j_effective timestamptz[], j_period bigint[], j_payment uuid[], j_reverses uuid[], j_actor text[],
  j_reason text[], j_meta jsonb[], j_legs smallint[], j_head bytea[],
  b_account uuid[], b_stripe smallint[], b_side smallint[], b_delta bigint[], b_count bigint[],
  l_journal integer[], l_leg smallint[], l_balance integer[], l_currency text[], l_amount bigint[],
  l_head bytea[])
RETURNS TABLE (state text, balances bigint[], versions bigint[])
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  p payment;
  a attempt;
BEGIN
  -- Row by row: a set of unknown size joined to a table would be planned once for all sizes.
  FOR p IN SELECT * FROM jsonb_populate_recordset(NULL::payment, doc->'payment') LOOP
    UPDATE payment SET
        status = p.status, gateway_account = p.gateway_account, attempt_id = p.attempt_id,
        failure_code = p.failure_code, captured_minor = p.captured_minor,
        authorized_minor = p.authorized_minor, rate = p.rate,
        commission_minor = p.commission_minor, vat_minor = p.vat_minor,
        pending_minor = p.pending_minor, updated_at = p.updated_at,
        next_check_at = p.next_check_at, version = version + 1
      WHERE id = p.id AND version = p.version;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'payments: changed meanwhile' USING ERRCODE = '40001';
    END IF;
  END LOOP;
  FOR a IN SELECT * FROM jsonb_populate_recordset(NULL::attempt, doc->'attempt') LOOP
    UPDATE attempt SET
        state = a.state, next_check_at = a.next_check_at, checks = a.checks,
        not_found = a.not_found, provider_reference = a.provider_reference, lease_owner = NULL,
        lease_until = NULL, code = a.code, provider_code = a.provider_code, message = a.message,
        next_action = a.next_action, exposed_at = a.exposed_at, expires_at = a.expires_at,
        received_minor = a.received_minor, received_currency = a.received_currency,
        receipt = a.receipt, updated_at = a.updated_at, version = version + 1
      WHERE id = a.id AND version = a.version AND attempt.state = 'sending';
    IF NOT FOUND THEN
      RAISE EXCEPTION 'payments: changed meanwhile' USING ERRCODE = '40001';
    END IF;
  END LOOP;
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
  PERFORM audit_append(chain, doc->'audit');
  RETURN NEXT;
END $$
-- next
CREATE TRIGGER audit_head_forward BEFORE UPDATE OR DELETE ON audit_head FOR EACH ROW EXECUTE FUNCTION audit_head_forward()
-- next
ALTER TABLE entry ADD CONSTRAINT fk_entry_account_id_currency_account
  FOREIGN KEY(account_id, currency) REFERENCES account (id, currency)
