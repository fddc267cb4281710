DROP TABLE attempt_token
-- next
ALTER TABLE webhook_event DROP COLUMN token_hash, DROP COLUMN proof
-- next
DROP INDEX attempt_provider_reference
-- next
CREATE UNIQUE INDEX attempt_provider_reference ON attempt (gateway_account, operation, provider_reference) WHERE operation IN ('collect', 'refund') AND provider_reference IS NOT NULL
-- next
ALTER TABLE attempt DROP CONSTRAINT ck_attempt_operation,
  ADD CONSTRAINT ck_attempt_operation CHECK (operation IN ('capture', 'collect', 'refund', 'void')),
  DROP COLUMN completion_at,
  DROP COLUMN completion_key,
  DROP COLUMN payer,
  DROP COLUMN provider_data
-- next
ALTER TABLE refund DROP CONSTRAINT ck_refund_way,
  DROP COLUMN destination,
  DROP COLUMN way
