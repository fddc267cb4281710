CREATE INDEX ix_account_closed ON account (id) WHERE status = 'closed'
