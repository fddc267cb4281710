"""The database functions of the two commits of a payment, for one payment or for many.

PostgreSQL only: each is one statement and so a whole transaction in one round trip. What they write
was decided in Python (:mod:`payctl.payments.intake`, :mod:`payctl.payments.first_answer`); they are
given whole rows as JSON, by table.
"""

from __future__ import annotations

from payctl.db.metadata import ddl

ddl(
    "payments_begin",
    postgresql=(
        # False, and nothing written, when one of the keys is taken.
        """CREATE FUNCTION payments_begin(doc jsonb, chain bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE made integer;
BEGIN
  INSERT INTO idempotency
    SELECT * FROM jsonb_populate_recordset(NULL::idempotency, doc->'idempotency')
    ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS made = ROW_COUNT;
  IF made <> jsonb_array_length(doc->'idempotency') THEN
    DELETE FROM idempotency i
      USING jsonb_populate_recordset(NULL::idempotency, doc->'idempotency') x
      WHERE i.scope = x.scope AND i.key = x.key AND i.subject_id = x.subject_id;
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
END $$""",
    ),
)

ddl(
    "payments_answered",
    postgresql=(
        # Raises a serialization failure when a payment or attempt is not what it was, when its
        # order has another payment, or when ledger_post does not post: nothing is written then, and
        # each takes the long way.
        """CREATE FUNCTION payments_answered(doc jsonb, chain bigint,
  j_id uuid[], j_kind text[], j_key text[], j_print bytea[], j_at timestamptz[],
  j_effective timestamptz[], j_period bigint[], j_payment uuid[], j_reverses uuid[], j_actor text[],
  j_reason text[], j_meta jsonb[], j_legs smallint[], j_head bytea[],
  b_account uuid[], b_stripe smallint[], b_side smallint[], b_delta bigint[], b_count bigint[],
  l_journal integer[], l_leg smallint[], l_balance integer[], l_currency text[], l_amount bigint[],
  l_head bytea[])
RETURNS TABLE (state text, balances bigint[], versions bigint[]) LANGUAGE plpgsql AS $$
DECLARE
  wanted integer := jsonb_array_length(doc->'payment');
  done integer;
BEGIN
  UPDATE payment p SET
      status = x.status, gateway_account = x.gateway_account, attempt_id = x.attempt_id,
      failure_code = x.failure_code, captured_minor = x.captured_minor,
      authorized_minor = x.authorized_minor, rate = x.rate, commission_minor = x.commission_minor,
      vat_minor = x.vat_minor, pending_minor = x.pending_minor, updated_at = x.updated_at,
      next_check_at = x.next_check_at, version = p.version + 1
    FROM jsonb_populate_recordset(NULL::payment, doc->'payment') x
    WHERE p.id = x.id AND p.version = x.version;
  GET DIAGNOSTICS done = ROW_COUNT;
  IF done <> wanted THEN
    RAISE EXCEPTION 'payments: changed meanwhile' USING ERRCODE = '40001';
  END IF;
  IF EXISTS (SELECT 1 FROM jsonb_populate_recordset(NULL::payment, doc->'payment') x
             JOIN payment o ON o.order_ref = x.order_ref AND o.id <> x.id) THEN
    RAISE EXCEPTION 'payments: another payment of the order' USING ERRCODE = '40001';
  END IF;
  UPDATE attempt a SET
      state = x.state, next_check_at = x.next_check_at, checks = x.checks,
      not_found = x.not_found, provider_reference = x.provider_reference, lease_owner = NULL,
      lease_until = NULL, code = x.code, provider_code = x.provider_code, message = x.message,
      next_action = x.next_action, exposed_at = x.exposed_at, expires_at = x.expires_at,
      received_minor = x.received_minor, received_currency = x.received_currency,
      receipt = x.receipt, updated_at = x.updated_at, version = a.version + 1
    FROM jsonb_populate_recordset(NULL::attempt, doc->'attempt') x
    WHERE a.id = x.id AND a.version = x.version AND a.state = 'sending';
  GET DIAGNOSTICS done = ROW_COUNT;
  IF done <> wanted THEN
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
  PERFORM audit_append(chain, doc->'audit');
  RETURN NEXT;
END $$""",
    ),
)
