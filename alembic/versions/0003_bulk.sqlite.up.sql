DROP INDEX ix_journal_effective
-- next
DROP INDEX ix_entry_account
-- next
CREATE INDEX ix_journal_early ON journal (effective_at, id) WHERE effective_at > posted_at
-- next
CREATE INDEX ix_journal_late ON journal (effective_at, id) WHERE effective_at < posted_at
-- next
CREATE INDEX ix_entry_stripe ON entry (account_id, stripe, journal_id)
