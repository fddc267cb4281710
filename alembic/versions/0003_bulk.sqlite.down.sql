DROP INDEX ix_entry_stripe
-- next
DROP INDEX ix_journal_late
-- next
DROP INDEX ix_journal_early
-- next
CREATE INDEX ix_entry_account ON entry (account_id, journal_id)
-- next
CREATE INDEX ix_journal_effective ON journal (effective_at)
