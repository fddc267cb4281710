PRAGMA writable_schema = ON
-- next
UPDATE sqlite_schema SET sql = replace(sql,
  'CONSTRAINT ck_breaker_op_class CHECK (op_class IN (''collect'', ''refund'', ''payout'', ''read''))',
  'CONSTRAINT ck_breaker_op_class CHECK ((op_class = ''collect'' OR op_class = ''refund'' OR op_class = ''payout'' OR op_class = ''read''))')
  WHERE type = 'table' AND name = 'breaker'
-- next
UPDATE sqlite_schema SET sql = replace(sql,
  'CONSTRAINT ck_breaker_state CHECK (state IN (''closed'', ''open'', ''half_open''))',
  'CONSTRAINT ck_breaker_state CHECK ((state = ''closed'' OR state = ''open'' OR state = ''half_open''))')
  WHERE type = 'table' AND name = 'breaker'
-- next
UPDATE sqlite_schema SET sql = replace(sql,
  'CONSTRAINT ck_breaker_sample_op_class CHECK (op_class IN (''collect'', ''refund'', ''payout'', ''read''))',
  'CONSTRAINT ck_breaker_sample_op_class CHECK ((op_class = ''collect'' OR op_class = ''refund'' OR op_class = ''payout'' OR op_class = ''read''))')
  WHERE type = 'table' AND name = 'breaker_sample'
-- next
UPDATE sqlite_schema SET sql = replace(sql,
  'CONSTRAINT ck_gateway_setting_state CHECK (state IN (''enabled'', ''disabled'', ''draining''))',
  'CONSTRAINT ck_gateway_setting_state CHECK ((state = ''enabled'' OR state = ''disabled'' OR state = ''draining''))')
  WHERE type = 'table' AND name = 'gateway_setting'
-- next
UPDATE sqlite_schema SET sql = replace(sql,
  'CONSTRAINT ck_payment_status CHECK (status IN (''authorized'', ''canceled'', ''created'', ''expired'', ''failed'', ''pending'', ''processing'', ''requires_action'', ''succeeded'', ''unknown''))',
  'CONSTRAINT ck_payment_status CHECK ((status = ''authorized'' OR status = ''canceled'' OR status = ''created'' OR status = ''expired'' OR status = ''failed'' OR status = ''pending'' OR status = ''processing'' OR status = ''requires_action'' OR status = ''succeeded'' OR status = ''unknown''))')
  WHERE type = 'table' AND name = 'payment'
-- next
UPDATE sqlite_schema SET sql = replace(sql,
  'CONSTRAINT ck_payment_due CHECK (status IN (''canceled'', ''expired'', ''failed'', ''succeeded'') OR next_check_at IS NOT NULL)',
  'CONSTRAINT ck_payment_due CHECK ((status = ''canceled'' OR status = ''expired'' OR status = ''failed'' OR status = ''succeeded'') OR next_check_at IS NOT NULL)')
  WHERE type = 'table' AND name = 'payment'
-- next
UPDATE sqlite_schema SET sql = replace(sql,
  'CONSTRAINT ck_dispute_status CHECK (status IN (''closed'', ''inquiry'', ''lost'', ''needs_response'', ''under_review'', ''won''))',
  'CONSTRAINT ck_dispute_status CHECK ((status = ''closed'' OR status = ''inquiry'' OR status = ''lost'' OR status = ''needs_response'' OR status = ''under_review'' OR status = ''won''))')
  WHERE type = 'table' AND name = 'dispute'
-- next
UPDATE sqlite_schema SET sql = replace(sql,
  'CONSTRAINT ck_refund_way CHECK (way IN (''payout'', ''refund''))',
  'CONSTRAINT ck_refund_way CHECK ((way = ''payout'' OR way = ''refund''))')
  WHERE type = 'table' AND name = 'refund'
-- next
UPDATE sqlite_schema SET sql = replace(sql,
  'CONSTRAINT ck_refund_state CHECK (state IN (''approved'', ''awaiting_approval'', ''failed'', ''pending'', ''proposed'', ''rejected'', ''reversed'', ''sending'', ''succeeded'', ''unknown''))',
  'CONSTRAINT ck_refund_state CHECK ((state = ''approved'' OR state = ''awaiting_approval'' OR state = ''failed'' OR state = ''pending'' OR state = ''proposed'' OR state = ''rejected'' OR state = ''reversed'' OR state = ''sending'' OR state = ''succeeded'' OR state = ''unknown''))')
  WHERE type = 'table' AND name = 'refund'
-- next
UPDATE sqlite_schema SET sql = replace(sql,
  'CONSTRAINT ck_refund_due CHECK (state IN (''awaiting_approval'', ''failed'', ''proposed'', ''rejected'', ''reversed'', ''succeeded'') OR next_check_at IS NOT NULL)',
  'CONSTRAINT ck_refund_due CHECK ((state = ''awaiting_approval'' OR state = ''failed'' OR state = ''proposed'' OR state = ''rejected'' OR state = ''reversed'' OR state = ''succeeded'') OR next_check_at IS NOT NULL)')
  WHERE type = 'table' AND name = 'refund'
-- next
UPDATE sqlite_schema SET sql = replace(sql,
  'CONSTRAINT ck_attempt_operation CHECK (operation IN (''capture'', ''collect'', ''payout'', ''refund'', ''void''))',
  'CONSTRAINT ck_attempt_operation CHECK ((operation = ''capture'' OR operation = ''collect'' OR operation = ''payout'' OR operation = ''refund'' OR operation = ''void''))')
  WHERE type = 'table' AND name = 'attempt'
-- next
UPDATE sqlite_schema SET sql = replace(sql,
  'CONSTRAINT ck_attempt_due CHECK (NOT (state IN (''authorized'', ''pending'', ''quarantined'', ''requires_action'', ''sending'', ''unknown'')) OR next_check_at IS NOT NULL)',
  'CONSTRAINT ck_attempt_due CHECK (NOT (state = ''authorized'' OR state = ''pending'' OR state = ''quarantined'' OR state = ''requires_action'' OR state = ''sending'' OR state = ''unknown'') OR next_check_at IS NOT NULL)')
  WHERE type = 'table' AND name = 'attempt'
-- next
PRAGMA writable_schema = RESET
-- next
DROP INDEX attempt_due
-- next
DROP INDEX attempt_live
-- next
DROP INDEX attempt_provider_reference
-- next
DROP INDEX ix_attempt_reference
-- next
CREATE INDEX attempt_due ON attempt (next_check_at) WHERE (state = 'authorized' OR state = 'pending' OR state = 'quarantined' OR state = 'requires_action' OR state = 'sending' OR state = 'unknown')
-- next
CREATE UNIQUE INDEX attempt_live ON attempt (subject_id, operation) WHERE (state = 'authorized' OR state = 'pending' OR state = 'quarantined' OR state = 'requires_action' OR state = 'sending' OR state = 'unknown')
-- next
CREATE UNIQUE INDEX attempt_provider_reference ON attempt (gateway_account, operation, provider_reference) WHERE (operation = 'collect' OR operation = 'payout' OR operation = 'refund') AND provider_reference IS NOT NULL
-- next
CREATE INDEX ix_attempt_reference ON attempt (provider_reference) WHERE provider_reference IS NOT NULL
