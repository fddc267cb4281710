DROP INDEX ix_attempt_reference
-- next
CREATE INDEX ix_attempt_reference ON attempt (provider_reference)
