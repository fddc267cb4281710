DROP INDEX ix_attempt_reference
-- next
CREATE INDEX ix_attempt_reference ON attempt (provider_reference) WHERE provider_reference IS NOT NULL
