ALTER TABLE refund ADD COLUMN way TEXT DEFAULT 'refund' NOT NULL,
  ADD COLUMN destination JSONB,
  ADD CONSTRAINT ck_refund_way CHECK (way IN ('payout', 'refund'))
-- next
ALTER TABLE attempt ADD COLUMN provider_data JSONB,
  ADD COLUMN payer JSONB,
  ADD COLUMN completion_key TEXT,
  ADD COLUMN completion_at TIMESTAMP WITH TIME ZONE,
  DROP CONSTRAINT ck_attempt_operation,
  ADD CONSTRAINT ck_attempt_operation CHECK (operation IN ('capture', 'collect', 'payout', 'refund', 'void'))
-- next
DROP INDEX attempt_provider_reference
-- next
CREATE UNIQUE INDEX attempt_provider_reference ON attempt (gateway_account, operation, provider_reference) WHERE operation IN ('collect', 'payout', 'refund') AND provider_reference IS NOT NULL
-- next
ALTER TABLE webhook_event ADD COLUMN proof TEXT DEFAULT 'signature' NOT NULL,
  ADD COLUMN token_hash BYTEA
-- next
CREATE INDEX ix_webhook_event_token_hash ON webhook_event (token_hash) WHERE token_hash IS NOT NULL
-- next
CREATE TABLE attempt_token (
	gateway_account TEXT NOT NULL, 
	token_hash BYTEA NOT NULL, 
	attempt_id UUID NOT NULL, 
	CONSTRAINT pk_attempt_token PRIMARY KEY (gateway_account, token_hash, attempt_id), 
	CONSTRAINT fk_attempt_token_attempt_id_attempt FOREIGN KEY(attempt_id) REFERENCES attempt (id)
)
-- next
INSERT INTO approval_threshold (kind, currency, version, limit_minor, daily_limit_minor, set_at, set_by, reason) VALUES ('reverse_payout', 'EUR', 1, 20000, 200000, TIMESTAMPTZ '2026-01-01 00:00:00+00', 'payctl', 'default'), ('reverse_payout', 'USD', 1, 20000, 200000, TIMESTAMPTZ '2026-01-01 00:00:00+00', 'payctl', 'default'), ('reverse_payout', 'GBP', 1, 17000, 170000, TIMESTAMPTZ '2026-01-01 00:00:00+00', 'payctl', 'default'), ('reverse_payout', 'CHF', 1, 20000, 200000, TIMESTAMPTZ '2026-01-01 00:00:00+00', 'payctl', 'default'), ('reverse_payout', 'CAD', 1, 30000, 300000, TIMESTAMPTZ '2026-01-01 00:00:00+00', 'payctl', 'default'), ('reverse_payout', 'XOF', 1, 130000, 1300000, TIMESTAMPTZ '2026-01-01 00:00:00+00', 'payctl', 'default'), ('reverse_payout', 'XAF', 1, 130000, 1300000, TIMESTAMPTZ '2026-01-01 00:00:00+00', 'payctl', 'default') ON CONFLICT DO NOTHING
