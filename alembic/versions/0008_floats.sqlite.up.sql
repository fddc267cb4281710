CREATE TABLE float_alarm (
	id BLOB NOT NULL, 
	account TEXT NOT NULL, 
	currency TEXT NOT NULL, 
	below_minor INTEGER, 
	reason TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	at INTEGER NOT NULL, 
	CONSTRAINT pk_float_alarm PRIMARY KEY (id), 
	CONSTRAINT ck_float_alarm_below CHECK (below_minor IS NULL OR below_minor > 0), 
	CONSTRAINT ck_float_alarm_reason CHECK (length(trim(reason)) > 0)
)
 STRICT
-- next
CREATE INDEX ix_float_alarm_account ON float_alarm (account, currency, id)
-- next
CREATE TABLE float_topup (
	id BLOB NOT NULL, 
	account TEXT NOT NULL, 
	amount_minor INTEGER NOT NULL, 
	currency TEXT NOT NULL, 
	bank TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	requested_by TEXT NOT NULL, 
	requested_at INTEGER NOT NULL, 
	approval_id BLOB, 
	sent_journal_id BLOB, 
	sent_at INTEGER, 
	ended_journal_id BLOB, 
	ended_at INTEGER, 
	arrived_minor INTEGER, 
	reference TEXT, 
	CONSTRAINT pk_float_topup PRIMARY KEY (id), 
	CONSTRAINT ck_float_topup_state CHECK (state IN ('awaiting_approval', 'sent', 'arrived', 'returned', 'canceled')), 
	CONSTRAINT ck_float_topup_amount CHECK (amount_minor > 0), 
	CONSTRAINT ck_float_topup_arrived CHECK (arrived_minor > 0 AND arrived_minor <= amount_minor), 
	CONSTRAINT ck_float_topup_arrived_state CHECK ((state = 'arrived') = (arrived_minor IS NOT NULL)), 
	CONSTRAINT ck_float_topup_sent CHECK ((state IN ('sent', 'arrived', 'returned')) = (sent_journal_id IS NOT NULL)), 
	CONSTRAINT ck_float_topup_ended CHECK ((state IN ('arrived', 'returned')) = (ended_journal_id IS NOT NULL))
)
 STRICT
-- next
CREATE INDEX ix_float_topup_state ON float_topup (state, account)
-- next
CREATE TABLE gateway_balance (
	account TEXT NOT NULL, 
	part TEXT NOT NULL, 
	currency TEXT NOT NULL, 
	available_minor INTEGER NOT NULL, 
	pending_minor INTEGER NOT NULL, 
	read_at INTEGER NOT NULL, 
	CONSTRAINT pk_gateway_balance PRIMARY KEY (account, part, currency), 
	CONSTRAINT ck_gateway_balance_part CHECK (part IN ('collect', 'float'))
)
 STRICT
-- next
CREATE TRIGGER float_alarm_no_update BEFORE UPDATE ON float_alarm BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on float_alarm'); END
-- next
CREATE TRIGGER float_alarm_no_delete BEFORE DELETE ON float_alarm BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on float_alarm'); END
-- next
INSERT INTO approval_threshold (kind, currency, version, limit_minor, daily_limit_minor, set_at, set_by, reason) VALUES ('float_topup', 'EUR', 1, 500000, 2000000, 1767225600000000, 'payctl', 'default'), ('float_topup', 'USD', 1, 500000, 2000000, 1767225600000000, 'payctl', 'default'), ('float_topup', 'GBP', 1, 430000, 1720000, 1767225600000000, 'payctl', 'default'), ('float_topup', 'CHF', 1, 500000, 2000000, 1767225600000000, 'payctl', 'default'), ('float_topup', 'CAD', 1, 750000, 3000000, 1767225600000000, 'payctl', 'default'), ('float_topup', 'XOF', 1, 3300000, 13200000, 1767225600000000, 'payctl', 'default'), ('float_topup', 'XAF', 1, 3300000, 13200000, 1767225600000000, 'payctl', 'default') ON CONFLICT DO NOTHING
