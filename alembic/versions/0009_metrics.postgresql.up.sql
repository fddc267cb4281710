CREATE TABLE alert (
	finding TEXT NOT NULL, 
	id UUID NOT NULL, 
	state TEXT NOT NULL, 
	since TIMESTAMP WITH TIME ZONE NOT NULL, 
	told BOOLEAN NOT NULL, 
	content JSONB NOT NULL, 
	CONSTRAINT pk_alert PRIMARY KEY (finding), 
	CONSTRAINT ck_alert_state CHECK (state IN ('failing', 'recovered'))
)
-- next
CREATE TABLE metric_delta (
	id BIGINT GENERATED ALWAYS AS IDENTITY, 
	cells JSONB NOT NULL, 
	CONSTRAINT pk_metric_delta PRIMARY KEY (id)
)
-- next
CREATE TABLE metric_total (
	family TEXT NOT NULL, 
	provider TEXT NOT NULL, 
	what TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	bound BIGINT NOT NULL, 
	number BIGINT NOT NULL, 
	total BIGINT NOT NULL, 
	CONSTRAINT pk_metric_total PRIMARY KEY (family, provider, what, detail, bound), 
	CONSTRAINT ck_metric_total_number CHECK (number > 0)
)
-- next
CREATE INDEX ix_webhook_event_account ON webhook_event (account, received_at)
-- next
CREATE INDEX ix_webhook_event_dead ON webhook_event (account) WHERE state IN ('dead', 'orphan')
-- next
CREATE OR REPLACE FUNCTION payments_begin(doc jsonb, chain bigint) RETURNS boolean
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
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
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  payments integer := jsonb_array_length(doc->'payment');
  changed integer;
BEGIN
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
